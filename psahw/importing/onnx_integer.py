"""ONNX's operators on integers: QLinearConv, QLinearMatMul, ConvInteger, MatMulInteger, and some of onnxruntime's.

Each becomes what it stands for in real numbers, and a quantiser if its result is integers of at most 16 bits again.
"""

from dataclasses import replace

import numpy as np

from .onnx_constants import Constant
from .onnx_file import Refused
from .onnx_graph import Graph, Node
from .onnx_layout import View, standard
from .onnx_linear import convolve, dense, multiply
from .onnx_quantisers import dequantised, grid_of, unquantised
from .operators import Add, MeanPool

__all__ = ["node_conv_integer", "node_matmul_integer", "node_qgemm", "node_qlinear_add", "node_qlinear_conv",
           "node_qlinear_matmul", "node_qlinear_mean"]  # fmt: skip


def _scale(graph: Graph, node: Node, position: int) -> np.ndarray:
    """Return a scale: one positive number, or a list of them."""
    scale = graph.array(node, position).astype(np.float64)
    if scale.ndim > 1 or not scale.size or (scale <= 0).any():
        raise Refused(f"input {position} must be a positive number, or one for each output")
    return scale.reshape(()) if scale.size == 1 else scale


def _zero(graph: Graph, node: Node, position: int) -> np.ndarray:
    """Return a zero point: one integer, or a list of them; 0 if it is left out."""
    if not node.has(position):
        return np.zeros((), np.int64)
    zero = graph.array(node, position)
    if zero.dtype.kind not in "iu" or zero.ndim > 1 or not zero.size:
        raise Refused(f"input {position} must be an integer, or one for each output")
    zero = zero.astype(np.int64)
    return zero.reshape(()) if zero.size == 1 else zero


def _real(graph: Graph, node: Node, position: int) -> View:
    """Return the real numbers of integers, whose scale and zero point are the next two inputs."""
    view = graph.view(node, position)
    scale, zero = _scale(graph, node, position + 1), _zero(graph, node, position + 2)
    if scale.size > 1 or zero.size > 1:
        raise Refused(f"input {position} must have one scale and one zero point")
    return dequantised(graph, node, view, scale, int(zero), graph.fresh(f"{node.outputs[0]}:input"))


def _requantised(graph: Graph, node: Node, view: View, position: int) -> View:
    """Append the quantiser of a result, whose scale and zero point are two inputs."""
    view, grid = grid_of(graph, replace(node, attributes={}), view, position)
    quantised = graph.quantise(f"{node.name}:quantise", view, grid, node.outputs[0])
    return replace(quantised, codes=grid, integer=True)


def _sums(graph: Graph, node: Node) -> str:
    return graph.fresh(f"{node.outputs[0]}:sums")


def _by_output(values: np.ndarray, rank: int, axis: int) -> np.ndarray:
    return values if values.size == 1 else values.reshape([-1 if k == axis % rank else 1 for k in range(rank)])


def _weights(graph: Graph, node: Node, position: int, scale: np.ndarray, zero: np.ndarray, axis: int) -> Constant:
    rank = graph.constant(node, position).values.ndim
    return unquantised(graph, node, position, _by_output(scale, rank, axis), _by_output(zero, rank, axis))


def node_qlinear_conv(graph: Graph, node: Node) -> View:
    """Read ``QLinearConv``."""
    view = _real(graph, node, 0)
    scale = _scale(graph, node, 4)
    weight = _weights(graph, node, 3, scale, _zero(graph, node, 5), 0)
    bias = None
    if node.has(8):
        bias = graph.array(node, 8).astype(np.float64) * (_scale(graph, node, 1) * scale)
    sums = convolve(graph, node, view, weight, _sums(graph, node), bias=bias)
    return _requantised(graph, node, sums, 6)


def _factors(
    graph: Graph, node: Node, first: tuple[int, ...], second: tuple[int, ...]
) -> tuple[View, Constant, bool]:
    """Return the tensor, the matrix, and whether the matrix is on the left. Each has its scale and zero point."""
    left = isinstance(graph.values.get(node.inputs[first[0]]), Constant)
    fixed = first if left else second
    weight = _weights(
        graph, node, fixed[0], _scale(graph, node, fixed[1]), _zero(graph, node, fixed[2]), -2 if left else -1
    )
    return _real(graph, node, (second if left else first)[0]), weight, left


def node_qlinear_matmul(graph: Graph, node: Node) -> View:
    """Read ``QLinearMatMul``, one of whose factors must be a constant."""
    view, weight, left = _factors(graph, node, (0, 1, 2), (3, 4, 5))
    return _requantised(graph, node, multiply(graph, node, view, weight, left, _sums(graph, node)), 6)


def node_qgemm(graph: Graph, node: Node) -> View:
    """Read onnxruntime's ``QGemm``, whose second factor must be a constant."""
    transposed = bool(node.integer("transB", 0))
    scale = _scale(graph, node, 4)
    weight = _weights(graph, node, 3, scale, _zero(graph, node, 5), 0 if transposed else 1)
    if transposed:
        weight = weight.rearranged(lambda x: x.T)
    alpha = node.number("alpha", 1.0)
    view = _real(graph, node, 0)
    if len(view.shape) != 2 or node.integer("transA", 0):
        raise Refused("its first input must have two axes, and not be transposed")
    bias = None
    if node.has(6):
        numbers = graph.array(node, 6).astype(np.float64).reshape(-1) * (alpha * _scale(graph, node, 1) * scale)
        bias = np.broadcast_to(numbers, (weight.values.shape[1],)).copy()
    output = _sums(graph, node) if node.has(7) else node.outputs[0]
    sums = dense(graph, node, view, 1, weight, output, alpha, bias)
    return _requantised(graph, node, sums, 7) if node.has(7) else sums


def _centred(graph: Graph, node: Node, position: int, zero: int) -> tuple[View, float]:
    """Return a view of integers less their zero point, up to a factor, and that factor."""
    view = graph.view(node, position)
    grid = view.codes
    if not view.integer:
        raise Refused(f"input {position} must be integers")
    if grid is not None and grid.zero_point == zero and grid.scale.size == 1:
        return replace(view, codes=None, integer=True), 1 / float(grid.scale)
    output = graph.fresh(f"{node.outputs[0]}:centred")
    return replace(dequantised(graph, node, view, np.ones(()), zero, output), integer=True), 1.0


def node_conv_integer(graph: Graph, node: Node) -> View:
    """Read ``ConvInteger``."""
    view, factor = _centred(graph, node, 0, int(_zero(graph, node, 2)))
    weight = _weights(graph, node, 1, np.ones(()), _zero(graph, node, 3), 0)
    return convolve(graph, node, view, weight, node.outputs[0], factor)


def node_matmul_integer(graph: Graph, node: Node) -> View:
    """Read ``MatMulInteger``, one of whose factors must be a constant."""
    left = isinstance(graph.values.get(node.inputs[0]), Constant)
    fixed, other = (0, 1) if left else (1, 0)
    weight = _weights(graph, node, fixed, np.ones(()), _zero(graph, node, fixed + 2), -2 if left else -1)
    view, factor = _centred(graph, node, other, int(_zero(graph, node, other + 2)))
    return multiply(graph, node, view, weight, left, node.outputs[0], factor)


def node_qlinear_add(graph: Graph, node: Node) -> View:
    """Read onnxruntime's ``QLinearAdd``."""
    first, second = _real(graph, node, 0), _real(graph, node, 3)
    if first.axes != second.axes or first.grid != second.grid:
        raise Refused(f"its inputs must have the same shape, not {first.shape} and {second.shape}")
    output = _sums(graph, node)
    graph.emit(Add(node.name, (first.tensor, second.tensor), output))
    return _requantised(graph, node, replace(first, tensor=output), 6)


def node_qlinear_mean(graph: Graph, node: Node) -> View:
    """Read onnxruntime's ``QLinearGlobalAveragePool``."""
    view = _real(graph, node, 0)
    order = "NHWC" if node.integer("channels_last", 0) else "NCHW"
    if len(view.shape) != 4 or not all(view.holds(k, order[k]) for k in (1, 2, 3)):
        raise Refused(f"its input {view.shape} must have the axes {order}")
    output = _sums(graph, node)
    grid = graph.emit(MeanPool(node.name, (view.tensor,), output))
    return _requantised(graph, node, standard(output, grid, order), 3)
