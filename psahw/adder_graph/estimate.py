"""What a layer would cost as a parallel adder graph: one vector a clock, constants as shifts and adds with shared
subexpressions, no multiplier and no weight memory. Nothing here is built; networks are compared and shrunk by it.

Measured are LUTs per weight of graphs that da4ml made of random Gaussian matrices: with all weights at 8, 6, 5, 4 and
3 bits, and with half of them zero at 8, 6, 5 and 4. Everything else is *estimated* from them:

- in the fraction `f` of weights that are not zero by the parabola through nothing, half and all of them,
  `(4·half - all)·f - (4·half - 2·all)·f²`: the sparser, the less there is to share;
- the half of 3 bits and less by the ratio of 4 bits;
- in the bits by straight lines between the measured ones, and by that from 4 to 3 bits below;
- where rows have different widths by each row's own: of random matrices with 4 bits in half of the rows and 8 in the
  other, that is nearer to da4ml's cost (0.83 times) than the widest row for all (1.17 times).

Embedding and first block of cifar10-psa, at 8 bits and rounded to 6, 5, 4, 3 and 2: the estimate was 0.92 to 1.22
times da4ml's own cost of the same matrices, 1.08 times in the middle.
"""

import numpy as np

__all__ = ["layer_luts", "lut_per_weight", "row_bits"]

_BITS = np.array([1, 2, 3, 4, 5, 6, 8])
_ALL = np.array([4.1 - 2 * (5.1 - 4.1), 4.1 - (5.1 - 4.1), 4.1, 5.1, 6.8, 8.5, 12.0])
_HALF = np.array([*(_ALL[:3] * (3.6 / 5.1)), 3.6, 4.7, 6.0, 8.0])


def lut_per_weight(fraction: float | np.ndarray, bits: int | np.ndarray) -> np.ndarray:
    """Of a matrix of which `fraction` [0, 1] of the entries, all of them counted, are `bits` [1, 8] wide and not
    zero."""
    every, half = np.interp(bits, _BITS, _ALL), np.interp(bits, _BITS, _HALF)
    return (4 * half - every) * fraction - (4 * half - 2 * every) * np.square(fraction)


def row_bits(weight: np.ndarray) -> np.ndarray:
    """The narrowest two's complement for each row (last axis), once the powers of two that all its weights share
    are shifted out: 1 for a row of zeros, at most 8."""
    weight = np.asarray(weight, np.int64)
    joined = np.bitwise_or.reduce(weight, axis=-1)
    shared = np.where(joined == 0, 1, joined & -joined)
    magnitude = np.where(weight < 0, ~weight, weight).max(-1)  # -4 needs the bits of 3
    magnitude //= shared  # both ends: -4 >> 2 = -1 is ~(3 // 4) = ~0, and 12 >> 2 = 3
    return 1 + np.ceil(np.log2(magnitude + 1)).astype(int)


def layer_luts(weight: np.ndarray, columns: int | None = None) -> float:
    """Estimated LUTs of a layer's matrices, rows along the last axis. Each row counts at its own width.

    `columns` is the length of a row in the matrix that the graph computes, if `weight` leaves out zeros, as a local
    token mixing does with what is outside the neighbourhood.
    """
    columns = weight.shape[-1] if columns is None else columns
    bits = row_bits(weight)
    fraction = np.count_nonzero(weight) / (bits.size * columns)
    return float(columns * lut_per_weight(fraction, bits).sum())
