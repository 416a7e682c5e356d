"""Residual connections: what several operators take, up to the sum that ends what they begin."""

import math
from collections.abc import Callable
from dataclasses import replace
from typing import TypeAlias

import numpy as np

from ..architecture.codes import Codes
from ..architecture.ranges import dot_range
from ..network.graph import MAX_SUMMAND_BITS, Named, Residual
from ..network.layers import TokenMixing
from . import operators as ops
from .context import Context
from .requantise import fitted, steps
from .unsupported import Unsupported
from .values import Coded, Sums, Value, largest, rising, target_of

__all__ = ["Path", "join", "quantised_sum", "residual"]

_FINER = 15  # bits that summands have below those of their sum
_UNIT = 64  # the weight of a code that is scaled by a multiplier, so that its bias has fractions

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
    scale = target.grid.scale
    name = context.names(add.name)
    ends: list[tuple[list[Named], Value]] = []
    for end in add.inputs:
        ends.append(([], coded) if end == tensor else path(tensor, coded, end))
    most = max(scale, *(largest(end) for _, end in ends))
    finer = max(0, min(_FINER, math.floor(math.log2((1 << MAX_SUMMAND_BITS - 1) * scale / most))))
    exact, paths = True, []
    for index, (layers, summand_end) in enumerate(ends):
        zero = target.grid.zero if index == 0 else 0.0
        summand, is_exact = _summand(context, add, f"{name}_{'ab'[index]}", summand_end, scale, finer, zero)
        paths.append(tuple(layers + summand))
        exact &= is_exact
    if len(paths[0]) < len(paths[1]):
        paths.reverse()
    shift = finer
    grid = target.grid
    made = [Named(name, Residual(paths[0], paths[1], grid.codes.bits, grid.codes.signed, shift))]
    reals = np.array([[-np.inf, np.inf]])
    for each in clips:
        reals = reals.clip(each.low, each.high)
    low, high = (int(code) for code in target.codes(reals)[0])
    grid = replace(grid, low=max(low, grid.low), high=min(high, grid.high))
    made += context.clip(name, grid, np.array([grid.codes.low, grid.codes.high]), context.shapes[tensor][2])
    note = f"summands of {shift} more bits, rounded, and the sum rounded half up"
    context.say(add, made, "exact" if exact and not shift else note, exact and not shift)
    return made, Coded(grid), quantiser.output


def _summand(
    context: Context, add: ops.Add, name: str, end: Value, scale: float, finer: int, zero: float
) -> tuple[list[Named], bool]:
    """Return the layers that bring one of two summands to a common scale, and whether that is exact."""
    wide = Codes(MAX_SUMMAND_BITS)
    unit = scale / (1 << finer)
    if isinstance(end, Sums):
        end = rising(add, end)
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
    assert isinstance(end, Coded)
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
    return [Named(context.names(name), mixing)], exact
