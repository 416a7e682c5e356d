"""A graph of TensorFlow Lite on its way to a model: what its tensors are, and the operators that were made so far.

The modules beside this one have a function for each kind of node (`psahw.importing.tflite_linear`,
`psahw.importing.tflite_pointwise`, `psahw.importing.tflite_shapes`). It takes a `Conversion`, and appends operators.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np

from ..display import counted
from ..quoting import quote
from .operators import Clip, Operator, Quantise, Quantiser, Rounding, Shape
from .tflite_file import MAX_BYTES, Graph, Node, Tensor

__all__ = ["CODES", "MAX_ELEMENTS", "RESHAPES", "Conversion", "Damaged", "Padded", "Padding", "Refused", "Steps",
           "data_inputs", "padding_sum"]  # fmt: skip

MAX_ELEMENTS = 1 << 24
"""The most numbers in a tensor that the model computes."""

_MAX_CONSTANT_BYTES = MAX_BYTES  # of all constants together: a file may use one buffer many times

CODES = {"INT8": True, "UINT8": False}
"""The types of codes, and whether they are signed."""

_CONSTANTS = {
    "INT8": np.int8, "UINT8": np.uint8, "INT32": np.int32, "INT64": np.int64, "FLOAT16": np.float16,
    "FLOAT32": np.float32,
}  # fmt: skip
_ACTIVATIONS = {1: ("relu", 0.0, math.inf), 2: ("relu_n1_to_1", -1.0, 1.0), 3: ("relu6", 0.0, 6.0)}
_ROUNDING: dict[str, Rounding] = {
    "ADD": "half up",
    "AVERAGE_POOL_2D": "half away from code 0",
    "MEAN": "half to even code",
    "QUANTIZE": "half up",
    "SUB": "half up",
}
"""How LiteRT's default kernels round halves, for operators that do not round them to even."""

RESHAPES = ("RESHAPE", "SQUEEZE", "EXPAND_DIMS")
"""Operators that move no number."""

_ONE_INPUT = (*RESHAPES, "MEAN", "PAD", "PADV2")  # their other inputs are parameters

Padding: TypeAlias = tuple[int, int, int, int]
"""Zeros above, below, to the left and to the right."""

Steps: TypeAlias = list[tuple[str, Callable[..., Operator], dict[str, Any]]]
"""Operators one after another: what is added to the name of the node, the class, and its other parameters."""


class Refused(Exception):
    """A node is not supported. The message is the reason."""


class Damaged(Exception):
    """A file contradicts itself. The message says how."""


@dataclass(frozen=True)
class Padded:
    """A tensor with zeros around it, which only a convolution can take."""

    source: int
    padding: Padding


def data_inputs(node: Node) -> tuple[int, ...]:
    """Return the inputs of a node that may be computed by another one."""
    inputs = node.inputs[:1] if node.kind in _ONE_INPUT else node.inputs
    return tuple(index for index in inputs if index >= 0)


def padding_sum(first: Padding, second: Padding) -> Padding:
    """Return the padding that two give one after the other."""
    return first[0] + second[0], first[1] + second[1], first[2] + second[2], first[3] + second[3]


class Conversion:
    """A graph whose nodes become operators.

    Parameters
    ----------
    graph
        The graph of the file.

    Attributes
    ----------
    tensors, nodes : tuple
        Those of the graph.
    producer : dict
        The node that computes a tensor, by the index of the tensor.
    values : dict
        What each computed tensor is called in the model.
    padded : dict
        Tensors with zeros around them, for the convolution that takes them.
    folded : dict
        Constants that were made of others.
    operators : list
        The operators, in order.
    """

    def __init__(self, graph: Graph) -> None:
        self.tensors, self.nodes = graph.tensors, graph.nodes
        self.producer: dict[int, Node] = {}
        self.values: dict[int, str] = {}
        self.padded: dict[int, Padded] = {}
        self.folded: dict[int, np.ndarray] = {}
        self.operators: list[Operator] = []
        self._names = {tensor.name for tensor in graph.tensors}
        self._constant_bytes = 0

    # What tensors are.

    def shape(self, index: int) -> Shape:
        """Return the shape of a computed tensor, without its batch."""
        tensor = self.tensors[index]
        shape = tensor.shape
        if tensor.refusal:
            raise Refused(f"tensor {quote(tensor.name)}: {tensor.refusal}")
        if tensor.dynamic:
            raise Refused(f"the shape of {quote(tensor.name)} is open in axis {tensor.dynamic[0]}")
        if len(shape) not in (2, 3, 4) or min(shape) < 1 or shape[0] != 1:
            wanted = "a batch of 1 and one to three axes"
            raise Refused(f"{quote(tensor.name)} must have {wanted}, not the shape {list(shape)}")
        if math.prod(shape) > MAX_ELEMENTS:
            raise Refused(f"{quote(tensor.name)} has more than {MAX_ELEMENTS} numbers")
        if len(shape) == 4:
            return shape[1], shape[2], shape[3]
        return (shape[1], 1, shape[2]) if len(shape) == 3 else (1, 1, shape[1])

    def quantiser(self, index: int, rounding: Rounding = "half even") -> Quantiser | None:
        """Return the grid of a computed tensor, or None if it has real numbers."""
        tensor = self.tensors[index]
        if tensor.type == "FLOAT32":
            return None
        if tensor.type not in CODES:
            raise Refused(f"{quote(tensor.name)} has the type {tensor.type}")
        scale, zero_point = self.scale(tensor), tensor.zero_point
        if len(scale) != 1:
            raise Refused(f"{quote(tensor.name)} must have 1 scale, not {len(scale)}")
        zero = int(zero_point[0]) if len(zero_point) else 0
        quantiser = Quantiser(np.array(scale[0]), zero, 8, CODES[tensor.type], rounding=rounding)
        if not quantiser.low <= zero <= quantiser.high:
            raise Refused(f"{quote(tensor.name)} has the zero point {zero}, which is no {tensor.type}")
        return quantiser

    def scale(self, tensor: Tensor) -> np.ndarray:
        """Return the scales of a tensor as float64."""
        if not (np.isfinite(tensor.scale).all() and (tensor.scale > 0).all()):
            raise Refused(f"the scales of {quote(tensor.name)} must be positive numbers")
        return tensor.scale.astype(np.float64)

    def same_grid(self, first: int, second: int) -> bool:
        """Return whether two tensors have the same numbers to choose from, be it with other codes."""
        a, b = self.quantiser(first), self.quantiser(second)
        if a is None or b is None:
            return a is b
        return bool(a.scale == b.scale) and a.low - a.zero_point == b.low - b.zero_point  # both have 256 codes

    def is_constant(self, index: int) -> bool:
        """Return whether a tensor is a constant of the file, or made of one."""
        return index in self.folded or self.tensors[index].data is not None

    def constant(self, index: int, *types: str) -> np.ndarray:
        """Return the numbers or codes of a constant, in its shape and as the file has them."""
        tensor = self.tensors[index]
        data, folded = tensor.data, self.folded.get(index)
        if tensor.refusal:
            raise Refused(f"tensor {quote(tensor.name)}: {tensor.refusal}")
        known = tensor.type in types
        if folded is not None and known:
            return folded
        if data is None or not known:
            raise Refused(f"{quote(tensor.name)} must be a constant of the type {' or '.join(types)}")
        dtype = np.dtype(_CONSTANTS[tensor.type])
        size = math.prod(tensor.shape) * dtype.itemsize
        if min(tensor.shape, default=1) < 1 or size != len(data):
            wanted = f"the shape {list(tensor.shape)} and the type {tensor.type}"
            raise Damaged(f"{quote(tensor.name)} has {counted(len(data), 'byte')} for {wanted}")
        self._constant_bytes += size
        if self._constant_bytes > _MAX_CONSTANT_BYTES:
            raise Damaged(f"its constants take more than {_MAX_CONSTANT_BYTES} bytes")
        array = np.frombuffer(data.tobytes(), dtype).reshape(tensor.shape)
        if dtype.kind == "f" and not np.isfinite(array).all():
            raise Refused(f"{quote(tensor.name)} has numbers that are not finite")
        return array

    def numbers(self, index: int) -> np.ndarray:
        """Return a constant as float64 numbers."""
        codes = self.constant(index, "FLOAT32", *CODES).astype(np.float64)
        quantiser = None if index in self.folded else self.quantiser(index)
        return codes if quantiser is None else quantiser.values(codes)

    # How operators are appended.

    def fresh(self, name: str) -> str:
        """Return a name for a tensor that the file does not have."""
        while name in self._names:
            name += "'"
        self._names.add(name)
        return name

    def source(self, node: Node, position: int = 0) -> int:
        """Return the index of an input that another node computes."""
        if position >= len(node.inputs) or (index := node.inputs[position]) < 0:
            raise Damaged(f"{node.name} has no input {position}")
        if self.is_constant(index):
            raise Refused(f"input {position} is a constant")
        if index in self.padded:
            raise Refused("padding must come in front of a convolution")
        return index

    def output(self, node: Node) -> int:
        """Return the index of the only output."""
        if len(node.outputs) != 1:
            raise Damaged(f"{node.name} has {counted(len(node.outputs), 'output')}")
        return node.outputs[0]

    def chain(self, node: Node, inputs: tuple[int, ...], steps: Steps) -> None:
        """Add operators one after another, the last of which gives the output of a node."""
        names = tuple(self.values[index] for index in inputs)
        output = self.output(node)
        for position, (suffix, make, options) in enumerate(steps):
            name = f"{node.name}.{suffix}" if suffix else node.name
            last = position == len(steps) - 1
            target = self.tensors[output].name if last else self.fresh(name)
            self.operators.append(make(name=name, inputs=names, output=target, **options))
            names = (target,)
        self.values[output] = names[0]

    def ending(self, node: Node, activation: int = 0, *, on_grid: bool = False) -> Steps:
        """Return the activation and the quantiser of a node's output.

        Parameters
        ----------
        node
            The node.
        activation
            Its fused activation, by the schema.
        on_grid
            Whether the node gives numbers of the output's grid only.
        """
        steps: Steps = []
        if activation:
            if activation not in _ACTIVATIONS:
                raise Refused(f"its activation has the number {activation}; only those of ReLU are known")
            suffix, low, high = _ACTIVATIONS[activation]
            steps.append((suffix, Clip, {"low": low, "high": high}))
            on_grid = on_grid and high == math.inf  # 0 is on each grid
        rounding = _ROUNDING.get(node.kind, "half even")
        if node.kind == "QUANTIZE" and self.tensors[node.inputs[0]].type == "FLOAT32":
            rounding = "half even"
        quantiser = self.quantiser(self.output(node), rounding)
        if quantiser is not None and not on_grid:
            steps.append(("quantise", Quantise, {"quantiser": quantiser}))
        return steps

    def same_type(self, node: Node, *inputs: int) -> None:
        """Refuse a node with inputs and output of different types."""
        types = [self.tensors[index].type for index in (*inputs, self.output(node))]
        for index in (*inputs, self.output(node)):
            self.quantiser(index)  # which refuses types
        if len(set(types)) > 1:
            raise Refused(f"inputs and output have the types {', '.join(types)}")

    def same_codes(self, node: Node, source: int) -> None:
        """Refuse a node that passes codes on to another grid: TensorFlow Lite does not define what that means."""
        self.same_type(node, source)
        if not self.same_grid(source, self.output(node)):
            raise Refused("input and output must have the same scale and zero point")
