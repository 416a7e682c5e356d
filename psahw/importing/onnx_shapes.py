"""ONNX's operators that move numbers, and those that pool them."""

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from .onnx_constants import axes_of, resolve_shape
from .onnx_file import Refused
from .onnx_graph import Graph, Node
from .onnx_layout import View
from .onnx_linear import windows
from .operators import Convolution, MaxPool, MeanPool

__all__ = ["node_average_pool", "node_flatten", "node_global_pool", "node_max_pool", "node_pad", "node_reduce",
           "node_reshape", "node_squeeze", "node_transpose", "node_unsqueeze", "target_shape"]  # fmt: skip


def target_shape(graph: Graph, node: Node, shape: Sequence[int]) -> tuple[int, ...]:
    """Return the shape that a ``Reshape`` gives to a tensor of a shape."""
    target = node.attributes.get("shape")
    if target is None:
        target = graph.array(node, 1).reshape(-1).tolist()
    if not isinstance(target, list) or len(target) > 8:
        raise Refused("its shape must be at most 8 integers")
    return resolve_shape(target, shape, bool(node.integer("allowzero", 0)))


def node_reshape(graph: Graph, node: Node) -> View:
    """Read ``Reshape``."""
    view = graph.view(node, 0)
    return view.reshaped(target_shape(graph, node, view.shape), True)


def node_flatten(graph: Graph, node: Node) -> View:
    """Read ``Flatten``."""
    view = graph.view(node, 0)
    axis = node.integer("axis", 1)
    if not -len(view.shape) <= axis <= len(view.shape):
        raise Refused(f"its axis must be in [-{len(view.shape)}, {len(view.shape)}], not {axis}")
    axis = axis + len(view.shape) if axis < 0 else axis
    return view.reshaped((math.prod(view.shape[:axis]), math.prod(view.shape[axis:])))


def node_squeeze(graph: Graph, node: Node) -> View:
    """Read ``Squeeze``."""
    view = graph.view(node, 0)
    axes = _axes(graph, node, len(view.shape))
    if axes is None:
        axes = [k for k, length in enumerate(view.shape) if length == 1]
    if any(view.shape[k] != 1 for k in axes):
        raise Refused(f"it must leave out axes of length 1 from {view.shape}")
    return view.reshaped([length for k, length in enumerate(view.shape) if k not in axes], True)


def node_unsqueeze(graph: Graph, node: Node) -> View:
    """Read ``Unsqueeze``."""
    view = graph.view(node, 0)
    count = len(node.attributes["axes"]) if "axes" in node.attributes else graph.array(node, 1).size
    rank = len(view.shape) + count
    if rank > 8:
        raise Refused(f"its result must have at most 8 axes, not {rank}")
    axes = _axes(graph, node, rank) or []
    old = iter(view.shape)
    return view.reshaped([1 if k in axes else next(old) for k in range(rank)], True)


def _axes(graph: Graph, node: Node, rank: int) -> list[int] | None:
    return axes_of(node.attributes, [None, graph.array(node, 1) if node.has(1) else None], rank)


def node_transpose(graph: Graph, node: Node) -> View:
    """Read ``Transpose``."""
    return graph.padded(node, 0).transposed(node.attributes.get("perm"))


def node_pad(graph: Graph, node: Node) -> View:
    """Read ``Pad`` by zeros of rows and columns, which the next convolution takes in."""
    view = graph.padded(node, 0)
    rank = len(view.shape)
    if node.text("mode", "constant") != "constant":
        raise Refused(f"its mode must be constant, not {node.text('mode', '')}")
    value = graph.single(node, 2, node.number("value", 0.0))
    if value != (0 if view.codes is None else view.codes.zero_point):
        raise Refused(f"it must pad by zeros, not by {value:g}")
    pads = node.attributes.get("pads")
    if pads is None:
        pads = [int(n) for n in graph.array(node, 1).reshape(-1)]
    axes = axes_of({}, [None, graph.array(node, 3)], rank) if node.has(3) else list(range(rank))
    if axes is None or len(pads) != 2 * len(axes) or not all(0 <= n < 1 << 16 for n in pads):
        raise Refused(f"it must have {2 * len(axes or [])} pads, none of them negative")
    padding, shape = list(view.padding), list(view.shape)
    for axis, before, after in zip(axes, pads[: len(axes)], pads[len(axes) :], strict=True):
        if before + after == 0:
            continue
        if view.axes[axis] not in ("H", "W"):
            raise Refused("it must pad rows and columns only")
        first = 0 if view.axes[axis] == "H" else 2
        padding[first] += before
        padding[first + 1] += after
        shape[axis] += before + after
    return replace(view, shape=tuple(shape), padding=(padding[0], padding[1], padding[2], padding[3]))


# Pooling


def _rounded_up(
    node: Node, view: View, size: Sequence[int], stride: Sequence[int], padding: Sequence[int]
) -> list[int]:
    """Return the padding with which windows that do not fit wholly are counted, as ``ceil_mode`` asks."""
    padding = list(padding)
    for k, length in enumerate(view.grid[:2]):
        before, after = padding[2 * k : 2 * k + 2]
        count = -((length + before + after - size[k]) // -stride[k]) + 1
        if (count - 1) * stride[k] >= length + before:  # a window must not begin behind the image
            count -= 1
        padding[2 * k + 1] = max((count - 1) * stride[k] + size[k] - length - before, after)
    return padding


def _pool_windows(node: Node, view: View) -> tuple[tuple[int, int], tuple[int, int], tuple[int, int, int, int]]:
    kernel = node.attributes.get("kernel_shape")
    if not isinstance(kernel, list) or not all(isinstance(k, int) and 1 <= k < 1 << 16 for k in kernel):
        raise Refused("its kernel_shape must be positive integers")
    size, stride, padding = windows(node, view, tuple(kernel))
    if max(padding[:2]) >= size[0] or max(padding[2:]) >= size[1]:
        raise Refused("its padding must be smaller than its windows")
    return size, stride, padding


def _order(view: View) -> str:
    return "NCHW" if len(view.shape) == 4 else "NCW"


def node_max_pool(graph: Graph, node: Node) -> View:
    """Read ``MaxPool``."""
    view = graph.view(node, 0)
    size, stride, padding = _pool_windows(node, view)
    if node.integer("ceil_mode", 0):
        above, below, left, right = _rounded_up(node, view, size, stride, padding)
        padding = (above, below, left, right)
    operator = MaxPool(node.name, (view.tensor,), node.outputs[0], size, stride, padding)
    return replace(graph.give(node, operator, _order(view), view), codes=view.codes)


def node_average_pool(graph: Graph, node: Node) -> View:
    """Read ``AveragePool``: a mean over all positions, or a depthwise convolution with equal weights."""
    view = graph.numbers(node, graph.view(node, 0))
    size, stride, padding = _pool_windows(node, view)
    rows, columns, channels = view.grid
    if size == (rows, columns) and not any(padding):
        operator: MeanPool | Convolution = MeanPool(node.name, (view.tensor,), node.outputs[0])
        return graph.give(node, operator, _order(view), view)
    if any(padding) and not node.integer("count_include_pad", 0):
        raise Refused("its padding must be 0, or counted by count_include_pad")
    if node.integer("ceil_mode", 0) and _rounded_up(node, view, size, stride, padding) != list(padding):
        raise Refused("its ceil_mode must be 0")
    operator = Convolution(
        node.name, (view.tensor,), node.outputs[0], np.ones((channels, *size, 1), np.int8),
        np.array(1 / math.prod(size)), None, stride, padding, channels,
    )  # fmt: skip
    return graph.give(node, operator, _order(view), view)


def node_global_pool(graph: Graph, node: Node) -> View:
    """Read ``GlobalAveragePool`` and ``GlobalMaxPool``."""
    view = graph.view(node, 0)
    letters = "CHW" if len(view.shape) == 4 else "CW"
    if len(view.shape) != len(letters) + 1 or not all(view.holds(k + 1, c) for k, c in enumerate(letters)):
        raise Refused(f"its input {view.shape} must have the axes N{letters}")
    return _pooled(graph, node, view, [*view.shape[:2], *[1] * (len(view.shape) - 2)])


def node_reduce(graph: Graph, node: Node) -> View:
    """Read ``ReduceMean`` and ``ReduceMax`` over all rows and columns."""
    view = graph.view(node, 0)
    rank = len(view.shape)
    axes = _axes(graph, node, rank)
    if not axes:
        if node.integer("noop_with_empty_axes", 0):
            return view
        axes = list(range(rank))
    reduced = sorted("".join(view.axes[k] for k in axes))
    if reduced != [letter for letter in "HW" if view.extent(letter) > 1]:
        raise Refused("its axes must be all rows and columns, and no channels")
    keep = node.integer("keepdims", 1)
    kept = [1 if k in axes else length for k, length in enumerate(view.shape) if keep or k not in axes]
    return _pooled(graph, node, view, kept)


def _pooled(graph: Graph, node: Node, view: View, shape: Sequence[int]) -> View:
    """Append the mean or the greatest of all positions; the result has one position and the given shape."""
    if "Max" in node.kind:
        size = view.grid[:2]
        graph.emit(MaxPool(node.name, (view.tensor,), node.outputs[0], size, size))
    else:
        view = graph.numbers(node, view)
        graph.emit(MeanPool(node.name, (view.tensor,), node.outputs[0]))
    axes = tuple("C" if length > 1 else "" for length in shape)
    grid = graph.grids[node.outputs[0]]
    return View(node.outputs[0], grid, tuple(shape), axes, view.codes, view.integer and "Max" in node.kind)
