"""Ranges of sums and their widths against all combinations of small numbers."""

import itertools

import numpy as np
import pytest

from psahw.architecture.ranges import MAX_MULTIPLIER, accumulator_range, dot_range, signed_bits


def test_signed_bits_by_trying():
    ends = [0, *(sign * (1 << n) + step for n in range(9) for sign in (1, -1) for step in (-1, 0, 1))]
    for low, high in itertools.product(ends, ends):
        fits = (bits for bits in range(1, 12) if all(-(1 << bits - 1) <= x < 1 << bits - 1 for x in (low, high)))
        assert signed_bits(low, high) == next(fits)


@pytest.mark.parametrize("axis", [0, 1, (0, 1)])
def test_dot_range_against_all_ends(axis):
    """The extremes of a linear form are at the ends of its variables."""
    weight = np.array([[3, -2, 0], [-128, 127, 1]], np.int8)
    ends = np.array(list(itertools.product((-128, 127), repeat=6))).reshape(-1, 2, 3)
    inner = axis if isinstance(axis, int) else (-2, -1)
    sums = (weight * ends).sum(inner + 1 if isinstance(inner, int) else inner)
    low, high = dot_range(weight, axis)
    assert np.array_equal(low, sums.min(0)) and np.array_equal(high, sums.max(0))


def test_accumulator_range():
    """The first of all rows along the last axis has the least sum, and the last one the greatest."""
    assert accumulator_range(np.array([[[2, 1], [0, 0]], [[1, 0], [-2, -1]]], np.int8)) == (-384, 384)
    assert accumulator_range(np.array([[2, 0], [-1, 0]], np.int8)) == (-256, 254)


@pytest.mark.parametrize(("low", "high"), [(-5, -2), (-5, 0), (0, 5), (2, 5), (-1, 1)])
def test_ranges_of_partial_sums(low, high):
    """An input that has not come yet counts as 0, which is therefore in every range."""
    weight = np.array([[3, -2], [-4, -1]])
    inputs = np.array(list(itertools.product((low, 0, high), repeat=2)))
    sums = inputs @ weight.T
    least, greatest = dot_range(weight, low=low, high=high)
    assert least.tolist() == sums.min(0).tolist() and greatest.tolist() == sums.max(0).tolist()
    assert accumulator_range(weight, low=low, high=high) == (sums.min(), sums.max())


def test_products_are_exact_in_double_precision():
    """It holds all integers up to 2^53. Sums have 32 bits."""
    assert MAX_MULTIPLIER << 31 < 1 << 53 <= (MAX_MULTIPLIER + 1) << 31
