"""Files of TensorFlow Lite as plain data: tensors and nodes, read within bounds.

`parse` reads the flatbuffer through ai_edge_litert's schema. It unpacks nothing but what a reader needs, so the time
and the memory that it takes are bounded by the size of the file, whatever a damaged or a hostile file says of itself.
"""

import functools
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import numpy as np

from ..errors import UserError
from ..extras import install_hint
from ..quoting import printable, quote

__all__ = ["MAX_BYTES", "MAX_NODES", "MAX_TENSORS", "Graph", "Node", "Tensor", "parse"]

MAX_BYTES = 64 << 20
"""The largest file that is read."""

MAX_TENSORS = 10_000
"""The most tensors, and the most buffers, of a model."""

MAX_NODES = 10_000
"""The most nodes of a model."""

_MAX_RANK = 8
_MAX_CHANNELS = 1 << 16
_NAME = 1000  # characters of a name that are kept

_OPTIONS = {
    "ADD": "AddOptions",
    "AVERAGE_POOL_2D": "Pool2DOptions",
    "CONV_2D": "Conv2DOptions",
    "DEPTHWISE_CONV_2D": "DepthwiseConv2DOptions",
    "FULLY_CONNECTED": "FullyConnectedOptions",
    "MAX_POOL_2D": "Pool2DOptions",
    "MUL": "MulOptions",
    "SUB": "SubOptions",
}
"""The options that are read, for each operator that has some."""


@dataclass(frozen=True, eq=False)
class Tensor:
    """A tensor.

    Parameters
    ----------
    name
        Its name, which no other tensor of the graph has.
    shape
        Its shape, with the batch.
    dynamic
        Axes, other than the first, whose length the file leaves open.
    type
        Its type by the schema, such as ``"INT8"``.
    data
        The bytes of a constant as uint8, or None.
    scale
        float32 scales of the codes, which may be any numbers: none, one, or one for each position of ``axis``.
    zero_point
        int64 zero points, as many as scales or none.
    axis
        Axis of several scales.
    variable
        Whether it keeps a state.
    refusal
        Why no reader can take it, or "".
    """

    name: str
    shape: tuple[int, ...]
    dynamic: tuple[int, ...]
    type: str
    data: np.ndarray | None
    scale: np.ndarray
    zero_point: np.ndarray
    axis: int
    variable: bool
    refusal: str


@dataclass(frozen=True, eq=False)
class Node:
    """An operator with its tensors.

    Parameters
    ----------
    name
        Its operator and its number, as in ``"conv_2d_3"``: nodes have no names in such a file.
    kind
        Its operator by the schema, such as ``"CONV_2D"``, or ``"CUSTOM"`` and the custom operator's name.
    inputs
        Indices of its inputs; -1 for one that is left out.
    outputs
        Indices of its outputs.
    options
        The schema's object of its options, or None.
    """

    name: str
    kind: str
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    options: Any


@dataclass(frozen=True, eq=False)
class Graph:
    """The main graph of a model.

    Parameters
    ----------
    tensors, nodes
        Its tensors and nodes; indices of tensors are within range.
    inputs, outputs
        Indices of its inputs and outputs.
    subgraphs
        Number of graphs in the file, of which this one is the first.
    """

    tensors: tuple[Tensor, ...]
    nodes: tuple[Node, ...]
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    subgraphs: int


class _Damaged(Exception):
    """A file is not a model. The message says why."""


def _schema() -> ModuleType:
    """Return the schema's module. Raises UserError if the package is not installed."""
    try:
        from ai_edge_litert import schema_py_generated
    except ImportError:
        message = f"reading TensorFlow Lite files needs ai-edge-litert; {install_hint('ai_edge_litert')}"
        raise UserError(message) from None
    return schema_py_generated


@functools.cache
def _names(enumeration: type) -> dict[int, str]:
    """Return the names of an enumeration's numbers."""
    return {value: name for name, value in vars(enumeration).items() if isinstance(value, int)}


def _bounded(count: int, limit: int, what: str) -> range:
    if not 0 <= count <= limit:
        raise _Damaged(f"it has {count} {what}, and at most {limit} are read")
    return range(count)


def _integers(array: Any, limit: int, what: str) -> tuple[int, ...]:
    """Return a vector, which flatbuffers gives as 0 if it is absent."""
    array = np.atleast_1d(array) if isinstance(array, np.ndarray) else np.zeros(0, np.int64)
    _bounded(len(array), limit, what)
    return tuple(map(int, array))


def _text(raw: bytes | None) -> str:
    return (raw or b"").decode("utf-8", "replace")[:_NAME]


def _numbers(array: Any, dtype: type) -> np.ndarray:
    """Return a vector as a view of the file, which flatbuffers gives as 0 if it is absent."""
    array = np.atleast_1d(array).view(dtype) if isinstance(array, np.ndarray) else np.zeros(0, dtype)
    _bounded(len(array), _MAX_CHANNELS, "scales of a tensor")
    return array


def _quantisation(parameters: Any) -> tuple[np.ndarray, np.ndarray, int, str]:
    """Return scales, zero points, their axis, and why they cannot be used."""
    if parameters is None:
        return np.zeros(0, np.float32), np.zeros(0, np.int64), 0, ""
    scale = _numbers(parameters.ScaleAsNumpy(), np.float32)
    zero_point = _numbers(parameters.ZeroPointAsNumpy(), np.int64)
    if len(zero_point) not in (0, len(scale)):
        raise _Damaged(f"a tensor has {len(scale)} scales and {len(zero_point)} zero points")
    refusal = "its quantisation is neither by tensor nor by channel" if parameters.DetailsType() else ""
    return scale, zero_point, parameters.QuantizedDimension(), refusal


def _tensor(schema: ModuleType, model: Any, tensor: Any, name: str) -> Tensor:
    shape = _integers(tensor.ShapeAsNumpy(), _MAX_RANK, "axes in a tensor")
    signature = _integers(tensor.ShapeSignatureAsNumpy(), _MAX_RANK, "axes in a tensor")
    if not 0 <= tensor.Buffer() < model.BuffersLength():
        raise _Damaged(f"the tensor {quote(name)} has buffer {tensor.Buffer()}, which there is none of")
    buffer = model.Buffers(tensor.Buffer())
    data = buffer.DataAsNumpy()
    scale, zero_point, axis, refusal = _quantisation(tensor.Quantization())
    if tensor.Sparsity() is not None:
        refusal = "it is stored as sparse"
    if buffer.Offset() > 1 or buffer.Size() > 1 or tensor.ExternalBuffer():
        refusal = "its data lie outside of the flatbuffer"
    dynamic = tuple(i for i, length in enumerate(signature) if length < 0 and i > 0)
    return Tensor(
        name=name,
        shape=shape,
        dynamic=dynamic,
        type=_names(schema.TensorType).get(tensor.Type(), f"type {tensor.Type()}"),
        data=data if isinstance(data, np.ndarray) and len(data) else None,
        scale=scale,
        zero_point=zero_point,
        axis=axis,
        variable=bool(tensor.IsVariable()),
        refusal=refusal,
    )


def _kinds(schema: ModuleType, model: Any) -> list[str]:
    """Return the operator of each operator code."""
    kinds = []
    for index in _bounded(model.OperatorCodesLength(), MAX_NODES, "operator codes"):
        code = model.OperatorCodes(index)
        number = max(code.BuiltinCode(), code.DeprecatedBuiltinCode())  # the older field holds 127 numbers only
        kind = _names(schema.BuiltinOperator).get(number, f"operator {number}")
        kinds.append(f"CUSTOM {_text(code.CustomCode())}" if kind == "CUSTOM" else kind)
    return kinds


def _options(schema: ModuleType, operator: Any, kind: str) -> Any:
    if (name := _OPTIONS.get(kind)) is None:
        return None
    if operator.BuiltinOptionsType() == 0:
        return getattr(schema, f"{name}T")()
    table = operator.BuiltinOptions()
    if operator.BuiltinOptionsType() != getattr(schema.BuiltinOptions, name) or table is None:
        raise _Damaged(f"the options of a {kind} are those of another operator")
    options = getattr(schema, name)()
    options.Init(table.Bytes, table.Pos)
    return getattr(schema, f"{name}T").InitFromObj(options)


def _graph(schema: ModuleType, data: bytes) -> Graph:
    if not schema.Model.ModelBufferHasIdentifier(data, 0):
        raise _Damaged("it does not begin as a flatbuffer of TensorFlow Lite")
    model = schema.Model.GetRootAs(data, 0)
    subgraphs = model.SubgraphsLength()
    if model.Version() != 3 or subgraphs < 1:
        raise _Damaged(f"it has {subgraphs} graphs, and version {model.Version()} of the schema in place of 3")
    graph = model.Subgraphs(0)
    count = len(_bounded(graph.TensorsLength(), MAX_TENSORS, "tensors"))

    def indices(array: Any, least: int, what: str) -> tuple[int, ...]:
        numbers = _integers(array, MAX_TENSORS, what)
        for number in numbers:
            if not least <= number < count:
                raise _Damaged(f"{what} name tensor {number} of {count}")
        return numbers

    names: set[str] = set()
    tensors = []
    for index in range(count):
        name = _text(graph.Tensors(index).Name()) or f"tensor {index}"
        while name in names:
            name = f"{name} {index}"
        names.add(name)
        tensors.append(_tensor(schema, model, graph.Tensors(index), name))
    kinds = _kinds(schema, model)
    nodes = []
    total = 0
    for index in _bounded(graph.OperatorsLength(), MAX_NODES, "nodes"):
        operator = graph.Operators(index)
        if not 0 <= operator.OpcodeIndex() < len(kinds):
            raise _Damaged(f"node {index} has operator code {operator.OpcodeIndex()} of {len(kinds)}")
        kind = kinds[operator.OpcodeIndex()]
        inputs = indices(operator.InputsAsNumpy(), -1, "inputs")
        outputs = indices(operator.OutputsAsNumpy(), 0, "outputs")
        total += len(inputs) + len(outputs)
        _bounded(total, 10 * MAX_NODES, "inputs and outputs of nodes")
        name = f"{kind.lower().replace(' ', '_')}_{index}"
        nodes.append(Node(name, kind, inputs, outputs, _options(schema, operator, kind)))
    ends = indices(graph.InputsAsNumpy(), 0, "inputs"), indices(graph.OutputsAsNumpy(), 0, "outputs")
    return Graph(tuple(tensors), tuple(nodes), *ends, subgraphs)


def parse(data: bytes, path: object) -> Graph:
    """Return the main graph of a file's content.

    Parameters
    ----------
    data
        The content, of at most `MAX_BYTES`.
    path
        The file, for messages.

    Raises
    ------
    UserError
        If ai_edge_litert is not installed, or the content is no model of TensorFlow Lite, or too large.
    """
    schema = _schema()
    try:
        return _graph(schema, data)
    except _Damaged as error:
        raise UserError(f"{path} is not a TensorFlow Lite model: {error}") from None
    except Exception as error:
        # Flatbuffers checks nothing: wrong offsets end in struct.error, IndexError, TypeError, ValueError and others.
        reason = printable(f"{type(error).__name__}: {error}", 80)
        raise UserError(f"{path} is not a TensorFlow Lite model, or is damaged ({reason})") from error
