"""The input of an ONNX model: its shape, where its rows, columns and channels may be, and its grid."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from . import onnx_quantisers, onnx_shapes
from .onnx_constants import Constant
from .onnx_file import MAX_ELEMENTS, Refused, numpy_type
from .onnx_graph import Graph, Node, Value
from .onnx_layout import View, guesses
from .operators import Quantiser

__all__ = ["annotated", "starts"]


def starts(graph: Any, value: Any, nodes: Sequence[Node], constants: Mapping[str, Value]) -> list[View]:
    """Return the views that the input may have, the likely ones first."""
    kind = value.type.tensor_type
    if not value.type.HasField("tensor_type") or not kind.HasField("shape"):
        raise Refused("it must be a tensor of a known shape")
    dims = [dim.dim_value if dim.HasField("dim_value") else 0 for dim in kind.shape.dim]
    shape = tuple([max(dims[0], 1), *dims[1:]] if len(dims) > 1 else dims)
    if not shape or min(shape) < 1 or len(shape) > 4 or int(np.prod(shape, dtype=object)) > MAX_ELEMENTS:
        shown = ", ".join(str(n) if n > 0 else "?" for n in dims[:6])
        raise Refused(f"its shape must be one to four fixed lengths after the batch, not ({shown})")
    dtype = numpy_type(kind.elem_type).name
    codes = None
    if dtype in onnx_quantisers.INTEGERS:
        codes = _codes_of_input(value.name, dtype, nodes, constants)
    elif not dtype.startswith(("float", "bfloat")):
        raise Refused(f"it must be real numbers, or integers of at most 32 bits, not {dtype}")
    users = [node for node in nodes if value.name in node.inputs]
    target = None
    if len(users) == 1 and users[0].kind == "Reshape":
        target = _constant_shape(users[0], shape, constants)
    views = [replace(view, codes=codes, integer=codes is not None) for view in guesses(value.name, shape, target)]
    if not views:
        raise Refused(f"its batch must be 1 or open, not {shape[0]}")
    return views


def _constant_shape(node: Node, shape: tuple[int, ...], constants: Mapping[str, Value]) -> tuple[int, ...] | None:
    try:
        return onnx_shapes.target_shape(Graph(dict(constants), {}, frozenset()), node, shape)
    except (Refused, KeyError):
        return None


def _codes_of_input(name: str, dtype: str, nodes: Sequence[Node], constants: Mapping[str, Value]) -> Quantiser:
    """Return the grid of an input that is integers: that of the first operator that has a scale for it."""
    bits, signed = onnx_quantisers.INTEGERS[dtype]
    for node in nodes:
        if node.inputs[:1] == (name,) and ("DequantizeLinear" in node.kind or node.kind.split(".")[-1][0] == "Q"):
            numbers = [constants.get(key) for key in node.inputs[1:3]]
            values = [number.values for number in numbers if isinstance(number, Constant) and number.values.size == 1]
            if len(values) == len(numbers) and values and float(values[0].reshape(-1)[0]) > 0:
                scale, zero = np.float64(values[0].reshape(-1)[0]), values[1:2]
                return Quantiser(np.array(scale), int(zero[0].reshape(-1)[0]) if zero else 0, bits, signed)
    return Quantiser(np.ones(()), 0, bits, signed)


def annotated(graph: Any, name: str) -> Quantiser | None:
    """Return the grid that an annotation of QONNX states for a tensor, or None.

    -1 and 1 (BIPOLAR) are given as 2 bits in the narrow range, so that their grid also has the 0.
    """
    types = [
        entry.value
        for annotation in graph.quantization_annotation
        if annotation.tensor_name == name
        for entry in annotation.quant_parameter_tensor_names
        if entry.key == "finn_datatype"
    ]
    kind = types[-1] if types else ""
    if kind == "BINARY":
        return Quantiser(np.ones(()), 0, 1, False)
    if kind in ("BIPOLAR", "TERNARY"):
        return Quantiser(np.ones(()), 0, 2, True, True)
    if match := re.fullmatch(r"(U?)INT(\d{1,2})", kind):
        bits = int(match[2])
        return Quantiser(np.ones(()), 0, bits, not match[1]) if 1 <= bits <= 32 else None
    if match := re.fullmatch(r"FIXED<(\d{1,2}),(\d{1,2})>", kind):
        bits, whole = int(match[1]), int(match[2])
        return Quantiser(np.array(2.0 ** (whole - bits)), 0, bits) if 1 <= bits <= 32 else None
    return None
