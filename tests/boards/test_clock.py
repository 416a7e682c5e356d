# amaranth: UnusedElaboratable=no
"""Tests of the PLL settings against the limits of the data sheets."""

import re
from fractions import Fraction

import hypothesis
import pytest
from hypothesis import given
from hypothesis import strategies as st

from psahw import boards
from psahw.boards.clock import settings
from psahw.boards.tools.project import clock_for
from psahw.errors import UserError


@pytest.mark.parametrize("name", boards.BOARDS)
def test_default_clocks_are_exact(name):
    board = boards.get(name)
    assert clock_for(board).hz == board.clock_hz


def test_published_kintex_clock():
    """125 MHz / 5 * 53.625 / 9.375 is 143 MHz, and the VCO runs at 1,340.625 MHz."""
    clock = clock_for(boards.get("marble"))
    assert (clock.input_divider, clock.multiplier, clock.output_divider) == (5, Fraction(429, 8), Fraction(75, 8))
    assert clock.hz == 143_000_000


def test_whole_dividers_are_preferred():
    clock = settings("xc7", "2", 200e6, 150e6)
    assert clock.multiplier.denominator == clock.output_divider.denominator == clock.input_divider == 1


@hypothesis.settings(deadline=None, max_examples=40)
@given(
    st.sampled_from(
        [
            ("xc7", "1", 600, 1200, 10, 450, 8),
            ("xc7", "2", 600, 1440, 10, 500, 8),
            ("xcup", "2L-e", 800, 1600, 10, 500, 8),
            ("ecp5", "6", 400, 800, 10, 400, 1),
            ("ecp5", "8", 400, 800, 10, 400, 1),
        ]
    ),
    st.sampled_from([25e6, 100e6, 125e6, 200e6, 300e6]),
    st.integers(20_000, 350_000),
)
def test_settings_keep_the_data_sheet(device, input_hz, target_khz):
    family, speed, vco_low, vco_high, pfd_low, pfd_high, steps = device
    try:
        clock = settings(family, speed, input_hz, target_khz * 1e3)
    except UserError:
        assert steps == 1, "dividers with steps of 1/8 come within 1 % of everything"
        return
    assert Fraction(99, 100) * target_khz <= clock.hz / 1000 <= target_khz
    assert vco_low <= clock.vco_hz / 10**6 <= vco_high
    assert pfd_low <= clock.input_hz / clock.input_divider / 10**6 <= pfd_high
    for divider in (clock.multiplier, clock.output_divider):
        assert (divider * steps).denominator == 1
        assert divider == 1 or 2 <= divider <= 128


@hypothesis.settings(deadline=None, max_examples=60)
@given(
    st.sampled_from([("gw2a", "C8/I7", 500, 1250), ("gw1n", "C6/I5", 400, 1200)]),
    st.sampled_from([27e6, 50e6]),
    st.integers(20_000, 200_000),
)
def test_settings_of_the_rpll(device, input_hz, target_khz):
    """The settings of Gowin's PLL obey UG286, DS102 and DS117.

    CLKOUT = CLKIN * (FBDIV + 1) / (IDIV + 1) and VCO = CLKOUT * ODIV (UG286). The data sheets have the limits.
    """
    family, speed, slowest, fastest = device
    try:
        clock = settings(family, speed, input_hz, target_khz * 1e3)
    except UserError:
        candidates = (input_hz * m / d for d in range(1, 65) if input_hz / d >= 3e6 for m in range(1, 65))
        assert not any(0.99 * target_khz * 1e3 <= hz <= target_khz * 1e3 for hz in candidates)
        return
    feedback = clock.multiplier / clock.output_divider
    assert feedback.denominator == 1 and 1 <= feedback <= 64 and 1 <= clock.input_divider <= 64
    assert clock.output_divider in (2, 4, 8, 16, 32, 48, 64, 80, 96, 112, 128)
    assert clock.hz == clock.input_hz * feedback / clock.input_divider
    assert slowest <= clock.hz * clock.output_divider / 10**6 <= fastest
    assert 3 <= clock.input_hz / clock.input_divider / 10**6 <= 400
    assert Fraction(99, 100) * target_khz <= clock.hz / 1000 <= target_khz


@pytest.mark.parametrize("target_hz", [1e6, 2e9, 258e6])
def test_impossible_clock(target_hz):
    message = (
        f"a clock of {target_hz / 1e6:g} MHz cannot be made from 25 MHz; this device's EHXPLLL makes 3.125 to 257 "
        "MHz for its clock network"
    )
    with pytest.raises(UserError, match=f"^{re.escape(message)}$"):
        settings("ecp5", "6", 25e6, target_hz)


@pytest.mark.parametrize("name", boards.BOARDS)
def test_fastest_clock(name):
    """A PLL makes faster clocks than the device takes to its flip-flops, by DS182, DS923 and FPGA-DS-02012."""
    highest = {"kc705": 710, "alveo-u250": 775, "ulx3s-85f": 257, "ecpix5-85f": 370, "nereid": 625}
    board = boards.get(name)
    assert clock_for(board).hz <= 300e6
    with pytest.raises(UserError, match=f"^a clock of 900 MHz cannot .* to {highest.get(name, '[0-9]+')} MHz"):
        clock_for(board, 900e6)


def test_clock_between_possible_ones():
    message = "a clock of 349 MHz cannot be made from 25 MHz within 1 %; the nearest below it is 343.75 MHz"
    with pytest.raises(UserError, match=f"^{re.escape(message)}$"):
        settings("ecp5", "8", 25e6, 349e6)
