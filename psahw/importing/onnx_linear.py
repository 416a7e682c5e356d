"""ONNX's operators with weights: convolutions and dense layers."""

import math

import numpy as np

from .onnx_constants import Constant
from .onnx_file import Refused
from .onnx_graph import Graph, Node
from .onnx_layout import View
from .operators import Convolution

__all__ = ["convolve", "dense", "multiply", "node_conv", "node_gemm", "node_matmul", "windows"]

_Padding = tuple[int, int, int, int]


def _weights(weight: Constant) -> tuple[np.ndarray, np.ndarray]:
    """Return weights (outputs, rows, columns, inputs) as int8 with scales, or else as float64 with 1."""
    values = weight.values
    if values.dtype.kind not in "iuf" or not np.isfinite(values).all():
        raise Refused("its weights must be finite numbers")
    if not values.size:
        raise Refused("its weights must not be empty")
    if weight.codes is None or weight.scale is None:
        return values.astype(np.float64), np.ones(())
    scale = weight.scale[:, 0, 0, 0]
    one_by_output = (weight.scale == scale[:, None, None, None]).all()
    if not one_by_output or weight.codes.min() < -128 or weight.codes.max() > 127:
        return weight.codes * weight.scale, np.ones(())
    return weight.codes.astype(np.int8), scale[0].reshape(()) if (scale == scale[0]).all() else scale.copy()


def convolve(
    graph: Graph, node: Node, view: View, weight: Constant, output: str, factor: float = 1.0,
    bias: np.ndarray | None = None,
) -> View:  # fmt: skip
    """Append a convolution.

    Parameters
    ----------
    graph, node
        The graph and the node, of whose attributes strides, padding and groups are taken.
    view
        The input: (1, channels, rows, columns), or without rows.
    weight
        As in the file: (outputs, inputs per group, rows, columns), or without rows.
    output
        Name of the output.
    factor
        The weights are multiplied by it. It is positive.
    bias
        One number for each output, or None.
    """
    rank = weight.values.ndim
    if rank not in (3, 4) or len(view.shape) != rank:
        raise Refused(f"it must have one or two dimensions, not {rank - 2}")
    _, stride, padding = windows(node, view, weight.values.shape[2:])
    if rank == 3:
        weight = weight.rearranged(lambda x: x[:, :, None, :])
    codes, scale = _weights(weight.rearranged(lambda x: x.transpose(0, 2, 3, 1)))
    if bias is not None:
        bias = np.asarray(bias, np.float64).reshape(-1)
        if bias.size != len(codes) or not np.isfinite(bias).all():
            raise Refused(f"its bias must have {len(codes)} finite numbers")
    groups = node.integer("group", 1)
    if not 1 <= groups <= len(codes):
        raise Refused(f"its groups must be in [1, {len(codes)}], not {groups}")
    padding = tuple(a + b for a, b in zip(padding, view.padding, strict=True))  # type: ignore[assignment]
    operator = Convolution(
        node.name, (view.tensor,), output, codes, scale * factor, bias, stride, padding, groups
    )  # fmt: skip
    return graph.give(node, operator, "NCW" if rank == 3 else "NCHW", view)


def windows(node: Node, view: View, kernel: tuple[int, ...]) -> tuple[tuple[int, int], tuple[int, int], _Padding]:
    """Return size, stride and padding of a node's windows, in rows and columns.

    Raises
    ------
    Refused
        If the input is not (1, channels, rows, columns) or (1, channels, columns), or the windows have gaps.
    """
    count = len(kernel)
    order = "CHW" if count == 2 else "CW"
    if count not in (1, 2) or len(view.shape) != count + 2:
        raise Refused(f"it must have one or two dimensions, not {count}")
    if view.shape[0] != 1 or not all(view.holds(k + 1, letter) for k, letter in enumerate(order)):
        raise Refused(f"its input {view.shape} must have the axes N{order}")
    if node.integers("kernel_shape", kernel) != list(kernel) or min(kernel) < 1:
        raise Refused("its kernel_shape must be the shape of its weights")
    strides = node.integers("strides", [1] * count)
    dilations = node.integers("dilations", [1] * count)
    if any(d != 1 and k != 1 for d, k in zip(dilations, kernel, strict=True)):
        raise Refused(f"its dilations must be 1, not {tuple(dilations)}")
    if min(strides) < 1:
        raise Refused(f"its strides must be at least 1, not {tuple(strides)}")
    before, after = _padding(node, view, kernel, strides)
    if count == 1:
        return (1, kernel[0]), (1, strides[0]), (0, 0, before[0], after[0])
    return (kernel[0], kernel[1]), (strides[0], strides[1]), (before[0], after[0], before[1], after[1])


def _padding(node: Node, view: View, kernel: tuple[int, ...], strides: list[int]) -> tuple[list[int], list[int]]:
    count = len(kernel)
    mode = node.text("auto_pad", "NOTSET")
    if mode in ("SAME_UPPER", "SAME_LOWER"):
        if any(view.padding):
            raise Refused(f"auto_pad after Pad must be NOTSET, not {mode}")
        lengths = view.shape[2:]
        totals = [
            max((math.ceil(n / s) - 1) * s + k - n, 0) for n, s, k in zip(lengths, strides, kernel, strict=True)
        ]
        less, more = [total // 2 for total in totals], [total - total // 2 for total in totals]
        return (less, more) if mode == "SAME_UPPER" else (more, less)
    pads = node.integers("pads", [0] * 2 * count) if mode == "NOTSET" else [0] * 2 * count
    if mode not in ("NOTSET", "VALID") or min(pads) < 0:
        raise Refused("its padding must not be negative" if mode == "NOTSET" else f"auto_pad must not be {mode}")
    return pads[:count], pads[count:]


def dense(
    graph: Graph, node: Node, view: View, axis: int, weight: Constant, output: str, factor: float = 1.0,
    bias: np.ndarray | None = None,
) -> View:  # fmt: skip
    """Append a dense layer over an axis of a tensor, at each of its positions.

    Parameters
    ----------
    graph, node
        The graph and the node.
    view
        The input.
    axis
        The axis that is contracted.
    weight
        Weights (inputs, outputs).
    output
        Name of the output.
    factor
        The weights are multiplied by it.
    bias
        One number for each output, or None.
    """
    if weight.values.ndim != 2 or weight.values.shape[0] != view.shape[axis]:
        raise Refused(f"weights of {weight.values.shape} must fit its input {view.shape}")
    view = graph.with_channels(node, view, axis)
    codes, scale = _weights(weight.rearranged(lambda x: x.T[:, None, None, :]))
    if factor <= 0:
        codes, scale, factor = (
            codes * np.broadcast_to(scale, len(codes))[:, None, None, None] * factor,
            np.ones(()),
            1.0,
        )
    operator = Convolution(node.name, (view.tensor,), output, codes, scale * factor, bias)
    grid = graph.emit(operator)
    shape = tuple(len(codes) if k == axis else n for k, n in enumerate(view.shape))
    axes = tuple(("C" if grid[2] > 1 else "") if k == axis else part for k, part in enumerate(view.axes))
    return View(output, grid, shape, axes, integer=view.integer)


def node_conv(graph: Graph, node: Node) -> View:
    """Read ``Conv``."""
    view = graph.numbers(node, graph.padded(node, 0))
    bias = graph.array(node, 2).astype(np.float64) if node.has(2) else None
    return convolve(graph, node, view, graph.constant(node, 1), node.outputs[0], bias=bias)


def _bias(graph: Graph, node: Node, position: int, outputs: int) -> np.ndarray | None:
    """Return the bias of a ``Gemm``: any shape that is broadcast to (1, outputs)."""
    if not node.has(position):
        return None
    values = np.asarray(graph.array(node, position), np.float64)
    if values.ndim > 2 or (values.ndim == 2 and values.shape[0] != 1):
        raise Refused(f"its bias must have {outputs} numbers, not the shape {values.shape}")
    return np.broadcast_to(values.reshape(-1), (outputs,)).copy()


def node_gemm(graph: Graph, node: Node) -> View:
    """Read ``Gemm``, whose second input must be a constant."""
    view = graph.numbers(node, graph.view(node, 0))
    if len(view.shape) != 2:
        raise Refused(f"its input must have two axes, not {len(view.shape)}")
    weight = graph.constant(node, 1)
    if node.integer("transB", 0):
        weight = weight.rearranged(lambda x: x.T)
    bias = _bias(graph, node, 2, weight.values.shape[-1])
    if bias is not None:
        bias = bias * node.number("beta", 1.0)
    axis = 0 if node.integer("transA", 0) else 1
    result = dense(graph, node, view, axis, weight, node.outputs[0], node.number("alpha", 1.0), bias)
    return result.transposed([1, 0]) if axis == 0 else result


def node_matmul(graph: Graph, node: Node) -> View:
    """Read ``MatMul``, one of whose inputs must be a constant."""
    left = isinstance(graph.values.get(node.inputs[0]), Constant)
    view = graph.numbers(node, graph.view(node, 1 if left else 0))
    if not isinstance(graph.values.get(node.inputs[0 if left else 1]), Constant):
        raise Refused("one of its inputs must be a constant")
    return multiply(graph, node, view, graph.constant(node, 0 if left else 1), left, node.outputs[0])


def multiply(
    graph: Graph, node: Node, view: View, weight: Constant, left: bool, output: str, factor: float = 1.0
) -> View:
    """Append the product of a tensor and a matrix, which is on its left or on its right."""
    matrix = weight.values.shape[-2:]
    if 2 < weight.values.ndim <= len(view.shape) and weight.values.size == math.prod(matrix):
        weight = weight.rearranged(lambda x: x.reshape(matrix))
    if weight.values.ndim != 2:
        raise Refused(f"its constant must be a matrix, not of shape {weight.values.shape}")
    rank = len(view.shape)
    if left and rank == 1:
        raise Refused("a tensor with one axis must be on the left of its constant")
    if left:
        return dense(graph, node, view, rank - 2, weight.rearranged(lambda x: x.T), output, factor)
    return dense(graph, node, view, rank - 1, weight, output, factor)
