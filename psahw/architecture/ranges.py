"""Ranges of a layer's sums, which follow from its weights and give the widths in the circuit."""

import numpy as np

__all__ = ["accumulator_range", "dot_range", "signed_bits"]


def signed_bits(low: int, high: int) -> int:
    """Return the bits of the narrowest two's complement number that holds both values."""
    return max(int(low if low >= 0 else ~low).bit_length(), int(high if high >= 0 else ~high).bit_length()) + 1


def dot_range(weight: np.ndarray, axis: int | tuple[int, ...] = -1) -> tuple[np.ndarray, np.ndarray]:
    """Return the least and the greatest sum of ``weight·x`` along an axis, over all int8 ``x``.

    Each term takes the end of [-128, 127] that suits the sign of its weight. The sums bound every partial sum too,
    because the range of each term contains 0.
    """
    weight = np.asarray(weight, np.int64)
    positive, negative = np.maximum(weight, 0).sum(axis), np.minimum(weight, 0).sum(axis)
    return -128 * positive + 127 * negative, 127 * positive - 128 * negative


def accumulator_range(weight: np.ndarray) -> tuple[int, int]:
    """Return the least and the greatest ``weight·x`` over all int8 ``x`` and all rows, along the last axis."""
    low, high = dot_range(weight)
    return int(low.min()), int(high.max())
