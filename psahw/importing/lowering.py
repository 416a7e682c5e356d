"""From operators to layers: what a `Model` becomes as a network, and what is rounded.

The walk follows the data. A tensor is codes on a grid, or sums that no quantiser has seen yet, or the bytes of the
input. Operators on single numbers collect behind it until a quantiser says which codes they lead to. Then the sums
become a `Linear` or a `TokenMixing`, perhaps with `Thresholds`, codes become a `Table`, and bytes the input table.
Tensors that two operators take begin a residual connection, which ends with an `Add`.
"""

import math
import re
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ..architecture.codes import INT8, Codes
from ..architecture.ranges import dot_range, signed_bits
from ..display import counted
from ..network.graph import MAX_SUMMAND_BITS, Named, Network, Output, Residual, check_layer_name
from ..network.layers import Flatten, Linear, MaxPool, MeanPool, Table, Thresholds, TokenMixing, Windows
from . import operators as ops
from .requantise import Fit, Scaling, fitted, fitted_mean, steps
from .unsupported import Unsupported

__all__ = ["InputFormat", "Line", "Lowered", "lower"]

_FEW = 16  # codes, which thresholds compare exactly at little cost
_OFTEN = 0.01  # share of the sums that a multiplier may round otherwise
_FINER = 15  # bits that summands have below those of their sum
_UNIT = 64  # the weight of a code that is scaled by a multiplier, so that its bias has fractions


@dataclass(frozen=True)
class InputFormat:
    """The real numbers that the bytes of an input stand for: evenly spaced, from byte 0 to byte ``count - 1``.

    Parameters
    ----------
    low, high
        The numbers of byte 0 and of byte ``count - 1``. Bytes above stand for ``high``.
    count
        Number of bytes in use, in [2, 256].

    Raises
    ------
    ValueError
        If ``high`` is not above ``low``, or ``count`` is out of range.
    """

    low: float
    high: float
    count: int = 256

    def __post_init__(self) -> None:
        if not (math.isfinite(self.low) and math.isfinite(self.high) and self.low < self.high):
            raise ValueError(f"the input format must be LOW:HIGH with LOW < HIGH, not {self.low:g}:{self.high:g}")
        if not 2 <= self.count <= 256:
            raise ValueError(f"the count of the input format must be in [2, 256], not {self.count}")

    @property
    def step(self) -> float:
        """The distance between two neighbours."""
        return (self.high - self.low) / (self.count - 1)

    def values(self) -> np.ndarray:
        """Return the real numbers of all bytes, float64 of shape (256,)."""
        return self.low + self.step * np.minimum(np.arange(256), self.count - 1)

    @classmethod
    def of(cls, quantiser: ops.Quantiser) -> "InputFormat":
        """Return the format whose byte 0 is the least code of a quantiser. Raises ValueError for too many codes."""
        low, high = (
            float(quantiser.values(np.array(code)).reshape(-1)[0]) for code in (quantiser.low, quantiser.high)
        )
        return cls(low, high, quantiser.high - quantiser.low + 1)


@dataclass(frozen=True)
class Line:
    """An operator, and what became of it.

    Parameters
    ----------
    operator, kind
        Name and kind of the operator.
    layers
        Names of the layers that it became; none if it is part of another one.
    note
        Whether that is exact, or what is rounded.
    exact
        Whether it is exact.
    """

    operator: str
    kind: str
    layers: tuple[str, ...]
    note: str
    exact: bool = True


@dataclass(frozen=True, eq=False)
class Lowered:
    """A network made from a model.

    Parameters
    ----------
    network
        The network.
    lines
        What became of each operator.
    tensors
        For each tensor that codes of the network stand for: the layer, the scale, the zero point, and the order.
    input_format
        The real numbers of the input bytes.
    scale, offset
        ``scale·logit + offset`` is the model's output, where all outputs have the same.
    """

    network: Network
    lines: tuple[Line, ...]
    tensors: dict[str, tuple[str, "Grid"]]
    input_format: InputFormat
    scale: float
    offset: float


@dataclass(frozen=True)
class Grid:
    """The real numbers of codes: ``scale·(code - zero)``, for the codes from ``low`` to ``high`` of a type."""

    scale: float
    zero: float
    codes: Codes
    low: int
    high: int

    def values(self, codes: np.ndarray) -> np.ndarray:
        """Return the real numbers of codes."""
        return self.scale * (codes - self.zero)


@dataclass(frozen=True, eq=False)
class _Target:
    """The codes that a quantiser gives.

    ``codes`` maps real numbers (channels, any) to codes. If ``straight``, these are
    ``round(x / grid.scale + grid.zero)``, saturated.
    """

    grid: Grid
    codes: Callable[[np.ndarray], np.ndarray]
    straight: bool


@dataclass(frozen=True, eq=False)
class _Bytes:
    """The input: the real number of each byte, float64 of shape (channels, 256)."""

    values: np.ndarray


@dataclass(frozen=True, eq=False)
class _Coded:
    """Codes that a layer gives. Channel ``i`` of the model is channel ``order[i]`` of ours, if the order differs."""

    grid: Grid
    order: np.ndarray | None = None
    chain: tuple[ops.Operator, ...] = ()


@dataclass(frozen=True, eq=False)
class _Sums:
    """Sums of products, which stand for ``factor·sum + offset`` of each channel, with operators behind that.

    ``build`` makes the layers from weights, a `Scaling` and the type of the outputs.
    """

    name: str
    weight: np.ndarray
    factor: np.ndarray
    offset: np.ndarray
    low: int
    high: int
    build: Callable[..., list[Named]]
    chain: tuple[ops.Operator, ...] = ()


_Value = _Bytes | _Coded | _Sums
_ELEMENTWISE = (ops.Affine, ops.Clip, ops.Quantise, ops.Bipolar, ops.MultiThreshold)
_QUANTISERS = (ops.Quantise, ops.Bipolar, ops.MultiThreshold)


def _type_of(low: int, high: int) -> Codes:
    """Return the narrowest type of codes from ``low`` to ``high``."""
    return Codes(signed_bits(low, high), True) if low < 0 else Codes(max(1, int(high).bit_length()), False)


def _scalar(operator: ops.Operator, name: str, numbers: np.ndarray) -> float:
    """Return the number that all channels have. Raises Unsupported if they differ."""
    first = float(np.reshape(numbers, -1)[0])
    if not np.all(numbers == first):
        raise Unsupported([(operator.name, type(operator).__name__, f"a {name} of its own for each channel")])
    return first


def _chained(chain: Sequence[ops.Operator], x: np.ndarray, order: np.ndarray | None = None) -> np.ndarray:
    """Return what operators on single numbers make of float64 (channels, any)."""
    x = x if order is None else x[order]
    x = np.moveaxis(x, 0, -1)[:, None, None]  # (any, 1, 1, channels)
    for operator in chain:
        x = ops.apply(operator, [x])
    x = np.moveaxis(x[:, 0, 0], -1, 0)
    if order is None:
        return x
    ours = np.empty_like(x)
    ours[order] = x
    return ours


def _target(operator: ops.Operator, channels: int) -> _Target:
    """Return the codes that a quantiser gives, in the type that suits a network best.

    Codes whose zero point is their least one become unsigned with a zero point of 0, as behind a ReLU of TensorFlow
    Lite.
    """
    if isinstance(operator, ops.Bipolar):
        scale = 2 * _scalar(operator, "scale", operator.scale)
        grid = Grid(scale, 0.5, Codes(1, False), 0, 1)
        return _Target(grid, lambda x: (x >= 0).astype(np.int64), False)
    if isinstance(operator, ops.MultiThreshold):
        count = operator.thresholds.shape[1]
        if count > 255 or operator.factor <= 0:
            raise Unsupported([(operator.name, "MultiThreshold", "more than 255 thresholds, or a factor below 0")])
        grid = Grid(operator.factor, -operator.offset / operator.factor, _type_of(0, count), 0, count)
        thresholds = np.broadcast_to(operator.thresholds, (channels, count))
        return _Target(grid, lambda x: (x[..., None] >= thresholds[:, None]).sum(-1), False)
    assert isinstance(operator, ops.Quantise)
    quantiser = operator.quantiser
    scale, zero = _scalar(operator, "scale", quantiser.scale), quantiser.zero_point
    low, high = quantiser.low - zero, quantiser.high - zero
    if high - low > 255:
        raise Unsupported([(operator.name, "Quantise", f"codes of {quantiser.bits} bits, more than 8")])
    if low < -128 or (low < 0 and high > 127):
        low, high = quantiser.low, quantiser.high
    else:
        zero = 0
    grid = Grid(scale, zero, _type_of(low, high), low, high)
    moved = grid.low - quantiser.low
    return _Target(grid, lambda x: quantiser.codes(x) + moved, True)


class _Names:
    """Gives layers names that a network allows, each only once."""

    def __init__(self) -> None:
        self._taken: set[str] = set()

    def __call__(self, wanted: str, suffix: str = "") -> str:
        """Return a name like that of an operator: letters, digits and underscores, in parts behind dots."""
        base = re.sub(r"[^A-Za-z0-9]+", "_", wanted).strip("_")[:40] or "layer"
        for number in range(1, 10_000):
            name = f"{base}{'' if number == 1 else f'_{number}'}{suffix}"
            try:
                check_layer_name(name)
            except ValueError:
                continue
            if name.replace(".", "_") not in self._taken:
                self._taken.add(name.replace(".", "_"))
                return name
        raise AssertionError(wanted)


class _Lowering:
    """The walk over a model."""

    def __init__(self, model: ops.Model, exact: bool) -> None:
        self.model, self.exact = model, exact
        self.shapes = ops.shapes(model)
        self.lines: list[Line] = []
        self.tensors: dict[str, tuple[str, Grid]] = {}
        self.names = _Names()
        self.takers: dict[str, list[ops.Operator]] = defaultdict(list)
        for operator in model.operators:
            for name in dict.fromkeys(operator.inputs):
                self.takers[name].append(operator)

    def say(self, operator: ops.Operator, layers: Sequence[Named], note: str, exact: bool = True) -> None:
        """Note what became of an operator."""
        names = tuple(named.name for named in layers)
        self.lines.append(Line(operator.name, type(operator).__name__, names, note, exact))

    def absorb(self, operators: Sequence[ops.Operator], by: ops.Operator) -> None:
        """Note that operators are part of another one."""
        for operator in operators:
            self.say(operator, [], f"part of {by.name}")

    def series(self, tensor: str, value: _Value, stop: str) -> tuple[list[Named], _Value]:
        """Return the layers from a tensor to another one, and what that one is."""
        layers: list[Named] = []
        while tensor != stop:
            takers = self.takers[tensor]
            if len(takers) == 1 and not isinstance(takers[0], ops.Add):
                (operator,) = takers
                made, value, tensor = self.step(operator, value, self.shapes[tensor])
            elif takers:
                made, value, tensor = self.residual(tensor, value)
            else:
                raise Unsupported([(tensor, "tensor", "nothing takes it, and it is not the output")])
            layers += made
            if isinstance(value, _Coded) and not value.chain and value.order is None and layers:
                self.tensors[tensor] = layers[-1].name, value.grid
        return layers, value

    def step(self, operator: ops.Operator, value: _Value, shape: ops.Shape) -> tuple[list[Named], _Value, str]:
        """Return the layers of an operator and perhaps of some behind it, their output, and the tensor that it is."""
        if isinstance(operator, _ELEMENTWISE):
            return *self.elementwise(operator, value, shape), operator.output
        before, coded = self.coded(operator, value, shape)
        layers: list[Named] = []
        after: _Value = coded
        tensor = operator.output
        match operator:
            case ops.Convolution():
                after = self.convolution(operator, coded, shape)
            case ops.MaxPool():
                layers = [Named(self.names(operator.name), MaxPool(operator.size, operator.stride, operator.padding))]
                self.say(operator, layers, "exact")
            case ops.MeanPool():
                layers, after, tensor = self.mean_pool(operator, coded, shape)
            case ops.Flatten():
                layers, after = self.flatten(operator, coded, shape)
            case _:
                raise AssertionError(operator)
        return before + layers, after, tensor

    def coded(self, operator: ops.Operator, value: _Value, shape: ops.Shape) -> tuple[list[Named], _Coded]:
        """Return a value as codes. Raises Unsupported if no quantiser says which."""
        if isinstance(value, _Coded) and not value.chain:
            return [], value
        if isinstance(value, _Bytes):
            levels, codes = np.unique(value.values[0], return_inverse=True)
            spaces = np.diff(levels)
            if (
                len(levels) > 1
                and np.allclose(spaces, spaces[0], rtol=1e-6)
                and (value.values == value.values[0]).all()
            ):
                step, first = float(spaces[0]), 0 if len(levels) <= 128 else -128
                zero = first - levels[0] / step
                if abs(zero - round(zero)) < 1e-6:
                    zero = float(round(zero))
                self.input_codes = np.broadcast_to(codes + first, value.values.shape)
                return [], _Coded(Grid(step, float(zero), INT8, first, first + len(levels) - 1))
        kind = type(operator).__name__
        raise Unsupported([(operator.name, kind, "its input is not quantised: no quantiser stands in front of it")])

    def elementwise(self, operator: ops.Operator, value: _Value, shape: ops.Shape) -> tuple[list[Named], _Value]:
        """Return the layers that end with a quantiser, or the value with one more operator behind it."""
        if not isinstance(operator, _QUANTISERS):
            self.say(operator, [], "part of what follows")
            if isinstance(value, _Bytes):
                return [], _Bytes(_chained((operator,), value.values))
            return [], replace(value, chain=(*value.chain, operator))
        target = _target(operator, shape[2])
        if isinstance(value, _Bytes):
            grid = target.grid
            moved = 128 if grid.high > 127 else 0  # an input table gives int8
            self.input_codes = target.codes(value.values) - moved
            self.say(operator, [], "part of the input table: exact")
            low, high = int(self.input_codes.min()), int(self.input_codes.max())
            return [], _Coded(Grid(grid.scale, grid.zero - moved, INT8, low, high))
        if isinstance(value, _Coded):
            return self.table(operator, value, target, shape)
        return self.requantised(operator, value, target, shape)

    def table(
        self, operator: ops.Operator, value: _Coded, target: _Target, shape: ops.Shape
    ) -> tuple[list[Named], _Value]:
        """Return the table that maps codes to codes, or nothing if they are the same."""
        codes = np.arange(value.grid.codes.low, value.grid.codes.high + 1)
        reals = np.broadcast_to(value.grid.values(codes), (shape[2], len(codes)))
        ours = _chained(value.chain, reals, value.order)
        ours = target.codes(ours if value.order is None else ours[np.argsort(np.argsort(value.order))])
        used = slice(value.grid.low - codes[0], value.grid.high - codes[0] + 1)
        if value.grid.codes == target.grid.codes and (ours[:, used] == codes[used]).all():
            self.say(operator, [], "changes nothing")
            return [], _Coded(target.grid, value.order)
        values = ours.astype(np.int8 if target.grid.codes.signed else np.uint8)
        layers = [Named(self.names(operator.name), Table(values, target.grid.codes.bits))]
        self.say(operator, layers, "exact")
        return layers, _Coded(target.grid, value.order)

    def mean_pool(self, operator: ops.MeanPool, coded: _Coded, shape: ops.Shape) -> tuple[list[Named], _Value, str]:
        """Return the mean over all positions, with the quantiser behind it if our codes can hold its codes."""
        grid, (clips, quantiser) = coded.grid, self.ending(operator.output)
        if quantiser is not None:
            # In units of the input's scale, so that halves are exact if the output has the same scale.
            number = quantiser.quantiser
            units = replace(quantiser, quantiser=replace(number, scale=number.scale / grid.scale))
            bounds = [replace(each, low=each.low / grid.scale, high=each.high / grid.scale) for each in clips]
            codes, given = _target(units, shape[2]).codes, _target(quantiser, shape[2]).grid
            pooled = self.mean(operator, coded, shape, given, lambda mean: codes(_chained(bounds, mean - grid.zero)))
            if pooled is not None:
                self.absorb((*clips, quantiser), operator)
                return *pooled, quantiser.output
        pooled = self.mean(operator, coded, shape, grid, lambda mean: np.floor(mean + 0.5).astype(np.int64))
        if pooled is None:
            raise Unsupported([(operator.name, "MeanPool", "a mean over too many positions")])
        return *pooled, operator.output

    def mean(
        self, operator: ops.MeanPool, coded: _Coded, shape: ops.Shape, given: Grid,
        code_of: Callable[[np.ndarray], np.ndarray],
    ) -> tuple[list[Named], _Coded] | None:  # fmt: skip
        """Return the mean on another grid, moved into the input's type of codes, or None if it does not fit.

        ``code_of`` maps means of the input's codes to codes of the other grid.
        """
        grid, count = coded.grid, shape[0] * shape[1]
        least, greatest = np.array([count * grid.low]), np.array([count * grid.high])
        low, high = (int(code_of(end[:, None] / count)[0, 0]) for end in (least, greatest))
        room = grid.codes.low - low, grid.codes.high - high
        if room[0] > room[1]:
            return None
        ratio = grid.scale / given.scale
        offset = given.zero - grid.zero * ratio
        moved = int(np.clip(round(-offset), *room))
        wanted = steps(lambda x: code_of(x / count) + moved, least, greatest, low + moved, high + moved)
        fit = fitted_mean(wanted, ratio / count, offset + moved)
        if fit is None:
            return None
        scaling, name = fit.scaling, self.names(operator.name)
        numbers = [1 if scaling.multiplier is None else int(scaling.multiplier[0])]
        numbers.append(0 if scaling.offset is None else int(scaling.offset[0]))
        layers = [Named(name, MeanPool(int(scaling.shift[0]), *numbers))]
        ends = np.concatenate([scaling.codes(least), scaling.codes(greatest)])
        after = Grid(given.scale, given.zero + moved, grid.codes, low + moved, high + moved)
        layers += self.clip(name, after, ends, shape[2])
        self.say(operator, layers, _note(fit), fit.share == 0)
        return layers, _Coded(after, coded.order)

    def clip(self, name: str, grid: Grid, ends: np.ndarray, channels: int) -> list[Named]:
        """Return a table that clips codes to those of a grid, unless the least and the greatest are on it."""
        ends = ends.clip(grid.codes.low, grid.codes.high)
        if grid.low <= ends.min() and ends.max() <= grid.high:
            return []
        codes = np.arange(grid.codes.low, grid.codes.high + 1).clip(grid.low, grid.high)
        values = np.tile(codes, (channels, 1)).astype(np.int8 if grid.codes.signed else np.uint8)
        return [Named(self.names(name, ".clip"), Table(values, grid.codes.bits))]

    def flatten(self, operator: ops.Flatten, coded: _Coded, shape: ops.Shape) -> tuple[list[Named], _Value]:
        """Return the positions behind each other, and remember the order of the channels."""
        rows, columns, channels = shape
        if rows * columns == 1:
            self.say(operator, [], "changes nothing")
            return [], coded
        ours = np.arange(rows * columns * channels).reshape(rows, columns, channels)
        order = np.moveaxis(ours, 2, 0).reshape(-1) if operator.channels_first else None
        layers = [Named(self.names(operator.name), Flatten())]
        self.say(operator, layers, "exact")
        return layers, _Coded(coded.grid, order)

    def convolution(self, operator: ops.Convolution, coded: _Coded, shape: ops.Shape) -> _Sums:
        """Return the sums of a convolution."""
        if operator.weight.dtype != np.int8:
            reason = "its weights are not integers: a float model needs calibration data"
            raise Unsupported([(operator.name, "Convolution", reason)])
        grid, weight = coded.grid, operator.weight.astype(np.int64)
        if coded.order is not None:
            ours = np.empty_like(weight)
            ours[..., coded.order] = weight
            weight = ours
        name = self.names(operator.name)
        outputs = len(weight)
        factor = np.broadcast_to(operator.scale, outputs) * grid.scale
        bias = np.zeros(outputs) if operator.bias is None else operator.bias
        padded = any(operator.padding)
        if padded and not (float(grid.zero).is_integer() and grid.codes.low <= grid.zero <= grid.codes.high):
            reason = f"padding, where no code stands for 0 (the zero point is {grid.zero:g})"
            raise Unsupported([(operator.name, "Convolution", reason)])
        low, high = grid.low, grid.high
        if padded:
            low, high = min(low, int(grid.zero)), max(high, int(grid.zero))
        offset = bias - factor * grid.zero * weight.sum((1, 2, 3))
        if operator.groups > 1:
            local = self.local(operator, name, weight, grid, shape)
            if local is not None:
                flat = weight.reshape(outputs, -1)
                return _Sums(name, flat, factor, offset, min(low, 0), max(high, 0), local)
            weight = _dense(weight, operator.groups)
        windows: list[Named] = []
        if operator.size != (1, 1) or operator.stride != (1, 1) or padded:
            code = int(grid.zero) if padded else 0
            layer = Windows(operator.size, operator.stride, operator.padding, code)
            windows = [Named(self.names(name, ".windows"), layer)]

        def build(weight, scaling, codes):
            types = {"out_bits": codes.bits, "out_signed": codes.signed}
            return [*windows, Named(name, Linear(weight.astype(np.int8), **scaling.arrays(), **types))]

        return _Sums(name, weight.reshape(outputs, -1), factor, offset, low, high, build)

    def local(
        self, operator: ops.Convolution, name: str, weight: np.ndarray, grid: Grid, shape: ops.Shape
    ) -> Callable[..., list[Named]] | None:
        """Return what builds a depthwise convolution as a token mixing, or None if it cannot be one.

        With a stride, all positions are computed, and windows of one position leave most of them out.
        """
        above, _, left, _ = operator.padding
        (rows, columns), (down, across) = operator.size, operator.stride
        if operator.groups != shape[2] or len(weight) != shape[2] or (any(operator.padding) and grid.zero != 0):
            return None
        reach = max(above, rows - 1 - above), max(left, columns - 1 - left)
        kernel = 2 * reach[0] + 1, 2 * reach[1] + 1
        output = self.shapes[operator.output]
        if max(kernel) > 15 or output[:2] != (-(-shape[0] // down), -(-shape[1] // across)):
            return None
        if not any(operator.padding) and kernel != (1, 1):
            return None

        def build(flat, scaling, codes):
            entries = np.zeros((len(flat), *kernel), np.int8)
            top, start = reach[0] - above, reach[1] - left
            entries[:, top : top + rows, start : start + columns] = flat.reshape(-1, rows, columns)
            types = {"out_bits": codes.bits, "out_signed": codes.signed}
            parts = scaling.arrays((-1, 1))
            mixing = TokenMixing(entries.reshape(len(flat), 1, -1), **parts, kernel=kernel, shared=True, **types)
            layers = [Named(name, mixing)]
            if (down, across) != (1, 1):
                layers.append(Named(self.names(name, ".every"), Windows((1, 1), (down, across))))
            return layers

        return build

    def requantised(
        self, operator: ops.Operator, sums: _Sums, target: _Target, shape: ops.Shape
    ) -> tuple[list[Named], _Value]:
        """Return the layers that compute sums and their codes."""
        sums = _rising(operator, sums)
        channels = len(sums.factor)
        least, greatest = dot_range(sums.weight, low=sums.low, high=sums.high)

        def code_of(total: np.ndarray) -> np.ndarray:
            return target.codes(_chained(sums.chain, sums.factor[:, None] * total + sums.offset[:, None]))

        first, last = code_of(least[:, None]), code_of(greatest[:, None])
        constant = (first == last)[:, 0]
        if constant.any():  # such as a channel that is never active, whose factor may be any
            values = target.grid.values(first[:, 0])
            sums = replace(
                sums,
                weight=np.where(constant[:, None], 0, sums.weight),
                factor=np.where(constant, target.grid.scale, sums.factor),
                offset=np.where(constant, values, sums.offset),
            )
            least, greatest = np.where(constant, 0, least), np.where(constant, 0, greatest)
        low, high = int(first.min()), int(last.max())
        wanted = steps(code_of, least, greatest, low, high)
        grid = replace(target.grid, low=low, high=high)
        fit: Fit | None = None
        if target.straight and all(isinstance(each, ops.Clip) for each in sums.chain):
            fit = fitted(wanted, sums.factor / grid.scale, sums.offset / grid.scale + grid.zero)
        few = high - low < _FEW
        if fit is not None and (fit.share == 0 or not (self.exact or few or fit.share > _OFTEN)):
            layers = sums.build(sums.weight, fit.scaling, grid.codes)
            ends = np.concatenate([fit.scaling.codes(least), fit.scaling.codes(greatest)])
            layers += self.clip(operator.name, grid, ends, channels)
            self.say(operator, layers, _note(fit), fit.share == 0)
            return layers, _Coded(grid)
        sum_codes = Codes(max(2, signed_bits(int(least.min()), int(greatest.max()))))
        layers = sums.build(sums.weight, Scaling.sums(np.zeros(channels, np.int64)), sum_codes)
        values = wanted.reachable(wanted.thresholds).astype(np.int32)
        compared = Thresholds(values, grid.codes.bits, grid.codes.signed, low)
        if isinstance(layers[-1].layer, Windows):  # which take codes of at most 8 bits
            layers.insert(-1, Named(self.names(operator.name), compared))
        else:
            layers.append(Named(self.names(operator.name), compared))
        self.say(operator, layers, f"exact, by {counted(high - low, 'threshold')}")
        return layers, _Coded(grid)

    def join(self, tensor: str) -> ops.Add:
        """Return the Add at which everything that comes from a tensor is together again."""
        waiting = {tensor: len(self.takers[tensor])}
        for operator in self.model.operators:
            for name in operator.inputs:
                if name in waiting:
                    waiting[name] -= 1
                    waiting.setdefault(operator.output, len(self.takers[operator.output]))
            waiting = {name: count for name, count in waiting.items() if count}
            if set(waiting) == {operator.output} and isinstance(operator, ops.Add):
                return operator
        raise Unsupported([(tensor, "tensor", "several operators take it, and no sum ends what they begin")])

    def residual(self, tensor: str, value: _Value) -> tuple[list[Named], _Value, str]:
        """Return the residual connection that begins with a tensor, its output, and the tensor that this is."""
        add = self.join(tensor)
        before, coded = self.coded(add, value, self.shapes[tensor])
        if coded.order is not None:
            raise Unsupported([(add.name, "Add", "the order of its channels is another one")])
        clips, quantiser = self.ending(add.output)
        if quantiser is None:
            raise Unsupported([(add.name, "Add", "no quantiser stands behind its sum")])
        self.absorb((*clips, quantiser), add)
        target = _target(quantiser, self.shapes[tensor][2])
        scale = target.grid.scale
        name = self.names(add.name)
        ends: list[tuple[list[Named], _Value]] = []
        for end in add.inputs:
            takers = self.takers[tensor]
            ends.append(([], coded) if end == tensor else self.path(tensor, takers, coded, end))
        largest = max(_largest(end) for _, end in ends)
        finer = max(0, min(_FINER, math.floor(math.log2((1 << MAX_SUMMAND_BITS - 1) * scale / max(largest, scale)))))
        exact, paths = True, []
        for index, (layers, summand_end) in enumerate(ends):
            zero = target.grid.zero if index == 0 else 0.0
            summand, is_exact = self.summand(add, f"{name}_{'ab'[index]}", summand_end, scale, finer, zero)
            paths.append(tuple(layers + summand))
            exact &= is_exact
        if len(paths[0]) < len(paths[1]):
            paths.reverse()
        shift = finer
        grid = target.grid
        residual = Residual(paths[0], paths[1], grid.codes.bits, grid.codes.signed, shift)
        made = [Named(name, residual)]
        reals = np.array([[-np.inf, np.inf]])
        for each in clips:
            reals = reals.clip(each.low, each.high)
        low, high = (int(code) for code in target.codes(reals)[0])
        grid = replace(grid, low=max(low, grid.low), high=min(high, grid.high))
        made += self.clip(name, grid, np.array([grid.codes.low, grid.codes.high]), self.shapes[tensor][2])
        note = f"summands of {shift} more bits, rounded, and the sum rounded half up"
        self.say(add, made, "exact" if exact and not shift else note, exact and not shift)
        return before + made, _Coded(grid), quantiser.output

    def path(
        self, tensor: str, takers: Sequence[ops.Operator], coded: _Coded, end: str
    ) -> tuple[list[Named], _Value]:
        """Return the layers from a tensor, by that one of its takers from which another tensor comes."""
        for operator in takers:
            if isinstance(operator, ops.Add):
                continue
            behind = {operator.output}
            for each in self.model.operators:
                if behind & set(each.inputs):
                    behind.add(each.output)
            if end in behind:
                made, value, reached = self.step(operator, coded, self.shapes[tensor])
                layers, value = self.series(reached, value, end)
                return made + layers, value
        raise Unsupported([(end, "tensor", "it does not come from where the residual connection begins")])

    def ending(self, tensor: str) -> tuple[list[ops.Clip], ops.Quantise | None]:
        """Return the clips behind a tensor and the quantiser behind them, or None if something else is there."""
        clips: list[ops.Clip] = []
        while len(takers := self.takers[tensor]) == 1:
            if isinstance(takers[0], ops.Quantise):
                return clips, takers[0]
            if not isinstance(takers[0], ops.Clip):
                break
            clips.append(takers[0])
            tensor = takers[0].output
        return clips, None

    def summand(
        self, add: ops.Add, name: str, end: _Value, scale: float, finer: int, zero: float
    ) -> tuple[list[Named], bool]:
        """Return the layers that bring one of two summands to a common scale, and whether that is exact."""
        wide = Codes(MAX_SUMMAND_BITS)
        unit = scale / (1 << finer)
        if isinstance(end, _Sums):
            end = _rising(add, end)
            if end.chain:
                raise Unsupported([(add.name, "Add", "one of its summands is clipped but not quantised")])
            least, greatest = dot_range(end.weight, low=end.low, high=end.high)
            factor, offset = end.factor / unit, end.offset / unit + zero * (1 << finer)
            whole = np.arange(wide.low, wide.high + 1)[:: 1 << 8]
            limits = int(whole[0]), int(whole[-1])
            wanted = steps(
                lambda x: np.floor(factor[:, None] * x + offset[:, None] + 0.5).clip(*limits), least, greatest, -1, 0
            )
            fit = fitted(wanted, factor, offset)
            if fit is None:
                raise Unsupported([(add.name, "Add", "one of its summands is too coarse or too fine")])
            return end.build(end.weight, fit.scaling, wide), False
        assert isinstance(end, _Coded)
        if end.chain:
            raise Unsupported([(add.name, "Add", "one of its summands is not quantised")])
        ratio = end.grid.scale / unit
        bias = zero * (1 << finer) / ratio - end.grid.zero
        if ratio == 1 and bias == 0:
            return [], True
        mantissa, exponent = math.frexp(ratio)
        multiplier: np.ndarray | None
        if mantissa == 0.5 and 1 <= exponent <= 7 and float(bias * ratio).is_integer():
            weight, integer, shift, multiplier, exact = int(ratio), round(bias * ratio), 0, None, True
        else:
            shift = max(0, min(22 + 6 - exponent, 31))
            multiplier = np.array([[round(math.ldexp(ratio / _UNIT, shift))]], np.uint32)
            weight, integer, exact = _UNIT, round(bias * _UNIT), False
        mixing = TokenMixing(
            np.array([[[weight]]], np.int8), np.array([[integer]], np.int32), np.array([[shift]], np.uint8),
            (1, 1), True, wide.bits, True, multiplier,
        )  # fmt: skip
        return [Named(self.names(name), mixing)], exact


def _note(fit: Fit) -> str:
    """Return what a requantisation rounds."""
    if fit.share == 0:
        return "exact"
    factors = f"factors rounded to 22 bits, by {1e6 * fit.error:.2g} ppm"
    what = "halves rounded up" if fit.scaling.multiplier is None else factors
    return f"{what}; {100 * fit.share:.2g} % of the possible sums give a neighbouring code"


def _largest(value: _Value) -> float:
    """Return the largest magnitude of a summand's real numbers."""
    if isinstance(value, _Sums):
        least, greatest = dot_range(value.weight, low=value.low, high=value.high)
        ends = np.stack([value.factor * least, value.factor * greatest]) + value.offset
        return float(np.abs(ends).max())
    assert isinstance(value, _Coded)
    return float(np.abs(value.grid.values(np.array([value.grid.low, value.grid.high]))).max())


def _dense(weight: np.ndarray, groups: int) -> np.ndarray:
    """Return the weights of a grouped convolution as those of one with a single group, with zeros between."""
    outputs, rows, columns, inputs = weight.shape
    dense = np.zeros((outputs, rows, columns, inputs * groups), weight.dtype)
    for output in range(outputs):
        first = output // (outputs // groups) * inputs
        dense[output, :, :, first : first + inputs] = weight[output]
    return dense


def _rising(operator: ops.Operator, sums: _Sums) -> _Sums:
    """Return sums with the first affine operators of their chain taken in, and with no negative factors."""
    factor, offset, chain = sums.factor, sums.offset, list(sums.chain)
    while chain and isinstance(affine := chain[0], ops.Affine):
        del chain[0]
        factor, offset = factor * affine.factor, offset * affine.factor + affine.offset
    if any(isinstance(each, ops.Affine) and (np.asarray(each.factor) < 0).any() for each in chain):
        raise Unsupported([(operator.name, type(operator).__name__, "a negative factor behind a clip")])
    negative = factor < 0
    weight = np.where(negative[:, None], -sums.weight, sums.weight)
    if weight.max(initial=0) > 127:
        raise Unsupported([(sums.name, "Convolution", "a weight of -128 with a negative factor behind it")])
    return replace(sums, weight=weight, factor=np.abs(factor), offset=offset, chain=tuple(chain))


def lower(
    model: ops.Model,
    *,
    name: str | None = None,
    input_format: InputFormat | None = None,
    exact: bool = False,
    outputs: Sequence[str] | None = None,
    task: str | None = None,
    metadata: dict[str, Any] | None = None,
) -> Lowered:
    """Return the network that computes a model.

    Parameters
    ----------
    model
        The model, with quantised weights and activations.
    name
        Name of the network; by default that of the model.
    input_format
        The real numbers of input bytes. It is needed if the model does not state any.
    exact
        Use thresholds wherever a multiplier and a shift would round a sum otherwise than the model.
    outputs
        Names of the outputs.
    task
        ``"class"``, ``"values"`` or ``"labels"``. By default ``"labels"`` for a model that ends with +1 or -1, and
        otherwise ``"class"``.
    metadata
        Metadata of the network.

    Raises
    ------
    Unsupported
        If operators cannot become layers; the message lists them with reasons.
    """
    walk = _Lowering(model, exact)
    if input_format is None:
        if model.input.quantiser is None:
            reason = "the model does not say what the bytes of its input stand for: give an input format"
            raise Unsupported([(model.input.name, "input", reason)])
        input_format = InputFormat.of(model.input.quantiser)
    bytes_ = _Bytes(np.tile(input_format.values(), (model.input.shape[2], 1)))
    last = model.operators[-1] if model.operators else None
    is_labels = isinstance(last, ops.Bipolar) and task in (None, "labels")
    stop = last.inputs[0] if is_labels and last is not None else model.output
    layers, value = walk.series(model.input.name, bytes_, stop)
    layers, scale, offset = _finished(walk, layers, value, stop, last if is_labels else None)
    count = model.input.shape, walk.shapes[stop][2]
    kind = task or ("labels" if is_labels else "class")
    names = tuple(outputs) if outputs is not None else tuple(f"{_WORDS[kind]} {n}" for n in range(count[1]))
    scales = ((scale,) * count[1], (offset,) * count[1]) if kind == "values" else ((), ())
    network = Network(
        name or model.name, model.input.shape[:2], np.ascontiguousarray(walk.input_codes.astype(np.int8)),
        tuple(layers), Output(kind, names, *scales), metadata or {},
    )  # fmt: skip
    return Lowered(network, tuple(walk.lines), walk.tensors, input_format, scale, offset)


_WORDS = {"class": "class", "values": "value", "labels": "label"}


def _finished(
    walk: _Lowering, layers: list[Named], value: _Value, tensor: str, bipolar: ops.Operator | None
) -> tuple[list[Named], float, float]:
    """Return the layers of the whole network, and how its logits stand for the model's output."""
    if isinstance(value, _Coded) and not value.chain and layers:
        return layers, value.grid.scale, -value.grid.scale * value.grid.zero
    end = next(operator for operator in reversed(walk.model.operators) if operator.output == tensor)
    if not isinstance(value, _Sums):
        raise Unsupported([(end.name, type(end).__name__, "nothing is computed behind it")])
    sums = _rising(end, value)
    if sums.chain:
        raise Unsupported([(end.name, type(end).__name__, "the output is clipped but not quantised")])
    least, greatest = dot_range(sums.weight, low=sums.low, high=sums.high)
    if bipolar is not None:
        reached = steps(
            lambda x: (sums.factor[:, None] * x + sums.offset[:, None] >= 0).astype(int), least, greatest, 0, 1
        )
        bias = 1 - reached.reachable(reached.thresholds)[:, 0]
        codes = Codes(max(2, signed_bits(int((least + bias).min()), int((greatest + bias).max()))))
        made = sums.build(sums.weight, Scaling.sums(bias), codes)
        walk.say(bipolar, made, "exact: the label is present where the output is +1")
        return layers + made, 1.0, 0.0
    factor = float(sums.factor.max())
    same = (sums.factor == factor).all()
    shared = float(sums.offset[0]) if same and (sums.offset == sums.offset[0]).all() else 0.0
    bias = np.rint((sums.offset - shared) / np.where(sums.factor > 0, sums.factor, 1)).astype(np.int64)
    error = float(np.abs((sums.offset - shared) / np.where(sums.factor > 0, sums.factor, 1) - bias).max())
    low, high = int((least + bias).min()), int((greatest + bias).max())
    if same:
        made = sums.build(sums.weight, Scaling.sums(bias), Codes(max(2, signed_bits(low, high))))
        note = "exact" if error < 1e-6 else f"biases rounded by up to {error:.2g} of a sum's unit"
        walk.say(end, made, note, error < 1e-6)
        return layers + made, factor, shared
    shift = max(0, 15 + signed_bits(low, high) - 24)
    multiplier = np.maximum(np.rint(sums.factor / factor * (1 << 15)), 0).astype(np.int64)
    made = sums.build(sums.weight, Scaling(bias, np.full(len(multiplier), shift), multiplier), Codes(26))
    walk.say(end, made, "factors of the outputs rounded to 16 bits, and biases to sums", False)
    return layers + made, factor / (1 << 15) * (1 << shift), 0.0
