"""Residual connections: what several operators take, up to the sum that ends what they begin."""

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TypeAlias

import numpy as np

from ..architecture.codes import Codes
from ..architecture.ranges import MAX_MULTIPLIER, dot_range
from ..network.graph import MAX_SUMMAND_BITS, Named, Residual
from ..network.layers import MAX_SHIFT, TokenMixing
from . import operators as ops
from .context import Context
from .requantise import Scaling, fitted, steps
from .unsupported import Unsupported
from .values import Coded, Grid, Sums, Value, chained, largest, rising, target_of

__all__ = ["Path", "join", "quantised_sum", "residual"]

_FINER = 15  # bits that summands have below those of their sum
_WIDE = Codes(MAX_SUMMAND_BITS)

_CodeOf: TypeAlias = Callable[[np.ndarray], np.ndarray]

Path: TypeAlias = Callable[[str, Coded, str], tuple[list[Named], Value]]
"""Returns the layers from one tensor, whose codes it is given, to another one, and what that one is."""


def join(context: Context, tensor: str) -> ops.Add:
    """Return the Add at which everything that comes from a tensor is together again."""
    waiting = {tensor: len(context.takers[tensor])}
    for operator in context.model.operators:
        for name in operator.inputs:
            if name in waiting:
                waiting[name] -= 1
                waiting.setdefault(operator.output, len(context.takers[operator.output]))
        waiting = {name: count for name, count in waiting.items() if count}
        if set(waiting) == {operator.output} and isinstance(operator, ops.Add):
            return operator
    raise Unsupported([(tensor, "tensor", "several operators take it, and no sum ends what they begin")])


def quantised_sum(context: Context, add: ops.Add) -> tuple[list[ops.Clip], ops.Quantise]:
    """Return the clips behind a sum, and the quantiser behind them."""
    clips, quantiser = context.ending(add.output)
    if quantiser is None:
        raise Unsupported([(add.name, "Add", "no quantiser stands behind its sum")])
    return clips, quantiser


def residual(context: Context, add: ops.Add, tensor: str, coded: Coded, path: Path) -> tuple[list[Named], Value, str]:
    """Return the residual connection between a tensor and a sum, its output, and the tensor that this is."""
    if coded.order is not None:
        raise Unsupported([(add.name, "Add", "the order of its channels is another one")])
    clips, quantiser = quantised_sum(context, add)
    context.absorb((*clips, quantiser), add)
    target = target_of(quantiser, context.shapes[tensor][2])
    grid, name = target.grid, context.names(add.name)
    ends = [([], coded) if end == tensor else path(tensor, coded, end) for end in add.inputs]
    shift = _finer([value for _, value in ends], grid)
    paths, codes = [], []
    for index, (layers, value) in enumerate(ends):
        # The unit of summands, and the zero point of the sum in these units.
        unit, zero = grid.scale / (1 << shift), float(grid.zero) * (1 << shift) * (index == 0)
        if isinstance(value, Sums):
            summand = _summed(add, value, unit, zero)
        else:
            summand, code_of = _coded(context, add, f"{name}_{'ab'[index]}", value, unit, zero)
            codes.append(code_of)
        paths.append(tuple(layers + summand))
    if len(paths[0]) < len(paths[1]):
        paths.reverse()
    layers = [Named(name, Residual(paths[0], paths[1], grid.codes.bits, grid.codes.signed, shift))]
    low, high = target.codes(chained(clips, np.array([[-np.inf, np.inf]])))[0].tolist()
    after = replace(grid, low=max(low, grid.low), high=min(high, grid.high))
    layers += context.clip(name, after, np.array([grid.codes.low, grid.codes.high]), context.shapes[tensor][2])
    note, share = f"summands of {shift} more bits, rounded, and the sum rounded half up", 1.0
    if len(codes) == 2:
        first, second = (_numbers(value, code_of) for (_, value), code_of in zip(ends, codes, strict=True))
        wanted = target.codes(chained(clips, first[0][:, None] + second[0]))
        given = (first[1][:, None] + second[1] + (1 << shift >> 1)) >> shift
        share = float((given.clip(grid.codes.low, grid.codes.high).clip(after.low, after.high) != wanted).mean())
        note = f"summands of {shift} more bits; {100 * share:.2g} % of the pairs of codes give a neighbouring code"
    context.say(add, layers, note if share else "exact", not share)
    return layers, Coded(after), quantiser.output


def _finer(ends: Sequence[Value], grid: Grid) -> int:
    """Return how many more bits than their sum summands have: the fewest with which they are exact, or the most."""
    most = max(grid.scale, *map(largest, ends)) + abs(grid.zero) * grid.scale
    finer = max(0, min(_FINER, math.floor(math.log2((1 << MAX_SUMMAND_BITS - 1) * grid.scale / most))))
    numbers = [float(grid.zero)]
    for value in ends:
        if not isinstance(value, Coded):
            return finer
        ratio = value.grid.scale / grid.scale
        numbers += [ratio, ratio * value.grid.zero]
    exact = (bits for bits in range(finer) if all((number * (1 << bits)).is_integer() for number in numbers))
    return next(exact, finer)


def _numbers(value: Value, code_of: _CodeOf) -> tuple[np.ndarray, np.ndarray]:
    """Return the real numbers of all codes of a summand, and what its layers make of the codes."""
    assert isinstance(value, Coded)
    codes = np.arange(value.grid.low, value.grid.high + 1)
    return value.grid.values(codes), code_of(codes)


def _summed(add: ops.Add, sums: Sums, unit: float, zero: float) -> list[Named]:
    """Return the layers that give sums as a summand in a unit, with a number added."""
    sums = rising(add, sums)
    if sums.chain:
        raise Unsupported([(add.name, "Add", "one of its summands is clipped but not quantised")])
    least, greatest = dot_range(sums.weight, low=sums.low, high=sums.high)
    factor, offset = sums.factor / unit, sums.offset / unit + zero
    # The step at 0 fixes the offset, and the factors have 22 bits.
    wanted = steps(
        lambda x: np.floor(factor[:, None] * x + offset[:, None] + 0.5).clip(-1, 0), least, greatest, -1, 0
    )
    fit = fitted(wanted, factor, offset)
    if fit is None:
        raise Unsupported([(add.name, "Add", "one of its summands is too coarse or too fine")])
    return sums.build(sums.weight, fit.scaling, _WIDE)


def _coded(
    context: Context, add: ops.Add, name: str, value: Value, unit: float, zero: float
) -> tuple[list[Named], _CodeOf]:
    """Return the layers that give codes as a summand in a unit, with a number added, and what they compute."""
    assert isinstance(value, Coded)
    if value.chain:
        raise Unsupported([(add.name, "Add", "one of its summands is not quantised")])
    ratio = value.grid.scale / unit
    constant = zero - ratio * value.grid.zero
    if ratio == 1 and constant == 0:
        return [], lambda codes: codes
    weight, (_, exponent) = 1, math.frexp(ratio)
    if ratio.is_integer() and ratio <= 127 and constant.is_integer():
        weight, scaling = int(ratio), Scaling.sums(np.array([int(constant)]))
    else:
        shift = max(0, min(22 - exponent, MAX_SHIFT))
        multiplier = min(round(math.ldexp(ratio, shift)), MAX_MULTIPLIER)
        numbers = multiplier, round(math.ldexp(constant, shift)), shift
        scaling = Scaling.scaled(*(np.array([number]) for number in numbers))
    mixing = TokenMixing(
        np.array([[[weight]]], np.int8), **scaling.arrays((1, 1)), kernel=(1, 1), shared=True, out_bits=_WIDE.bits
    )
    return [Named(context.names(name), mixing)], lambda codes: _WIDE.saturate(scaling.codes(weight * codes))
