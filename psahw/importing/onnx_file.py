"""Load ONNX files within bounds: the model, its tensors as arrays, and the attributes of its nodes.

Sizes are compared with the bytes that are there before anything is allocated. External data is read only from regular
files in the directory of the model.
"""

import math
import os
import stat
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import UserError
from ..extras import install_hint
from ..quoting import quote

__all__ = [
    "MAX_BYTES", "MAX_ELEMENTS", "MAX_NODES", "MAX_TOTAL", "Refused", "array", "attributes", "load", "numpy_type",
]  # fmt: skip

MAX_BYTES = 64 << 20
"""The most bytes of a file, and of all external data of a model."""

MAX_NODES = 20_000
"""The most nodes of a graph, and the most initialisers."""

MAX_ELEMENTS = 1 << 24
"""The most elements of a tensor."""

MAX_TOTAL = 1 << 25
"""The most elements of all tensors of a file together, and of all constants that are computed from them."""


class Refused(Exception):
    """A part of a file is damaged or not supported. The message says why; whoever catches it knows where."""


def _onnx() -> Any:
    try:
        import onnx
    except ImportError:
        raise UserError(f"ONNX files need onnx, which is not installed: {install_hint('onnx')}") from None
    return onnx


def _bytes(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror or error}") from None
    if len(data) > MAX_BYTES:
        raise UserError(f"{path} must have at most {MAX_BYTES >> 20} MiB")
    return data


def load(path: str | os.PathLike) -> Any:
    """Return the ``onnx.ModelProto`` of a file, with external data moved into it.

    Raises
    ------
    UserError
        If the file cannot be read, is no ONNX model or a damaged one, or is too large.
    """
    onnx = _onnx()
    from google.protobuf.message import DecodeError

    path = Path(path)
    data = _bytes(path)
    model = onnx.ModelProto()
    try:
        model.ParseFromString(data)
        if not model.graph.node:
            raise Refused("it has no operators")
        if max(len(model.graph.node), len(model.graph.initializer)) > MAX_NODES:
            raise Refused(f"it has more than {MAX_NODES:,} operators or tensors")
        _check_names(model)
        if sum(_elements(tensor) for tensor in _tensors(model.graph)) > MAX_TOTAL:
            raise Refused(f"its tensors must have at most {MAX_TOTAL:,} elements together")
        _take_in_external_data(model, path.parent)
    except DecodeError:
        raise UserError(f"{path} is neither a TensorFlow Lite nor an ONNX model, or is damaged") from None
    except Refused as error:
        raise UserError(f"{path} is not usable as an ONNX model: {error}") from None
    return model


def _check_names(model: Any) -> None:
    """Refuse a model with a name that is not UTF-8, which protobuf gives as bytes."""
    graph = model.graph
    names = [part.name for part in (*graph.node, *graph.initializer, *graph.input, *graph.output)]
    for node in graph.node:
        names += [node.op_type, node.domain, *node.input, *node.output, *(part.name for part in node.attribute)]
    for annotation in graph.quantization_annotation:
        names += [part for entry in annotation.quant_parameter_tensor_names for part in (entry.key, entry.value)]
    if not all(isinstance(name, str) for name in names):
        raise Refused("a name in it is no text")


def _tensors(graph: Any) -> list[Any]:
    """Return the tensors of a graph: its initialisers, and those that are attributes of nodes."""
    attributes = (attribute for node in graph.node for attribute in node.attribute)
    return [*graph.initializer, *(attribute.t for attribute in attributes if attribute.type == attribute.TENSOR)]


def _take_in_external_data(model: Any, folder: Path) -> None:
    total = 0
    for tensor in _tensors(model.graph):
        if tensor.data_location != tensor.EXTERNAL:
            continue
        size = _elements(tensor) * numpy_type(tensor.data_type).itemsize
        total += size
        if total > MAX_BYTES:
            raise Refused(f"its external data has more than {MAX_BYTES >> 20} MiB")
        tensor.raw_data = _external(tensor, size, folder)
        del tensor.external_data[:]
        tensor.data_location = tensor.DEFAULT


def _external(tensor: Any, size: int, folder: Path) -> bytes:
    """Return the bytes of a tensor that lie in another file."""
    entries = {entry.key: entry.value for entry in tensor.external_data}
    name = entries.get("location", "")
    if not isinstance(name, str) or name in ("", ".", "..") or any(c in name for c in "/\\\0"):
        raise Refused(f"external data must be a file beside the model, not {quote(name)}")
    try:
        offset, length = int(entries.get("offset") or 0), int(entries.get("length") or size)
    except ValueError:
        raise Refused(f"offset and length of external data in {quote(name)} must be integers") from None
    if length != size or offset < 0:
        raise Refused(f"tensor {quote(tensor.name)} must have {size} bytes of external data, not {length}")
    try:
        descriptor = os.open(folder / name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
        with open(descriptor, "rb") as file:
            status = os.fstat(descriptor)
            if not stat.S_ISREG(status.st_mode) or status.st_size < offset + size:
                raise Refused(f"external data {quote(name)} must be a file of at least {offset + size} bytes")
            file.seek(offset)
            return file.read(size)
    except OSError as error:
        raise Refused(f"external data {quote(name)} cannot be read: {error.strerror or error}") from None


def numpy_type(code: int) -> np.dtype:
    """Return the NumPy type of an ONNX type. Raises Refused for texts, complex numbers and unknown ones."""
    onnx = _onnx()
    try:
        name = onnx.TensorProto.DataType.Name(code)
        dtype = np.dtype(onnx.helper.tensor_dtype_to_np_dtype(code))
    except (KeyError, ValueError, TypeError):
        raise Refused(f"tensors must not have the type {quote(code)}") from None
    if name.startswith(("STRING", "COMPLEX", "FLOAT4", "FLOAT6", "FLOAT8")):
        raise Refused(f"tensors must have real numbers, not {name}")
    return dtype


def _elements(tensor: Any) -> int:
    dims = list(tensor.dims)
    count = math.prod(dims)
    if any(dim < 0 for dim in dims) or count > MAX_ELEMENTS or len(dims) > 8:
        raise Refused(f"tensor {quote(tensor.name)} must have at most {MAX_ELEMENTS:,} elements, not {quote(dims)}")
    return count


def array(tensor: Any) -> np.ndarray:
    """Return the array of a ``TensorProto``. bfloat16 becomes float32, and integers of 4 bits become int8 or uint8.

    Raises
    ------
    Refused
        If its type is not supported, or its elements are not as many as its shape says.
    """
    onnx = _onnx()
    dtype = numpy_type(tensor.data_type)
    count = _elements(tensor)
    if tensor.data_location == tensor.EXTERNAL:
        raise Refused(f"tensor {quote(tensor.name)} must not have external data here")
    try:
        values = onnx.numpy_helper.to_array(tensor)
    except (TypeError, ValueError, OverflowError, AttributeError):
        raise Refused(f"tensor {quote(tensor.name)} must have {count} elements, as its shape says") from None
    if values.size != count:
        raise Refused(f"tensor {quote(tensor.name)} must have {count} elements, not {values.size}")
    if dtype.name == "bfloat16":
        return values.astype(np.float32)
    if dtype.name.startswith(("int", "uint")) and dtype.name[-1] in "24" and dtype.itemsize == 1:
        return values.astype(np.uint8 if dtype.name.startswith("uint") else np.int8)
    return values


def attributes(node: Any) -> dict[str, Any]:
    """Return the attributes of a node by name.

    They are numbers, texts, lists of numbers, and arrays. An attribute of another kind, such as a graph, is None.
    """
    values: dict[str, Any] = {}
    for attribute in node.attribute:
        kind = attribute.type
        if kind == attribute.FLOAT:
            values[attribute.name] = attribute.f
        elif kind == attribute.INT:
            values[attribute.name] = attribute.i
        elif kind == attribute.STRING:
            values[attribute.name] = attribute.s.decode("utf-8", "replace")
        elif kind == attribute.INTS:
            values[attribute.name] = list(attribute.ints)
        elif kind == attribute.FLOATS:
            values[attribute.name] = list(attribute.floats)
        elif kind == attribute.TENSOR:
            values[attribute.name] = array(attribute.t)
        else:
            values[attribute.name] = None
    return values
