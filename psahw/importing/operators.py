"""Operators on real numbers: what a reader makes of a file, and what lowering turns into a network.

Tensors have the shape (rows, columns, channels), without a batch. A table or a signal has one row. Integers of the
source are kept as such, together with their scale. Everything else is float64. An operator names its inputs and its
output, and a `Model` lists its operators so that each comes after those that it takes its inputs from.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

import numpy as np

__all__ = [
    "Add", "Affine", "Bipolar", "Clip", "Convolution", "Flatten", "Input", "MaxPool", "MeanPool", "Model",
    "MultiThreshold", "Operator", "Quantise", "Quantiser", "Rounding", "Shape", "apply", "evaluate", "output_shape",
    "shapes", "ungrouped",
]  # fmt: skip

Shape: TypeAlias = tuple[int, int, int]
"""Rows, columns and channels of a tensor."""

Rounding: TypeAlias = Literal[
    "half even", "half up", "half away", "half to even code", "half away from code 0", "floor", "ceil", "towards zero"
]
"""How a real number becomes an integer. The first five differ in halves only."""

_ROUND: Mapping[Rounding, Callable[[np.ndarray], np.ndarray]] = {
    "half even": np.rint,
    "half up": lambda x: np.floor(x + 0.5),
    "half away": lambda x: np.copysign(np.floor(np.abs(x) + 0.5), x),
    "half to even code": np.rint,
    "half away from code 0": lambda x: np.copysign(np.floor(np.abs(x) + 0.5), x),
    "floor": np.floor,
    "ceil": np.ceil,
    "towards zero": np.trunc,
}


@dataclass(frozen=True, eq=False)
class Quantiser:
    """A grid of real numbers with their codes: ``code = clip(round(x / scale) + zero_point, low, high)``.

    Parameters
    ----------
    scale
        float64, a single number or one for each channel; all are positive.
    zero_point
        The code of 0.
    bits
        Bits of a code, in [1, 32].
    signed
        Whether the codes are in two's complement.
    narrow
        Whether the least code is left out: -127 to 127, or 0 to 254.
    rounding
        How halves are rounded. "half to even code" and "half away from code 0" round ``x / scale + zero_point``, as
        TensorFlow Lite does with means; all others round ``x / scale``.
    """

    scale: np.ndarray
    zero_point: int = 0
    bits: int = 8
    signed: bool = True
    narrow: bool = False
    rounding: Rounding = "half even"

    @property
    def low(self) -> int:
        """The least code."""
        return (-(1 << self.bits - 1) if self.signed else 0) + (self.narrow and self.signed)

    @property
    def high(self) -> int:
        """The greatest code."""
        return (1 << self.bits - self.signed) - 1 - (self.narrow and not self.signed)

    def codes(self, values: np.ndarray) -> np.ndarray:
        """Return the int64 codes of real numbers, whose last axis is the channels."""
        early, late = 0, self.zero_point
        if self.rounding in ("half to even code", "half away from code 0"):
            early, late = late, early
        rounded = _ROUND[self.rounding](values / self.scale + early)
        return np.clip(rounded + late, self.low, self.high).astype(np.int64)

    def values(self, codes: np.ndarray) -> np.ndarray:
        """Return the real numbers of codes, whose last axis is the channels."""
        return (codes - self.zero_point) * self.scale


@dataclass(frozen=True, eq=False)
class Input:
    """The input of a model.

    Parameters
    ----------
    name
        Name of the tensor.
    shape
        Its shape.
    quantiser
        The grid of its numbers, or None if the file does not state one.
    """

    name: str
    shape: Shape
    quantiser: Quantiser | None = None


@dataclass(frozen=True, eq=False)
class _Operator:
    """An operator.

    Parameters
    ----------
    name
        Name of the node in the file, or one made from its kind and number. Messages and reports use it.
    inputs
        Names of the tensors that it takes.
    output
        Name of the tensor that it gives.
    """

    name: str
    inputs: tuple[str, ...]
    output: str


@dataclass(frozen=True, eq=False)
class Convolution(_Operator):
    """Windows times weights, plus a bias. A dense layer is one with a single window of one position.

    Parameters
    ----------
    weight
        int8 codes, or float64 if the source has no integers, of shape (outputs, rows, columns, inputs per group).
    scale
        float64 of a weight's code, one number or one for each output; 1 for weights that are float64.
    bias
        float64 of shape (outputs,), or None.
    stride
        Rows and columns between two windows.
    padding
        Rows above, rows below, columns left and columns right. They have the value 0.
    groups
        Number of groups: the outputs of a group take their own part of the channels.
    """

    weight: np.ndarray
    scale: np.ndarray = field(default_factory=lambda: np.ones(()))
    bias: np.ndarray | None = None
    stride: tuple[int, int] = (1, 1)
    padding: tuple[int, int, int, int] = (0, 0, 0, 0)
    groups: int = 1

    @property
    def size(self) -> tuple[int, int]:
        """Rows and columns of a window."""
        return self.weight.shape[1], self.weight.shape[2]

    @property
    def real_weight(self) -> np.ndarray:
        """The weights as real numbers."""
        return self.weight * np.broadcast_to(self.scale, self.weight.shape[:1])[:, None, None, None]


@dataclass(frozen=True, eq=False)
class Affine(_Operator):
    """``y = factor·x + offset``, each a float64 number or one for each channel: a batch norm, a bias, a constant."""

    factor: np.ndarray
    offset: np.ndarray


@dataclass(frozen=True, eq=False)
class Clip(_Operator):
    """``y = min(max(x, low), high)``; ReLU has the bounds 0 and infinity."""

    low: float = 0.0
    high: float = float("inf")


@dataclass(frozen=True, eq=False)
class Quantise(_Operator):
    """The nearest number of a grid."""

    quantiser: Quantiser


@dataclass(frozen=True, eq=False)
class Bipolar(_Operator):
    """``y = scale if x >= 0 else -scale``, as QONNX's BipolarQuant."""

    scale: np.ndarray


@dataclass(frozen=True, eq=False)
class MultiThreshold(_Operator):
    """``y = factor·(number of thresholds that x reaches) + offset``, as QONNX's operator.

    Parameters
    ----------
    thresholds
        float64 of shape (channels, thresholds) or (1, thresholds), ascending.
    factor, offset
        Numbers.
    """

    thresholds: np.ndarray
    factor: float = 1.0
    offset: float = 0.0


@dataclass(frozen=True, eq=False)
class Add(_Operator):
    """The sum of two tensors of the same shape."""


@dataclass(frozen=True, eq=False)
class MaxPool(_Operator):
    """The greatest number of each channel in a window; padding never is the greatest."""

    size: tuple[int, int]
    stride: tuple[int, int]
    padding: tuple[int, int, int, int] = (0, 0, 0, 0)


@dataclass(frozen=True, eq=False)
class MeanPool(_Operator):
    """The mean of each channel over all positions."""


@dataclass(frozen=True, eq=False)
class Flatten(_Operator):
    """All positions one after another, in raster order, each with its channels.

    A source with its channels in front (NCHW) flattens in another order. Its reader gives ``channels_first``, and the
    next dense layer has its columns in that order.
    """

    channels_first: bool = False


Operator: TypeAlias = (
    Convolution | Affine | Clip | Quantise | Bipolar | MultiThreshold | Add | MaxPool | MeanPool | Flatten
)


@dataclass(frozen=True, eq=False)
class Model:
    """A model of another tool.

    Parameters
    ----------
    name
        Its name.
    source
        What it was read from, such as ``"TensorFlow Lite"``.
    input
        Its input.
    operators
        Its operators, each after those that it takes its inputs from.
    output
        Name of the tensor that it gives.
    dropped
        What was left out at the end because it changes no class, such as a softmax: a line for each.
    """

    name: str
    source: str
    input: Input
    operators: tuple[Operator, ...]
    output: str
    dropped: tuple[str, ...] = ()


_Pair: TypeAlias = tuple[int, int]
_Padding: TypeAlias = tuple[int, int, int, int]


def _windows(x: np.ndarray, size: _Pair, stride: _Pair, padding: _Padding, value: float) -> np.ndarray:
    """Return windows of images (images, rows, columns, channels): (images, rows, columns, *size, channels)."""
    above, below, left, right = padding
    x = np.pad(x, ((0, 0), (above, below), (left, right), (0, 0)), constant_values=value)
    windows = np.lib.stride_tricks.sliding_window_view(x, size, (1, 2))[:, :: stride[0], :: stride[1]]
    return np.moveaxis(windows, 3, -1)


def _convolve(operator: Convolution, x: np.ndarray) -> np.ndarray:
    windows = _windows(x, operator.size, operator.stride, operator.padding, 0.0)
    parts, weights = np.split(windows, operator.groups, -1), np.split(operator.real_weight, operator.groups)
    sums = [
        np.einsum("nhwijc,oijc->nhwo", part, weight, optimize=True)
        for part, weight in zip(parts, weights, strict=True)
    ]
    y = np.concatenate(sums, -1)
    return y if operator.bias is None else y + operator.bias


def ungrouped(weight: np.ndarray, groups: int) -> np.ndarray:
    """Return the weights of a grouped convolution as those of one with a single group, with zeros between.

    Parameters
    ----------
    weight
        (outputs, rows, columns, inputs per group).
    groups
        Number of groups.

    Returns
    -------
    numpy.ndarray
        (outputs, rows, columns, inputs), of the same type.
    """
    outputs, rows, columns, inputs = weight.shape
    whole = np.zeros((outputs, rows, columns, inputs * groups), weight.dtype)
    for output in range(outputs):
        first = output // (outputs // groups) * inputs
        whole[output, :, :, first : first + inputs] = weight[output]
    return whole


def apply(operator: Operator, inputs: list[np.ndarray]) -> np.ndarray:
    """Return the output of an operator for float64 inputs of shape (images, rows, columns, channels)."""
    x = inputs[0]
    match operator:
        case Convolution():
            return _convolve(operator, x)
        case Affine(factor=factor, offset=offset):
            return x * factor + offset
        case Clip(low=low, high=high):
            return np.clip(x, low, high)
        case Quantise(quantiser=quantiser):
            return quantiser.values(quantiser.codes(x))
        case Bipolar(scale=scale):
            return np.where(x >= 0, scale, -scale)
        case MultiThreshold(thresholds=thresholds, factor=factor, offset=offset):
            return factor * (x[..., None] >= thresholds).sum(-1) + offset
        case Add():
            return x + inputs[1]
        case MaxPool(size=size, stride=stride, padding=padding):
            return _windows(x, size, stride, padding, -np.inf).max((-3, -2))
        case MeanPool():
            return x.mean((1, 2), keepdims=True)
        case Flatten(channels_first=channels_first):
            ordered = np.moveaxis(x, 3, 1) if channels_first else x
            return ordered.reshape(len(x), 1, 1, -1)
    raise TypeError(f"operator must be one of psahw.importing.operators, not {type(operator).__name__}")


def evaluate(model: Model, images: np.ndarray) -> Mapping[str, np.ndarray]:
    """Return every tensor of a model by name.

    Parameters
    ----------
    model
        The model.
    images
        Real numbers of shape (images, rows, columns, channels); on the input's grid, if it has one.

    Returns
    -------
    dict
        float64 of shape (images, rows, columns, channels) for each tensor.
    """
    tensors = {model.input.name: np.asarray(images, np.float64)}
    for operator in model.operators:
        tensors[operator.output] = apply(operator, [tensors[name] for name in operator.inputs])
    return tensors


def shapes(model: Model) -> dict[str, Shape]:
    """Return the shape of every tensor by name.

    Raises
    ------
    ValueError
        If an operator does not fit its input. The message begins with the operator's name.
    """
    known = {model.input.name: model.input.shape}
    for operator in model.operators:
        known[operator.output] = output_shape(operator, [known[name] for name in operator.inputs])
    return known


def output_shape(operator: Operator, inputs: list[Shape]) -> Shape:
    """Return the shape that an operator gives for the shapes of its inputs.

    Raises
    ------
    ValueError
        If an operator does not fit its input. The message begins with the operator's name.
    """
    rows, columns, channels = inputs[0]
    match operator:
        case Convolution(weight=weight, groups=groups, stride=stride, padding=padding):
            if weight.shape[3] * groups != channels or len(weight) % groups:
                wanted = f"{channels} channels in {groups} groups"
                raise ValueError(f"{operator.name} must have weights for {wanted}, not {weight.shape}")
            return (*_grid(operator, (rows, columns), operator.size, stride, padding), len(weight))
        case MaxPool(size=size, stride=stride, padding=padding):
            return (*_grid(operator, (rows, columns), size, stride, padding), channels)
        case MeanPool():
            return 1, 1, channels
        case Flatten():
            return 1, 1, rows * columns * channels
        case Add() if inputs[0] != inputs[1]:
            raise ValueError(f"{operator.name} must add tensors of the same shape, not {inputs[0]} and {inputs[1]}")
    for name in ("factor", "offset", "scale"):
        length = np.size(getattr(operator, name, 1))
        if length not in (1, channels):
            raise ValueError(f"{operator.name} must have 1 or {channels} numbers, not {length}")
    return inputs[0]


def _grid(operator: Operator, grid: _Pair, size: _Pair, stride: _Pair, padding: _Padding) -> _Pair:
    """Return the rows and columns of windows over a grid. Raises ValueError if none fits."""
    above, below, left, right = padding
    lengths = (grid[0] + above + below - size[0], grid[1] + left + right - size[1])
    if min(lengths) < 0:
        raise ValueError(
            f"{operator.name} must have windows that fit {grid[0]} x {grid[1]}, not {size[0]} x {size[1]}"
        )
    return lengths[0] // stride[0] + 1, lengths[1] // stride[1] + 1
