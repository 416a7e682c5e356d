"""Describe a tensor while its model becomes a network: bytes, codes, or sums.

A tensor is codes on a grid, or sums that no quantiser has seen yet, or the bytes of the input. Operators on single
numbers collect behind it in a chain, until a quantiser says which codes they lead to.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TypeAlias

import numpy as np

from ..architecture.codes import Codes
from ..architecture.ranges import dot_range, signed_bits
from ..network.graph import Named
from . import operators as ops
from .unsupported import Unsupported

__all__ = ["Bytes", "Coded", "Grid", "Sums", "Target", "Value", "chained", "largest", "rising", "target_of"]


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
class Target:
    """The codes that a quantiser gives.

    ``codes`` maps real numbers (channels, any) to codes. If ``straight``, these are
    ``round(x / grid.scale + grid.zero)``, saturated.
    """

    grid: Grid
    codes: Callable[[np.ndarray], np.ndarray]
    straight: bool


@dataclass(frozen=True, eq=False)
class Bytes:
    """The input: the real number of each byte, float64 of shape (channels, 256)."""

    values: np.ndarray


@dataclass(frozen=True, eq=False)
class Coded:
    """Codes that a layer gives. Channel ``i`` of the model is channel ``order[i]`` of ours, if the order differs."""

    grid: Grid
    order: np.ndarray | None = None
    chain: tuple[ops.Operator, ...] = ()


@dataclass(frozen=True, eq=False)
class Sums:
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


Value: TypeAlias = Bytes | Coded | Sums
"""A tensor."""


def _type_of(low: int, high: int) -> Codes:
    """Return the narrowest type of codes from ``low`` to ``high``."""
    return Codes(max(2, signed_bits(low, high)), True) if low < 0 else Codes(max(1, int(high).bit_length()), False)


def _scalar(operator: ops.Operator, name: str, numbers: np.ndarray) -> float:
    """Return the number that all channels have. Raises Unsupported if they differ."""
    first = float(np.reshape(numbers, -1)[0])
    if not np.all(numbers == first):
        raise Unsupported([(operator.name, type(operator).__name__, f"a {name} of its own for each channel")])
    return first


def chained(chain: Sequence[ops.Operator], x: np.ndarray) -> np.ndarray:
    """Return what operators on single numbers make of float64 (channels, any)."""
    x = np.moveaxis(x, 0, -1)[:, None, None]  # (any, 1, 1, channels)
    for operator in chain:
        x = ops.apply(operator, [x])
    return np.moveaxis(x[:, 0, 0], -1, 0)


def target_of(operator: ops.Operator, channels: int) -> Target:
    """Return the codes that a quantiser gives, in the type that suits a network best.

    Codes whose zero point is their least one become unsigned with a zero point of 0, as behind a ReLU of TensorFlow
    Lite.
    """
    if isinstance(operator, ops.Bipolar):
        scale = 2 * _scalar(operator, "scale", operator.scale)
        grid = Grid(scale, 0.5, Codes(1, False), 0, 1)
        return Target(grid, lambda x: (x >= 0).astype(np.int64), False)
    if isinstance(operator, ops.MultiThreshold):
        count = operator.thresholds.shape[1]
        if count > 255 or operator.factor <= 0:
            raise Unsupported([(operator.name, "MultiThreshold", "more than 255 thresholds, or a factor below 0")])
        grid = Grid(operator.factor, -operator.offset / operator.factor, _type_of(0, count), 0, count)
        thresholds = np.broadcast_to(operator.thresholds, (channels, count))
        return Target(grid, lambda x: (x[..., None] >= thresholds[:, None]).sum(-1), False)
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
    return Target(grid, lambda x: quantiser.codes(x) + moved, True)


def largest(value: Value) -> float:
    """Return the largest magnitude of a summand's real numbers."""
    if isinstance(value, Sums):
        least, greatest = dot_range(value.weight, low=value.low, high=value.high)
        ends = np.stack([value.factor * least, value.factor * greatest]) + value.offset
        return float(np.abs(ends).max())
    assert isinstance(value, Coded)
    return float(np.abs(value.grid.values(np.array([value.grid.low, value.grid.high]))).max())


def rising(operator: ops.Operator, sums: Sums) -> Sums:
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
