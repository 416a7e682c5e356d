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
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from ..documents import read_bytes
from ..errors import UserError
from ..quoting import printable, quote
from .operators import (
    Add,
    Affine,
    Clip,
    Convolution,
    Flatten,
    Input,
    MaxPool,
    MeanPool,
    Model,
    Operator,
    Quantise,
    Quantiser,
    Rounding,
    Shape,
    shapes,
)
from .tflite_file import MAX_BYTES, Graph, Node, Tensor, parse
from .unsupported import Unsupported

__all__ = ["MAX_ELEMENTS", "read"]

MAX_ELEMENTS = 1 << 24
"""The most numbers in a tensor that the model computes."""

_MAX_CONSTANT_BYTES = MAX_BYTES  # of all constants together: a file may use one buffer many times

_CODES = {"INT8": True, "UINT8": False}  # whether they are signed
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

_RESHAPES = ("RESHAPE", "SQUEEZE", "EXPAND_DIMS")
_LAST = ("SOFTMAX", "LOGISTIC")
_ONE_INPUT = (*_RESHAPES, "MEAN", "PAD", "PADV2")  # their other inputs are parameters

_Padding: TypeAlias = tuple[int, int, int, int]
_Steps: TypeAlias = list[tuple[str, Callable[..., Operator], dict[str, Any]]]


class _Refused(Exception):
    """A node is not supported. The message is the reason."""


class _Damaged(Exception):
    """A file contradicts itself. The message says how."""


@dataclass(frozen=True)
class _Padded:
    """A tensor with zeros around it, which only a convolution can take."""

    source: int
    padding: _Padding


def _data_inputs(node: Node) -> tuple[int, ...]:
    """Return the inputs of a node that may be computed by another one."""
    inputs = node.inputs[:1] if node.kind in _ONE_INPUT else node.inputs
    return tuple(index for index in inputs if index >= 0)


def _plural(count: int, noun: str) -> str:
    return f"{count} {noun}{'s' * (count != 1)}"


def _sum(first: _Padding, second: _Padding) -> _Padding:
    """Return the padding that two give one after the other."""
    return first[0] + second[0], first[1] + second[1], first[2] + second[2], first[3] + second[3]


class _Reader:
    """Turns the nodes of a graph into operators, and collects what is not supported."""

    def __init__(self, graph: Graph) -> None:
        self.tensors, self.nodes = graph.tensors, graph.nodes
        self.producer: dict[int, Node] = {}
        self.names = {tensor.name for tensor in graph.tensors}
        self.values: dict[int, str] = {}  # what each computed tensor is called in the model
        self.padded: dict[int, _Padded] = {}
        self.folded: dict[int, np.ndarray] = {}
        self.broken: set[int] = set()  # outputs of refused nodes with a shape that no model can have
        self.refused: list[tuple[str, str, str]] = []
        self.operators: list[Operator] = []
        self.constant_bytes = 0
        self.kinds: dict[str, Callable[[Node], None]] = {
            "CONV_2D": self.convolution,
            "DEPTHWISE_CONV_2D": self.convolution,
            "FULLY_CONNECTED": self.dense,
            "ADD": self.arithmetic,
            "SUB": self.arithmetic,
            "MUL": self.arithmetic,
            "MAX_POOL_2D": self.max_pool,
            "AVERAGE_POOL_2D": self.average_pool,
            "MEAN": self.mean,
            "RELU": self.relu,
            "RELU6": self.relu,
            "RELU_N1_TO_1": self.relu,
            "RESHAPE": self.reshape,
            "SQUEEZE": self.reshape,
            "EXPAND_DIMS": self.reshape,
            "PAD": self.pad,
            "PADV2": self.pad,
            "QUANTIZE": self.quantise,
            "DEQUANTIZE": self.dequantise,
        }

    # What tensors are.

    def shape(self, index: int) -> Shape:
        """Return the shape of a computed tensor, without its batch."""
        tensor = self.tensors[index]
        shape = tensor.shape
        if tensor.refusal:
            raise _Refused(f"tensor {quote(tensor.name)}: {tensor.refusal}")
        if tensor.dynamic:
            raise _Refused(f"the shape of {quote(tensor.name)} is open in axis {tensor.dynamic[0]}")
        if len(shape) not in (2, 3, 4) or min(shape) < 1 or shape[0] != 1:
            wanted = "a batch of 1 and one to three axes"
            raise _Refused(f"{quote(tensor.name)} must have {wanted}, not the shape {list(shape)}")
        if math.prod(shape) > MAX_ELEMENTS:
            raise _Refused(f"{quote(tensor.name)} has more than {MAX_ELEMENTS} numbers")
        if len(shape) == 4:
            return shape[1], shape[2], shape[3]
        return (shape[1], 1, shape[2]) if len(shape) == 3 else (1, 1, shape[1])

    def quantiser(self, index: int, rounding: Rounding = "half even") -> Quantiser | None:
        """Return the grid of a computed tensor, or None if it has real numbers."""
        tensor = self.tensors[index]
        if tensor.type == "FLOAT32":
            return None
        if tensor.type not in _CODES:
            raise _Refused(f"{quote(tensor.name)} has the type {tensor.type}")
        scale, zero_point = self.scale(tensor), tensor.zero_point
        if len(scale) != 1:
            raise _Refused(f"{quote(tensor.name)} must have 1 scale, not {len(scale)}")
        zero = int(zero_point[0]) if len(zero_point) else 0
        quantiser = Quantiser(np.array(scale[0]), zero, 8, _CODES[tensor.type], rounding=rounding)
        if not quantiser.low <= zero <= quantiser.high:
            raise _Refused(f"{quote(tensor.name)} has the zero point {zero}, which is no {tensor.type}")
        return quantiser

    def scale(self, tensor: Tensor) -> np.ndarray:
        """Return the scales of a tensor as float64."""
        if not (np.isfinite(tensor.scale).all() and (tensor.scale > 0).all()):
            raise _Refused(f"the scales of {quote(tensor.name)} must be positive numbers")
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
            raise _Refused(f"tensor {quote(tensor.name)}: {tensor.refusal}")
        known = tensor.type in types
        if folded is not None and known:
            return folded
        if data is None or not known:
            raise _Refused(f"{quote(tensor.name)} must be a constant of the type {' or '.join(types)}")
        dtype = np.dtype(_CONSTANTS[tensor.type])
        size = math.prod(tensor.shape) * dtype.itemsize
        if min(tensor.shape, default=1) < 1 or size != len(data):
            wanted = f"the shape {list(tensor.shape)} and the type {tensor.type}"
            raise _Damaged(f"{quote(tensor.name)} has {_plural(len(data), 'byte')} for {wanted}")
        self.constant_bytes += size
        if self.constant_bytes > _MAX_CONSTANT_BYTES:
            raise _Damaged(f"its constants take more than {_MAX_CONSTANT_BYTES} bytes")
        array = np.frombuffer(data.tobytes(), dtype).reshape(tensor.shape)
        if dtype.kind == "f" and not np.isfinite(array).all():
            raise _Refused(f"{quote(tensor.name)} has numbers that are not finite")
        return array

    # How operators are added.

    def fresh(self, name: str) -> str:
        """Return a name for a tensor that the file does not have."""
        while name in self.names:
            name += "'"
        self.names.add(name)
        return name

    def source(self, node: Node, position: int = 0) -> int:
        """Return the index of an input that another node computes."""
        if position >= len(node.inputs) or (index := node.inputs[position]) < 0:
            raise _Damaged(f"{node.name} has no input {position}")
        if self.is_constant(index):
            raise _Refused(f"input {position} is a constant")
        if index in self.padded:
            raise _Refused("padding must come in front of a convolution")
        return index

    def output(self, node: Node) -> int:
        """Return the index of the only output."""
        if len(node.outputs) != 1:
            raise _Damaged(f"{node.name} has {_plural(len(node.outputs), 'output')}")
        return node.outputs[0]

    def chain(self, node: Node, inputs: tuple[int, ...], steps: _Steps) -> None:
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

    def ending(self, node: Node, activation: int = 0, *, on_grid: bool = False) -> _Steps:
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
        steps: _Steps = []
        if activation:
            if activation not in _ACTIVATIONS:
                raise _Refused(f"its activation has the number {activation}; only those of ReLU are known")
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
            raise _Refused(f"inputs and output have the types {', '.join(types)}")

    def same_codes(self, node: Node, source: int) -> None:
        """Refuse a node that passes codes on to another grid: TensorFlow Lite does not define what that means."""
        self.same_type(node, source)
        if not self.same_grid(source, self.output(node)):
            raise _Refused("input and output must have the same scale and zero point")

    # Operators.

    def weights(self, index: int, axis: int, floats: bool) -> tuple[np.ndarray, np.ndarray]:
        """Return weights, int8 codes or float64, and their float64 scale, or one for each position of an axis."""
        tensor = self.tensors[index]
        if floats:
            if tensor.type in _CODES and index not in self.folded:
                raise _Refused(f"its weights are {tensor.type} for float inputs, whose codes depend on the input")
            return self.constant(index, "FLOAT32").astype(np.float64), np.ones(())
        codes, scale = self.constant(index, "INT8", "UINT8"), self.scale(tensor)
        if len(scale) > 1 and tensor.axis != axis:
            raise _Refused(f"its weights must have scales along axis {axis}, not {tensor.axis}")
        if len(scale) not in (1, codes.shape[axis]):
            raise _Refused(f"its weights must have 1 or {codes.shape[axis]} scales, not {len(scale)}")
        if tensor.type == "UINT8":
            zero = int(tensor.zero_point[0]) if len(tensor.zero_point) else 0
            if len(scale) > 1 or not 0 <= zero <= 255:
                raise _Refused("its weights must have one zero point in [0, 255]")
            wide = codes.astype(np.int16) - np.int16(zero)
            if wide.min() < -128 or wide.max() > 127:
                raise _Refused(f"its weights minus the zero point {zero} do not fit int8")
            codes = wide.astype(np.int8)
        elif tensor.zero_point.any():
            raise _Refused("its weights must have the zero point 0")
        return codes, scale if len(scale) > 1 else scale.reshape(())

    def bias(self, node: Node, source: int, scale: np.ndarray, outputs: int) -> np.ndarray | None:
        """Return the bias as float64, or None. Codes count in units of the input's scale times the weights'."""
        if len(node.inputs) < 3 or (index := node.inputs[2]) < 0:
            return None
        quantiser = self.quantiser(source)
        array = self.constant(index, "FLOAT32" if quantiser is None else "INT32").astype(np.float64)
        if array.shape != (outputs,):
            raise _Refused(f"its bias must have the shape [{outputs}], not {list(array.shape)}")
        if quantiser is None:
            return array
        unit, stated = quantiser.scale * scale, self.scale(self.tensors[index])
        if self.tensors[index].zero_point.any():
            raise _Refused("its bias must have the zero point 0")
        if len(stated) not in (0, 1, outputs) or (len(stated) and not np.allclose(stated, unit, rtol=0.02, atol=0)):
            raise _Refused("the scale of its bias must be that of the input times that of the weights")
        return array * unit

    def convolution(self, node: Node) -> None:
        """Add a convolution, with the padding in front of it."""
        options, depthwise = node.options, node.kind.startswith("DEPTHWISE")
        first = node.inputs[0] if node.inputs else -1
        padded = self.padded.get(first)
        source = self.source(node) if padded is None else padded.source
        rows, columns, channels = self.shape(source)
        self.same_type(node, source)
        if len(node.inputs) < 2 or node.inputs[1] < 0:
            raise _Damaged(f"{node.name} has no weights")
        if (options.dilationHFactor, options.dilationWFactor) != (1, 1):
            raise _Refused(f"dilation of {options.dilationHFactor} x {options.dilationWFactor}")
        floats = self.quantiser(source) is None
        weight, scale = self.weights(node.inputs[1], 3 if depthwise else 0, floats)
        if weight.ndim != 4:
            raise _Refused(f"its weights must have 4 axes, not {weight.ndim}")
        if depthwise:
            if weight.shape[0] != 1 or weight.shape[3] % channels:
                wanted = f"[1, rows, columns, a multiple of {channels}]"
                raise _Damaged(f"the weights of {node.name} must be {wanted}, not {list(weight.shape)}")
            weight, groups = weight[0].transpose(2, 0, 1)[..., None], channels
        else:
            groups = channels // weight.shape[3]
            if groups * weight.shape[3] != channels or len(weight) % max(groups, 1):
                wanted = f"{channels} channels"
                raise _Damaged(f"the weights of {node.name} do not fit {wanted}: {list(weight.shape)}")
        before = (0, 0, 0, 0) if padded is None else padded.padding
        grid = rows + before[0] + before[1], columns + before[2] + before[3]
        inner = self.padding(node, grid, (weight.shape[1], weight.shape[2]))
        padding = _sum(before, inner)
        bias = self.bias(node, source, scale, len(weight))
        parameters = {
            "weight": weight, "scale": scale, "bias": bias, "stride": (options.strideH, options.strideW),
            "padding": padding, "groups": groups,
        }  # fmt: skip
        self.chain(
            node, (source,), [("", Convolution, parameters), *self.ending(node, options.fusedActivationFunction)]
        )

    def padding(self, node: Node, grid: tuple[int, int], size: tuple[int, int]) -> _Padding:
        """Return the padding of windows, with an odd row below and an odd column to the right."""
        options = node.options
        stride = options.strideH, options.strideW
        if min(*stride, *size) < 1 or options.padding not in (0, 1):
            raise _Damaged(
                f"{node.name} has the stride {stride}, the window {size} and the padding {options.padding}"
            )
        if options.padding == 1:  # VALID
            return 0, 0, 0, 0
        totals = [
            max((-(-length // step) - 1) * step + window - length, 0)
            for length, step, window in zip(grid, stride, size, strict=True)
        ]
        return totals[0] // 2, -(-totals[0] // 2), totals[1] // 2, -(-totals[1] // 2)

    def dense(self, node: Node) -> None:
        """Add a dense layer, in front of which an image is flattened."""
        source = self.source(node)
        rows, columns, _ = self.shape(source)
        self.same_type(node, source)
        if len(node.inputs) < 2 or node.inputs[1] < 0:
            raise _Damaged(f"{node.name} has no weights")
        if node.options.weightsFormat:
            raise _Refused("its weights are shuffled")
        weight, scale = self.weights(node.inputs[1], 0, self.quantiser(source) is None)
        if weight.ndim != 2:
            raise _Damaged(f"the weights of {node.name} must have 2 axes, not {weight.ndim}")
        bias = self.bias(node, source, scale, len(weight))
        step = ("", Convolution, {"weight": weight[:, None, None, :], "scale": scale, "bias": bias})
        steps = [step, *self.ending(node, node.options.fusedActivationFunction)]
        if self.shape(self.output(node))[:2] != (rows, columns):
            steps.insert(0, ("flatten", Flatten, {}))
        self.chain(node, (source,), steps)

    def arithmetic(self, node: Node) -> None:
        """Add a sum of two tensors, or one with a constant for each channel."""
        if len(node.inputs) != 2 or min(node.inputs) < 0:
            raise _Damaged(f"{node.name} must have 2 inputs")
        constants = [self.is_constant(index) for index in node.inputs]
        ending = self.ending(node, node.options.fusedActivationFunction)
        if not any(constants):
            sources = self.source(node, 0), self.source(node, 1)
            self.same_type(node, *sources)
            if node.kind != "ADD":
                raise _Refused("one of its inputs must be a constant")
            first, second = map(self.shape, sources)
            if first != second:
                raise _Refused(f"its inputs have the shapes {first} and {second}")
            self.chain(node, sources, [("", Add, {}), *ending])
            return
        position = constants.index(False) if False in constants else 0
        source, other = self.source(node, position), node.inputs[1 - position]
        self.same_type(node, source)
        numbers = self.numbers(other)
        channels = self.shape(source)[2]
        if numbers.size not in (1, channels) or numbers.size != (numbers.shape or (1,))[-1]:
            raise _Refused(f"its constant must have 1 or {channels} numbers, not the shape {list(numbers.shape)}")
        one = np.ones(1)
        factor, offset = {
            "ADD": (one, numbers.reshape(-1)),
            "MUL": (numbers.reshape(-1), np.zeros(1)),
            "SUB": (one, -numbers.reshape(-1)) if position == 0 else (-one, numbers.reshape(-1)),
        }[node.kind]
        self.chain(node, (source,), [("", Affine, {"factor": factor, "offset": offset}), *ending])

    def numbers(self, index: int) -> np.ndarray:
        """Return a constant as float64 numbers."""
        codes = self.constant(index, "FLOAT32", *_CODES).astype(np.float64)
        quantiser = None if index in self.folded else self.quantiser(index)
        return codes if quantiser is None else quantiser.values(codes)

    def max_pool(self, node: Node) -> None:
        """Add a maximum of windows."""
        source, options = self.source(node), node.options
        rows, columns, _ = self.shape(source)
        self.same_codes(node, source)
        size = options.filterHeight, options.filterWidth
        padding = self.padding(node, (rows, columns), size)
        parameters = {"size": size, "stride": (options.strideH, options.strideW), "padding": padding}
        ending = self.ending(node, options.fusedActivationFunction, on_grid=True)
        self.chain(node, (source,), [("", MaxPool, parameters), *ending])

    def average_pool(self, node: Node) -> None:
        """Add the mean of all positions."""
        source, options = self.source(node), node.options
        rows, columns, _ = self.shape(source)
        self.same_codes(node, source)
        size = options.filterHeight, options.filterWidth
        padding = self.padding(node, (rows, columns), size)
        ending = self.ending(node, options.fusedActivationFunction)
        if size == (rows, columns) and not any(padding) and self.shape(self.output(node))[:2] == (1, 1):
            self.chain(node, (source,), [("", MeanPool, {}), *ending])
            return
        raise _Refused(f"means of {size[0]} x {size[1]} of {rows} x {columns} positions; only those of all are known")

    def mean(self, node: Node) -> None:
        """Add the mean of all positions."""
        source = self.source(node)
        shape = self.shape(source)
        self.same_type(node, source)
        if len(node.inputs) < 2 or node.inputs[1] < 0:
            raise _Damaged(f"{node.name} has no axes")
        rank = len(self.tensors[source].shape)
        axes = {int(axis) % rank for axis in self.constant(node.inputs[1], "INT32").reshape(-1)[:8]}
        if axes != set(range(1, rank - 1)) or self.shape(self.output(node)) != (1, 1, shape[2]):
            raise _Refused(f"means along the axes {sorted(axes)} of {rank}; only those of all positions are known")
        self.chain(node, (source,), [("", MeanPool, {}), *self.ending(node)])

    def relu(self, node: Node) -> None:
        """Add an activation."""
        source = self.source(node)
        self.same_type(node, source)
        activation = {"RELU": 1, "RELU_N1_TO_1": 2, "RELU6": 3}[node.kind]
        ending = self.ending(node, activation, on_grid=self.same_grid(source, self.output(node)))
        self.chain(node, (source,), [("", *ending[0][1:]), *ending[1:]])

    def reshape(self, node: Node) -> None:
        """Flatten an image, or rename a tensor whose shape does not change."""
        source = self.source(node)
        before, after = self.shape(source), self.shape(self.output(node))
        self.same_codes(node, source)
        if after != before and after != (1, 1, math.prod(before)):
            raise _Refused(f"from {before} to {after}: neither flattens nor keeps the shape")
        self.chain(node, (source,), [] if after == before else [("", Flatten, {})])

    def pad(self, node: Node) -> None:
        """Keep the padding for the convolution that follows."""
        source = node.inputs[0] if node.inputs else -1
        earlier = self.padded.get(source, _Padded(source, (0, 0, 0, 0)))
        if source not in self.padded:
            earlier = _Padded(self.source(node), (0, 0, 0, 0))
        self.shape(earlier.source)
        self.same_codes(node, earlier.source)
        if len(node.inputs) < 2 or min(node.inputs) < 0:
            raise _Damaged(f"{node.name} has no padding")
        rank = len(self.tensors[source].shape)
        amounts = self.constant(node.inputs[1], "INT32", "INT64")
        if amounts.shape != (rank, 2) or amounts.min() < 0 or amounts.max() > MAX_ELEMENTS:
            raise _Damaged(f"the padding of {node.name} must be {rank} pairs of numbers")
        if len(node.inputs) > 2 and self.numbers(node.inputs[2]).any():
            raise _Refused("it pads with another number than 0")
        if rank != 4 or amounts[0].any() or amounts[3].any():
            raise _Refused("it pads other axes than rows and columns")
        shape = self.shape(self.output(node))
        total = np.array(self.shape(source)[:2]) + amounts[1:3].sum(1)
        if tuple(total) != shape[:2]:
            raise _Damaged(f"{node.name} gives {tuple(map(int, total))} positions, not {shape[:2]}")
        above, below, left, right = map(int, amounts[1:3].reshape(-1))
        padding = _sum(earlier.padding, (above, below, left, right))
        self.padded[self.output(node)] = _Padded(earlier.source, padding)

    def quantise(self, node: Node) -> None:
        """Add a quantiser, except for the same numbers in another type."""
        source, output = self.source(node), self.output(node)
        if self.shape(source) != self.shape(output):
            raise _Damaged(f"{node.name} changes the shape")
        if self.quantiser(output) is None:
            raise _Refused("its output has no codes")
        same = self.quantiser(source) is not None and self.same_grid(source, output)
        self.chain(node, (source,), self.ending(node, on_grid=same))

    def dequantise(self, node: Node) -> None:
        """Rename a tensor, or fold a constant."""
        output = self.output(node)
        if node.inputs and node.inputs[0] >= 0 and self.is_constant(node.inputs[0]):
            tensor = self.tensors[node.inputs[0]]
            codes = self.constant(node.inputs[0], "FLOAT16", *_CODES)
            if tensor.type in _CODES:
                raise _Refused(f"its constant has the type {tensor.type}; only FLOAT16 is known")
            self.folded[output] = codes.astype(np.float32)
            return
        source = self.source(node)
        if self.shape(source) != self.shape(output):
            raise _Damaged(f"{node.name} changes the shape")
        if self.quantiser(source) is None or self.quantiser(output) is not None:
            raise _Refused("it must turn codes into float numbers")
        self.chain(node, (source,), [])

    # The whole graph.

    def check_order(self, start: int) -> None:
        """Raise _Damaged unless each tensor is computed once, and before it is used."""
        for node in self.nodes:
            for index in node.inputs:
                tensor = self.tensors[index]
                known = index < 0 or index == start or index in self.producer
                if not known and tensor.data is None and not tensor.variable:
                    raise _Damaged(f"{node.name} takes {quote(tensor.name)} before it is computed")
            for index in node.outputs:
                tensor = self.tensors[index]
                if index in self.producer or index == start or tensor.data is not None:
                    raise _Damaged(f"{node.name} gives {quote(tensor.name)}, which is computed already")
                self.producer[index] = node

    def end(self, output: int) -> tuple[int, tuple[str, ...]]:
        """Return the tensor that a final softmax or sigmoid takes, and what was dropped."""
        dropped: list[str] = []
        index = output
        while (node := self.producer.get(index)) is not None:
            if node.kind in _LAST and _data_inputs(node):
                output = index = node.inputs[0]
                dropped.append(f"{node.name} ({node.kind}), which does not change the order of the outputs")
            elif node.kind in ("QUANTIZE", "DEQUANTIZE", *_RESHAPES) and _data_inputs(node):
                index = node.inputs[0]  # dropped only if a softmax is in front of it
            else:
                break
        return output, tuple(reversed(dropped))

    def live(self, output: int) -> list[Node]:
        """Return the nodes that an output depends on."""
        needed = {output}
        nodes = []
        for node in reversed(self.nodes):
            if needed.intersection(node.outputs):
                nodes.append(node)
                needed.update(_data_inputs(node))
        return nodes[::-1]

    def start(self, start: int, output: int, nodes: list[Node]) -> tuple[int, set[Node]]:
        """Return the tensor that becomes the input, and the nodes before it: what shapes and quantises the input."""
        before: set[Node] = set()
        for _ in range(8):  # each step looks at all nodes
            if start == output:
                break
            users = [node for node in nodes if start in _data_inputs(node)]
            if len(users) != 1 or len(users[0].outputs) != 1:
                break
            node, tensor = users[0], self.tensors[start]
            after = node.outputs[0]
            if node.kind in _RESHAPES:
                if math.prod(tensor.shape) != math.prod(self.tensors[after].shape):
                    break
                try:
                    shape = self.shape(after)
                    if shape[:2] == (1, 1) or shape == self.shape(start) or not self.same_grid(start, after):
                        break
                except _Refused:
                    break
            elif node.kind != "QUANTIZE" or tensor.type != "FLOAT32":
                break
            before.add(node)
            start = after
        return start, before

    def convert(self, nodes: list[Node]) -> None:
        """Add the operators of nodes, and collect those that are not supported."""
        for node in nodes:
            reason = ""
            convert = self.kinds.get(node.kind)
            if convert is None:
                reason = "no such operator is known here"
            elif self.broken.isdisjoint(_data_inputs(node)):
                try:
                    if not all(map(self.is_constant, _data_inputs(node))):
                        self.shape(self.output(node))
                    convert(node)
                except _Refused as error:
                    reason = str(error)
            if reason:
                self.refused.append((node.name, node.kind, reason))
            for index in node.outputs:
                if index not in self.values and index not in self.padded and index not in self.folded:
                    self.values[index] = self.tensors[index].name
                    try:
                        self.shape(index)
                        self.quantiser(index)
                    except _Refused:
                        self.broken.add(index)


def _model(graph: Graph, name: str, path: str | os.PathLike) -> Model:
    for ends, noun in ((graph.inputs, "input"), (graph.outputs, "output")):
        if len(ends) != 1:
            raise UserError(f"{path} must have 1 {noun}, not {len(ends)}")
    reader = _Reader(graph)
    reader.check_order(graph.inputs[0])
    output, dropped = reader.end(graph.outputs[0])
    nodes = reader.live(output)
    start, before = reader.start(graph.inputs[0], output, nodes)
    refusal = ""
    model_input = None
    try:
        model_input = Input(reader.tensors[start].name, reader.shape(start), reader.quantiser(start))
    except _Refused as error:
        refusal = str(error)
        reader.broken.add(start)
    reader.values[start] = reader.tensors[start].name
    reader.convert([node for node in nodes if node not in before])
    if output in reader.padded:
        node = reader.producer[output]
        reader.refused.append((node.name, node.kind, "padding must come in front of a convolution"))
    if reader.refused:
        raise Unsupported(reader.refused, path)
    if graph.subgraphs != 1:
        raise UserError(f"{path} must have 1 graph, not {graph.subgraphs}")
    if model_input is None:
        raise UserError(f"the input of {path} is not supported: {refusal}")
    if output not in reader.values or not reader.operators:
        raise UserError(f"{path} must have at least one layer between its input and its output")
    model = Model(
        name=name,
        source="TensorFlow Lite",
        input=model_input,
        operators=tuple(reader.operators),
        output=reader.values[output],
        dropped=dropped,
    )
    _check_shapes(model, reader)
    return model


def _check_shapes(model: Model, reader: _Reader) -> None:
    """Raise _Damaged if a tensor has another shape than the file states."""
    try:
        computed = shapes(model)
    except ValueError as error:
        raise _Damaged(str(error)) from None
    for index, tensor in enumerate(reader.tensors):
        if tensor.name in computed and (stated := reader.shape(index)) != computed[tensor.name]:
            raise _Damaged(f"{quote(tensor.name)} has the shape {stated}, but {computed[tensor.name]} is computed")


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
    except _Damaged as error:
        raise UserError(f"{path} is damaged: {printable(str(error), 200)}") from None
