"""Two products in one multiplier: which units of a MAC array share a DSP slice.

Two rows that multiply the same activation ``x`` by weights ``u`` and ``l`` can do so at once, because
``(u·2^S + l)·x`` holds both products. Accumulated from the constant ``2^(S-1)``, it becomes
``U·2^S + (L + 2^(S-1))`` with the two sums ``U`` and ``L``. As long as ``-2^(S-1) <= L < 2^(S-1)``, the bracket lies
in [0, 2^S): the total shifted right by ``S`` is exactly ``U``, and its lower ``S`` bits are those of ``L`` with the
top bit inverted. Only the final total has to satisfy this, and nothing has to be corrected afterwards.

WP486, "Deep Learning with INT8 Optimization on Xilinx Devices", corrects the upper product instead, and bounds the
number of terms for any weights. Constant weights show how far their own sum can go.

The wide operand needs no extra bits in the weight memory: ``u·2^S + l`` is ``u - (l < 0)``, followed by ``l``
extended to ``S`` bits.
"""

import numpy as np

from .ranges import dot_range, signed_bits

__all__ = ["ACCUMULATOR_BITS", "MULTIPLIERS_PER_MARK", "OPERAND_BITS", "borrow", "laid_out", "pairs", "split"]

MULTIPLIERS_PER_MARK = 4
"""Multipliers of a MAC array that share the registers which mark the steps of a pass."""

ACCUMULATOR_BITS = 48  # UG479 and UG579: P of DSP48E1 and DSP48E2
OPERAND_BITS = {"DSP48E1": 25, "DSP48E2": 27}
"""Width of the wider operand, A, of a multiplier that can serve two products (UG479, UG579)."""


def laid_out(weight: np.ndarray, rows: int, columns: int) -> np.ndarray:
    """Return the weight of each unit of a MAC array in each step.

    ``weight`` has the shape (sets, outputs, inputs), the result (sets, passes, steps, rows, columns). It is padded
    with zeros if ``rows`` does not divide the outputs or ``columns`` the inputs.
    """
    sets, outputs, inputs = weight.shape
    weight = np.pad(weight, ((0, 0), (0, -outputs % rows), (0, -inputs % columns)))
    return weight.reshape(sets, -1, rows, weight.shape[2] // columns, columns).swapaxes(2, 3)


def split(weights: np.ndarray, operand_bits: int, *, low: int, high: int) -> int:
    """Return ``S`` for the weights of `laid_out`.

    It is limited by the bits that the upper weight leaves of the multiplier's wider operand (``operand_bits``, 25 in
    a DSP48E1 and 27 in a DSP48E2), and by those that the upper sum leaves of the accumulator. ``low`` and ``high``
    bound the activations.
    """
    wide = signed_bits(int(weights.min()), int(weights.max()))
    return _split(wide, dot_range(weights, axis=2, low=low, high=high), operand_bits)


def _split(wide: int, sums: tuple[np.ndarray, np.ndarray], operand_bits: int) -> int:
    """Return ``S`` for weights of ``wide`` bits with the least and greatest sums."""
    least, greatest = sums
    return min(operand_bits - wide, ACCUMULATOR_BITS - signed_bits(int(least.min()), int(greatest.max())))


def pairs(weights: np.ndarray, operand_bits: int, *, low: int, high: int) -> list[tuple[int, int, int]]:
    """Return (lower row, upper row, column) for each two units that share a multiplier.

    No unit is in two pairs. A row can be the lower one in a column if its sum over any ``x`` in [low, high] takes at
    most ``S`` bits in every set and pass. For 8-bit weights in a DSP48E1 and int8 activations this is so whenever the
    absolute values of the weights add up to at most 511. Two rows do not fit if the upper one has the least weight of
    the layer's width in a step in which the lower one's weight is negative. In each column the rows with the smallest
    sums are the lower ones, so that there are as many pairs as possible wherever that exception does not occur.
    """
    rows, columns = weights.shape[3:]
    wide, sums = signed_bits(int(weights.min()), int(weights.max())), dot_range(weights, axis=2, low=low, high=high)
    bits = _split(wide, sums, operand_bits)
    need = np.maximum(-sums[0], sums[1] + 1).max((0, 1))  # (rows, columns)
    least = -(1 << wide - 1)
    order = np.argsort(need, axis=0, kind="stable")
    counts = np.minimum((need <= 1 << bits - 1).sum(0), rows // 2).tolist()
    has_least = (weights == least).any((0, 1, 2, 3)).tolist()
    paired = []
    for column in range(columns):
        in_order = order[:, column].tolist()
        lowers, uppers = in_order[: counts[column]], in_order[counts[column] :]
        if not has_least[column]:
            paired += [(lower, upper, column) for lower, upper in zip(lowers, uppers, strict=False)]
            continue
        in_column = weights[..., column].reshape(-1, rows)
        is_least = in_column == least
        # The upper rows that fit the fewest lower ones choose first.
        for upper in sorted(uppers, key=lambda row: -int(is_least[:, row].sum())):
            clash = in_column[is_least[:, upper]] < 0
            lower = next((row for row in lowers if not clash[:, row].any()), None)
            if lower is not None:
                lowers.remove(lower)
                paired.append((lower, upper, column))
    return paired


def borrow(weights: np.ndarray, paired: list[tuple[int, int, int]]) -> np.ndarray:
    """Return the weights of `laid_out`, the upper ones of ``paired`` less 1 where the lower one is negative."""
    lowers, uppers, columns = np.array(paired, int).reshape(-1, 3).T
    borrowed = weights.copy()
    borrowed[..., uppers, columns] -= weights[..., lowers, columns] < 0
    return borrowed
