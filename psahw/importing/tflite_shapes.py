"""TensorFlow Lite's operators with a new grid and no weights: maxima, means, reshaping and padding."""

import math

import numpy as np

from .operators import Flatten, MaxPool, MeanPool
from .tflite_file import Node
from .tflite_graph import MAX_ELEMENTS, Conversion, Damaged, Padded, Refused, padding_sum
from .tflite_linear import windows

__all__ = ["node_average_pool", "node_max_pool", "node_mean", "node_pad", "node_reshape"]


def node_max_pool(graph: Conversion, node: Node) -> None:
    """Add a maximum of windows."""
    source, options = graph.source(node), node.options
    rows, columns, _ = graph.shape(source)
    graph.same_codes(node, source)
    size = options.filterHeight, options.filterWidth
    padding = windows(node, (rows, columns), size)
    parameters = {"size": size, "stride": (options.strideH, options.strideW), "padding": padding}
    ending = graph.ending(node, options.fusedActivationFunction, on_grid=True)
    graph.chain(node, (source,), [("", MaxPool, parameters), *ending])


def node_average_pool(graph: Conversion, node: Node) -> None:
    """Add the mean of all positions."""
    source, options = graph.source(node), node.options
    rows, columns, _ = graph.shape(source)
    graph.same_codes(node, source)
    size = options.filterHeight, options.filterWidth
    padding = windows(node, (rows, columns), size)
    ending = graph.ending(node, options.fusedActivationFunction)
    if size == (rows, columns) and not any(padding) and graph.shape(graph.output(node))[:2] == (1, 1):
        graph.chain(node, (source,), [("", MeanPool, {}), *ending])
        return
    raise Refused(f"means of {size[0]} x {size[1]} of {rows} x {columns} positions; only those of all are known")


def node_mean(graph: Conversion, node: Node) -> None:
    """Add the mean of all positions."""
    source = graph.source(node)
    shape = graph.shape(source)
    graph.same_type(node, source)
    if len(node.inputs) < 2 or node.inputs[1] < 0:
        raise Damaged(f"{node.name} has no axes")
    rank = len(graph.tensors[source].shape)
    axes = {int(axis) % rank for axis in graph.constant(node.inputs[1], "INT32").reshape(-1)[:8]}
    if axes != set(range(1, rank - 1)) or graph.shape(graph.output(node)) != (1, 1, shape[2]):
        raise Refused(f"means along the axes {sorted(axes)} of {rank}; only those of all positions are known")
    graph.chain(node, (source,), [("", MeanPool, {}), *graph.ending(node)])


def node_reshape(graph: Conversion, node: Node) -> None:
    """Flatten an image, or rename a tensor whose shape does not change."""
    source = graph.source(node)
    before, after = graph.shape(source), graph.shape(graph.output(node))
    graph.same_codes(node, source)
    if after != before and after != (1, 1, math.prod(before)):
        raise Refused(f"from {before} to {after}: neither flattens nor keeps the shape")
    graph.chain(node, (source,), [] if after == before else [("", Flatten, {})])


def node_pad(graph: Conversion, node: Node) -> None:
    """Keep the padding for the convolution that follows."""
    source = node.inputs[0] if node.inputs else -1
    earlier = graph.padded.get(source, Padded(source, (0, 0, 0, 0)))
    if source not in graph.padded:
        earlier = Padded(graph.source(node), (0, 0, 0, 0))
    graph.shape(earlier.source)
    graph.same_codes(node, earlier.source)
    if len(node.inputs) < 2 or min(node.inputs) < 0:
        raise Damaged(f"{node.name} has no padding")
    rank = len(graph.tensors[source].shape)
    amounts = graph.constant(node.inputs[1], "INT32", "INT64")
    if amounts.shape != (rank, 2) or amounts.min() < 0 or amounts.max() > MAX_ELEMENTS:
        raise Damaged(f"the padding of {node.name} must be {rank} pairs of numbers")
    if len(node.inputs) > 2 and graph.numbers(node.inputs[2]).any():
        raise Refused("it pads with another number than 0")
    if rank != 4 or amounts[0].any() or amounts[3].any():
        raise Refused("it pads other axes than rows and columns")
    shape = graph.shape(graph.output(node))
    total = np.array(graph.shape(source)[:2]) + amounts[1:3].sum(1)
    if tuple(total) != shape[:2]:
        raise Damaged(f"{node.name} gives {tuple(map(int, total))} positions, not {shape[:2]}")
    above, below, left, right = map(int, amounts[1:3].reshape(-1))
    padding = padding_sum(earlier.padding, (above, below, left, right))
    graph.padded[graph.output(node)] = Padded(earlier.source, padding)
