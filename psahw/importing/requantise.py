"""From sums to codes: find the integers that a requantisation needs, and count the sums that it rounds otherwise.

A sum of integers stands for a real number of each channel, ``factor·sum + offset``. Clipping and other functions that
do not fall follow, and then a quantiser. The code is therefore a step function of the sum, and the least sum that
reaches each code, its threshold, describes it completely. A network computes such a function in one of three ways:

- ``rshift(sum + bias, shift)``, if the factors are powers of two and no half is rounded otherwise,
- ``rshift(multiplier·(sum + bias) + offset, shift)``, with a multiplier of 22 bits, which may round a few sums
  otherwise, or
- comparisons with all thresholds, which is always exact and takes more hardware for many codes.

`fitted` finds the first two and compares their thresholds with the right ones. Two step functions with the same
thresholds are the same for every sum, so that a share of 0 proves that a fit is exact.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..architecture.ranges import MAX_MULTIPLIER
from ..network.layers import MAX_SHIFT

__all__ = ["Fit", "Scaling", "Steps", "fitted", "fitted_mean", "steps"]

_FAR = 1 << 60  # beyond every product
_MAX_BIAS = 1 << 29  # half of what a layer allows a bias and its sums together


@dataclass(frozen=True, eq=False)
class Scaling:
    """Integers of a requantisation ``rshift(multiplier·(sum + bias) + offset, shift)``.

    Parameters
    ----------
    bias, shift
        int64 of shape (channels,).
    multiplier, offset
        int64 of shape (channels,), or None for 1 and for 0.
    """

    bias: np.ndarray
    shift: np.ndarray
    multiplier: np.ndarray | None = None
    offset: np.ndarray | None = None

    @classmethod
    def sums(cls, bias: np.ndarray) -> "Scaling":
        """Return the scaling that gives the sums themselves, with a bias."""
        return cls(bias, np.zeros_like(bias))

    @classmethod
    def scaled(cls, multiplier: np.ndarray, constant: np.ndarray, shift: np.ndarray) -> "Scaling":
        """Return the scaling ``rshift(multiplier·sum + constant, shift)``, the constant in bias and offset."""
        divisor = np.maximum(multiplier, 1)
        bias = np.where(multiplier > 0, (2 * constant + divisor) // (2 * divisor), 0)
        return cls(bias, shift, multiplier, constant - multiplier * bias)

    def codes(self, sums: np.ndarray) -> np.ndarray:
        """Return the codes of int64 sums (channels,), not saturated."""
        total = (sums + self.bias) * (1 if self.multiplier is None else self.multiplier)
        total += (0 if self.offset is None else self.offset) + ((1 << self.shift) >> 1)
        return total >> self.shift

    def arrays(self, shape: tuple[int, ...] = (-1,)) -> dict[str, Any]:
        """Return the arguments of a layer with weights, whose arrays have a shape."""
        types = {"bias": np.int32, "shift": np.uint8, "multiplier": np.uint32, "offset": np.int32}
        parts = {name: getattr(self, name) for name in types}
        return {name: part.astype(types[name]).reshape(shape) for name, part in parts.items() if part is not None}


@dataclass(frozen=True, eq=False)
class Steps:
    """Codes as step functions of sums.

    Parameters
    ----------
    thresholds
        int64 of shape (channels, codes - 1), ascending: the least sum that reaches each code above the least one.
    low, high
        The least and the greatest code.
    least, greatest
        int64 of shape (channels,): the sums that can occur.
    """

    thresholds: np.ndarray
    low: int
    high: int
    least: np.ndarray
    greatest: np.ndarray

    def reachable(self, thresholds: np.ndarray) -> np.ndarray:
        """Return thresholds, each moved to the nearest sum that can occur or to the one behind the greatest."""
        return np.clip(thresholds, self.least[:, None], self.greatest[:, None] + 1)


@dataclass(frozen=True, eq=False)
class Fit:
    """A requantisation, and how near it comes.

    Parameters
    ----------
    scaling
        Its integers.
    share
        The share of the sums that can occur, of all channels together, which give another code than they should.
    error
        The largest relative error of a factor.
    """

    scaling: Scaling
    share: float
    error: float


def steps(
    code_of: Callable[[np.ndarray], np.ndarray], least: np.ndarray, greatest: np.ndarray, low: int, high: int
) -> Steps:
    """Return the step function of each channel.

    Parameters
    ----------
    code_of
        Maps sums (channels, any) to codes of the same shape, and does not fall as a sum rises.
    least, greatest
        int64 of shape (channels,): the sums that can occur.
    low, high
        The least and the greatest code.
    """
    codes = np.arange(low + 1, high + 1)
    below = np.repeat(least[:, None] - 1, len(codes), 1)  # does not reach the code, or is out of range
    above = np.repeat(greatest[:, None] + 1, len(codes), 1)
    while (above - below > 1).any():
        middle = (below + above) >> 1
        reached = code_of(middle) >= codes
        above, below = np.where(reached, middle, above), np.where(reached, below, middle)
    return Steps(above, low, high, least, greatest)


def _needed(wanted: Steps, shift: np.ndarray) -> np.ndarray:
    """Return the least number (channels, codes - 1) that a shift with rounding turns into each code."""
    codes = np.arange(wanted.low + 1, wanted.high + 1)
    return (codes << shift[:, None]) - ((1 << shift) >> 1)[:, None]


def _different(wanted: Steps, shift: np.ndarray, multiplier: np.ndarray, constant: np.ndarray) -> np.ndarray:
    """Return how many sums of each channel ``rshift(multiplier·sum + constant, shift)`` takes to another code."""
    needed = _needed(wanted, shift) - constant[:, None]
    given = -(-needed // np.maximum(multiplier, 1)[:, None])
    given = np.where((multiplier == 0)[:, None], np.where(needed <= 0, -_FAR, _FAR), given)
    different: np.ndarray = np.abs(wanted.reachable(given) - wanted.reachable(wanted.thresholds)).sum(1)
    return different


def _constant(wanted: Steps, shift: np.ndarray, multiplier: np.ndarray, nominal: np.ndarray) -> np.ndarray:
    """Return what to add to ``multiplier·sum``: the integer nearest to ``nominal`` with which all codes are right.

    Each threshold, and the sum below it, bounds the constant on one side. Where no number is within all bounds, the
    middle between the tightest two breaks them the least.
    """
    thresholds, needed = wanted.reachable(wanted.thresholds), _needed(wanted, shift)
    occurs = thresholds <= wanted.greatest[:, None], thresholds > wanted.least[:, None]
    products = multiplier[:, None] * thresholds, multiplier[:, None] * (thresholds - 1)
    least = np.max(needed - products[0], axis=1, initial=-_FAR, where=occurs[0])
    most = np.min(needed - products[1], axis=1, initial=_FAR, where=occurs[1]) - 1
    return np.where(least <= most, np.clip(nominal, least, most), (least + most) >> 1)


def _fit(wanted: Steps, factor: np.ndarray, scaling: Scaling, different: np.ndarray) -> Fit:
    """Return a fit with its errors."""
    multiplier = 1 if scaling.multiplier is None else scaling.multiplier
    error = np.abs(multiplier / 2.0**scaling.shift / factor - 1).max(initial=0, where=factor > 0)
    total = (wanted.greatest - wanted.least + 1).sum()
    return Fit(scaling, float(different.sum() / total), float(error))


def _scaled(
    wanted: Steps, factor: np.ndarray, offset: np.ndarray, shift: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return multiplier and constant of each channel, and how many sums they take to another code.

    Parameters
    ----------
    wanted
        The step functions.
    factor, offset
        As of `fitted`.
    shift
        int64 of shape (channels,), with which a multiplier has at most 22 bits.
    """
    nearest = np.rint(np.ldexp(factor, shift)).astype(np.int64)
    nominal = np.rint(np.ldexp(offset, shift)).astype(np.int64)
    tries = []
    for delta in (0, 1, -1):  # a slightly larger or smaller multiplier rounds halves away from one sum, or towards it
        multiplier = np.clip(nearest + delta, 0, MAX_MULTIPLIER)
        multiplier = np.where(nearest > 0, np.maximum(multiplier, 1), nearest)
        constant = _constant(wanted, shift, multiplier, nominal)
        tries.append((multiplier, constant, _different(wanted, shift, multiplier, constant)))
    multipliers, constants, different = (np.stack(parts) for parts in zip(*tries, strict=True))
    best = different.argmin(0), np.arange(len(factor))
    return multipliers[best], constants[best], different[best]


def fitted(wanted: Steps, factor: np.ndarray, offset: np.ndarray) -> Fit | None:
    """Return the integers of the requantisation that comes nearest to step functions.

    Parameters
    ----------
    wanted
        The step functions.
    factor, offset
        float64 of shape (channels,): before it is rounded and clipped, a code is ``factor·sum + offset``. Factors are
        0 or positive.

    Returns
    -------
    Fit or None
        Return None if a factor is 2^16 or more, or so small that its multiplier would be 0, or if an offset is too
        large.
    """
    if (factor >= 1 << 16).any():
        return None
    mantissa, exponent = np.frexp(factor)
    if ((mantissa == 0.5) & (exponent <= 1)).all() and (exponent >= 1 - MAX_SHIFT).all():
        shift = (1 - exponent).astype(np.int64)
        nearest = np.rint(offset / factor).astype(np.int64)
        fits = []
        for bias in (nearest, nearest - 1):  # a bias that is one less rounds halves down
            different = _different(wanted, shift, np.ones_like(shift), bias)
            fits.append(_fit(wanted, factor, Scaling(bias, shift), different))
        if (np.abs(nearest) >= _MAX_BIAS).any():
            return None
        return min(fits, key=lambda fit: fit.share)
    shift = np.where(factor > 0, np.clip(22 - exponent, 0, MAX_SHIFT), 0).astype(np.int64)
    if (np.abs(np.ldexp(offset, shift)) >= _FAR).any():
        return None
    multiplier, constant, different = _scaled(wanted, factor, offset, shift)
    if ((multiplier == 0) & (factor > 0)).any():
        return None
    scaling = Scaling.scaled(multiplier, constant, shift)
    if (np.abs(scaling.bias) >= _MAX_BIAS).any() or (
        np.abs(constant - multiplier * scaling.bias) > MAX_MULTIPLIER
    ).any():
        return None
    return _fit(wanted, factor, scaling, different)


def fitted_mean(wanted: Steps, factor: float, offset: float) -> Fit | None:
    """Return the integers of the requantisation without a bias that comes nearest to a step function, or None.

    A mean has one multiplier for all channels, and no bias. A multiplier that is slightly larger than its factor
    rounds halves away from the sum at which the offset balances it.

    Parameters
    ----------
    wanted
        The step function, as that of a single channel.
    factor, offset
        As of `fitted`. Return None if the factor is 2^22 or more, or so small that its multiplier would be 0.
    """
    factors, offsets, zero = np.array([factor]), np.array([offset]), np.zeros(1, np.int64)
    mantissa, exponent = math.frexp(factor)
    if mantissa == 0.5 and 0 <= 1 - exponent <= MAX_SHIFT:
        plain = Scaling(zero, np.array([1 - exponent]))
        different = _different(wanted, plain.shift, zero + 1, zero)
        if not different.any():
            return _fit(wanted, factors, plain, different)
    for shift in range(min(22 - exponent, MAX_SHIFT), -1, -1):
        multiplier, constant, different = _scaled(wanted, factors, offsets, zero + shift)
        if multiplier[0] < 1:
            break
        if abs(constant[0]) <= MAX_MULTIPLIER:
            return _fit(wanted, factors, Scaling(zero, zero + shift, multiplier, constant), different)
    return None
