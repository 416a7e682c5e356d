"""The network file: one ``.safetensors`` file of integer tensors and one JSON description.

``docs/network-format.md`` specifies it. Nothing in it is executed, and nothing is trusted: sizes are bounded
before they are read, and every tensor is checked by the constructors of :mod:`psahw.network`.
"""

import hashlib
import json
import os
from pathlib import Path

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
)

__all__ = ["FORMAT_VERSION", "digest", "find", "load", "save", "shipped"]

FORMAT = "psahw-network"
FORMAT_VERSION = 2  # the newest; a file has the oldest that can say what is in it
MAX_FILE_BYTES = 256 << 20

_SHIPPED = Path(__file__).parents[1] / "networks"
_LINEAR_PARTS = ("weight", "bias", "shift")


def shipped() -> list[str]:
    """Names of the networks that come with the package."""
    return sorted(path.stem for path in _SHIPPED.glob("*.safetensors"))


def flatten(network: Network) -> tuple[dict, dict[str, np.ndarray]]:
    """The JSON description and the tensors by name. Version 1 knows no shared kernels; a network without any keeps
    it, and its digest."""
    tensors = {"input_table": network.input_table}
    for name, layer, _ in network.layers():
        if isinstance(layer, Table):
            tensors[name] = layer.values
        else:
            tensors |= {f"{name}.{part}": getattr(layer, part) for part in _LINEAR_PARTS}
    stages = []
    version = 2 if any(block.token_mixing.shared for _, _, block in network.blocks()) else 1
    for stage in network.stages:
        entry = {"grid": list(stage.grid), "kernels": [block.token_mixing.kernel for block in stage.blocks]}
        if version > 1:
            entry["shared"] = [block.token_mixing.shared for block in stage.blocks]
        stages.append(entry)
    config = {
        "format": FORMAT,
        "version": version,
        "name": network.name,
        "image": list(network.image),
        "patch": {k: getattr(network.patch, k) for k in ("size", "stride", "padding")},
        "stages": stages,
        "pool_shift": network.pool_shift,
        "logit_bits": network.head.out_bits,
        "residual_bits": 8,
        "classes": list(network.classes),
        "metadata": network.metadata,
    }
    return config, tensors


def digest(network: Network) -> str:
    """SHA-256, in hexadecimal, over all that determines the logits. Name, classes and metadata are left out:
    retelling how a network was trained does not make it another one."""
    config, tensors = flatten(network)
    for key in ("name", "metadata", "classes"):
        del config[key]
    state = hashlib.sha256(json.dumps(config, sort_keys=True).encode())
    for name in sorted(tensors):
        tensor = np.ascontiguousarray(tensors[name])
        state.update(f"{name} {tensor.dtype} {tensor.shape}\n".encode() + tensor.tobytes())
    return state.hexdigest()


def save(network: Network, path: str | os.PathLike) -> None:
    """Write the file; it appears whole or not at all."""
    config, tensors = flatten(network)
    data = safetensors.numpy.save(
        {name: np.ascontiguousarray(tensor) for name, tensor in tensors.items()},
        metadata={"psahw": json.dumps(config)},
    )
    write_whole(path, data)


class _Reader:
    """Takes tensors out of a file's contents by name, and knows which nobody asked for."""

    def __init__(self, path, config, tensors):
        self.path, self.config, self.tensors, self.seen = path, config, tensors, set()

    def fail(self, where, problem):
        raise UserError(f"{self.path}: {where}: {problem}")

    def build(self, where, make, *args, **kwargs):
        try:
            return make(*args, **kwargs)
        except (TypeError, ValueError) as error:
            self.fail(where, error)

    def get(self, name, *, optional=False):
        if name not in self.tensors:
            if optional:
                return None
            self.fail(name, "this tensor is missing")
        self.seen.add(name)
        return self.tensors[name]

    def linear(self, name, **kwargs):
        parts = [self.get(f"{name}.{part}") for part in _LINEAR_PARTS]
        return self.build(name, Linear, *parts, **kwargs)

    def tables(self, name, parts):
        found = {part: self.get(f"{name}.{part}", optional=True) for part in parts}
        return {k: self.build(f"{name}.{k}", Table, v) for k, v in found.items() if v is not None}

    def field(self, name, kind, source=None):
        source = self.config if source is None else source
        value = source.get(name) if isinstance(source, dict) else None
        if not isinstance(value, kind) or isinstance(value, bool):
            self.fail(name, f"must be {kind.__name__}, not {value!r}")
        return value

    def pair(self, name, source=None):
        value = self.field(name, list, source)
        if len(value) != 2 or not all(type(n) is int for n in value):
            self.fail(name, f"must be two integers, not {value!r}")
        return tuple(value)

    def token_mixing(self, name, kernel, shared):
        parts = [self.get(f"{name}.{part}") for part in _LINEAR_PARTS]
        tables = self.tables(name, TokenMixing.TABLES)
        return self.build(name, TokenMixing, *parts, kernel=kernel, shared=shared, **tables)

    def block(self, name, kernel, shared):
        mlp = f"{name}.channel_mixing"
        channel_mixing = self.build(
            mlp,
            ChannelMixing,
            self.linear(f"{mlp}.linear1"),
            self.linear(f"{mlp}.linear2"),
            **self.tables(mlp, ChannelMixing.TABLES),
        )
        return Block(self.token_mixing(f"{name}.token_mixing", kernel, shared), channel_mixing)

    def stage(self, index, entry):
        name = f"stages.{index}"
        kernels = self.field("kernels", list, entry)
        shared = self.field("shared", list, entry) if self.config["version"] > 1 else [False] * len(kernels)
        if len(shared) != len(kernels):
            self.fail("shared", f"must have {len(kernels)} entries, one a block, not {len(shared)}")
        blocks = tuple(
            self.block(block_name(index, b), *choice) for b, choice in enumerate(zip(kernels, shared, strict=True))
        )
        merge = None if index == 0 else self.linear(merge_name(index))
        return self.build(name, Stage, self.pair("grid", entry), blocks, merge)

    def network(self):
        if (bits := self.field("residual_bits", int)) != 8:
            self.fail("residual_bits", f"version {self.config['version']} has 8 only, not {bits}")
        classes = self.field("classes", list)
        if not all(isinstance(name, str) for name in classes):
            self.fail("classes", f"must be strings, not {classes!r}")
        patch = self.field("patch", dict)
        stages = tuple(self.stage(s, entry) for s, entry in enumerate(self.field("stages", list)))
        network = self.build(
            "network",
            Network,
            name=self.field("name", str),
            image=self.pair("image"),
            input_table=self.get("input_table"),
            patch=self.build("patch", Patch, *(self.field(k, int, patch) for k in ("size", "stride", "padding"))),
            embed=self.linear("embed"),
            stages=stages,
            pool_shift=self.field("pool_shift", int),
            head=self.linear("head", out_bits=self.field("logit_bits", int)),
            classes=tuple(classes),
            metadata=self.field("metadata", dict),
        )
        if unknown := sorted(self.tensors.keys() - self.seen):
            self.fail(unknown[0], "this tensor does not belong to the network described in the file")
        shared = any(block.token_mixing.shared for _, _, block in network.blocks())
        if shared != (self.config["version"] > 1):
            self.fail("version", "must be 1 where no kernel is shared, not 2")
        return network


def find(name: str | os.PathLike) -> Path:
    """The file of a network by path, or by name if it ships with psahw. Raises UserError if there is none."""
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
    """Whether the file may be the beginning of one: the length of a JSON object, and its brace."""
    with open(path, "rb") as file:
        head = file.read(9)
    return len(head) < 9 or (int.from_bytes(head[:8], "little") <= MAX_FILE_BYTES and head[8:] == b"{")


def load(name: str | os.PathLike) -> Network:
    """Read a network by path, or by name if it ships with psahw.

    Raises UserError, naming file, layer and what was expected, for anything that is not a valid network.
    """
    path = find(name)
    try:
        if (size := path.stat().st_size) > MAX_FILE_BYTES:
            raise UserError(f"{path}: {size} bytes is more than a network file may have ({MAX_FILE_BYTES})")
        with safetensors.safe_open(path, framework="numpy") as file:
            text = (file.metadata() or {}).get("psahw")
            tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 (not a mapping)
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror or error}") from error
    except (safetensors.SafetensorError, AttributeError, TypeError) as error:
        if not _begins_as_safetensors(path):
            raise UserError(f"{path}: not a safetensors file") from error
        raise UserError(f"{path}: not a complete safetensors file: {error}") from error
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
