"""The descriptions in network files, version by version: networks to JSON values and tensors, and back.

``docs/reference/network-format.md`` specifies them. Versions 1 and 2 describe a `ResMLP`, version 3 any graph.
"""

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, NoReturn, TypeAlias, TypeVar

import msgspec
import numpy as np

from .. import documents
from ..errors import UserError
from ..quoting import printable, quote
from .checks import check_array, check_int, check_ints
from .graph import Named, Network, Output, Residual, Series, check_layer_name
from .layers import Flatten, Layer, Linear, MaxPool, MeanPool, Table, Thresholds, TokenMixing, Windows
from .resmlp import (
    MAX_GRID,
    MAX_LOGIT_BITS,
    Block,
    ChannelSublayer,
    Patch,
    ResMLP,
    Stage,
    TokenSublayer,
    block_name,
    merge_name,
    stage_name,
)

__all__ = ["FORMAT", "FORMAT_VERSION", "Checked", "network", "of_graph", "of_resmlp"]

FORMAT = "psahw-network"
FORMAT_VERSION = 3
"""The newest version. A file has the oldest version that can describe its network."""

_SUMS = ("weight", "bias", "shift")
_OPTIONAL = ("multiplier", "offset")

_T = TypeVar("_T")


class Checked(msgspec.Struct):
    """The part of every description that is read before the rest."""

    sha256: documents.Sha256 | None = None


class _PatchEntry(msgspec.Struct):
    """The windows of the image, in versions 1 and 2."""

    size: int
    stride: int
    padding: int


class _StageEntry(msgspec.Struct):
    """A stage in version 1."""

    grid: tuple[int, int]
    kernels: tuple[int | None, ...]


class _SharedStageEntry(_StageEntry):
    """A stage in version 2."""

    shared: tuple[bool, ...]


class _Description1(msgspec.Struct):
    """A description of version 1, as the page on the format lists its fields, apart from format and version."""

    name: str
    image: tuple[int, int]
    patch: _PatchEntry
    stages: tuple[_StageEntry, ...]
    pool_shift: int
    logit_bits: int
    residual_bits: int
    classes: tuple[str, ...]
    metadata: dict[str, Any]


class _Description2(_Description1):
    """A description of version 2."""

    stages: tuple[_SharedStageEntry, ...]


class _Entry(msgspec.Struct, tag_field="kind"):
    """A layer in version 3."""

    name: str


class _WindowsEntry(_Entry, tag="windows"):
    size: tuple[int, int]
    stride: tuple[int, int]
    padding: tuple[int, int, int, int]
    code: int


class _LinearEntry(_Entry, tag="linear"):
    bits: int
    signed: bool


class _TableEntry(_Entry, tag="table"):
    bits: int


class _TokenMixingEntry(_Entry, tag="token_mixing"):
    bits: int
    signed: bool
    kernel: tuple[int, int] | None
    shared: bool


class _ResidualEntry(_Entry, tag="residual"):
    bits: int
    signed: bool
    branch: tuple["_AnyEntry", ...]
    shortcut: tuple["_AnyEntry", ...]
    shift: int = 0


class _MeanPoolEntry(_Entry, tag="mean_pool"):
    shift: int
    multiplier: int
    offset: int = 0


class _MaxPoolEntry(_Entry, tag="max_pool"):
    size: tuple[int, int]
    stride: tuple[int, int]
    padding: tuple[int, int, int, int]


class _FlattenEntry(_Entry, tag="flatten"):
    pass


class _ThresholdsEntry(_Entry, tag="thresholds"):
    bits: int
    signed: bool
    offset: int


_AnyEntry: TypeAlias = (
    _WindowsEntry
    | _LinearEntry
    | _TableEntry
    | _TokenMixingEntry
    | _ResidualEntry
    | _MeanPoolEntry
    | _MaxPoolEntry
    | _FlattenEntry
    | _ThresholdsEntry
)


class _OutputEntry(msgspec.Struct):
    """The meaning of the outputs in version 3."""

    kind: str
    scale: tuple[float, ...] = ()
    offset: tuple[float, ...] = ()


class _Description3(msgspec.Struct):
    """A description of version 3."""

    name: str
    image: tuple[int, int]
    layers: tuple[_AnyEntry, ...]
    output: _OutputEntry
    names: tuple[str, ...]
    metadata: dict[str, Any]


def of_resmlp(network: ResMLP) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Return the description of version 1 or 2 of a ResMLP, and its tensors by name.

    Version 1 has no shared kernels.
    """
    tensors = {"input_table": network.input_table, **_sums("embed", network.embed)}
    mixings = [[block.token_mixing.linear for block in stage.blocks] for stage in network.stages]
    version = 2 if any(mixing.shared for stage in mixings for mixing in stage) else 1
    grid, stages = network.patch.grid(network.image), []
    for s, (stage, linears) in enumerate(zip(network.stages, mixings, strict=True)):
        if stage.merge is not None:
            tensors |= _sums(merge_name(s), stage.merge)
            grid = (grid[0] // 2, grid[1] // 2)
        for b, block in enumerate(stage.blocks):
            tensors |= dict(_block_tensors(block_name(s, b), block))
        entry: dict[str, Any] = {
            "grid": list(grid),
            "kernels": [mixing.kernel and mixing.kernel[0] for mixing in linears],
        }
        if version > 1:
            entry["shared"] = [mixing.shared for mixing in linears]
        stages.append(entry)
    description = {
        "format": FORMAT,
        "version": version,
        "name": network.name,
        "image": list(network.image),
        "patch": {key: getattr(network.patch, key) for key in ("size", "stride", "padding")},
        "stages": stages,
        "pool_shift": network.pool_shift,
        "logit_bits": network.head.out_bits,
        "residual_bits": 8,
        "classes": list(network.classes),
        "metadata": network.metadata,
    }
    return description, tensors | _sums("head", network.head)


def _sums(name: str, layer: Linear | TokenMixing) -> dict[str, np.ndarray]:
    """Return the tensors of a layer with weights."""
    parts = {f"{name}.{part}": getattr(layer, part) for part in (*_SUMS, *_OPTIONAL)}
    return {part: tensor for part, tensor in parts.items() if tensor is not None}


def _block_tensors(name: str, block: Block) -> Iterator[tuple[str, np.ndarray]]:
    """Yield the tensors of a block. A token mixing goes by the name of its sublayer."""
    tokens, channels = block.token_mixing, block.channel_mixing
    yield from _sums(f"{name}.token_mixing", tokens.linear).items()
    for part in ("linear1", "linear2"):
        yield from _sums(f"{name}.channel_mixing.{part}", getattr(channels, part)).items()
    for sublayer, place in ((tokens, "token_mixing"), (channels, "channel_mixing")):
        for part in sublayer.TABLES:
            if (table := getattr(sublayer, part)) is not None:
                yield f"{name}.{place}.{part}", table.values


def of_graph(network: Network) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Return the description of version 3 of a network, and its tensors by name."""
    output: dict[str, Any] = {"kind": network.output.kind}
    if network.output.kind == "values":
        output |= {"scale": list(network.output.scale), "offset": list(network.output.offset)}
    tensors = {"input_table": network.input_table}
    for place in network.places:
        match place.layer:
            case Linear() | TokenMixing():
                tensors |= _sums(place.name, place.layer)
            case Table() | Thresholds():
                tensors[place.name] = place.layer.values
    description = {
        "format": FORMAT,
        "version": 3,
        "name": network.name,
        "image": list(network.image),
        "layers": [_entry(named) for named in network.layers],
        "output": output,
        "names": list(network.output.names),
        "metadata": network.metadata,
    }
    return description, tensors


def _codes(layer: Linear | TokenMixing | Thresholds | Residual) -> dict[str, Any]:
    """Return the type of a layer's outputs, as in a description of version 3."""
    return {"bits": layer.out_bits, "signed": layer.out_signed}


def _entry(named: Named) -> dict[str, Any]:
    """Return the entry of a layer in a description of version 3."""
    name, layer = named
    windows = {part: list(getattr(layer, part)) for part in ("size", "stride", "padding") if hasattr(layer, part)}
    match layer:
        case Windows():
            entry = {"kind": "windows", **windows, "code": layer.code}
        case Linear():
            entry = {"kind": "linear", **_codes(layer)}
        case Table():
            entry = {"kind": "table", "bits": layer.out_bits}
        case TokenMixing():
            kernel = None if layer.kernel is None else list(layer.kernel)
            entry = {"kind": "token_mixing", **_codes(layer), "kernel": kernel, "shared": layer.shared}
        case Residual():
            paths = {path: [_entry(inner) for inner in getattr(layer, path)] for path in ("branch", "shortcut")}
            shift = {"shift": layer.shift} if layer.shift else {}
            entry = {"kind": "residual", **_codes(layer), **shift, **paths}
        case MeanPool():
            offset = {"offset": layer.offset} if layer.offset else {}
            entry = {"kind": "mean_pool", "shift": layer.shift, "multiplier": layer.multiplier, **offset}
        case MaxPool():
            entry = {"kind": "max_pool", **windows}
        case Flatten():
            entry = {"kind": "flatten"}
        case Thresholds():
            entry = {"kind": "thresholds", **_codes(layer), "offset": layer.offset}
    return {"name": name, **entry}


class _Reader:
    """Makes layers from the contents of a file, and keeps track of the tensors that nothing has read."""

    def __init__(self, path: Path, tensors: dict[str, np.ndarray]):
        self.path, self.tensors = path, tensors
        self.unread = set(tensors)

    def fail(self, place: str, problem: object) -> NoReturn:
        """Raise UserError with the file, the place in it, and the problem."""
        raise UserError(f"{self.path}: {place}: {problem}")

    def build(self, place: str, constructor: Callable[..., _T], *args: Any, **kwargs: Any) -> _T:
        """Call a constructor. Raises UserError for what it refuses."""
        try:
            return constructor(*args, **kwargs)
        except (TypeError, ValueError) as error:
            self.fail(place, error)

    def tensor(self, name: str) -> np.ndarray:
        """Return a tensor. Raises UserError if it is missing."""
        if name not in self.tensors:
            self.fail(printable(name, 120), "this tensor is missing")
        self.unread.discard(name)
        return self.tensors[name]

    def sums(self, name: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return weight, bias and shift of a layer."""
        weight, bias, shift = (self.tensor(f"{name}.{part}") for part in _SUMS)
        return weight, bias, shift

    def all_read(self) -> None:
        """Raise UserError if a tensor has not been read."""
        if self.unread:
            self.fail(
                printable(min(self.unread), 120), "this tensor does not belong to the network described in the file"
            )


class _ResMLPReader(_Reader):
    """Makes a network from a file of version 1 or 2."""

    def linear(self, name: str, out_bits: int = 8) -> Linear:
        """Return a linear layer."""
        return self.build(name, Linear, *self.sums(name), out_bits=out_bits)

    def tables(self, sublayer: str, places: Iterable[str]) -> dict[str, Table]:
        """Return those tables of a sublayer that the file has, by place."""
        names = {place: f"{sublayer}.{place}" for place in places}
        present = {place: name for place, name in names.items() if name in self.tensors}
        for name in present.values():
            self.build(name, check_array, "values", self.tensor(name), np.int8, (None, 256))
        return {place: self.build(name, Table, self.tensor(name)) for place, name in present.items()}

    def block(self, name: str, kernel: int | None, shared: bool) -> Block:
        """Return a block."""
        tokens, channels = f"{name}.token_mixing", f"{name}.channel_mixing"
        mixing = self.build(tokens, TokenMixing, *self.sums(tokens), kernel=kernel, shared=shared)
        linears = self.linear(f"{channels}.linear1"), self.linear(f"{channels}.linear2")
        return Block(
            TokenSublayer(mixing, **self.tables(tokens, TokenSublayer.TABLES)),
            ChannelSublayer(linears[0], linears[1], **self.tables(channels, ChannelSublayer.TABLES)),
        )

    def stage(self, index: int, entry: _StageEntry) -> Stage:
        """Return a stage from its entry in the description."""
        shared = entry.shared if isinstance(entry, _SharedStageEntry) else (False,) * len(entry.kernels)
        if len(shared) != len(entry.kernels):
            self.fail(
                f"stages[{index}].shared", f"must have {len(entry.kernels)} entries, one per block, not {len(shared)}"
            )
        blocks = tuple(
            self.block(block_name(index, b), *parameters)
            for b, parameters in enumerate(zip(entry.kernels, shared, strict=True))
        )
        return Stage(blocks, None if index == 0 else self.linear(merge_name(index)))

    def network(self, version: int, description: _Description1) -> Network:
        """Return the network. Raises UserError, naming the layer, if the contents are not those of one."""
        if description.residual_bits != 8:
            self.fail("residual_bits", f"must be 8 in version {version}, not {quote(description.residual_bits)}")
        self.build("head", check_int, "logit_bits", description.logit_bits, 2, MAX_LOGIT_BITS)
        for s, entry in enumerate(description.stages):
            self.build(stage_name(s), check_ints, "grid", entry.grid, [(1, MAX_GRID)] * 2)
        windows = description.patch
        patch = self.build("patch", Patch, windows.size, windows.stride, windows.padding)
        form = ResMLP(
            name=description.name,
            image=description.image,
            input_table=self.tensor("input_table"),
            patch=patch,
            embed=self.linear("embed"),
            stages=tuple(self.stage(s, entry) for s, entry in enumerate(description.stages)),
            pool_shift=description.pool_shift,
            head=self.linear("head", description.logit_bits),
            classes=description.classes,
            metadata=description.metadata,
        )
        network = self.build("network", form.network)
        grid = patch.grid(network.image)
        for s, entry in enumerate(description.stages):
            if entry.grid != (wanted := (grid[0] >> s, grid[1] >> s)):
                self.fail("network", f"{stage_name(s)}.grid must be {wanted}, not {entry.grid}")
        self.all_read()
        return network


class _GraphReader(_Reader):
    """Makes a network from a file of version 3."""

    def layer(self, entry: _AnyEntry) -> Layer | Residual:
        """Return the layer of an entry."""
        match entry:
            case _WindowsEntry():
                return Windows(entry.size, entry.stride, entry.padding, entry.code)
            case _LinearEntry():
                return Linear(*self.sums(entry.name), entry.bits, entry.signed, *self.optional(entry.name))
            case _TableEntry():
                return Table(self.tensor(entry.name), entry.bits)
            case _TokenMixingEntry():
                return TokenMixing(
                    *self.sums(entry.name), entry.kernel, entry.shared, entry.bits, entry.signed,
                    *self.optional(entry.name),
                )  # fmt: skip
            case _ResidualEntry():
                paths = self.series(entry.branch), self.series(entry.shortcut)
                return Residual(*paths, entry.bits, entry.signed, entry.shift)
            case _MeanPoolEntry():
                return MeanPool(entry.shift, entry.multiplier, entry.offset)
            case _MaxPoolEntry():
                return MaxPool(entry.size, entry.stride, entry.padding)
            case _FlattenEntry():
                return Flatten()
            case _ThresholdsEntry():
                return Thresholds(self.tensor(entry.name), entry.bits, entry.signed, entry.offset)

    def optional(self, name: str) -> Iterator[np.ndarray | None]:
        """Yield the multipliers and the offsets of a layer, or None if it has none."""
        for part in _OPTIONAL:
            yield self.tensor(f"{name}.{part}") if f"{name}.{part}" in self.tensors else None

    def series(self, entries: Iterable[_AnyEntry]) -> Series:
        """Return the layers of a list of entries."""
        layers = []
        for entry in entries:
            self.build("layers", check_layer_name, entry.name)
            layers.append(Named(entry.name, self.build(entry.name, self.layer, entry)))
        return tuple(layers)

    def network(self, description: _Description3) -> Network:
        """Return the network. Raises UserError, naming the layer, if the contents are not those of one."""
        meaning = description.output
        output = self.build("output", Output, meaning.kind, description.names, meaning.scale, meaning.offset)
        layers = self.series(description.layers)
        parts = description.name, description.image, self.tensor("input_table"), layers, output, description.metadata
        network = self.build("network", Network, *parts)
        self.all_read()
        return network


def network(path: Path, version: int, content: dict[str, Any], tensors: dict[str, np.ndarray]) -> Network:
    """Return the network that a description and tensors make.

    Parameters
    ----------
    path
        The file, for messages.
    version
        A version from 1 to `FORMAT_VERSION`.
    content
        The description, as JSON values.
    tensors
        The tensors by name.

    Raises
    ------
    UserError
        If they are not those of a network of this version. The message names the layer.
    """
    if version == 3:
        return _GraphReader(path, tensors).network(documents.convert(content, _Description3, path))
    kind = _Description1 if version == 1 else _Description2
    return _ResMLPReader(path, tensors).network(version, documents.convert(content, kind, path))
