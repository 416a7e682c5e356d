"""Value ranges of a layer's sums, from its own weights: the widths that the circuits are built with."""

import numpy as np

__all__ = ["accumulator_range", "dot_range", "signed_bits"]


def signed_bits(low: int, high: int) -> int:
    """Bits of the smallest two's complement number that holds both."""
    return max(int(low if low >= 0 else ~low).bit_length(), int(high if high >= 0 else ~high).bit_length()) + 1


def dot_range(weight: np.ndarray, axis: int | tuple[int, ...] = -1) -> tuple[np.ndarray, np.ndarray]:
    """Least and greatest sum of ``weight·x`` along ``axis`` over int8 ``x``: each term takes the end of [-128, 127]
    that suits its sign. They bound every partial sum too, because each term's range holds 0."""
    weight = np.asarray(weight, np.int64)
    positive, negative = np.maximum(weight, 0).sum(axis), np.minimum(weight, 0).sum(axis)
    return -128 * positive + 127 * negative, 127 * positive - 128 * negative


def accumulator_range(weight: np.ndarray) -> tuple[int, int]:
    """Least and greatest value of ``weight·x`` over all int8 ``x`` and all rows; sums are over the last axis."""
    low, high = dot_range(weight)
    return int(low.min()), int(high.max())
