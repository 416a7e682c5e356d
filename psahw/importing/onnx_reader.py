"""Read ONNX models: float, QDQ, integer operators, and QONNX.

Constants are folded, and layouts followed symbolically, in one pass over the nodes. What depends on the input becomes
operators of `psahw.importing.operators`. ONNX does not say which axes of an input are rows, columns and channels, so
the reader tries the likely layouts, and takes the first with which all operators are supported.
"""

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import UserError
from ..quoting import printable, quote
from . import onnx_integer, onnx_linear, onnx_pointwise, onnx_quantisers, onnx_shapes
from .onnx_constants import FOLDED, Constant, fold
from .onnx_file import MAX_TOTAL, Refused, array, attributes, load
from .onnx_graph import Graph, Node, Value
from .onnx_inputs import annotated, starts
from .onnx_layout import View
from .operators import Input, Model, Quantise, Quantiser
from .unsupported import Unsupported

__all__ = ["QONNX_DOMAINS", "is_qonnx", "read", "read_proto"]

QONNX_DOMAINS = ("onnx.brevitas", "finn.custom_op.general", "qonnx.custom_op.general")
"""The domains of QONNX's operators."""

_QONNX: dict[str, Callable[[Graph, Node], Value]] = {
    "BipolarQuant": onnx_quantisers.node_bipolar,
    "IntQuant": onnx_quantisers.node_quant,
    "MultiThreshold": onnx_quantisers.node_multithreshold,
    "Quant": onnx_quantisers.node_quant,
}

_OPERATORS: dict[str, Callable[[Graph, Node], Value]] = {
    "Add": onnx_pointwise.node_arithmetic,
    "AveragePool": onnx_shapes.node_average_pool,
    "BatchNormalization": onnx_pointwise.node_batch_norm,
    "Cast": onnx_pointwise.node_cast,
    "Clip": onnx_pointwise.node_clip,
    "Conv": onnx_linear.node_conv,
    "ConvInteger": onnx_integer.node_conv_integer,
    "DequantizeLinear": onnx_quantisers.node_dequantise,
    "Div": onnx_pointwise.node_arithmetic,
    "Dropout": onnx_pointwise.node_dropout,
    "Flatten": onnx_shapes.node_flatten,
    "Gemm": onnx_linear.node_gemm,
    "GlobalAveragePool": onnx_shapes.node_global_pool,
    "GlobalMaxPool": onnx_shapes.node_global_pool,
    "Identity": onnx_pointwise.node_dropout,
    "MatMul": onnx_linear.node_matmul,
    "MatMulInteger": onnx_integer.node_matmul_integer,
    "Max": onnx_pointwise.node_bound,
    "MaxPool": onnx_shapes.node_max_pool,
    "Min": onnx_pointwise.node_bound,
    "Mul": onnx_pointwise.node_arithmetic,
    "Neg": onnx_pointwise.node_negate,
    "Pad": onnx_shapes.node_pad,
    "QLinearConv": onnx_integer.node_qlinear_conv,
    "QLinearMatMul": onnx_integer.node_qlinear_matmul,
    "QuantizeLinear": onnx_quantisers.node_quantise,
    "ReduceMax": onnx_shapes.node_reduce,
    "ReduceMean": onnx_shapes.node_reduce,
    "Relu": onnx_pointwise.node_relu,
    "Reshape": onnx_shapes.node_reshape,
    "Squeeze": onnx_shapes.node_squeeze,
    "Sub": onnx_pointwise.node_arithmetic,
    "Sum": onnx_pointwise.node_arithmetic,
    "Transpose": onnx_shapes.node_transpose,
    "Unsqueeze": onnx_shapes.node_unsqueeze,
    "com.microsoft.DequantizeLinear": onnx_quantisers.node_dequantise,
    "com.microsoft.QGemm": onnx_integer.node_qgemm,
    "com.microsoft.QLinearAdd": onnx_integer.node_qlinear_add,
    "com.microsoft.QLinearGlobalAveragePool": onnx_integer.node_qlinear_mean,
    "com.microsoft.QuantizeLinear": onnx_quantisers.node_quantise,
    **_QONNX,
}

_ENDINGS = {
    "ArgMax", "LogSoftmax", "Sigmoid", "Softmax", "TopK", "com.microsoft.QLinearSigmoid",
    "com.microsoft.QLinearSoftmax",
}  # fmt: skip
_AFTER_ENDINGS = {
    "Cast", "DequantizeLinear", "Flatten", "Identity", "QuantizeLinear", "Reshape", "Squeeze",
    "com.microsoft.DequantizeLinear", "com.microsoft.QuantizeLinear",
}  # fmt: skip

_REASONS = {
    "Attention": "attention is not supported",
    "DynamicQuantizeLinear": "scales must be constants; quantise the model statically",
    "GRU": "recurrent layers are not supported",
    "If": "graphs inside of operators are not supported",
    "LSTM": "recurrent layers are not supported",
    "LeakyRelu": "the activation must be Relu or Clip",
    "Loop": "graphs inside of operators are not supported",
    "RNN": "recurrent layers are not supported",
    "Scan": "graphs inside of operators are not supported",
    "Sigmoid": "it must be the last operator; in other places, it is not supported",
    "Softmax": "it must be the last operator; in other places, it is not supported",
}


def is_qonnx(proto: Any) -> bool:
    """Return whether an ``onnx.ModelProto`` has operators of QONNX."""
    return any(node.domain in QONNX_DOMAINS or node.op_type in _QONNX for node in proto.graph.node)


def read(path: str | os.PathLike, name: str | None = None) -> Model:
    """Return the model of an ONNX file.

    Parameters
    ----------
    path
        The file.
    name
        Name of the model; the file's, without its ending, if it is None.

    Raises
    ------
    UserError
        If the file cannot be read, or is damaged.
    Unsupported
        If no network can hold some of its operators. It lists all of them.
    """
    return read_proto(load(path), path, name)[0]


def read_proto(proto: Any, path: str | os.PathLike, name: str | None = None) -> tuple[Model, dict[str, View]]:
    """Return the model of an ``onnx.ModelProto``, and how its tensors lie in the file, by their names there.

    Parameters
    ----------
    proto
        The model, with all its data in it.
    path
        Its file, for messages.
    name
        Name of the model; the file's, without its ending, if it is None.
    """
    try:
        constants = _initialisers(proto.graph)
        nodes = _nodes(proto)
    except Refused as error:
        raise UserError(f"{path} is not usable as an ONNX model: {error}") from None
    inputs = [value for value in proto.graph.input if value.name not in constants]
    outputs = [value.name for value in proto.graph.output]
    wrong = [(value.name, "input", "a model must have one input") for value in inputs[1:]]
    if not inputs or not outputs:
        raise UserError(f"{path} must have an input and an output")
    try:
        views = starts(proto.graph, inputs[0], nodes, constants)
    except Refused as error:
        views = []
        wrong.insert(0, (inputs[0].name, "input", str(error)))
    live = _live(nodes, outputs)
    fewest: list[tuple[str, str, str]] | None = None
    candidates: list[View | None] = [*views] or [None]
    for start in candidates:
        attempt = _Reading(live, constants, inputs[0].name, start, outputs)
        if not attempt.unsupported and not wrong and isinstance(start, View):
            return attempt.model(name or Path(path).stem, proto, path), attempt.views()
        if fewest is None or len(attempt.unsupported) < len(fewest):
            fewest = attempt.unsupported
    raise Unsupported(wrong + (fewest or []), path)


def _initialisers(graph: Any) -> dict[str, Value]:
    if graph.sparse_initializer:
        raise Refused("it must not have sparse tensors")
    constants: dict[str, Value] = {}
    for tensor in graph.initializer:
        if tensor.name in constants:
            raise Refused(f"two tensors have the name {quote(tensor.name)}")
        constants[tensor.name] = Constant(array(tensor))
    return constants


def _nodes(proto: Any) -> list[Node]:
    versions = [entry.version for entry in proto.opset_import if entry.domain in ("", "ai.onnx")]
    nodes = []
    for number, node in enumerate(proto.graph.node):
        plain = node.domain in ("", "ai.onnx") or (node.domain in QONNX_DOMAINS and node.op_type in _QONNX)
        kind = node.op_type if plain else f"{node.domain}.{node.op_type}"
        nodes.append(
            Node(
                node.name or f"{node.op_type}_{number}", kind, tuple(node.input), tuple(node.output),
                attributes(node), max(versions, default=1),
            )
        )  # fmt: skip
    return nodes


def _live(nodes: Sequence[Node], outputs: Sequence[str]) -> list[Node]:
    """Return the nodes that an output depends on."""
    needed, live = set(outputs), []
    for node in reversed(nodes):
        if needed.intersection(node.outputs):
            needed.update(node.inputs)
            live.append(node)
    return live[::-1]


# The nodes


class _Reading:
    """One pass over the nodes of a graph, with one layout of its input.

    Parameters
    ----------
    nodes
        The nodes that the outputs depend on, in the order of the file.
    constants
        The initialisers.
    name
        Name of the input.
    start
        View of the input, or None if it is not usable.
    outputs
        Names of the outputs.

    Attributes
    ----------
    unsupported : list of tuple
        What is not supported, and why.
    """

    def __init__(
        self, nodes: Sequence[Node], constants: Mapping[str, Value], name: str, start: View | None,
        outputs: Sequence[str],
    ) -> None:  # fmt: skip
        names = frozenset(tensor for node in nodes for tensor in (*node.inputs, *node.outputs))
        self.start, self.outputs = start, outputs
        self.graph = Graph(
            dict(constants) | {name: start, "": None}, {} if start is None else {start.tensor: start.grid}, names
        )
        self.unsupported: list[tuple[str, str, str]] = []
        self._used = {tensor for node in nodes for tensor in node.inputs} | set(outputs)
        self._computed = 0  # elements of constants
        self._ended: set[str] = set()  # tensors behind an operator that was left out
        endings = _endings(nodes)
        for number, node in enumerate(nodes):
            try:
                with np.errstate(all="ignore"):  # what is not finite is refused where it matters
                    value = self._value(node, number in endings)
                self._count(value)
            except Refused as error:
                self._refuse(node, str(error))
                value = None
            except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
                self._refuse(node, f"its inputs and attributes do not fit together: {error}")
                value = None
            for position, output in enumerate(node.outputs):
                if output and output in self.graph.values:
                    self._refuse(node, f"another operator or constant has its output {quote(output)}")
                elif output:
                    self.graph.values[output] = value if position == 0 or output in self._ended else None

    def _count(self, value: Value) -> None:
        self._computed += value.values.size if isinstance(value, Constant) else 0
        if self._computed > MAX_TOTAL:
            raise Refused(f"all computed constants must have at most {MAX_TOTAL:,} elements together")

    def _refuse(self, node: Node, reason: str) -> None:
        self.unsupported.append((node.name, node.kind, printable(reason)))

    def _value(self, node: Node, ending: bool) -> Value:
        """Return the first output of a node."""
        values = self.graph.values
        absent = [name for name in node.inputs if name not in values]
        if absent:
            raise Refused(f"nothing before it gives its input {quote(absent[0])}")
        if node.kind not in _OPERATORS and node.kind not in FOLDED and not ending:
            raise Refused(_REASONS.get(node.kind.split(".")[-1], "this operator is not supported"))
        if not node.outputs or any(values[name] is None for name in node.inputs if name):
            return None  # what it depends on is on the list already
        first = values[node.inputs[0]] if node.inputs else None
        if ending and (node.kind in _ENDINGS or node.inputs[0] in self._ended):
            self._ended.update(node.outputs)
            if node.kind in _ENDINGS:
                self.graph.dropped.append(f"{node.kind} {node.name}")
            return first
        if any(output in self._used for output in node.outputs[1:]):
            raise Refused("only its first output can be used")
        if node.kind in ("Shape", "Size") and isinstance(first, View):
            return fold(node.kind, [Constant(np.broadcast_to(np.int8(0), first.shape))], node.attributes)
        given = [values[name] for name in node.inputs]
        constants = [value for value in given if isinstance(value, Constant)]
        if node.kind in FOLDED and len(constants) == len(given):
            return fold(node.kind, constants, node.attributes)
        if node.kind not in _OPERATORS:
            raise Refused("all of its inputs must be constants")
        return _OPERATORS[node.kind](self.graph, node)

    def model(self, name: str, proto: Any, path: str | os.PathLike) -> Model:
        """Return the model. Raises UserError if it has no output that depends on its input."""
        assert self.start is not None
        try:
            ends = {self._end(output) for output in self.outputs}
        except Refused as error:
            raise UserError(f"{path} is not usable as an ONNX model: {error}") from None
        if len(ends) > 1 or not self.graph.operators:
            what = f"{len(ends)} outputs" if self.graph.operators else "no operators"
            raise UserError(f"{path} must have one output that is computed from its input, not {what}")
        quantiser = self.start.codes or annotated(proto.graph, self.start.tensor) or self._first_grid()
        source = "QONNX" if is_qonnx(proto) else "ONNX"
        entry = Input(self.start.tensor, self.start.grid, quantiser)
        operators, dropped = tuple(self.graph.operators), tuple(self.graph.dropped)
        return Model(name, source, entry, operators, ends.pop(), dropped)

    def _end(self, output: str) -> str:
        """Return the tensor of the model that an output of the file is."""
        value = self.graph.values.get(output)
        if not isinstance(value, View):
            raise Refused(f"its output {quote(output)} must depend on its input")
        if any(value.padding):
            raise Refused("its output must not be padded")
        joined = [k for k, letters in enumerate(value.axes) if len(letters) > 1]
        if not joined:
            return value.tensor
        last = Node("output", "Flatten", (), (output,), {}, 0)
        flat = self.graph.with_channels(last, value, joined[0])
        self.graph.values[output] = flat
        return flat.tensor

    def _first_grid(self) -> Quantiser | None:
        """Return the grid on which the file puts the input before anything else, if it does."""
        assert self.start is not None
        users = [operator for operator in self.graph.operators if self.start.tensor in operator.inputs]
        return users[0].quantiser if len(users) == 1 and isinstance(users[0], Quantise) else None

    def views(self) -> dict[str, View]:
        """Return how the tensors that depend on the input lie in the file, by their names there."""
        return {name: value for name, value in self.graph.values.items() if isinstance(value, View)}


def _endings(nodes: Sequence[Node]) -> set[int]:
    """Return the numbers of the nodes that nothing but a final softmax and the like may follow."""
    inner: set[str] = set()  # tensors that other nodes take
    endings = set()
    for number in range(len(nodes) - 1, -1, -1):
        node = nodes[number]
        if node.kind in _ENDINGS | _AFTER_ENDINGS and node.inputs and not inner.intersection(node.outputs):
            endings.add(number)
        else:
            inner.update(node.inputs)
    return endings
