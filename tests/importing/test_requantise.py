"""Integers of requantisations against real numbers, for every sum that can occur."""

import numpy as np
import pytest

from psahw.importing.requantise import Scaling, fitted, fitted_mean, steps


def codes_of(factor, offset, low, high):
    """Return a function from sums (channels, any) to rounded and clipped codes."""
    return lambda sums: np.floor(factor[:, None] * sums + offset[:, None] + 0.5).clip(low, high).astype(int)


def all_sums(least, greatest, channels):
    return np.tile(np.arange(least, greatest + 1), (channels, 1))


def by_hand(scaling, sums):
    """Return the codes of sums (channels, any) from Python's integers."""
    parts = (scaling.bias, scaling.shift, scaling.multiplier, scaling.offset)
    rows = [(1 if k == 2 else 0,) * len(sums) if part is None else part.tolist() for k, part in enumerate(parts)]
    return np.array(
        [
            [(m * (total + b) + c + (2**s // 2)) // 2**s for total in line.tolist()]
            for line, b, s, m, c in zip(sums, *rows, strict=True)
        ]
    )


def test_fractions_of_a_bias():
    """With an offset, codes of 8 bits are right for every sum; rounding the bias to a sum would move some."""
    rng = np.random.default_rng(0)
    factor, offset = rng.uniform(0.01, 0.9, 40), rng.uniform(-20, 20, 40)
    least, greatest = np.full(40, -300), np.full(40, 500)
    code_of = codes_of(factor, offset, -128, 127)
    fit = fitted(steps(code_of, least, greatest, -128, 127), factor, offset)
    sums = all_sums(-300, 500, 40)
    assert fit.share == 0 and fit.scaling.offset.any()
    assert np.array_equal(by_hand(fit.scaling, sums).clip(-128, 127), code_of(sums))
    whole = Scaling(fit.scaling.bias, fit.scaling.shift, fit.scaling.multiplier)
    assert not np.array_equal(by_hand(whole, sums).clip(-128, 127), code_of(sums))


def test_the_share_counts_sums():
    """It is the share of all sums with another code, here of sums with steps that no line follows."""
    factor, offset = np.array([0.13]), np.array([0.2])

    def code_of(sums):
        return codes_of(factor, offset, -20, 20)(sums + (sums == 7) + (sums == -50))

    fit = fitted(steps(code_of, np.array([-200]), np.array([200]), -20, 20), factor, offset)
    sums = all_sums(-200, 200, 1)
    different = by_hand(fit.scaling, sums).clip(-20, 20) != code_of(sums)
    assert fit.share == different.sum() / 401


def test_powers_of_two():
    factor, offset = np.array([0.25, 1.0]), np.array([3.0, -2.0])
    code_of = codes_of(factor, offset, -8, 7)
    fit = fitted(steps(code_of, np.array([-99, -99]), np.array([99, 99]), -8, 7), factor, offset)
    assert fit.share == 0 and fit.scaling.multiplier is None and fit.scaling.offset is None
    assert (fit.scaling.bias.tolist(), fit.scaling.shift.tolist()) == ([12, -2], [2, 0])


@pytest.mark.parametrize(("factor", "offset"), [(1 << 16, 0.0), (1e-12, 0.0), (0.1, 1e12)])
def test_what_does_not_fit(factor, offset):
    factor, offset = np.array([float(factor)]), np.array([offset])
    wanted = steps(codes_of(factor, offset, 0, 1), np.array([-9]), np.array([9]), 0, 1)
    assert fitted(wanted, factor, offset) is None


@pytest.mark.parametrize("count", [1, 4, 35, 64])
@pytest.mark.parametrize("middle", [-128, -3, 0, 100])
def test_halves_of_means_away_from_a_code(count, middle):
    """A slightly larger multiplier and an offset round the halves on both sides of a code away from it."""

    def code_of(sums):
        mean = sums / count - middle
        return (np.copysign(np.floor(np.abs(mean) + 0.5), mean) + middle).astype(int)

    least, greatest = np.array([-128 * count]), np.array([127 * count])
    fit = fitted_mean(steps(code_of, least, greatest, -128, 127), 1 / count, 0.0)
    sums = all_sums(-128 * count, 127 * count, 1)
    assert fit.share == 0 and not fit.scaling.bias.any()
    assert np.array_equal(by_hand(fit.scaling, sums), code_of(sums))


def test_means_of_no_use():
    wanted = steps(codes_of(np.array([0.1]), np.array([0.0]), 0, 1), np.array([-9]), np.array([9]), 0, 1)
    assert fitted_mean(wanted, 1e-12, 0.0) is None


def test_biases_that_no_layer_has():
    """The bias 3.5·2^30 does not fit 32 bits, although sums lead to more than one code."""
    factor, offset = np.array([2.0**-30]), np.array([-3.5])
    least, greatest = np.array([-1 << 20]), np.array([1 << 20])
    assert fitted(steps(codes_of(factor, offset, -4, -3), least, greatest, -4, -3), factor, offset) is None
