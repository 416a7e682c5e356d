"""Networks from NumPy arrays: integer weights, biases and scales become layers.

A model is a chain of calls that begins with `inputs`::

    x = inputs(64, scale=1 / 16, bits=4, signed=False)
    x = x.dense(weight1, bias1, scale=scale1).relu().quantise(0.05, signed=False)
    x = x.dense(weight2, bias2, scale=scale2)
    network = x.network("digits")

Each call returns a new `Tensor`, so a tensor may be used twice, as a residual connection needs. Linear layers take
codes, so a `Tensor.quantise` stands between two of them. `psahw.importing.lowering` says what the layers become.
"""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any, Literal, TypeAlias

import numpy as np

from ..network.checks import check_int, check_ints, check_name
from ..network.graph import Network
from ..network.layers import MAX_SIZE
from ..quoting import quote
from . import array_checks as checks
from . import operators as ops
from .lowering import Lowered, lower

__all__ = ["Padding", "Tensor", "inputs"]

Padding: TypeAlias = int | tuple[int, int, int, int] | Literal["same"]
"""Zeros around a grid: on all sides, or rows above, rows below, columns left and columns right.

"same" pads as TensorFlow does: so that the result has one row for each `stride` rows, with the odd zero at the end.
"""

_MAX_SUM = 1 << 31


@dataclass(frozen=True, eq=False)
class _Function(ops.Quantiser):
    """A function with a grid behind it."""

    function: Callable[[np.ndarray], np.ndarray] = field(kw_only=True)

    def codes(self, values: np.ndarray) -> np.ndarray:
        """Return the codes of the function of real numbers."""
        return super().codes(self.function(values))


@dataclass(frozen=True, eq=False)
class Tensor:
    """A place in a model, and all that leads to it. The first one is made by `inputs`.

    Attributes
    ----------
    shape
        Rows, columns and channels.
    quantiser
        The grid of its numbers; None for sums that are not quantised yet.
    """

    shape: ops.Shape
    quantiser: ops.Quantiser | None
    _input: ops.Input = field(repr=False)
    _operators: tuple[ops.Operator, ...] = field(repr=False)  # all that the tensor needs, in data order
    _name: str = field(repr=False)
    _taken: set[str] = field(repr=False)  # names in the model: every tensor of it has this same set

    def dense(
        self,
        weight: np.ndarray,
        bias: np.ndarray | None = None,
        *,
        scale: float | np.ndarray | None = None,
        name: str | None = None,
    ) -> "Tensor":
        """Return products with a matrix, plus a bias, for a tensor with a single position.

        Parameters
        ----------
        weight
            (outputs, inputs). Integers in [-128, 127], or floats that are such integers times `scale`.
        bias
            (outputs,), or None. Floats are real numbers. Integers count in units of a sum, which is the scale of the
            input times that of the weights.
        scale
            What a weight of 1 stands for: one number, or one for each output. Unless given, it is 1 for integers and,
            for floats, the greatest power of two that suits all.
        name
            Name of the layer; by default its kind with a number.

        Raises
        ------
        TypeError, ValueError
            If something is not as described; the message begins with the name of the layer.
        """
        name = self._named("dense", name)
        if self.shape[:2] != (1, 1):
            given = f"{self.shape[0]} x {self.shape[1]} positions"
            raise ValueError(f"{name}: its input must have a single position, not {given}: flatten() it first")
        codes, steps = checks.weights(name, checks.array(name, "weight", weight, 2), scale)
        return self._linear(name, codes[:, None, None], steps, bias, (1, 1), (0, 0, 0, 0), 1)

    def convolution(
        self,
        weight: np.ndarray,
        bias: np.ndarray | None = None,
        *,
        scale: float | np.ndarray | None = None,
        stride: int | tuple[int, int] = 1,
        padding: Padding = 0,
        groups: int = 1,
        name: str | None = None,
    ) -> "Tensor":
        """Return products of sliding windows with weights, plus a bias.

        Parameters
        ----------
        weight
            (outputs, rows, columns, inputs / groups), of numbers as in `dense`. Weights of torch have the inputs
            second: ``np.moveaxis(weight, 1, 3)``.
        bias, scale, name
            As in `dense`.
        stride
            Rows and columns between two windows.
        padding
            See `Padding`.
        groups
            Groups of channels, each with outputs of its own; as many as there are channels for a depthwise
            convolution.

        Raises
        ------
        TypeError, ValueError
            If something is not as described; the message begins with the name of the layer.
        """
        name = self._named("convolution", name)
        codes, steps = checks.weights(name, checks.array(name, "weight", weight, 4), scale)
        strides, around = self._windows(name, codes.shape[1:3], stride, padding)
        check_int(f"{name}: groups", groups, 1, self.shape[2])
        return self._linear(name, codes, steps, bias, strides, around, groups)

    def affine(
        self, factor: float | np.ndarray, offset: float | np.ndarray = 0.0, *, name: str | None = None
    ) -> "Tensor":
        """Return ``factor·x + offset``, such as a batch norm; one number each, or one for each channel."""
        name = self._named("affine", name)
        line = [
            checks.numbers(name, what, values, self.shape[2])
            for what, values in (("factor", factor), ("offset", offset))
        ]
        return self._then(ops.Affine(name, (self._name,), name, *line), None)

    def relu(self, *, name: str | None = None) -> "Tensor":
        """Return ``max(x, 0)``."""
        return self.clip(0.0, np.inf, name=self._named("relu", name))

    def clip(self, low: float, high: float, *, name: str | None = None) -> "Tensor":
        """Return ``min(max(x, low), high)``."""
        name = self._named("clip", name)
        if not low < high:
            raise ValueError(f"{name}: low must be below high, not {low:g} and {high:g}")
        return self._then(ops.Clip(name, (self._name,), name, float(low), float(high)), None)

    def quantise(
        self,
        scale: float,
        *,
        zero_point: int = 0,
        bits: int = 8,
        signed: bool = True,
        narrow: bool = False,
        rounding: ops.Rounding = "half even",
        function: Callable[[np.ndarray], np.ndarray] | None = None,
        name: str | None = None,
    ) -> "Tensor":
        """Return the nearest numbers of a grid, perhaps of a function.

        Parameters
        ----------
        scale
            Distance between two numbers of the grid.
        zero_point
            The code of 0.
        bits
            Bits of a code: 1 to 8, and at least 2 if `signed`.
        signed
            Whether codes are in two's complement.
        narrow, rounding
            See `psahw.importing.operators.Quantiser`.
        function
            Maps float64 arrays to such of the same shape, number by number. It becomes a table with an entry for each
            code, so the tensor that it is applied to must be quantised already.
        name
            As in `dense`.

        Raises
        ------
        TypeError, ValueError
            If something is not as described; the message begins with the name of the layer.
        """
        name = self._named("quantise", name)
        grid = checks.quantiser(name, scale, zero_point, bits, signed, narrow, rounding)
        made: ops.Quantiser = grid
        if function is not None:
            if self.quantiser is None:
                raise ValueError(f"{name}: a function needs codes: quantise() its input first")
            fields = {key: getattr(grid, key) for key in ("zero_point", "bits", "signed", "narrow", "rounding")}
            made = _Function(grid.scale, **fields, function=function)
            numbers = self.quantiser.values(np.arange(self.quantiser.low, self.quantiser.high + 1))
            given = np.asarray(function(numbers))
            if given.shape != numbers.shape or given.dtype.kind not in "fiu" or not np.isfinite(given).all():
                raise ValueError(f"{name}: its function must give a finite number for each number")
        return self._then(ops.Quantise(name, (self._name,), name, made), grid)

    def max_pool(
        self,
        size: int | tuple[int, int],
        stride: int | tuple[int, int] | None = None,
        *,
        padding: Padding = 0,
        name: str | None = None,
    ) -> "Tensor":
        """Return the greatest number of each channel in windows; the stride is the size unless given."""
        name = self._named("max_pool", name)
        window = checks.pair(f"{name}: size", size, 1)
        steps, around = self._windows(name, window, window if stride is None else stride, padding)
        return self._then(ops.MaxPool(name, (self._name,), name, window, steps, around), self.quantiser)

    def mean_pool(self, *, name: str | None = None) -> "Tensor":
        """Return the mean of each channel over all positions, on the grid of the tensor."""
        name = self._named("mean_pool", name)
        return self._then(ops.MeanPool(name, (self._name,), name), self.quantiser)

    def flatten(self, *, channels_first: bool = False, name: str | None = None) -> "Tensor":
        """Return all positions as one, in the order row, column, channel; or channel, row, column, as in torch."""
        name = self._named("flatten", name)
        return self._then(ops.Flatten(name, (self._name,), name, channels_first), self.quantiser)

    def add(self, other: "Tensor", *, name: str | None = None) -> "Tensor":
        """Return the sum of two tensors, which a `quantise` must follow. ``x + y`` does the same.

        Raises
        ------
        TypeError, ValueError
            If `other` is no tensor, or one of another model or shape.
        """
        if not isinstance(other, Tensor):
            raise TypeError(f"a summand must be a Tensor, not {quote(other)}")
        if other._input is not self._input:
            raise ValueError("both summands must come from the same inputs()")
        known = {id(operator) for operator in self._operators}
        both = (*self._operators, *(each for each in other._operators if id(each) not in known))
        summed = replace(self, _operators=both)
        name = summed._named("add", name)
        return summed._then(ops.Add(name, (self._name, other._name), name), None)

    def __add__(self, other: "Tensor") -> "Tensor":
        return self.add(other)

    def model(self, name: str = "arrays") -> ops.Model:
        """Return the model that ends with this tensor, as operators on real numbers."""
        check_name("name", name)
        return ops.Model(name, "NumPy arrays", self._input, self._operators, self._name)

    def lowered(self, name: str, **options: Any) -> Lowered:
        """Return the network that ends with this tensor, with a line for each operator: exact, or what is rounded.

        Parameters
        ----------
        name
            Name of the network.
        options
            ``exact``, ``outputs``, ``task`` and ``metadata`` of `psahw.importing.lowering.lower`.

        Raises
        ------
        psahw.importing.unsupported.Unsupported
            If operators cannot become layers; the message lists them with reasons.
        """
        return lower(self.model(name), name=name, **options)

    def network(self, name: str, **options: Any) -> Network:
        """Return the network that ends with this tensor; see `lowered`."""
        return self.lowered(name, **options).network

    def _named(self, kind: str, name: str | None) -> str:
        """Return the name of the next operator: the given one, or its kind with a number."""
        if name is None:
            return next(each for n in range(1, len(self._taken) + 2) if (each := f"{kind}{n}") not in self._taken)
        check_name("the name of a layer", name)
        if name in self._taken:
            raise ValueError(f"the name of a layer must be new, not {quote(name)} again")
        return name

    def _then(self, operator: ops.Operator, quantiser: ops.Quantiser | None) -> "Tensor":
        """Return the tensor behind an operator. Raises ValueError if the operator does not fit."""
        shapes = [self.shape]
        if isinstance(operator, ops.Add):
            known = ops.shapes(self.model())
            shapes = [known[name] for name in operator.inputs]
        shape = ops.output_shape(operator, shapes)
        self._taken.add(operator.name)
        return Tensor(shape, quantiser, self._input, (*self._operators, operator), operator.output, self._taken)

    def _windows(
        self, name: str, size: tuple[int, ...], stride: int | tuple[int, int], padding: Padding
    ) -> tuple[tuple[int, int], tuple[int, int, int, int]]:
        """Return the stride and the padding of windows."""
        steps = checks.pair(f"{name}: stride", stride, 1)
        if padding == "same":
            missing = [
                max(0, (-(-length // step) - 1) * step + window - length)
                for length, window, step in zip(self.shape[:2], size, steps, strict=True)
            ]
            (above, left), (below, right) = ([n // 2 for n in missing], [-(-n // 2) for n in missing])
            return steps, (above, below, left, right)
        around = (padding,) * 4 if isinstance(padding, int) else padding
        check_ints(f"{name}: padding", around, [(0, size[0] - 1)] * 2 + [(0, size[1] - 1)] * 2)
        assert isinstance(around, tuple)  # as checked
        return steps, around

    def _linear(
        self,
        name: str,
        weight: np.ndarray,
        scale: np.ndarray,
        bias: np.ndarray | None,
        stride: tuple[int, int],
        padding: tuple[int, int, int, int],
        groups: int,
    ) -> "Tensor":
        if self.quantiser is None:
            raise ValueError(f"{name}: its input must be codes: quantise() it first")
        outputs, inputs = weight.shape[0], self.shape[2]
        if outputs % groups:
            raise ValueError(f"{name}: weight must have outputs in {groups} groups, not {outputs}")
        if weight.shape[3] * groups != inputs:
            wanted = f"{inputs} inputs" + (f" in {groups} groups" if groups > 1 else "")
            raise ValueError(f"{name}: weight must be for {wanted}, not for {weight.shape[3] * groups}")
        real = None
        if bias is not None:
            array = checks.array(name, "bias", bias, 1)
            if array.shape != (outputs,):
                raise ValueError(f"{name}: bias must have {outputs} numbers, not {len(array)}")
            unit = scale * self.quantiser.scale
            real = array * unit if array.dtype.kind in "iu" else array.astype(np.float64)
            if (np.abs(real) >= _MAX_SUM * unit).any():
                raise ValueError(f"{name}: bias must be below 2^31 units of a sum in magnitude")
        operator = ops.Convolution(name, (self._name,), name, weight, scale, real, stride, padding, groups)
        return self._then(operator, None)


def inputs(
    shape: int | tuple[int, int, int],
    scale: float = 1.0,
    *,
    zero_point: int = 0,
    bits: int = 8,
    signed: bool = False,
    name: str = "input",
) -> Tensor:
    """Return the input of a model.

    The network takes bytes. Byte 0 stands for the least code, so byte ``b`` is the real number
    ``scale·(b - zero_point)`` if codes are unsigned, as with pixels.

    Parameters
    ----------
    shape
        Rows, columns and channels; or the channels of a single position, as of the row of a table.
    scale, zero_point, bits, signed
        See `Tensor.quantise`.
    name
        Name of the input.

    Raises
    ------
    TypeError, ValueError
        If something is not as described.

    Examples
    --------
    >>> import numpy as np
    >>> from psahw.importing import inputs
    >>> x = inputs(3, scale=0.5, bits=4)
    >>> x = x.dense(np.array([[1, -2, 3], [0, 1, 0]]), np.array([0.5, -1.0]), scale=0.25)
    >>> x.lowered("two").lines[0].note
    'exact'
    """
    check_name("name", name)
    form = (1, 1, shape) if isinstance(shape, int) else shape
    check_ints("shape", form, [(1, MAX_SIZE), (1, MAX_SIZE), (1, 1 << 16)])
    quantiser = checks.quantiser(name, scale, zero_point, bits, signed, False, "half even")
    return Tensor(form, quantiser, ops.Input(name, form, quantiser), (), name, {name})
