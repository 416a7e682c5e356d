# amaranth: UnusedElaboratable=no
"""The saturating adder of residual connections against NumPy."""

import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from psahw.architecture import timing
from psahw.architecture.codes import Codes
from psahw.gateware.residual import Add
from tests.gateware.streams import run_streams

STALLS = st.lists(st.booleans(), max_size=7).filter(lambda x: not x or not all(x))


def operands(beats, lanes):
    """Return random operands, after all pairs of extremes."""
    rng = np.random.default_rng(1)
    a, b = rng.integers(-128, 128, (2, beats * lanes))
    corners = np.array([-128, -1, 0, 1, 127])
    count = min(25, beats * lanes)
    a[:count], b[:count] = np.repeat(corners, 5)[:count], np.tile(corners, 5)[:count]
    return a.reshape(beats, lanes), b.reshape(beats, lanes)


@settings(max_examples=20, deadline=None)
@given(st.integers(1, 4), STALLS, STALLS, STALLS)
def test_any_stalls(lanes, a_stalls, b_stalls, o_stalls):
    a, b = operands(30, lanes)
    stalls = {"a": a_stalls, "b": b_stalls, "o": o_stalls}
    run = run_streams(Add(lanes=lanes), {"a": a, "b": b}, ["o"], stalls=stalls)
    assert np.array_equal(run.beats["o"], np.clip(a + b, -128, 127))
    if not o_stalls:
        assert np.array_equal(run.cycles["o"], timing.add(run.cycles["a"], run.cycles["b"]))


@pytest.mark.parametrize(("shift", "o_codes"), [(1, Codes(8)), (4, Codes(8, False)), (9, Codes(3))])
def test_shift(shift, o_codes):
    """A sum of finer summands is divided by a power of two, and halves are rounded up."""
    a_codes, b_codes, rng = Codes(12), Codes(9, False), np.random.default_rng(shift)
    a, b = rng.integers(a_codes.low, a_codes.high + 1, (200, 3)), rng.integers(0, 512, (200, 3))
    add = Add(lanes=3, a_codes=a_codes, b_codes=b_codes, o_codes=o_codes, shift=shift)
    run = run_streams(add, {"a": a, "b": b}, ["o"])
    assert np.array_equal(run.beats["o"], np.floor((a + b) / 2**shift + 0.5).clip(o_codes.low, o_codes.high))
    assert np.array_equal(run.cycles["o"], timing.add(run.cycles["a"], run.cycles["b"]))


def test_all_sums():
    a, b = (x.reshape(256, 256) for x in np.meshgrid(np.arange(-128, 128), np.arange(-128, 128)))
    run = run_streams(Add(lanes=256), {"a": a, "b": b}, ["o"])
    assert np.array_equal(run.beats["o"], np.clip(a + b, -128, 127))
    assert np.array_equal(run.cycles["o"], np.arange(2, 258))


def test_reset():
    a, b = operands(20, 2)
    run = run_streams(Add(lanes=2), {"a": a, "b": b}, ["o"], stalls={"o": [True, False]}, reset_at=7)
    assert np.array_equal(run.beats["o"], np.clip(a + b, -128, 127))


def test_init_wrong_shift():
    with pytest.raises(ValueError, match=f"^{re.escape('shift must be at least 0, not -1')}$"):
        Add(lanes=1, shift=-1)


def test_init_wrong_lanes():
    with pytest.raises(ValueError, match=f"^{re.escape('lanes must be at least 1, not 0')}$"):
        Add(lanes=0)
