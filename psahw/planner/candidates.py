"""Candidates for every layer of a network, as a tree of choices for `psahw.planner.optimiser`.

Every candidate keeps up with the source, which offers one token per token period (``docs/explanation/planning.md``).
The depths of buffers are left to `psahw.planner.schedule`.
"""

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import chain
from math import gcd
from typing import TypeVar

import numpy as np

from ..architecture.nodes import (  # fmt: skip
    Argmax,
    InputTable,
    LocalMixing,
    MeanPool,
    Node,
    Residual,
    Sliced,
    TableRom,
    Transpose,
    Windows,
)
from ..architecture.ranges import signed_bits
from ..network.layers import Block, ChannelMixing, Linear, Network, Table, TokenMixing, block_name, stage_name
from .engines import Engines, Infeasible, Matrix, Sums
from .optimiser import All, Leaf, OneOf, Path, ResidualChoice, Tree
from .primitives import reorder_style

__all__ = ["choices", "divisors"]

MOST_LANES = 3
"""Widths of a stream that are offered: the narrowest."""


def divisors(n: int) -> list[int]:
    """Return the divisors of a number, in ascending order."""
    return [d for d in range(1, n + 1) if n % d == 0]


def _table_roms(name: str, values: Table | None, lanes: int) -> list[TableRom]:
    """Return a table in each memory that suits its size. A table that is the identity needs none."""
    if values is None or np.array_equal(values.values, np.tile(np.arange(-128, 128), (values.channels, 1))):
        return []
    distinct = bool((values.values != values.values[:1]).any())
    words = values.channels // lanes * 256 if distinct else 256
    styles = [style for style, fits in (("distributed", words <= 1024), ("block", distinct)) if fits]
    return [TableRom(name, values.channels, lanes, distinct, style) for style in styles]


def table(name: str, values: Table | None, lanes: int) -> Leaf | OneOf:
    """Return the choice of a table's memory, without nodes for a table that is the identity."""
    roms = _table_roms(name, values, lanes)
    return OneOf(tuple(Leaf((rom,)) for rom in roms)) if roms else Leaf(())


@dataclass(frozen=True)
class _PacedStage:
    """A stage of the network with the width of its token stream and its own token period."""

    name: str
    grid: tuple[int, int]
    channels: int
    lanes: int
    period: int
    engines: Engines

    @property
    def tokens(self) -> int:
        """Tokens per frame."""
        return self.grid[0] * self.grid[1]

    def residual(self, name: str, branch: tuple[Tree, ...], values: Table | None) -> ResidualChoice:
        """Return a residual connection around a branch, with a table in its bypass."""
        bypass = _table_roms(f"{name}.table_residual", values, self.lanes)[-1:]
        return ResidualChoice(Residual(name, self.lanes, (), tuple(bypass)), All(branch))

    def token_mixing(self, name: str, layer: TokenMixing) -> ResidualChoice:
        """Return the choice for a token mixing with its tables and its residual connection."""
        linear = self.dense(name, layer) if layer.kernel is None else self.local(name, layer, layer.kernel)
        branch = (
            table(f"{name}.table_in", layer.table_in, self.lanes),
            *linear,
            table(f"{name}.table_out", layer.table_out, self.lanes),
        )
        return self.residual(name, branch, layer.table_residual)

    def local(self, name: str, layer: TokenMixing, kernel: int) -> tuple[Tree, ...]:
        """Return the component for a local token mixing. Raises `Infeasible` if it does not keep the period."""
        sums = Sums.of(layer)
        node = LocalMixing(
            f"{name}.linear",
            kernel,
            self.grid,
            self.channels,
            layer.groups,
            self.lanes,
            signed_bits(int(layer.weight.min()), int(layer.weight.max())),
            acc_bits=sums.acc_bits,
            offset_bits=sums.offset_bits,
            shift_range=sums.shift_range,
            multiplier=self.engines.multiplier,
            shared=layer.shared,
        )
        if (self.tokens + node.reach) * node.beats > self.tokens * self.period:
            raise Infeasible(f"{name}: {self.tokens} + {node.reach} tokens of {node.beats} beats exceed the frame")
        return (Leaf((node,)),)

    def dense(self, name: str, layer: TokenMixing) -> tuple[Tree, ...]:
        """Return the choice for a dense token mixing between two transpositions.

        Channels are independent of each other, so each slice of the lanes may have an engine of its own.
        Raises `Infeasible` if the vectors of a frame do not pass in time.
        """
        tokens, channels, lanes = self.tokens, self.channels, self.lanes
        frame = tokens * self.period
        slices = next((count for count in divisors(lanes) if channels // count <= frame), None)
        if slices is None:
            raise Infeasible(f"{name}: {channels} vectors of {tokens} tokens do not pass in {frame} cycles")
        if slices > 1 and layer.groups > 1:
            raise Infeasible(
                f"{name}: {slices} engines side by side are needed, and all channels must share a matrix"
            )
        channels, lanes = channels // slices, lanes // slices
        period = frame // channels
        # With as many lanes as the stream, if these are enough, no transposition has to change the width.
        enough = [count for count in divisors(tokens) if tokens // count <= period]
        across = lanes if lanes in enough else enough[0]
        parts = (
            Leaf((_placed(Transpose(f"{name}.transpose_in", tokens, channels, lanes, across, period)),)),
            self.engines.linear(f"{name}.linear", Matrix.of(layer, channels), across, across, period),
            Leaf((_placed(Transpose(f"{name}.transpose_out", channels, tokens, across, lanes, self.period)),)),
        )
        return tuple(_sliced(part, slices) for part in parts)

    def channel_mixing(self, name: str, layer: ChannelMixing) -> ResidualChoice:
        """Return the choice for a channel mixing with the narrowest streams between its linear layers.

        Raises `Infeasible` if no width keeps the period.
        """

        def parts(hidden_lanes: int) -> Tree:
            return All(
                (
                    self.linear(f"{name}.linear1", layer.linear1, self.lanes, hidden_lanes),
                    table(f"{name}.table_hidden", layer.table_hidden, hidden_lanes),
                    self.linear(f"{name}.linear2", layer.linear2, hidden_lanes, self.lanes),
                )
            )

        widths = [lanes for lanes in divisors(layer.hidden) if layer.hidden // lanes <= self.period]
        nothing = f"{name}: {layer.hidden} values do not pass in {self.period} cycles"
        options = _feasible(widths, parts, nothing, most=MOST_LANES)
        branch = table(f"{name}.table_in", layer.table_in, self.lanes), OneOf(tuple(options.values()))
        return self.residual(name, branch, layer.table_residual)

    def linear(self, name: str, layer: Linear, i_lanes: int, o_lanes: int) -> OneOf:
        """Return the engines for a layer that computes each token."""
        return self.engines.linear(name, Matrix.of(layer, self.tokens), i_lanes, o_lanes, self.period)

    def block(self, name: str, block: Block) -> tuple[Tree, ...]:
        """Return the choice for each sublayer of a block."""
        return (
            self.token_mixing(f"{name}.token_mixing", block.token_mixing),
            self.channel_mixing(f"{name}.channel_mixing", block.channel_mixing),
        )


_Item = TypeVar("_Item")
_Result = TypeVar("_Result")


def _feasible(
    items: Sequence[_Item], make: Callable[[_Item], _Result], nothing: str, most: int | None = None
) -> dict[_Item, _Result]:
    """Return ``make(item)`` for the first ``most`` items, or all, for which it does not raise `Infeasible`.

    If there is none, raises the first of these errors, or one with the message ``nothing`` if there are no items.
    """
    results: dict[_Item, _Result] = {}
    reason = None
    for item in items:
        if len(results) == most:
            break
        try:
            results[item] = make(item)
        except Infeasible as error:
            reason = reason or error
    if not results:
        raise reason or Infeasible(nothing)
    return results


def _sliced(tree: Tree, slices: int) -> Tree:
    """Return a choice in which each node stands for ``slices`` components side by side."""

    def sliced(node: Node) -> Node:
        if not isinstance(node, Sliced):
            raise TypeError(f"node must be a Sliced, not {node!r}")
        return dataclasses.replace(node, slices=slices)

    match tree:
        case Leaf(nodes):
            return Leaf(tuple(sliced(node) for node in nodes))
        case OneOf(options):
            return OneOf(tuple(_sliced(option, slices) for option in options))
    raise TypeError(f"tree must be a Leaf or a OneOf, not {tree!r}")


def _placed(node: Windows | Transpose) -> Windows | Transpose:
    """Return a node with its memories in LUTs or block RAM, whichever suits their size."""
    return dataclasses.replace(node, style=reorder_style(node))


def _window_lanes(size: int, channels: int, period: int) -> int:
    """Return the fewest lanes that pass a window in a period: a part of a window's row, or several rows."""
    row = size * channels
    widths = *divisors(row), *(row * rows for rows in divisors(size))
    return next(lanes for lanes in widths if size * row // lanes <= period)


def _input_table(network: Network, lanes: int) -> InputTable:
    """Return the table of pixel codes at the input."""
    table, colours = network.input_table, network.colours
    return InputTable("input", colours, lanes, 1 if (table == table[0]).all() else colours // gcd(colours, lanes))


def _embedding(network: Network, bus_bytes: int, stage: _PacedStage) -> Tree:
    """Return the choice for the input table and the patch embedding in front of the first stage."""
    patch, (height, width) = network.patch, network.image
    lanes = _window_lanes(patch.size, network.colours, stage.period)
    windows = Windows(
        "embed.windows",
        height,
        width,
        network.colours,
        patch.size,
        patch.stride,
        patch.padding,
        bus_bytes,
        lanes,
        stage.period,
    )
    source = Leaf((_input_table(network, bus_bytes), _placed(windows)))
    return All((source, stage.linear("embed", network.embed, lanes, stage.lanes)))


def _merging(layer: Linear, before: _PacedStage, stage: _PacedStage) -> Tree:
    """Return the choice for the patch merging between two stages."""
    name = f"{stage.name}.merge"
    lanes = _window_lanes(2, before.channels, stage.period)
    windows = Windows(
        f"{name}.windows", *before.grid, before.channels, 2, 2, 0, before.lanes, lanes, stage.period, queue=0
    )
    return All((Leaf((_placed(windows),)), stage.linear(name, layer, lanes, stage.lanes)))


def _states(network: Network, index: int, period: int, engines: Engines) -> dict[_PacedStage, Tree]:
    """Return a stage at the narrowest widths of its token stream that keep the period, with its blocks."""
    stage, name = network.stages[index], stage_name(index)
    channels = network.embed.outputs if stage.merge is None else stage.merge.outputs

    def blocks(paced: _PacedStage) -> Tree:
        trees = (paced.block(block_name(index, b), block) for b, block in enumerate(stage.blocks))
        return All(tuple(chain(*trees)))

    widths = [lanes for lanes in divisors(channels) if channels // lanes <= period]
    stages = [_PacedStage(name, stage.grid, channels, lanes, period, engines) for lanes in widths]
    nothing = f"{name}: {channels} channels do not pass in {period} cycles"
    return _feasible(stages, blocks, nothing, most=MOST_LANES)


def _entry(
    network: Network, bus_bytes: int, merge: Linear | None, before: _PacedStage | None, stage: _PacedStage
) -> Tree:
    """Return the choice for what brings tokens into a stage, from the image or from the stage before."""
    if merge is None or before is None:
        return _embedding(network, bus_bytes, stage)
    return _merging(merge, before, stage)


def _links(sources: Sequence, stages: Sequence, entry: Callable[..., Tree]) -> dict[tuple[int, int], Tree]:
    """Return ``entry(before, stage)`` for those pairs, by index, for which it does not raise `Infeasible`.

    If there is none, raises the first of these errors.
    """
    pairs = {(a, b): (before, stage) for a, before in enumerate(sources) for b, stage in enumerate(stages)}
    return _feasible(list(pairs), lambda pair: entry(*pairs[pair]), "no pairs")


def choices(network: Network, period: int, bus_bytes: int, engines: Engines) -> Path:
    """Return the pipelines that take a token of the first stage every ``period`` cycles.

    Parameters
    ----------
    network
        The network.
    period
        Token period in clock cycles.
    bus_bytes
        Bytes of the image per input beat.
    engines
        The engines that may compute the linear layers.

    Raises
    ------
    Infeasible
        If no candidate for a layer, or for the input, keeps the period.
    """
    row = network.image[1] * network.colours
    if row % bus_bytes:
        raise Infeasible(f"input: {bus_bytes} bytes per beat must divide a row of {row} bytes")
    frame = network.stages[0].tokens * period
    if network.image[0] * row // bus_bytes > frame:
        raise Infeasible(f"input: {bus_bytes} bytes a cycle do not bring an image in {frame} cycles")
    states, links = [], []
    sources: Sequence[_PacedStage | None] = [None]
    for index, stage in enumerate(network.stages):
        blocks = _states(network, index, frame // stage.tokens, engines)
        links.append(_links(sources, list(blocks), partial(_entry, network, bus_bytes, stage.merge)))
        states.append(tuple(blocks.values()))
        sources = list(blocks)
    head = Matrix.of(network.head, 1)

    def result(before: _PacedStage, _: None) -> Tree:
        pool = MeanPool("pool", before.tokens, before.channels, before.lanes, network.pool_shift)
        return All((Leaf((pool,)), engines.linear("head", head, before.lanes, 1, frame)))

    links.append(_links(sources, [None], result))
    states.append((Leaf((Argmax("argmax", head.outputs, head.out_bits),)),))
    return Path(tuple(states), tuple(links))
