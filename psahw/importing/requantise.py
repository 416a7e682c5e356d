"""From sums to codes: find the integers that a requantisation needs, and count the sums that it rounds otherwise.

A sum of integers stands for a real number of each channel, ``factor·sum + offset``. Clipping and other functions that
do not fall follow, and then a quantiser. The code is therefore a step function of the sum, and the least sum that
reaches each code, its threshold, describes it completely. A network computes such a function in one of three ways:

- ``rshift(sum + bias, shift)``, if the factors are powers of two and no half is rounded otherwise,
- ``rshift(multiplier·(sum + bias), shift)``, with a multiplier of 22 bits, which rounds some sums otherwise, or
- comparisons with all thresholds, which is always exact and takes more hardware for many codes.

`fitted` finds the first two and compares their thresholds with the right ones.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from ..architecture.ranges import MAX_MULTIPLIER
from ..network.layers import MAX_SHIFT

__all__ = ["Fit", "Steps", "fitted", "steps"]

_FAR = 1 << 40  # beyond every sum


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
    """Integers of a requantisation ``rshift(multiplier·(sum + bias), shift)``.

    Parameters
    ----------
    bias, shift
        int64 of shape (channels,).
    multiplier
        int64 of shape (channels,), or None for 1.
    share
        The share of the sums that can occur, of all channels together, which give another code than they should.
    error
        The largest relative error of a factor.
    """

    bias: np.ndarray
    shift: np.ndarray
    multiplier: np.ndarray | None
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


def _thresholds(bias: np.ndarray, shift: np.ndarray, multiplier: np.ndarray, codes: np.ndarray) -> np.ndarray:
    """Return the least sum for which ``rshift(multiplier·(sum + bias), shift)`` reaches each code."""
    half = (1 << shift) >> 1
    needed = (codes << shift[:, None]) - half[:, None]  # of the product
    divisor = np.maximum(multiplier, 1)[:, None]
    least = -(-needed // divisor) - bias[:, None]
    return np.where((multiplier == 0)[:, None], np.where(needed <= 0, -_FAR, _FAR), least)


def _compared(wanted: Steps, factor: np.ndarray, bias: np.ndarray, shift: np.ndarray, multiplier: np.ndarray) -> Fit:
    """Return a fit with its share of sums that give another code."""
    codes = np.arange(wanted.low + 1, wanted.high + 1)
    given = wanted.reachable(_thresholds(bias, shift, multiplier, codes))
    different = np.abs(given - wanted.reachable(wanted.thresholds)).sum()
    error = np.abs(multiplier / 2.0**shift / factor - 1).max(initial=0, where=factor > 0)
    total = (wanted.greatest - wanted.least + 1).sum()
    return Fit(bias, shift, None if (multiplier == 1).all() else multiplier, float(different / total), float(error))


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
        Return None if a factor is 2^16 or more, or so small that its multiplier would be 0.
    """
    if (factor >= 1 << 16).any():
        return None
    mantissa, exponent = np.frexp(factor)
    if ((mantissa == 0.5) & (exponent <= 1)).all() and (exponent >= 1 - MAX_SHIFT).all():
        shift = (1 - exponent).astype(np.int64)
        bias = np.rint(offset / factor).astype(np.int64)
        # A bias that is one less rounds halves down.
        fits = [_compared(wanted, factor, bias - delta, shift, np.ones_like(shift)) for delta in (0, 1)]
        return min(fits, key=lambda fit: fit.share)
    shift = np.clip(22 - exponent, 0, MAX_SHIFT).astype(np.int64)
    multiplier = np.minimum(np.rint(np.ldexp(factor, shift)), MAX_MULTIPLIER).astype(np.int64)
    if ((multiplier == 0) & (factor > 0)).any():
        return None
    with np.errstate(divide="ignore", invalid="ignore"):
        bias = np.rint(np.where(factor > 0, offset / factor, 0))
    if (np.abs(bias) >= 1 << 31).any():
        return None
    return _compared(wanted, factor, bias.astype(np.int64), shift, multiplier)
