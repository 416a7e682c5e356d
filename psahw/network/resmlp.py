"""ResMLPs: stages of blocks that mix first the tokens and then the channels, as a short form of their graph.

Versions 1 and 2 of the network file hold nothing else. `ResMLP.network` returns the graph, and `recognise` returns
the ResMLP that a graph is. ``docs/reference/network-format.md`` describes the topology.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, TypeVar

import numpy as np

from ..architecture.codes import INT8
from ..architecture.geometry import SlidingWindow
from .checks import check_int
from .graph import Named, Network, Output, Place, Residual, Series
from .layers import MAX_SHIFT, Linear, MeanPool, Table, TokenMixing, Windows

__all__ = [
    "Block", "ChannelSublayer", "Patch", "ResMLP", "Stage", "TokenSublayer", "block_name", "linear_names",
    "merge_name", "recognise", "stage_name",
]  # fmt: skip

MAX_LOGIT_BITS = 24
MAX_GRID = 256
"""Most rows or columns of tokens."""


def stage_name(stage: int) -> str:
    """Return the name of a stage, counted from 0."""
    return f"stages.{stage}"


def merge_name(stage: int) -> str:
    """Return the name of the patch merging in front of a stage, counted from 0."""
    return f"{stage_name(stage)}.merge"


def block_name(stage: int, block: int) -> str:
    """Return the name of a block of a stage, both counted from 0."""
    return f"{stage_name(stage)}.blocks.{block}"


def linear_names(blocks: Sequence[int]) -> list[str]:
    """Return the names of the linear layers of a ResMLP, in data order, from the number of blocks of each stage."""
    names = ["embed"]
    for s, count in enumerate(blocks):
        names += [merge_name(s)] if s else []
        for b in range(count):
            sublayers = ("token_mixing.linear", "channel_mixing.linear1", "channel_mixing.linear2")
            names += [f"{block_name(s, b)}.{sublayer}" for sublayer in sublayers]
    return [*names, "head"]


def _present(name: str, **layers: Table | Linear | TokenMixing | None) -> Series:
    """Return those layers that are not None, called by their keywords behind a name."""
    return tuple(Named(f"{name}.{part}", layer) for part, layer in layers.items() if layer is not None)


@dataclass(frozen=True, eq=False)
class TokenSublayer:
    """The sublayer that mixes tokens: ``y = sat(table_residual(x) + table_out(linear(table_in(x))))``.

    Parameters
    ----------
    linear
        The map over the tokens of each channel.
    table_in, table_out, table_residual
        Tables with one function per channel; None is the identity.
    """

    TABLES: ClassVar = ("table_in", "table_out", "table_residual")
    """Names of the tables, in data order."""

    linear: TokenMixing
    table_in: Table | None = None
    table_out: Table | None = None
    table_residual: Table | None = None

    def residual(self, name: str) -> Named:
        """Return the sublayer as a residual connection with a name."""
        branch = _present(name, table_in=self.table_in, linear=self.linear, table_out=self.table_out)
        return Named(name, Residual(branch, _present(name, table_residual=self.table_residual)))


@dataclass(frozen=True, eq=False)
class ChannelSublayer:
    """The sublayer that mixes channels, the same for every token.

    ``y = sat(table_residual(x) + linear2(table_hidden(linear1(table_in(x)))))``

    Parameters
    ----------
    linear1, linear2
        From the channels to the hidden neurons, and back.
    table_in, table_residual
        Tables with one function per channel; None is the identity.
    table_hidden
        Table with one function per hidden neuron; None is the identity.
    """

    TABLES: ClassVar = ("table_in", "table_hidden", "table_residual")
    """Names of the tables, in data order."""

    linear1: Linear
    linear2: Linear
    table_in: Table | None = None
    table_hidden: Table | None = None
    table_residual: Table | None = None

    def residual(self, name: str) -> Named:
        """Return the sublayer as a residual connection with a name."""
        branch = _present(
            name, table_in=self.table_in, linear1=self.linear1, table_hidden=self.table_hidden, linear2=self.linear2
        )
        return Named(name, Residual(branch, _present(name, table_residual=self.table_residual)))


@dataclass(frozen=True, eq=False)
class Block:
    """Token mixing followed by channel mixing."""

    token_mixing: TokenSublayer
    channel_mixing: ChannelSublayer

    def series(self, name: str) -> Series:
        """Return both sublayers of a block with a name."""
        return (
            self.token_mixing.residual(f"{name}.token_mixing"),
            self.channel_mixing.residual(f"{name}.channel_mixing"),
        )


@dataclass(frozen=True, eq=False)
class Stage:
    """Blocks that work on one grid of tokens.

    Parameters
    ----------
    blocks
        The blocks, in data order.
    merge
        Patch merging, which makes the tokens from those of the stage before: a linear layer over the 2x2 tokens
        (0, 0), (0, 1), (1, 0), (1, 1), each with its channels in order. None in the first stage.
    """

    blocks: tuple[Block, ...]
    merge: Linear | None = None


@dataclass(frozen=True)
class Patch:
    """Square windows of pixels that slide over the image in raster order.

    Parameters
    ----------
    size
        Rows and columns of a window, in [1, 64].
    stride
        Distance between two windows, in [1, size].
    padding
        Pixels of code 0 on each side of the image, in [0, size - 1].

    Raises
    ------
    TypeError, ValueError
        If a parameter is not as described.
    """

    size: int
    stride: int
    padding: int = 0

    def __post_init__(self) -> None:
        check_int("patch.size", self.size, 1, 64)
        check_int("patch.stride", self.stride, 1, self.size)
        check_int("patch.padding", self.padding, 0, self.size - 1)

    @property
    def windows(self) -> Windows:
        """The windows as a layer."""
        return Windows((self.size,) * 2, (self.stride,) * 2, (self.padding,) * 4)

    def grid(self, image: tuple[int, int]) -> tuple[int, int]:
        """Return the rows and columns of windows in an image of (height, width) pixels."""
        return SlidingWindow(*image, self.size, self.stride, self.padding).grid


_MERGE = Patch(2, 2).windows


@dataclass(frozen=True, eq=False)
class ResMLP:
    """A classifier of images in stages of blocks, the short form of a `Network`.

    The tokens pass ``embed`` and the stages. After the last block come the mean over all tokens and ``head``, which
    gives the logits.

    Parameters
    ----------
    name, image, input_table, metadata
        As in `Network`.
    patch
        The windows that become tokens.
    embed
        From a window to a token.
    stages
        At least one. All but the first begin with a patch merging.
    pool_shift
        Shift of the mean, in [0, 31].
    head
        From the mean token to the logits.
    classes
        Names of the classes, each of 1 to 100 characters that print.
    """

    name: str
    image: tuple[int, int]
    input_table: np.ndarray
    patch: Patch
    embed: Linear
    stages: tuple[Stage, ...]
    pool_shift: int
    head: Linear
    classes: tuple[str, ...]
    metadata: dict[str, Any] = field(default_factory=dict)

    def series(self) -> Iterator[Named]:
        """Yield the layers in data order. Raises ValueError if a patch merging is missing, or in the first stage."""
        yield Named("embed.windows", self.patch.windows)
        yield Named("embed", self.embed)
        for s, stage in enumerate(self.stages):
            if (s == 0) != (stage.merge is None):
                raise ValueError(f"{merge_name(s)} must be present in every stage but the first")
            if stage.merge is not None:
                yield Named(f"{merge_name(s)}.windows", _MERGE)
                yield Named(merge_name(s), stage.merge)
            for b, block in enumerate(stage.blocks):
                yield from block.series(block_name(s, b))
        yield Named("pool", MeanPool(self.pool_shift))
        yield Named("head", self.head)

    def network(self) -> Network:
        """Return the graph. Raises TypeError or ValueError if something does not fit; the message names the layer."""
        if not self.stages:
            raise ValueError("stages must not be empty")
        check_int("pool_shift", self.pool_shift, 0, MAX_SHIFT)
        network = Network(
            self.name,
            self.image,
            self.input_table,
            tuple(self.series()),
            Output("class", self.classes),
            self.metadata,
        )
        for place in _odd_merges(network):
            raise ValueError(f"{place.name} must follow a grid with even sides, not {place.input}")
        return network


def _odd_merges(network: Network) -> Iterator[Place]:
    """Yield the patch mergings of a network that leave a row or a column of tokens unused."""
    for place in network.places:
        if place.layer == _MERGE and place.name.endswith(".merge.windows") and any(n % 2 for n in place.input.grid):
            yield place


_Kind = TypeVar("_Kind")


class _Different(Exception):
    """A graph is no ResMLP."""


class _Reader:
    """Takes the layers of a series one by one. Raises `_Different` for a layer that is not the expected one."""

    def __init__(self, series: Series):
        self._rest = list(series)

    def next_is(self, name: str) -> bool:
        """Return whether the next layer has a name."""
        return bool(self._rest) and self._rest[0].name == name

    def optional(self, name: str, kind: type[_Kind]) -> _Kind | None:
        """Return the next layer if it has a name, else None."""
        return self.take(name, kind) if self.next_is(name) else None

    def take(self, name: str, kind: type[_Kind]) -> _Kind:
        """Return the next layer, which must have a name and a kind."""
        if not self.next_is(name) or not isinstance(layer := self._rest[0].layer, kind):
            raise _Different
        self._rest.pop(0)
        return layer

    def end(self) -> None:
        """Check that no layer is left."""
        if self._rest:
            raise _Different


def recognise(network: Network) -> ResMLP | None:
    """Return the ResMLP that a network is, with the names that `ResMLP.network` gives its layers, or None.

    All activations of a ResMLP are int8, no layer has multipliers, no sum is shifted, and its kernels are square.
    """
    try:
        return _recognised(network)
    except _Different:
        return None


def _recognised(network: Network) -> ResMLP:
    """Return the ResMLP that a network is. Raises `_Different` if it is none."""
    if network.output.kind != "class":
        raise _Different
    for place in network.places:
        if isinstance(place.layer, Linear | TokenMixing) and place.layer.multiplier is not None:
            raise _Different
        if isinstance(place.layer, MeanPool) and place.layer.multiplier != 1:
            raise _Different
        if isinstance(place.layer, Residual) and place.layer.shift:
            raise _Different
        codes = place.output.codes
        if codes != INT8 and not (place.name == "head" and codes.signed and codes.bits <= MAX_LOGIT_BITS):
            raise _Different
        if place.name != "embed.windows" and max(place.output.grid) > MAX_GRID:
            raise _Different
    if any(_odd_merges(network)):
        raise _Different
    reader = _Reader(network.layers)
    patch = _patch(reader.take("embed.windows", Windows))
    embed = reader.take("embed", Linear)
    stages: list[Stage] = []
    while not reader.next_is("pool"):
        s = len(stages)
        merge = None
        if s and reader.take(f"{merge_name(s)}.windows", Windows) != _MERGE:
            raise _Different
        if s:
            merge = reader.take(merge_name(s), Linear)
        blocks: list[Block] = []
        while reader.next_is(f"{block_name(s, len(blocks))}.token_mixing"):
            blocks.append(_block(reader, block_name(s, len(blocks))))
        stages.append(Stage(tuple(blocks), merge))
    pool, head = reader.take("pool", MeanPool), reader.take("head", Linear)
    reader.end()
    if not stages:
        stages = [Stage(())]
    return ResMLP(
        network.name, network.image, network.input_table, patch, embed, tuple(stages), pool.shift, head,
        network.classes, network.metadata,
    )  # fmt: skip


def _patch(windows: Windows) -> Patch:
    """Return square windows as a patch."""
    try:
        patch = Patch(windows.size[0], windows.stride[0], windows.padding[0])
    except ValueError:
        raise _Different from None
    if patch.windows != windows:
        raise _Different
    return patch


def _block(reader: _Reader, name: str) -> Block:
    """Return the block that comes next."""
    tokens, channels = f"{name}.token_mixing", f"{name}.channel_mixing"
    residual = reader.take(tokens, Residual)
    branch, shortcut = _Reader(residual.branch), _Reader(residual.shortcut)
    token_mixing = TokenSublayer(
        table_in=branch.optional(f"{tokens}.table_in", Table),
        linear=branch.take(f"{tokens}.linear", TokenMixing),
        table_out=branch.optional(f"{tokens}.table_out", Table),
        table_residual=shortcut.optional(f"{tokens}.table_residual", Table),
    )
    kernel = token_mixing.linear.kernel
    if kernel is not None and kernel[0] != kernel[1]:
        raise _Different
    branch.end()
    shortcut.end()
    residual = reader.take(channels, Residual)
    branch, shortcut = _Reader(residual.branch), _Reader(residual.shortcut)
    channel_mixing = ChannelSublayer(
        table_in=branch.optional(f"{channels}.table_in", Table),
        linear1=branch.take(f"{channels}.linear1", Linear),
        table_hidden=branch.optional(f"{channels}.table_hidden", Table),
        linear2=branch.take(f"{channels}.linear2", Linear),
        table_residual=shortcut.optional(f"{channels}.table_residual", Table),
    )
    branch.end()
    shortcut.end()
    return Block(token_mixing, channel_mixing)
