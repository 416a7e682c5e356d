"""Models of TensorFlow Lite: float32 ones, and those with int8 or uint8 codes.

Each operator of the file becomes one on real numbers, followed by its activation as a `Clip` and, if the output has
codes, by a `Quantise` with its scale and zero point. The `Quantise` is left out where the operator computes nothing
new on the same grid, as a maximum does. Halves are rounded as LiteRT's default kernels round them, which differs
between operators. Other kernels differ from those: the reference ones round the sums of convolutions twice.

These are taken, too: padding in front of a convolution, which becomes part of it; QUANTIZE and DEQUANTIZE;
dequantised constants; constants that are added, subtracted or multiplied; and reshaping that only adds or removes an
axis of length 1, that flattens, or that gives the input its shape. A softmax or a sigmoid at the end is dropped.
"""

import math
import os
from collections.abc import Callable
from pathlib import Path

from ..documents import read_bytes
from ..errors import UserError
from ..quoting import printable, quote
from . import tflite_linear, tflite_pointwise, tflite_shapes
from .operators import Input, Model, shapes
from .tflite_file import MAX_BYTES, Graph, Node, parse
from .tflite_graph import RESHAPES, Conversion, Damaged, Refused, data_inputs
from .unsupported import Unsupported

__all__ = ["read"]

_OPERATORS: dict[str, Callable[[Conversion, Node], None]] = {
    "ADD": tflite_pointwise.node_arithmetic,
    "AVERAGE_POOL_2D": tflite_shapes.node_average_pool,
    "CONV_2D": tflite_linear.node_convolution,
    "DEPTHWISE_CONV_2D": tflite_linear.node_convolution,
    "DEQUANTIZE": tflite_pointwise.node_dequantise,
    "EXPAND_DIMS": tflite_shapes.node_reshape,
    "FULLY_CONNECTED": tflite_linear.node_dense,
    "MAX_POOL_2D": tflite_shapes.node_max_pool,
    "MEAN": tflite_shapes.node_mean,
    "MUL": tflite_pointwise.node_arithmetic,
    "PAD": tflite_shapes.node_pad,
    "PADV2": tflite_shapes.node_pad,
    "QUANTIZE": tflite_pointwise.node_quantise,
    "RELU": tflite_pointwise.node_relu,
    "RELU6": tflite_pointwise.node_relu,
    "RELU_N1_TO_1": tflite_pointwise.node_relu,
    "RESHAPE": tflite_shapes.node_reshape,
    "SQUEEZE": tflite_shapes.node_reshape,
    "SUB": tflite_pointwise.node_arithmetic,
}

_LAST = ("SOFTMAX", "LOGISTIC")


def _check_order(graph: Conversion, start: int) -> None:
    """Raise Damaged unless each tensor is computed once, and before it is used."""
    for node in graph.nodes:
        for index in node.inputs:
            tensor = graph.tensors[index]
            known = index < 0 or index == start or index in graph.producer
            if not known and tensor.data is None and not tensor.variable:
                raise Damaged(f"{node.name} takes {quote(tensor.name)} before it is computed")
        for index in node.outputs:
            tensor = graph.tensors[index]
            if index in graph.producer or index == start or tensor.data is not None:
                raise Damaged(f"{node.name} gives {quote(tensor.name)}, which is computed already")
            graph.producer[index] = node


def _end(graph: Conversion, output: int) -> tuple[int, tuple[str, ...]]:
    """Return the tensor that a final softmax or sigmoid takes, and what was dropped."""
    dropped: list[str] = []
    index = output
    while (node := graph.producer.get(index)) is not None:
        if node.kind in _LAST and data_inputs(node):
            output = index = node.inputs[0]
            dropped.append(f"{node.name} ({node.kind}), which does not change the order of the outputs")
        elif node.kind in ("QUANTIZE", "DEQUANTIZE", *RESHAPES) and data_inputs(node):
            index = node.inputs[0]  # dropped only if a softmax is in front of it
        else:
            break
    return output, tuple(reversed(dropped))


def _live(graph: Conversion, output: int) -> list[Node]:
    """Return the nodes that an output depends on."""
    needed = {output}
    nodes = []
    for node in reversed(graph.nodes):
        if needed.intersection(node.outputs):
            nodes.append(node)
            needed.update(data_inputs(node))
    return nodes[::-1]


def _start(graph: Conversion, start: int, output: int, nodes: list[Node]) -> tuple[int, set[Node]]:
    """Return the tensor that becomes the input, and the nodes before it: what shapes and quantises the input."""
    before: set[Node] = set()
    for _ in range(8):  # each step looks at all nodes
        if start == output:
            break
        users = [node for node in nodes if start in data_inputs(node)]
        if len(users) != 1 or len(users[0].outputs) != 1:
            break
        node, tensor = users[0], graph.tensors[start]
        after = node.outputs[0]
        if node.kind in RESHAPES:
            if math.prod(tensor.shape) != math.prod(graph.tensors[after].shape):
                break
            try:
                shape = graph.shape(after)
                if shape[:2] == (1, 1) or shape == graph.shape(start) or not graph.same_grid(start, after):
                    break
            except Refused:
                break
        elif node.kind != "QUANTIZE" or tensor.type != "FLOAT32":
            break
        before.add(node)
        start = after
    return start, before


def _convert(graph: Conversion, nodes: list[Node], broken: set[int]) -> list[tuple[str, str, str]]:
    """Append the operators of nodes, and return the nodes that are not supported.

    Parameters
    ----------
    graph
        The graph.
    nodes
        The nodes, in order.
    broken
        Tensors with a shape or with codes that no model can have. What takes them is not looked at; outputs of nodes
        that are not supported are added.
    """
    refused: list[tuple[str, str, str]] = []
    for node in nodes:
        reason = ""
        convert = _OPERATORS.get(node.kind)
        if convert is None:
            reason = "no such operator is known here"
        elif broken.isdisjoint(data_inputs(node)):
            try:
                if not all(map(graph.is_constant, data_inputs(node))):
                    graph.shape(graph.output(node))
                convert(graph, node)
            except Refused as error:
                reason = str(error)
        if reason:
            refused.append((node.name, node.kind, reason))
        for index in node.outputs:
            if index not in graph.values and index not in graph.padded and index not in graph.folded:
                graph.values[index] = graph.tensors[index].name
                try:
                    graph.shape(index)
                    graph.quantiser(index)
                except Refused:
                    broken.add(index)
    return refused


def _model(graph: Graph, name: str, path: str | os.PathLike) -> Model:
    for ends, noun in ((graph.inputs, "input"), (graph.outputs, "output")):
        if len(ends) != 1:
            raise UserError(f"{path} must have 1 {noun}, not {len(ends)}")
    conversion = Conversion(graph)
    _check_order(conversion, graph.inputs[0])
    output, dropped = _end(conversion, graph.outputs[0])
    nodes = _live(conversion, output)
    start, before = _start(conversion, graph.inputs[0], output, nodes)
    refusal = ""
    broken: set[int] = set()
    model_input = None
    try:
        model_input = Input(conversion.tensors[start].name, conversion.shape(start), conversion.quantiser(start))
    except Refused as error:
        refusal = str(error)
        broken.add(start)
    conversion.values[start] = conversion.tensors[start].name
    refused = _convert(conversion, [node for node in nodes if node not in before], broken)
    if output in conversion.padded:
        node = conversion.producer[output]
        refused.append((node.name, node.kind, "padding must come in front of a convolution"))
    if refused:
        raise Unsupported(refused, path)
    if graph.subgraphs != 1:
        raise UserError(f"{path} must have 1 graph, not {graph.subgraphs}")
    if model_input is None:
        raise UserError(f"the input of {path} is not supported: {refusal}")
    if output not in conversion.values or not conversion.operators:
        raise UserError(f"{path} must have at least one layer between its input and its output")
    model = Model(
        name=name,
        source="TensorFlow Lite",
        input=model_input,
        operators=tuple(conversion.operators),
        output=conversion.values[output],
        dropped=dropped,
    )
    _check_shapes(model, conversion)
    return model


def _check_shapes(model: Model, conversion: Conversion) -> None:
    """Raise Damaged if a tensor has another shape than the file states."""
    try:
        computed = shapes(model)
    except ValueError as error:
        raise Damaged(str(error)) from None
    for index, tensor in enumerate(conversion.tensors):
        if tensor.name in computed and (stated := conversion.shape(index)) != computed[tensor.name]:
            raise Damaged(f"{quote(tensor.name)} has the shape {stated}, but {computed[tensor.name]} is computed")


def read(path: str | os.PathLike, name: str | None = None) -> Model:
    """Return the model in a file of TensorFlow Lite.

    Parameters
    ----------
    path
        The file.
    name
        Name of the model; by default that of the file.

    Returns
    -------
    Model
        Its operators, in the order of the file.

    Raises
    ------
    Unsupported
        If the model has nodes that are not supported. The error lists all of them.
    UserError
        If ai_edge_litert is not installed, or the file cannot be read, is damaged, too large, or has not exactly one
        graph with one input and one output.
    """
    graph = parse(read_bytes(path, MAX_BYTES), path)
    try:
        return _model(graph, Path(path).stem if name is None else name, path)
    except Damaged as error:
        raise UserError(f"{path} is damaged: {printable(str(error), 200)}") from None
