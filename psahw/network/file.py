"""The network file: one ``.safetensors`` file of integer tensors and one JSON description.

``docs/reference/network-format.md`` specifies it. Nothing in a file is executed, and nothing is trusted: sizes are
bounded before they are read, and the constructors of `psahw.network.layers` check every tensor.
"""

import hashlib
import json
import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, NoReturn, TypeVar

import numpy as np
import safetensors
import safetensors.numpy

from ..errors import UserError
from ..files import write_whole
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

_SHIPPED = Path(__file__).parents[1] / "networks"
_LINEAR_PARTS = ("weight", "bias", "shift")

_T = TypeVar("_T")


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


def digest(network: Network) -> str:
    """Return the SHA-256 hash of everything that determines the logits, in hexadecimal.

    Name, classes and metadata are left out, so that a better description of its training does not make a network
    another one.
    """
    config, tensors = flatten(network)
    for key in ("name", "metadata", "classes"):
        del config[key]
    state = hashlib.sha256(json.dumps(config, sort_keys=True).encode())
    for name in sorted(tensors):
        tensor = np.ascontiguousarray(tensors[name])
        state.update(f"{name} {tensor.dtype} {tensor.shape}\n".encode() + tensor.tobytes())
    return state.hexdigest()


def save(network: Network, path: str | os.PathLike) -> None:
    """Write a network file, which appears whole or not at all.

    Raises UserError if it cannot be written.
    """
    config, tensors = flatten(network)
    data = safetensors.numpy.save(
        {name: np.ascontiguousarray(tensor) for name, tensor in tensors.items()},
        metadata={"psahw": json.dumps(config)},
    )
    write_whole(path, data)


class _Reader:
    """Makes a network from the contents of a file, and keeps track of the tensors that nothing has read."""

    def __init__(self, path: Path, config: dict[str, Any], tensors: dict[str, np.ndarray]):
        self.path, self.config, self.tensors = path, config, tensors
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

    def field(self, name: str, kind: type[_T], source: Any = None) -> _T:
        """Return a field of the description, or of another object in it. Raises UserError for another type."""
        source = self.config if source is None else source
        value = source.get(name) if isinstance(source, dict) else None
        if not isinstance(value, kind) or isinstance(value, bool):
            self.fail(name, f"must be {kind.__name__}, not {value!r}")
        return value

    def pair(self, name: str, source: Any = None) -> tuple[int, int]:
        """Return a field that is a list of two integers. Raises UserError for anything else."""
        value = self.field(name, list, source)
        if len(value) != 2 or not all(type(item) is int for item in value):
            self.fail(name, f"must be two integers, not {value!r}")
        return value[0], value[1]

    def token_mixing(self, name: str, kernel: Any, shared: Any) -> TokenMixing:
        """Return a token mixing; its constructor checks kernel and shared."""
        parts, tables = self.linear_parts(name), self.tables(name, TokenMixing.TABLES)
        return self.build(name, TokenMixing, *parts, kernel=kernel, shared=shared, **tables)

    def channel_mixing(self, name: str) -> ChannelMixing:
        """Return a channel mixing."""
        linears = self.linear(f"{name}.linear1"), self.linear(f"{name}.linear2")
        return self.build(name, ChannelMixing, *linears, **self.tables(name, ChannelMixing.TABLES))

    def block(self, name: str, kernel: Any, shared: Any) -> Block:
        """Return a block."""
        channel_mixing = self.channel_mixing(f"{name}.channel_mixing")
        return Block(self.token_mixing(f"{name}.token_mixing", kernel, shared), channel_mixing)

    def stage(self, index: int, entry: Any) -> Stage:
        """Return a stage from its entry in the description."""
        kernels = self.field("kernels", list, entry)
        shared = self.field("shared", list, entry) if self.config["version"] > 1 else [False] * len(kernels)
        if len(shared) != len(kernels):
            self.fail("shared", f"must have {len(kernels)} entries, one per block, not {len(shared)}")
        blocks = tuple(
            self.block(block_name(index, b), *parameters)
            for b, parameters in enumerate(zip(kernels, shared, strict=True))
        )
        merge = None if index == 0 else self.linear(merge_name(index))
        return self.build(stage_name(index), Stage, self.pair("grid", entry), blocks, merge)

    def patch(self) -> Patch:
        """Return the windows of the image."""
        entry = self.field("patch", dict)
        return self.build("patch", Patch, *(self.field(key, int, entry) for key in ("size", "stride", "padding")))

    def network(self) -> Network:
        """Return the network. Raises UserError, naming the layer, if the contents are not those of one."""
        if (bits := self.field("residual_bits", int)) != 8:
            self.fail("residual_bits", f"must be 8 in version {self.config['version']}, not {bits}")
        classes = self.field("classes", list)
        if not all(isinstance(name, str) for name in classes):
            self.fail("classes", f"must be strings, not {classes!r}")
        patch = self.patch()
        stages = tuple(self.stage(s, entry) for s, entry in enumerate(self.field("stages", list)))
        network = self.build(
            "network",
            Network,
            name=self.field("name", str),
            image=self.pair("image"),
            input_table=self.tensor("input_table"),
            patch=patch,
            embed=self.linear("embed"),
            stages=stages,
            pool_shift=self.field("pool_shift", int),
            head=self.linear("head", self.field("logit_bits", int)),
            classes=tuple(classes),
            metadata=self.field("metadata", dict),
        )
        if self.unread:
            self.fail(min(self.unread), "this tensor does not belong to the network described in the file")
        if (version := self.config["version"]) > _version(network):
            self.fail("version", f"must be 1 if no kernel is shared, not {version}")
        return network


def find(name: str | os.PathLike) -> Path:
    """Return the file of a network by its path, or by its name if it ships with psahw.

    Raises UserError if there is no such file.
    """
    if str(name) in shipped():
        return _SHIPPED / f"{name}.safetensors"
    path = Path(name)
    if path.is_dir():
        raise UserError(f"no network {str(name)!r}: it is a directory; name a network file")
    if not path.is_file():
        known = ", ".join(shipped()) or "none"
        raise UserError(f"no network {str(name)!r}: neither a file nor one that ships with psahw ({known})")
    return path


def _begins_as_safetensors(path: Path) -> bool:
    """Return whether a file begins with the length of a JSON object and its brace, as safetensors files do."""
    with open(path, "rb") as file:
        head = file.read(9)
    return len(head) < 9 or (int.from_bytes(head[:8], "little") <= MAX_FILE_BYTES and head[8:] == b"{")


def _read(path: Path) -> tuple[str | None, dict[str, np.ndarray]]:
    """Return psahw's entry in a file's metadata, if there is one, and the tensors.

    Raises UserError if the file cannot be read, is too large, or is no safetensors file.
    """
    try:
        if (size := path.stat().st_size) > MAX_FILE_BYTES:
            raise UserError(f"{path}: {size} bytes is more than a network file may have ({MAX_FILE_BYTES})")
        with safetensors.safe_open(path, framework="numpy") as file:
            text = (file.metadata() or {}).get("psahw")
            return text, {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 (not a mapping)
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror or error}") from error
    except (safetensors.SafetensorError, AttributeError, TypeError) as error:
        if not _begins_as_safetensors(path):
            raise UserError(f"{path}: not a safetensors file") from error
        raise UserError(f"{path}: not a complete safetensors file: {error}") from error


def load(name: str | os.PathLike) -> Network:
    """Return the network in a file, which is given by its path, or by its name if it ships with psahw.

    Parameters
    ----------
    name
        Path of a network file, or one of `shipped`.

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
    if text is None:
        raise UserError(f"{path}: no 'psahw' entry in the metadata: this is not a psahw network")
    try:
        config = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path}: the 'psahw' metadata is not JSON: {error}") from error
    if not isinstance(config, dict) or config.get("format") != FORMAT:
        raise UserError(f"{path}: format must be {FORMAT!r}: this is not a psahw network")
    version = config.get("version")
    if type(version) is not int or not 1 <= version <= FORMAT_VERSION:
        hint = ": update psahw" if type(version) is int and version > FORMAT_VERSION else ""
        raise UserError(f"{path}: format version must be 1 to {FORMAT_VERSION}, not {version!r}{hint}")
    return _Reader(path, config, tensors).network()
