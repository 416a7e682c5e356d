"""The network file: one ``.safetensors`` file of integer tensors and one JSON description.

``docs/reference/network-format.md`` specifies it. Nothing in a file is executed, and nothing is trusted: sizes are
bounded before they are read, a checksum notices damage, and the constructors of `psahw.network.layers` check every
tensor.
"""

import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import safetensors
import safetensors.numpy

from .. import documents
from ..errors import UserError
from ..files import write_whole
from ..quoting import printable, quote
from . import descriptions
from .descriptions import FORMAT, FORMAT_VERSION
from .graph import Network
from .resmlp import recognise

__all__ = ["FORMAT_VERSION", "digest", "find", "flatten", "load", "save", "shipped"]

MAX_FILE_BYTES = 256 << 20
MAX_DESCRIPTION_BYTES = 1 << 20

_SHIPPED = Path(__file__).parents[1] / "networks"
_DTYPES = {  # of safetensors; other names are of floating point formats that NumPy lacks
    "BOOL": np.bool_, "I8": np.int8, "U8": np.uint8, "I16": np.int16, "U16": np.uint16, "I32": np.int32,
    "U32": np.uint32, "I64": np.int64, "U64": np.uint64, "F16": np.float16, "F32": np.float32, "F64": np.float64,
}  # fmt: skip
_NO_CHECKSUM = "0" * 64  # stands in for the checksum while that is calculated

_T = TypeVar("_T")


def shipped() -> list[str]:
    """Return the names of the networks that come with the package."""
    return sorted(path.stem for path in _SHIPPED.glob("*.safetensors"))


def flatten(network: Network) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Return the JSON description of a network, and its tensors by name.

    The version is the oldest one that can describe the network, so that a network has one description.
    """
    form = recognise(network)
    return descriptions.of_graph(network) if form is None else descriptions.of_resmlp(form)


def _update(state: Any, tensors: Mapping[str, np.ndarray]) -> None:
    """Add tensors to a hash: for each a line with name, type and shape, then its bytes."""
    for name in sorted(tensors):
        tensor = np.ascontiguousarray(tensors[name])
        state.update(f"{name} {tensor.dtype} {tensor.shape}\n".encode() + tensor.tobytes())


def digest(network: Network) -> str:
    """Return the SHA-256 hash of everything that determines the logits, in hexadecimal.

    Name, names of outputs and metadata are left out, so that a better description of its training does not make a
    network another one.
    """
    config, tensors = flatten(network)
    for key in ("name", "metadata", "classes", "names"):
        config.pop(key, None)
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
    recorded = documents.convert(content, descriptions.Checked, path).sha256
    if recorded is not None and recorded != _checksum(text.replace(recorded, _NO_CHECKSUM, 1), tensors):
        raise UserError(f"{path}: the file is damaged: its content does not match its checksum; copy it again")
    network = descriptions.network(path, version, content, tensors)
    if (oldest := flatten(network)[0]["version"]) != version:
        raise UserError(
            f"{path}: version: must be {oldest}, the oldest that can describe this network, not {version}"
        )
    return network
