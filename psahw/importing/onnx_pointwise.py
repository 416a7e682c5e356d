"""ONNX's operators that act on each number: batch norms, arithmetic with constants, bounds, and sums of tensors."""

from dataclasses import replace

import numpy as np

from .onnx_constants import Constant
from .onnx_file import Refused, numpy_type
from .onnx_graph import Graph, Node
from .onnx_layout import View
from .operators import Add, Clip

__all__ = ["node_arithmetic", "node_batch_norm", "node_bound", "node_cast", "node_clip", "node_dropout",
           "node_negate", "node_relu"]  # fmt: skip


def _scaled(graph: Graph, node: Node, view: View, factor: np.ndarray, offset: np.ndarray) -> View:
    """Append ``factor·x + offset``, for numbers in the layout of the file."""
    view, offset = graph.per_channel(node, view, offset)
    view, factor = graph.per_channel(node, view, factor)
    return graph.affine(node, view, factor, offset, node.outputs[0])


def node_batch_norm(graph: Graph, node: Node) -> View:
    """Read ``BatchNormalization``."""
    view = graph.numbers(node, graph.view(node, 0))
    if node.integer("training_mode", 0):
        raise Refused("its training_mode must be 0")
    gamma, beta, mean, variance = (graph.array(node, k).astype(np.float64) for k in range(1, 5))
    channels = view.shape[1] if len(view.shape) > 1 else view.shape[0]
    if any(values.shape != (channels,) for values in (gamma, beta, mean, variance)):
        raise Refused(f"its constants must have {channels} numbers each")
    divisor = variance + node.number("epsilon", 1e-5)
    if (divisor <= 0).any():
        raise Refused("its variances must be positive")
    factor = gamma / np.sqrt(divisor)
    shape = (1, channels, *(1,) * (len(view.shape) - 2)) if len(view.shape) > 1 else (channels,)
    return _scaled(graph, node, view, factor.reshape(shape), (beta - mean * factor).reshape(shape))


def node_arithmetic(graph: Graph, node: Node) -> View:
    """Read ``Add``, ``Sub``, ``Mul`` and ``Div`` with a constant, and ``Add``, ``Sub`` and ``Sum`` of two tensors."""
    if len(node.inputs) != 2:
        raise Refused(f"it must have two inputs, not {len(node.inputs)}")
    values = [graph.values[name] for name in node.inputs]
    place = next((k for k, value in enumerate(values) if isinstance(value, Constant)), None)
    if place is None:
        return _sum(graph, node)
    view = graph.numbers(node, graph.view(node, 1 - place))
    constant = graph.array(node, place).astype(np.float64)
    zero, one = np.zeros(()), np.ones(())
    match node.kind:
        case "Add" | "Sum":
            return _scaled(graph, node, view, one, constant)
        case "Mul":
            return _scaled(graph, node, view, constant, zero)
        case "Sub" if place == 1:
            return _scaled(graph, node, view, one, -constant)
        case "Sub":
            return _scaled(graph, node, view, -one, constant)
    if place == 0 or view.integer or not constant.all():
        raise Refused("it must divide a tensor that is not of integers by constants that are not 0")
    return _scaled(graph, node, view, 1 / constant, zero)


def _sum(graph: Graph, node: Node) -> View:
    if node.kind in ("Mul", "Div"):
        raise Refused("one of its inputs must be a constant")
    first, second = (graph.numbers(node, graph.view(node, k)) for k in (0, 1))
    if first.shape != second.shape:
        raise Refused(f"its inputs must have the same shape, not {first.shape} and {second.shape}")
    if first.axes != second.axes:
        if first.grid[:2] == (1, 1):
            second = graph.with_channels(node, second, len(second.shape) - 1)
        elif second.grid[:2] == (1, 1):
            first = graph.with_channels(node, first, len(first.shape) - 1)
    if first.axes != second.axes or first.grid != second.grid:
        raise Refused("its inputs must have rows, columns and channels on the same axes")
    if node.kind == "Sub":
        negative = graph.fresh(f"{node.outputs[0]}:negative")
        second = graph.affine(node, second, -np.ones(()), np.zeros(()), negative)
    graph.emit(Add(node.name, (first.tensor, second.tensor), node.outputs[0]))
    return replace(first, tensor=node.outputs[0])


def node_negate(graph: Graph, node: Node) -> View:
    """Read ``Neg``."""
    view = graph.numbers(node, graph.view(node, 0))
    return graph.affine(node, view, -np.ones(()), np.zeros(()), node.outputs[0])


def _bounded(graph: Graph, node: Node, low: float, high: float) -> View:
    if low > high or np.isnan(low) or np.isnan(high):
        raise Refused(f"its bounds must be in order, not {low:g} and {high:g}")
    has_zero = low <= 0 <= high
    view = graph.numbers(node, graph.padded(node, 0) if has_zero else graph.view(node, 0))
    graph.emit(Clip(node.name, (view.tensor,), node.outputs[0], low, high))
    return replace(view, tensor=node.outputs[0])


def node_relu(graph: Graph, node: Node) -> View:
    """Read ``Relu``."""
    return _bounded(graph, node, 0.0, float("inf"))


def node_clip(graph: Graph, node: Node) -> View:
    """Read ``Clip``, whose bounds are attributes in old files and inputs in new ones."""
    bounds = []
    for position, name, default in ((1, "min", float("-inf")), (2, "max", float("inf"))):
        value = node.attributes.get(name, default)
        if node.has(position):
            numbers = graph.constant(node, position).values
            if numbers.size != 1 or numbers.dtype.kind not in "iuf":
                raise Refused("its bounds must be single numbers")
            value = numbers.reshape(-1)[0]
        bounds.append(float(value))
    return _bounded(graph, node, bounds[0], bounds[1])


def node_bound(graph: Graph, node: Node) -> View:
    """Read ``Max`` and ``Min`` of a tensor and a number."""
    if len(node.inputs) != 2:
        raise Refused(f"it must have two inputs, not {len(node.inputs)}")
    place = 0 if isinstance(graph.values[node.inputs[0]], Constant) else 1
    bound = graph.single(node, place)
    bounds = (bound, float("inf")) if node.kind == "Max" else (float("-inf"), bound)
    return _bounded(graph, replace(node, inputs=(node.inputs[1 - place],)), *bounds)


def node_cast(graph: Graph, node: Node) -> View:
    """Read ``Cast`` to real numbers, and that of integers to integers of 32 or 64 bits."""
    view = graph.numbers(node, graph.padded(node, 0))
    kind = numpy_type(node.integer("to", 0))
    if kind.kind == "f" or kind.name == "bfloat16":
        return replace(view, integer=False)
    if view.integer and kind.name in ("int32", "int64"):
        return view
    raise Refused(f"it must cast to real numbers, not to {kind.name}")


def node_dropout(graph: Graph, node: Node) -> View:
    """Read ``Dropout`` and ``Identity``: their input."""
    if node.has(2) and graph.single(node, 2):
        raise Refused("its training_mode must be false")
    return graph.padded(node, 0)
