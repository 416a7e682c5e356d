# amaranth: UnusedElaboratable=no
"""The maximum over windows against NumPy, and its timing against psahw.architecture.timing."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from psahw.architecture import timing
from psahw.architecture.codes import Codes
from psahw.gateware.max_pool import MaxPool
from tests.gateware.streams import run_stream

STALLS = st.lists(st.booleans(), max_size=7).filter(lambda x: not x or not all(x))
CODES = st.sampled_from([Codes(8), Codes(8, False), Codes(3), Codes(1, False)])


def make_windows(tokens, channels, codes):
    """Return windows of random codes, two of which have the greatest and the least code instead."""
    windows = np.random.default_rng(1).integers(codes.low, codes.high + 1, (5, tokens, channels))
    windows[1], windows[2] = codes.high, codes.low
    return windows


@settings(max_examples=15, deadline=None)
@given(st.integers(1, 9), st.integers(1, 3), st.integers(1, 3), CODES, STALLS, STALLS)
def test_any_stalls(tokens, beats, lanes, codes, i_stalls, o_stalls):
    windows = make_windows(tokens, beats * lanes, codes)
    dut = MaxPool(tokens=tokens, channels=beats * lanes, lanes=lanes, codes=codes)
    out, i, o = run_stream(dut, windows.reshape(-1, lanes), i_stalls=i_stalls, o_stalls=o_stalls)
    assert np.array_equal(out, windows.max(1).reshape(-1, lanes))
    if not o_stalls:
        assert np.array_equal(o, timing.max_pool(i, tokens=tokens, beats=beats))


@pytest.mark.parametrize("reset_at", [3, 16, 21])
def test_reset(reset_at):
    windows = make_windows(4, 4, Codes(8))
    out, _, _ = run_stream(MaxPool(tokens=4, channels=4, lanes=1), windows.reshape(-1, 1), reset_at=reset_at)
    assert np.array_equal(out, windows.max(1).reshape(-1, 1))


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"tokens": 0}, ValueError, "tokens must be at least 1, not 0"),
        ({"channels": 2.0}, TypeError, "channels must be an integer, not 2.0"),
        ({"lanes": 3}, ValueError, "lanes must divide channels = 4, not 3"),
    ],
)
def test_wrong_parameters(change, error, message):
    with pytest.raises(error) as info:
        MaxPool(**{"tokens": 2, "channels": 4, "lanes": 2} | change)
    assert str(info.value) == message
