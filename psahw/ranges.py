"""Value ranges of a layer's sums, from its own weights: the widths that the circuits are built with."""

import numpy as np

__all__ = ["accumulator_range", "signed_bits"]


def signed_bits(low: int, high: int) -> int:
    """Bits of the smallest two's complement number that holds both."""
    return max(int(low if low >= 0 else ~low).bit_length(), int(high if high >= 0 else ~high).bit_length()) + 1


def accumulator_range(weight: np.ndarray, bias: np.ndarray | int = 0) -> tuple[int, int]:
    """Least and largest value of ``weight·x + bias`` over all int8 ``x`` and all rows; sums are over the last
    axis. Exact: each term takes the end of [-128, 127] that suits its sign."""
    weight = weight.astype(np.int64)
    positive, negative = np.maximum(weight, 0).sum(-1), np.minimum(weight, 0).sum(-1)
    low = -128 * positive + 127 * negative + bias
    high = 127 * positive - 128 * negative + bias
    return int(np.min(low)), int(np.max(high))
