"""Estimated LUTs of a layer as a parallel adder graph, by which networks are compared and shrunk.

Such a graph takes one vector per clock cycle, and multiplies by constants with shifts and additions that share
subexpressions, without multipliers and without weight memory. Nothing is built for the estimate.

The LUTs per weight were measured on graphs that da4ml made of random Gaussian matrices: with all weights at 8, 6,
5, 4 and 3 bits, and with half of them zero at 8, 6, 5 and 4 bits. Everything else is estimated from these:

- In the fraction ``f`` of weights that are not zero, the estimate is the parabola through zero, half and all of them,
  ``(4·half - all)·f - (4·half - 2·all)·f²``: there is less to share in a sparser matrix.
- ``half`` at 3 bits and below is in the same ratio to ``all`` as at 4 bits.
- In the bits, the estimate is linear between the measured values, and below 3 bits as from 4 to 3.
- Each row counts at its own width. For random matrices with 4 bits in half of the rows and 8 in the others, this is
  nearer to da4ml's cost (0.83 times) than the widest row for all (1.17 times).

For the embedding and the first block of cifar10-psa, at 8 bits and rounded to 6, 5, 4, 3 and 2, the estimate was 0.92
to 1.22 times da4ml's own cost of the same matrices, with a median of 1.08.
"""

import numpy as np

__all__ = ["layer_luts", "lut_per_weight", "row_bits"]

_BITS = np.array([1, 2, 3, 4, 5, 6, 8])
_ALL = np.array([4.1 - 2 * (5.1 - 4.1), 4.1 - (5.1 - 4.1), 4.1, 5.1, 6.8, 8.5, 12.0])
_HALF = np.array([*(_ALL[:3] * (3.6 / 5.1)), 3.6, 4.7, 6.0, 8.0])


def lut_per_weight(fraction: float | np.ndarray, bits: int | np.ndarray) -> np.ndarray:
    """Return the LUTs per entry of a matrix, zeros included.

    A ``fraction`` in [0, 1] of the entries are not zero and ``bits`` wide, from 1 to 8.
    """
    luts_of_all, luts_of_half = np.interp(bits, _BITS, _ALL), np.interp(bits, _BITS, _HALF)
    return (4 * luts_of_half - luts_of_all) * fraction - (4 * luts_of_half - 2 * luts_of_all) * np.square(fraction)


def row_bits(weight: np.ndarray) -> np.ndarray:
    """Return the narrowest width in two's complement of each row of int8 weights, along the last axis.

    The powers of two that all weights of a row share are shifted out before. A row of zeros has 1 bit, and no row
    has more than 8.
    """
    weight = np.asarray(weight, np.int16)
    joined = np.bitwise_or.reduce(weight, axis=-1)
    shared = np.where(joined == 0, 1, joined & -joined)
    magnitude = np.where(weight < 0, ~weight, weight).max(-1)  # -4 needs the bits of 3
    magnitude //= shared  # right for both signs: -4 >> 2 = -1 is ~(3 // 4) = ~0, and 12 >> 2 = 3
    return 1 + np.ceil(np.log2(magnitude + 1)).astype(int)


def layer_luts(weight: np.ndarray, columns: int | None = None) -> float:
    """Return the estimated LUTs of a layer's matrices, whose rows lie along the last axis.

    ``columns`` is the length of a row in the matrix that the graph computes. It is needed if ``weight`` leaves out
    zeros, as the weights of a local token mixing do outside the neighbourhood.
    """
    columns = weight.shape[-1] if columns is None else columns
    bits = row_bits(weight)
    fraction = np.count_nonzero(weight) / (bits.size * columns)
    return float(columns * lut_per_weight(fraction, bits).sum())
