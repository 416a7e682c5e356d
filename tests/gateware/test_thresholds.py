# amaranth: UnusedElaboratable=no
"""Thresholds against counting in NumPy, and their timing against psahw.architecture.timing."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from psahw.architecture import timing
from psahw.architecture.codes import Codes
from psahw.gateware.thresholds import Thresholds
from tests.gateware.streams import run_stream

STALLS = st.lists(st.booleans(), max_size=7).filter(lambda x: not x or not all(x))
INPUTS = st.sampled_from([Codes(8), Codes(8, False), Codes(20), Codes(2)])


def counted(values, x, lanes, offset):
    """Return how many thresholds each element of vectors reaches, by comparing it with all of them."""
    reached = (x[:, :, None] >= values[None]).sum(-1) + offset
    return reached.reshape(-1, lanes)


@settings(max_examples=20, deadline=None)
@given(st.integers(1, 3), st.integers(1, 2), st.integers(1, 9), INPUTS, st.integers(0, 9), STALLS, STALLS)
def test_any_stalls(beats, lanes, count, i_codes, seed, i_stalls, o_stalls):
    rng = np.random.default_rng(seed)
    low, high = i_codes.low - 3, i_codes.high + 4  # also thresholds that are always or never reached
    values = np.sort(rng.integers(low, high, (beats * lanes, count)), 1).astype(np.int32)
    x = rng.integers(i_codes.low, i_codes.high + 1, (6, beats * lanes))
    x[::2, 0], x[1::2, -1] = i_codes.high, i_codes.low
    near = np.clip(values[:, 0], i_codes.low, i_codes.high)
    x[-1] = near  # equal to a threshold
    dut = Thresholds(values=values, lanes=lanes, offset=-4, i_codes=i_codes)
    out, i, o = run_stream(dut, x.reshape(-1, lanes), i_stalls=i_stalls, o_stalls=o_stalls)
    assert np.array_equal(out, counted(values, x, lanes, -4))
    if not o_stalls:
        assert np.array_equal(o, timing.thresholds(i, count=count))


@pytest.mark.parametrize("reset_at", [2, 5, 9])
def test_reset(reset_at):
    rng = np.random.default_rng(1)
    values = np.sort(rng.integers(-100, 100, (4, 3)), 1).astype(np.int32)
    x = rng.integers(-128, 128, (5, 4))
    dut = Thresholds(values=values, lanes=2, o_codes=Codes(2, False))
    out, _, _ = run_stream(dut, x.reshape(-1, 2), reset_at=reset_at)
    assert np.array_equal(out, counted(values, x, 2, 0))


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"values": np.zeros((4, 3), np.int64)}, TypeError, "values must be an array of int32, not int64"),
        ({"values": np.zeros(4, np.int32)}, ValueError, "values must have shape (channels, thresholds), not (4,)"),
        (
            {"values": np.array([[2, 1]] * 4, np.int32)},
            ValueError,
            "values must be in ascending order in each channel",
        ),
        ({"lanes": 3}, ValueError, "lanes must divide channels = 4, not 3"),
        ({"offset": 126}, ValueError, "offset must be in [-128, 124], not 126"),
    ],
)
def test_wrong_parameters(change, error, message):
    with pytest.raises(error) as info:
        Thresholds(**{"values": np.zeros((4, 3), np.int32), "lanes": 2} | change)
    assert str(info.value) == message
