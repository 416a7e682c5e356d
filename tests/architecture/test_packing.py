"""Two sums in one accumulator, in plain integers, and the choice of the rows that are paired."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from psahw.architecture.packing import OPERAND_BITS, borrow, laid_out, pairs, split

INT8 = {"low": -128, "high": 127}


def unpacked(total, bits):
    """Return both sums of an accumulator that started at ``2^(bits - 1)``, by the module's docstring."""
    low = (total & (1 << bits) - 1) ^ 1 << bits - 1
    return low - (low >> bits - 1 << bits), total >> bits


def test_every_product_of_int8():
    """Both products are exact for each of the 2^24 combinations of operands."""
    lower, upper = np.meshgrid(np.arange(-128, 128), np.arange(-128, 128), indexing="ij")
    wide = (upper << 17) + lower
    fits = (wide >= -(1 << 24)) & (wide < 1 << 24)
    assert np.array_equal(~fits, (upper == -128) & (lower < 0))
    for x in range(-128, 128):
        low, high = unpacked(wide * x + (1 << 16), 17)
        assert (low == lower * x).all() and (high == upper * x).all()


@settings(max_examples=200, deadline=None)
@given(st.integers(0, 10_000), st.sampled_from([25, 27]), st.sampled_from([2, 4, 6, 8]), st.integers(1, 40))
def test_sums_of_every_pair(seed, operand_bits, weight_bits, steps):
    """Operands fit the multiplier, totals fit the accumulator, and both sums are exact at extreme activations."""
    rng = np.random.default_rng(seed)
    ends = 1 << weight_bits - 1
    weight = rng.integers(-ends, ends, (2, 7, 2 * steps)).astype(np.int8)
    weights = laid_out(weight, rows=4, columns=2)
    bits = split(weights, operand_bits, **INT8)
    paired = pairs(weights, operand_bits, **INT8)
    borrowed = borrow(weights, paired).astype(np.int64)
    for lower, upper, column in paired:
        u, v = (weights[..., row, column].reshape(-1, steps).astype(np.int64) for row in (upper, lower))
        w = (u << bits) + v
        assert np.array_equal(w >> bits, borrowed[..., upper, column].reshape(-1, steps))
        assert np.array_equal(w & (1 << bits) - 1, v & (1 << bits) - 1)
        assert -(1 << operand_bits - 1) <= w.min() and w.max() < 1 << operand_bits - 1
        for x in (np.where(v > 0, -128, 127), np.where(v > 0, 127, -128), rng.integers(-128, 128, v.shape)):
            total = (w * x).sum(-1) + (1 << bits - 1)
            assert abs(total).max() < 1 << 47
            low, high = unpacked(total, bits)
            assert np.array_equal(low, (v * x).sum(-1)) and np.array_equal(high, (u * x).sum(-1))


@pytest.mark.parametrize(
    ("row", "pair_count"),
    [
        ([-127] * 4 + [-3], 1),
        ([-127] * 4 + [-4], 0),  # 512·128 = 65,536 does not fit, -65,536 does
        ([127] * 4 + [4], 1),
        ([127] * 4 + [5], 0),
        ([127, -127, 127, -127, 3, -3], 1),
        ([127, -127, 127, -127, 4, -3], 0),
    ],
)
def test_the_limit_is_exact(row, pair_count):
    """A lower sum of 17 bits admits any absolute weights of 511 in all, and up to 514 with both signs."""
    weights = laid_out(np.array([[row, row]], np.int8), 2, 1)
    assert len(pairs(weights, 25, **INT8)) == pair_count
    assert len(pairs(weights, 27, **INT8)) == 1


@pytest.mark.parametrize(("weight", "steps", "bits"), [(-128, 40_000, 17), (-128, 100, 19), (1, 100, 25)])
def test_room_for_the_lower_sum(weight, steps, bits):
    """A weight takes 8 or 2 bits of the operand, and the sum of 40,000 products of 2^14 takes 31 of 48 bits."""
    assert OPERAND_BITS == {"DSP48E1": 25, "DSP48E2": 27}  # UG479 and UG579
    assert split(np.full((1, 2, steps, 2, 1), weight, np.int8), 27, **INT8) == bits


def test_the_smaller_row_is_the_lower_one():
    weight = np.array([[100] * 8, [1] * 8, [90] * 8, [2] * 8], np.int8)
    assert sorted(pairs(laid_out(weight[None], 4, 1), 25, **INT8)) == [(1, 2, 0), (3, 0, 0)]
    assert len(pairs(laid_out(weight[None], 4, 2), 25, **INT8)) == 4


def test_least_weight_above_a_negative_one():
    """An upper weight of -128 above a negative one takes 26 bits; another partner is used if there is one."""
    weight = np.array([[-128, 5], [-1, 0], [1, 0], [100, 100]], np.int8)
    assert sorted(pairs(laid_out(weight[None], 4, 1), 25, **INT8)) == [(1, 3, 0), (2, 0, 0)]
    assert pairs(laid_out(weight[None, :2], 2, 1), 25, **INT8) == []
    assert pairs(laid_out(weight[None, :2], 2, 1), 27, **INT8) == []
    assert pairs(laid_out(np.array([[[-128, 5], [0, 1]]], np.int8), 2, 1), 25, **INT8) == [(1, 0, 0)]


@pytest.mark.parametrize(("rows", "columns"), list(itertools.product((1, 2, 5), (1, 2, 3, 4))))
def test_every_unit_is_in_one_pair_at_most(rows, columns):
    weight = np.random.default_rng(rows).integers(-9, 10, (1, 5, 7)).astype(np.int8)
    paired = pairs(laid_out(weight, rows, columns), 25, **INT8)
    units = [(row, column) for lower, upper, column in paired for row in (lower, upper)]
    assert len(set(units)) == len(units) == rows // 2 * 2 * columns
