"""Ranges of a layer's sums, which follow from its weights and give the widths in the circuit."""

import numpy as np

__all__ = ["MAX_MULTIPLIER", "accumulator_range", "dot_range", "signed_bits"]

MAX_MULTIPLIER = (1 << 22) - 1
"""The largest multiplier of a sum: products are exact in double precision, with which other tools compute."""


def signed_bits(low: int, high: int) -> int:
    """Return the bits of the narrowest two's complement number that holds both values."""
    return max(int(low if low >= 0 else ~low).bit_length(), int(high if high >= 0 else ~high).bit_length()) + 1


def dot_range(
    weight: np.ndarray, axis: int | tuple[int, ...] = -1, *, low: int = -128, high: int = 127
) -> tuple[np.ndarray, np.ndarray]:
    """Return the least and the greatest sum of ``weight·x`` along an axis, over all ``x`` in [low, high] and 0.

    Each term takes the end of the range that suits the sign of its weight. The sums bound every partial sum too,
    because the range of each term contains 0.
    """
    low, high = min(low, 0), max(high, 0)
    weight = np.asarray(weight, np.int64)
    positive, negative = np.maximum(weight, 0).sum(axis), np.minimum(weight, 0).sum(axis)
    return low * positive + high * negative, high * positive + low * negative


def accumulator_range(weight: np.ndarray, *, low: int = -128, high: int = 127) -> tuple[int, int]:
    """Return the least and the greatest ``weight·x`` of all rows, along the last axis (`dot_range`)."""
    least, greatest = dot_range(weight, low=low, high=high)
    return int(least.min()), int(greatest.max())
