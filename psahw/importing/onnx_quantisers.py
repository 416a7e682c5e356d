"""Quantisers of ONNX files: those of QONNX, and ONNX's own QuantizeLinear and DequantizeLinear.

A quantiser on a constant gives a weight: integers with a scale. One on a tensor that depends on the input becomes a
`Quantise`. ``QuantizeLinear`` gives integers in the file, so that its view says on which grid they are, and
``DequantizeLinear`` of the same grid adds nothing.
"""

from dataclasses import replace

import numpy as np

from .onnx_constants import Constant
from .onnx_file import Refused
from .onnx_graph import Graph, Node
from .onnx_layout import View
from .operators import Bipolar, MultiThreshold, Quantiser, Rounding

__all__ = [
    "INTEGERS", "dequantised", "grid_of", "integers", "node_bipolar", "node_dequantise", "node_multithreshold",
    "node_quant", "node_quantise", "unquantised",
]  # fmt: skip

INTEGERS = {
    "int8": (8, True), "uint8": (8, False), "int16": (16, True), "uint16": (16, False), "int4": (4, True),
    "uint4": (4, False), "int2": (2, True), "uint2": (2, False), "int32": (32, True),
}  # fmt: skip
"""Bits and sign of the integers that a file may have, by the name of their type."""

_ROUNDING: dict[str, Rounding] = {
    "ROUND": "half even",
    "HALF_EVEN": "half even",
    "HALF_UP": "half away",  # QONNX rounds the size of a number, whatever its sign
    "FLOOR": "floor",
    "CEIL": "ceil",
    "DOWN": "towards zero",
    "ROUND_TO_ZERO": "towards zero",  # an older name of the same
}

_AROUND_CODES: dict[Rounding, Rounding] = {"half even": "half to even code", "half away": "half away from code 0"}


def _positive(scale: np.ndarray) -> np.ndarray:
    scale = np.asarray(scale, np.float64)
    if not scale.size or not np.isfinite(scale).all() or (scale <= 0).any():
        raise Refused("its scale must be positive")
    return scale


def _whole(graph: Graph, node: Node, position: int, name: str) -> int:
    """Return an input that must be one constant integer of at most 32 bits."""
    values = graph.constant(node, position).values
    if values.dtype.name in ("int4", "uint4", "int2", "uint2"):
        values = values.astype(np.int64)
    if values.dtype.kind not in "iuf" or not values.size or (values != values.flat[0]).any():
        raise Refused(f"its {name} must be one constant number")
    value = float(values.flat[0])
    if not value.is_integer() or abs(value) > 1 << 32:
        raise Refused(f"its {name} must be an integer, not {value:g}")
    return int(value)


# QONNX


def node_quant(graph: Graph, node: Node) -> View | Constant:
    """Read QONNX's ``Quant``, which rounds after it adds the zero point."""
    scale = _positive(graph.array(node, 1))
    zero, bits = _whole(graph, node, 2, "zero point"), _whole(graph, node, 3, "bit width")
    signed, narrow = bool(node.integer("signed", 1)), bool(node.integer("narrow", 1))
    mode = node.text("rounding_mode", "ROUND").upper()
    if mode not in _ROUNDING:
        raise Refused(f"its rounding_mode must be one of {', '.join(_ROUNDING)}, not {mode}")
    if not 1 <= bits <= 32:
        raise Refused(f"its bit width must be in [1, 32], not {bits}")
    rounding = _ROUNDING[mode]
    if zero and (rounding == "towards zero" or (bits == 1 and signed)):
        raise Refused(f"its zero point must be 0 for {bits} bits and the rounding {mode}, not {zero}")
    value = graph.values[node.inputs[0]]
    if bits == 1 and signed:
        return _bipolar(graph, node, value, scale)
    grid = Quantiser(
        np.ones(()), zero, bits, signed, narrow, _AROUND_CODES.get(rounding, rounding) if zero else rounding
    )
    if isinstance(value, Constant):
        x = graph.array(node, 0)
        return integers(grid.codes(_divided(x, scale)) - zero, scale, x.dtype)
    view, scale = graph.per_channel(node, graph.numbers(node, graph.padded(node, 0)), scale)
    return graph.quantise(node.name, view, replace(grid, scale=scale), node.outputs[0])


def _divided(x: np.ndarray, scale: np.ndarray) -> np.ndarray:
    """Return a quotient as QONNX has it: in float32, so that constants have the codes that QONNX gives them."""
    dtype = np.float64 if x.dtype == np.float64 else np.float32
    quotient = x.astype(dtype) / scale.astype(dtype)
    if np.isnan(quotient).any():
        raise Refused("its scale must not be as small")
    return quotient


def node_bipolar(graph: Graph, node: Node) -> View | Constant:
    """Read QONNX's ``BipolarQuant``."""
    return _bipolar(graph, node, graph.values[node.inputs[0]], _positive(graph.array(node, 1)))


def _bipolar(graph: Graph, node: Node, value: Constant | View | None, scale: np.ndarray) -> View | Constant:
    if isinstance(value, Constant):
        x = graph.array(node, 0)
        return integers(np.where(x >= 0, 1, -1), scale, x.dtype)
    view, scale = graph.per_channel(node, graph.numbers(node, graph.view(node, 0)), scale)
    graph.emit(Bipolar(node.name, (view.tensor,), node.outputs[0], scale))
    return replace(view, tensor=node.outputs[0], integer=False)


def node_multithreshold(graph: Graph, node: Node) -> View:
    """Read QONNX's ``MultiThreshold``."""
    view = graph.numbers(node, graph.view(node, 0))
    thresholds = graph.array(node, 1).astype(np.float64)
    rank = len(view.shape)
    layout = node.text("data_layout", "") or {2: "NC", 3: "NWC", 4: "NCHW"}.get(rank, "")
    axis = layout.index("C") if len(layout) == rank and "C" in layout else min(1, rank - 1)
    if thresholds.ndim != 2 or not thresholds.size or thresholds.shape[0] not in (1, view.shape[axis]):
        raise Refused(f"its thresholds must have 1 or {view.shape[axis]} rows, not the shape {thresholds.shape}")
    if thresholds.shape[0] > 1:
        view = graph.with_channels(node, view, axis)
    operator = MultiThreshold(
        node.name, (view.tensor,), node.outputs[0], np.sort(thresholds, 1),
        node.number("out_scale", 1.0), node.number("out_bias", 0.0),
    )  # fmt: skip
    graph.emit(operator)
    return replace(view, tensor=node.outputs[0], integer=False)


# QuantizeLinear and DequantizeLinear


def integers(codes: np.ndarray, scale: np.ndarray, dtype: np.dtype | type = np.float32) -> Constant:
    """Return the constant of codes, whose zero point is 0, and a scale that is broadcast to their shape."""
    scale = np.broadcast_to(np.asarray(scale, np.float64), codes.shape)
    return Constant((codes * scale).astype(dtype if np.dtype(dtype).kind == "f" else np.float32), codes, scale)


def unquantised(graph: Graph, node: Node, position: int, scale: np.ndarray, zero: int | np.ndarray) -> Constant:
    """Return a constant of integers as weights."""
    values = graph.constant(node, position).values
    if values.dtype.name not in INTEGERS:
        raise Refused(f"input {position} must be integers, not {values.dtype}")
    small = values.dtype.itemsize < 4  # then 32 bits hold the difference
    return integers(values.astype(np.int32 if small else np.int64) - np.asarray(zero).astype(np.int32), scale)


def _along(values: np.ndarray, axis: int, rank: int) -> np.ndarray:
    """Return one number, or numbers for an axis, in a shape that is broadcast."""
    if values.size == 1:
        return values.reshape(())
    if values.ndim != 1 or not -rank <= axis < rank:
        raise Refused("its scale must be one number, or one for each place on an axis")
    return values.reshape([-1 if k == axis % rank else 1 for k in range(rank)])


def _scale_and_zero(graph: Graph, node: Node, rank: int, position: int = 1) -> tuple[np.ndarray, np.ndarray, str]:
    """Return scale and zero point in a shape that is broadcast, and the type of the zero point or ""."""
    if node.integer("block_size", 0):
        raise Refused("its block_size must be 0")
    axis = node.integer("axis", 1)
    scale = _along(_positive(graph.array(node, position)), axis, rank)
    if not node.has(position + 1):
        return scale, np.zeros((), np.int64), ""
    zero = graph.constant(node, position + 1).values
    if zero.dtype.name not in INTEGERS or not zero.size:
        raise Refused(f"its zero point must be an integer, not {zero.dtype}")
    return scale, _along(zero.astype(np.int64), axis, rank), zero.dtype.name


def grid_of(graph: Graph, node: Node, view: View, position: int, default: str = "uint8") -> tuple[View, Quantiser]:
    """Return the grid that an input with a scale and the next one with a zero point give for a tensor."""
    scale, zero, kind = _scale_and_zero(graph, node, len(view.shape), position)
    bits, signed = INTEGERS[kind or default]
    if bits > 16 or (zero != zero.flat[0]).any():
        raise Refused("its zero point must be one integer of at most 16 bits")
    view, scale = graph.per_channel(node, view, scale)
    return view, Quantiser(scale, int(zero.flat[0]), bits, signed)


def node_quantise(graph: Graph, node: Node) -> View | Constant:
    """Read ``QuantizeLinear``."""
    kind = {2: "uint8", 3: "int8", 4: "uint16", 5: "int16", 21: "uint4", 22: "int4"}
    wanted = node.integer("output_dtype", 0)
    if wanted and wanted not in kind:
        raise Refused("its output_dtype must be an integer of at most 16 bits")
    default = kind.get(wanted, "uint8")
    if isinstance(graph.values[node.inputs[0]], Constant):
        x = graph.array(node, 0)
        scale, zero, name = _scale_and_zero(graph, node, x.ndim)
        bits, signed = INTEGERS[name or default]
        grid = Quantiser(np.ones(()), 0, bits, signed)
        codes = np.clip(np.rint(_divided(x, scale)) + zero, grid.low, grid.high)
        return Constant(codes.astype(f"{'' if signed else 'u'}int{max(bits, 8)}"))
    view = graph.numbers(node, graph.padded(node, 0))
    view, grid = grid_of(graph, node, view, 1, default)
    return replace(graph.quantise(node.name, view, grid, node.outputs[0]), codes=grid, integer=True)


def dequantised(graph: Graph, node: Node, view: View, scale: np.ndarray, zero: int, output: str) -> View:
    """Return the view of the numbers that the integers of a tensor stand for, by a scale and a zero point."""
    grid = view.codes if view.codes is not None else Quantiser(np.ones(()), 0, 32)
    if not view.integer:
        raise Refused("its input must be integers")
    same_scale = grid.scale.size == scale.size and (grid.scale == scale).all()
    if same_scale and grid.zero_point == zero:
        return replace(view, codes=None, integer=False)
    offset = (grid.zero_point - zero) * scale
    return replace(graph.affine(node, view, scale / grid.scale, offset, output), integer=False)


def node_dequantise(graph: Graph, node: Node) -> View | Constant:
    """Read ``DequantizeLinear``."""
    value = graph.values[node.inputs[0]]
    rank = len(value.shape if isinstance(value, View) else value.values.shape if value else ())
    scale, zero, _ = _scale_and_zero(graph, node, rank)
    if isinstance(value, Constant):
        return unquantised(graph, node, 0, scale, zero)
    if (zero != zero.flat[0]).any():
        raise Refused("its zero point must be one integer")
    view, scale = graph.per_channel(node, graph.padded(node, 0), scale)
    return dequantised(graph, node, view, scale, int(zero.flat[0]), node.outputs[0])
