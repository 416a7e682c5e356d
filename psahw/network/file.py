"""The network file: one ``.safetensors`` file of integer tensors and one JSON description.

``docs/reference/network-format.md`` specifies it. Nothing in a file is executed, and nothing is trusted: sizes are
bounded before they are read, a checksum notices damage, and the constructors of `psahw.network.layers` check every
tensor.
"""

import hashlib
import json
import os
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, NoReturn, TypeVar

import msgspec
import numpy as np
import safetensors
import safetensors.numpy

from .. import documents
from ..errors import UserError
from ..files import write_whole
from ..quoting import printable, quote
from .layers import (
    Block,
    ChannelMixing,
    Linear,
    Network,
    Patch,
    Stage,
    Table,
    TokenMixing,
    block_name,
    merge_name,
    stage_name,
)

__all__ = ["FORMAT_VERSION", "digest", "find", "flatten", "load", "save", "shipped"]

FORMAT = "psahw-network"
FORMAT_VERSION = 2
"""The newest version. A file has the oldest version that can describe its network."""

MAX_FILE_BYTES = 256 << 20
MAX_DESCRIPTION_BYTES = 1 << 20

_SHIPPED = Path(__file__).parents[1] / "networks"
_LINEAR_PARTS = ("weight", "bias", "shift")
_DTYPES = {  # of safetensors; other names are of floating point formats that NumPy lacks
    "BOOL": np.bool_, "I8": np.int8, "U8": np.uint8, "I16": np.int16, "U16": np.uint16, "I32": np.int32,
    "U32": np.uint32, "I64": np.int64, "U64": np.uint64, "F16": np.float16, "F32": np.float32, "F64": np.float64,
}  # fmt: skip
_NO_CHECKSUM = "0" * 64  # stands in for the checksum while that is calculated

_T = TypeVar("_T")


class _PatchEntry(msgspec.Struct):
    """The windows of the image."""

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


class _Description(msgspec.Struct, kw_only=True):
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
    sha256: documents.Sha256 | None = None


class _Description2(_Description):
    """A description of version 2."""

    stages: tuple[_SharedStageEntry, ...]


def shipped() -> list[str]:
    """Return the names of the networks that come with the package."""
    return sorted(path.stem for path in _SHIPPED.glob("*.safetensors"))


def _version(network: Network) -> int:
    """Return the oldest version of the format that can describe a network: version 1 has no shared kernels."""
    return 2 if any(block.token_mixing.shared for _, _, block in network.blocks()) else 1


def flatten(network: Network) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Return the JSON description of a network, and its tensors by name."""
    tensors = {"input_table": network.input_table}
    for name, layer, _ in network.layers():
        if isinstance(layer, Table):
            tensors[name] = layer.values
        else:
            tensors |= {f"{name}.{part}": getattr(layer, part) for part in _LINEAR_PARTS}
    version = _version(network)
    stages = []
    for stage in network.stages:
        entry: dict[str, Any] = {
            "grid": list(stage.grid),
            "kernels": [block.token_mixing.kernel for block in stage.blocks],
        }
        if version > 1:
            entry["shared"] = [block.token_mixing.shared for block in stage.blocks]
        stages.append(entry)
    config = {
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
    return config, tensors


def _update(state: Any, tensors: Mapping[str, np.ndarray]) -> None:
    """Add tensors to a hash: for each a line with name, type and shape, then its bytes."""
    for name in sorted(tensors):
        tensor = np.ascontiguousarray(tensors[name])
        state.update(f"{name} {tensor.dtype} {tensor.shape}\n".encode() + tensor.tobytes())


def digest(network: Network) -> str:
    """Return the SHA-256 hash of everything that determines the logits, in hexadecimal.

    Name, classes and metadata are left out, so that a better description of its training does not make a network
    another one.
    """
    config, tensors = flatten(network)
    for key in ("name", "metadata", "classes"):
        del config[key]
    state = hashlib.sha256(json.dumps(config, sort_keys=True).encode())
    _update(state, tensors)
    return state.hexdigest()


def _checksum(text: str, tensors: Mapping[str, np.ndarray]) -> str:
    """Return the checksum of a file: of its description, with zeros in place of the checksum, and of its tensors."""
    state = hashlib.sha256(text.encode())
    _update(state, tensors)
    return state.hexdigest()


def save(network: Network, path: str | os.PathLike) -> None:
    """Write a network file, which appears whole or not at all.

    Raises UserError if it cannot be written, or if its metadata is not strict JSON (`psahw.documents`).
    """
    config, tensors = flatten(network)
    try:
        text = json.dumps({"sha256": _NO_CHECKSUM, **config}, allow_nan=False)
    except ValueError as error:
        raise UserError(f"cannot write {path}: the metadata of {network.name}: {error}") from error
    documents.decode(text, f"cannot write {path}: the description of {network.name}")
    if len(text) > MAX_DESCRIPTION_BYTES:
        raise UserError(f"cannot write {path}: the metadata of {network.name} is too large")
    text = text.replace(_NO_CHECKSUM, _checksum(text, tensors), 1)
    data = safetensors.numpy.save(
        {name: np.ascontiguousarray(tensor) for name, tensor in tensors.items()},
        metadata={"psahw": text},
    )
    write_whole(path, data)


class _Reader:
    """Makes a network from the contents of a file, and keeps track of the tensors that nothing has read."""

    def __init__(self, path: Path, version: int, description: _Description, tensors: dict[str, np.ndarray]):
        self.path, self.version, self.description, self.tensors = path, version, description, tensors
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
            self.fail(name, "this tensor is missing")
        self.unread.discard(name)
        return self.tensors[name]

    def linear_parts(self, name: str) -> list[np.ndarray]:
        """Return weight, bias and shift of a layer."""
        return [self.tensor(f"{name}.{part}") for part in _LINEAR_PARTS]

    def linear(self, name: str, out_bits: int = 8) -> Linear:
        """Return a linear layer."""
        return self.build(name, Linear, *self.linear_parts(name), out_bits=out_bits)

    def tables(self, sublayer: str, places: Iterable[str]) -> dict[str, Table]:
        """Return those tables of a sublayer that the file has, by place."""
        names = {place: f"{sublayer}.{place}" for place in places}
        return {
            place: self.build(name, Table, self.tensor(name)) for place, name in names.items() if name in self.tensors
        }

    def token_mixing(self, name: str, kernel: int | None, shared: bool) -> TokenMixing:
        """Return a token mixing."""
        parts, tables = self.linear_parts(name), self.tables(name, TokenMixing.TABLES)
        return self.build(name, TokenMixing, *parts, kernel=kernel, shared=shared, **tables)

    def channel_mixing(self, name: str) -> ChannelMixing:
        """Return a channel mixing."""
        linears = self.linear(f"{name}.linear1"), self.linear(f"{name}.linear2")
        return self.build(name, ChannelMixing, *linears, **self.tables(name, ChannelMixing.TABLES))

    def block(self, name: str, kernel: int | None, shared: bool) -> Block:
        """Return a block."""
        channel_mixing = self.channel_mixing(f"{name}.channel_mixing")
        return Block(self.token_mixing(f"{name}.token_mixing", kernel, shared), channel_mixing)

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
        merge = None if index == 0 else self.linear(merge_name(index))
        return self.build(stage_name(index), Stage, entry.grid, blocks, merge)

    def network(self) -> Network:
        """Return the network. Raises UserError, naming the layer, if the contents are not those of one."""
        description = self.description
        if description.residual_bits != 8:
            self.fail("residual_bits", f"must be 8 in version {self.version}, not {quote(description.residual_bits)}")
        windows = description.patch
        patch = self.build("patch", Patch, windows.size, windows.stride, windows.padding)
        stages = tuple(self.stage(s, entry) for s, entry in enumerate(description.stages))
        network = self.build(
            "network",
            Network,
            name=description.name,
            image=description.image,
            input_table=self.tensor("input_table"),
            patch=patch,
            embed=self.linear("embed"),
            stages=stages,
            pool_shift=description.pool_shift,
            head=self.linear("head", description.logit_bits),
            classes=description.classes,
            metadata=description.metadata,
        )
        if self.unread:
            self.fail(
                printable(min(self.unread), 120), "this tensor does not belong to the network described in the file"
            )
        if self.version > _version(network):
            self.fail("version", f"must be 1 if no kernel is shared, not {self.version}")
        return network


def find(name: str | os.PathLike) -> Path:
    """Return the file of a network by its path, which may be a pipe, or by its name if it ships with psahw.

    Raises UserError if there is no such file.
    """
    if str(name) in shipped():
        return _SHIPPED / f"{name}.safetensors"
    path = Path(name)
    if os.path.isdir(path):  # unlike Path.is_dir, false for a name that is too long
        raise UserError(f"no network {quote(str(name))}: it is a directory; name a network file")
    if not os.path.exists(path):
        known = ", ".join(shipped()) or "none"
        raise UserError(f"no network {quote(str(name))}: neither a file nor one that ships with psahw ({known})")
    return path


def _header(path: Path, data: bytes) -> dict[str, Any]:
    """Return the header of a safetensors file. Raises UserError if it does not begin as one."""
    length = int.from_bytes(data[:8], "little")
    if len(data) > 8 and (length > MAX_FILE_BYTES or data[8:9] != b"{"):
        raise UserError(f"{path}: not a safetensors file")
    if len(data) < max(8 + length, 9):
        raise UserError(f"{path}: not a complete safetensors file: it ends after {len(data)} bytes, in the header")
    if length > 2 * MAX_DESCRIPTION_BYTES:
        raise UserError(f"{path}: a header of {length} bytes is too large")
    return documents.parse(data[8 : 8 + length], dict[str, Any], f"{path}: the header")


def _read(path: Path) -> tuple[str, dict[str, np.ndarray]]:
    """Return the description in a file, as text, and the tensors.

    Raises UserError if the file cannot be read, is too large, is no safetensors file, or has no description.
    """
    data = documents.read_bytes(path, MAX_FILE_BYTES)
    header = _header(path, data)
    metadata = documents.convert(header.get("__metadata__", {}), dict[str, str], f"{path}: the header's metadata")
    try:
        entries = dict(safetensors.deserialize(data))
    except safetensors.SafetensorError as error:
        raise UserError(f"{path}: not a complete safetensors file: {printable(str(error), 120)}") from error
    if "psahw" not in metadata:
        raise UserError(f"{path}: no 'psahw' entry in the metadata: this is not a psahw network")
    tensors = {}
    for name, entry in entries.items():
        if (dtype := _DTYPES.get(entry["dtype"])) is None:
            raise UserError(f"{path}: {printable(name, 120)}: the type {entry['dtype']} is not one of a network file")
        tensors[name] = np.frombuffer(entry["data"], dtype).reshape(entry["shape"])
    return metadata["psahw"], tensors


def load(name: str | os.PathLike) -> Network:
    """Return the network in a file, which is given by its path, or by its name if it ships with psahw.

    Parameters
    ----------
    name
        Path of a network file, or one of `shipped`. A pipe, such as ``/dev/stdin``, is read once.

    Raises
    ------
    UserError
        If the file is not a valid network. The message names the file, the layer, and what was expected.

    Examples
    --------
    >>> from psahw.network.file import load
    >>> load("cifar10-psa-small").image
    (32, 32)
    """
    path = find(name)
    text, tensors = _read(path)
    content = documents.decode(text, f"{path}: the description")
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise UserError(f"{path}: format must be {FORMAT!r}: this is not a psahw network")
    version = content.get("version")
    if type(version) is not int or not 1 <= version <= FORMAT_VERSION:
        hint = ": update psahw" if type(version) is int and version > FORMAT_VERSION else ""
        raise UserError(f"{path}: format version must be 1 to {FORMAT_VERSION}, not {quote(version)}{hint}")
    description = documents.convert(content, _Description if version == 1 else _Description2, path)
    recorded = description.sha256
    if recorded is not None and recorded != _checksum(text.replace(recorded, _NO_CHECKSUM, 1), tensors):
        raise UserError(f"{path}: the file is damaged: its content does not match its checksum; copy it again")
    return _Reader(path, version, description, tensors).network()
