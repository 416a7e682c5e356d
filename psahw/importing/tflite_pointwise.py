"""TensorFlow Lite's operators that act on each number: arithmetic, activations, and quantisers."""

import numpy as np

from .operators import Add, Affine
from .tflite_file import Node
from .tflite_graph import CODES, Conversion, Damaged, Refused

__all__ = ["node_arithmetic", "node_dequantise", "node_quantise", "node_relu"]


def node_arithmetic(graph: Conversion, node: Node) -> None:
    """Add a sum of two tensors, or one with a constant for each channel."""
    if len(node.inputs) != 2 or min(node.inputs) < 0:
        raise Damaged(f"{node.name} must have 2 inputs")
    constants = [graph.is_constant(index) for index in node.inputs]
    ending = graph.ending(node, node.options.fusedActivationFunction)
    if not any(constants):
        sources = graph.source(node, 0), graph.source(node, 1)
        graph.same_type(node, *sources)
        if node.kind != "ADD":
            raise Refused("one of its inputs must be a constant")
        first, second = map(graph.shape, sources)
        if first != second:
            raise Refused(f"its inputs have the shapes {first} and {second}")
        graph.chain(node, sources, [("", Add, {}), *ending])
        return
    position = constants.index(False) if False in constants else 0
    source, other = graph.source(node, position), node.inputs[1 - position]
    graph.same_type(node, source)
    numbers = graph.numbers(other)
    channels = graph.shape(source)[2]
    if numbers.size not in (1, channels) or numbers.size != (numbers.shape or (1,))[-1]:
        raise Refused(f"its constant must have 1 or {channels} numbers, not the shape {list(numbers.shape)}")
    one = np.ones(1)
    factor, offset = {
        "ADD": (one, numbers.reshape(-1)),
        "MUL": (numbers.reshape(-1), np.zeros(1)),
        "SUB": (one, -numbers.reshape(-1)) if position == 0 else (-one, numbers.reshape(-1)),
    }[node.kind]
    graph.chain(node, (source,), [("", Affine, {"factor": factor, "offset": offset}), *ending])


def node_relu(graph: Conversion, node: Node) -> None:
    """Add an activation."""
    source = graph.source(node)
    graph.same_type(node, source)
    activation = {"RELU": 1, "RELU_N1_TO_1": 2, "RELU6": 3}[node.kind]
    ending = graph.ending(node, activation, on_grid=graph.same_grid(source, graph.output(node)))
    graph.chain(node, (source,), [("", *ending[0][1:]), *ending[1:]])


def node_quantise(graph: Conversion, node: Node) -> None:
    """Add a quantiser, except for the same numbers in another type."""
    source, output = graph.source(node), graph.output(node)
    if graph.shape(source) != graph.shape(output):
        raise Damaged(f"{node.name} changes the shape")
    if graph.quantiser(output) is None:
        raise Refused("its output has no codes")
    same = graph.quantiser(source) is not None and graph.same_grid(source, output)
    graph.chain(node, (source,), graph.ending(node, on_grid=same))


def node_dequantise(graph: Conversion, node: Node) -> None:
    """Rename a tensor, or fold a constant."""
    output = graph.output(node)
    if node.inputs and node.inputs[0] >= 0 and graph.is_constant(node.inputs[0]):
        tensor = graph.tensors[node.inputs[0]]
        codes = graph.constant(node.inputs[0], "FLOAT16", *CODES)
        if tensor.type in CODES:
            raise Refused(f"its constant has the type {tensor.type}; only FLOAT16 is known")
        graph.folded[output] = codes.astype(np.float32)
        return
    source = graph.source(node)
    if graph.shape(source) != graph.shape(output):
        raise Damaged(f"{node.name} changes the shape")
    if graph.quantiser(source) is None or graph.quantiser(output) is not None:
        raise Refused("it must turn codes into float numbers")
    graph.chain(node, (source,), [])
