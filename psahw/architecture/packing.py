"""Two products in one multiplier: which units of a MAC array share a DSP slice.

Two rows that multiply the same activation ``x`` by weights ``u`` and ``l`` do so at once: ``(u·2^S + l)·x`` holds
both products. Accumulated from the constant ``2^(S-1)`` it becomes ``U·2^S + (L + 2^(S-1))`` with the two sums
``U`` and ``L``. As long as ``-2^(S-1) <= L < 2^(S-1)``, the bracket lies in [0, 2^S): the total shifted right by
``S`` is ``U`` exactly, and its lower ``S`` bits are those of ``L`` with the top one inverted. Only the last total
counts, whatever the ones before it were, and nothing is corrected afterwards. (WP486, "Deep Learning with INT8
Optimization on Xilinx Devices", corrects the upper product, and bounds the number of terms for any weights; constant
weights say themselves how far their sum can go.)

The wide operand needs no room of its own in the weight memory: ``u·2^S + l`` is ``u - (l < 0)``, above ``l`` extended
to ``S`` bits.
"""

import numpy as np

from .ranges import dot_range, signed_bits

__all__ = ["ACCUMULATOR_BITS", "OPERAND_BITS", "borrow", "laid_out", "pairs", "split"]

ACCUMULATOR_BITS = 48  # UG479 and UG579: P of DSP48E1 and DSP48E2
OPERAND_BITS = {"DSP48E1": 25, "DSP48E2": 27}
"""Of the wider operand of a multiplier that can serve two products: A's (UG479, UG579)."""


def laid_out(weight: np.ndarray, rows: int, columns: int) -> np.ndarray:
    """A layer's weights (sets, outputs, inputs) as (sets, passes, steps, rows, columns): what each unit of a MAC
    array multiplies by, step after step. Zeros where rows or columns do not divide."""
    sets, outputs, inputs = weight.shape
    weight = np.pad(weight, ((0, 0), (0, -outputs % rows), (0, -inputs % columns)))
    return weight.reshape(sets, -1, rows, weight.shape[2] // columns, columns).swapaxes(2, 3)


def split(weights: np.ndarray, operand_bits: int) -> int:
    """``S`` for the weights of `laid_out`: what their own bits leave of a multiplier's wider operand (25 in a
    DSP48E1, 27 in a DSP48E2), and the upper sum's of the accumulator."""
    low, high = dot_range(weights, axis=2)
    wide = signed_bits(int(weights.min()), int(weights.max()))
    return min(operand_bits - wide, ACCUMULATOR_BITS - signed_bits(int(low.min()), int(high.max())))


def pairs(weights: np.ndarray, operand_bits: int) -> list[tuple[int, int, int]]:
    """(lower row, upper row, column) of the units that share a multiplier; no unit is in two pairs.

    A row can be the lower one in a column if its sum over any int8 ``x`` takes at most ``S`` bits in every set and
    pass (for 8-bit weights in a DSP48E1: whenever its absolute weights add up to at most 511). Two rows do not fit
    if the upper one has the least weight of the layer's bits in a step in which the lower one's is negative. In each
    column the rows with the smallest sums are the lower ones; so there are as many pairs as possible where that
    exception does not occur.
    """
    rows, columns = weights.shape[3:]
    bits = split(weights, operand_bits)
    low, high = (limit.astype(np.int64) for limit in dot_range(weights, axis=2))
    need = np.maximum(-low, high + 1).max((0, 1))  # (rows, columns)
    least = -(1 << signed_bits(int(weights.min()), int(weights.max())) - 1)
    found = []
    for column in range(columns):
        here = weights[..., column].reshape(-1, rows)
        lowest = here == least
        order = np.argsort(need[:, column], kind="stable").tolist()
        free = [row for row in order[: rows // 2] if need[row, column] <= 1 << bits - 1]
        if not lowest.any():
            found += [(lower, upper, column) for lower, upper in zip(free, order[len(free) :], strict=False)]
            continue
        # Those that fit fewest choose first.
        for upper in sorted(order[len(free) :], key=lambda row: -int(lowest[:, row].sum())):
            clash = here[lowest[:, upper]] < 0
            lower = next((row for row in free if not clash[:, row].any()), None)
            if lower is not None:
                free.remove(lower)
                found.append((lower, upper, column))
    return found


def borrow(weights: np.ndarray, paired: list[tuple[int, int, int]]) -> np.ndarray:
    """The weights of `laid_out` with the upper ones of ``paired`` less one where their lower one is negative."""
    lowers, uppers, columns = np.array(paired, int).reshape(-1, 3).T
    taken = weights.copy()
    taken[..., uppers, columns] -= weights[..., lowers, columns] < 0
    return taken
