# amaranth: UnusedElaboratable=no
"""The mean over tokens against NumPy, and its timing against psahw.architecture.timing."""

import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from psahw.architecture import timing
from psahw.architecture.codes import INT8, Codes
from psahw.gateware.pool import MeanPool
from psahw.network.reference import requantise
from tests.gateware.streams import run_stream

STALLS = st.lists(st.booleans(), max_size=7).filter(lambda x: not x or not all(x))


def make_frames(tokens, channels, codes=INT8):
    """Return frames of random values, two of which have the greatest and the least values instead."""
    frames = np.random.default_rng(1).integers(codes.low, codes.high + 1, (4, tokens, channels))
    frames[1], frames[2] = codes.high, codes.low
    return frames


def expected(frames, lanes, shift, codes=INT8, multiplier=1, offset=0):
    return requantise(multiplier * frames.sum(1) + offset, shift, codes).reshape(-1, lanes)


@settings(max_examples=15, deadline=None)
@given(
    st.integers(1, 9), st.integers(1, 3), st.integers(1, 3), st.integers(0, 9), STALLS, STALLS,
    st.sampled_from([INT8, Codes(8, False), Codes(3), Codes(1, False)]), st.sampled_from([1, 7, 40_000]),
    st.sampled_from([0, 3, -99, 4194303, -4194303]),
)  # fmt: skip
def test_any_stalls(tokens, beats, lanes, shift, i_stalls, o_stalls, codes, multiplier, offset):
    frames = make_frames(tokens, beats * lanes, codes)
    sizes = {"tokens": tokens, "channels": beats * lanes, "lanes": lanes}
    shift += multiplier.bit_length() - 1
    dut = MeanPool(**sizes, shift=shift, codes=codes, multiplier=multiplier, offset=offset)
    out, i, o = run_stream(dut, frames.reshape(-1, lanes), i_stalls=i_stalls, o_stalls=o_stalls)
    assert np.array_equal(out, expected(frames, lanes, shift, codes, multiplier, offset))
    if not o_stalls:
        assert np.array_equal(o, timing.mean_pool(i, tokens=tokens, beats=beats, scaled=multiplier != 1))


@pytest.mark.parametrize("shift", [0, 6, 12, 31])
def test_shifts(shift):
    frames = make_frames(16, 8)
    dut = MeanPool(tokens=16, channels=8, lanes=8, shift=shift)
    out, _, _ = run_stream(dut, frames.reshape(-1, 8))
    assert np.array_equal(out, expected(frames, 8, shift))


@pytest.mark.parametrize("reset_at", [3, 16, 21])
def test_reset(reset_at):
    frames = make_frames(4, 4)
    dut = MeanPool(tokens=4, channels=4, lanes=1, shift=2)
    out, _, _ = run_stream(dut, frames.reshape(-1, 1), reset_at=reset_at)
    assert np.array_equal(out, expected(frames, 1, 2))


@pytest.mark.parametrize(
    "change, error, message",
    [
        ({"tokens": 0}, ValueError, "tokens must be at least 1, not 0"),
        ({"channels": "6"}, TypeError, "channels must be an integer, not '6'"),
        ({"lanes": 4}, ValueError, "lanes must divide channels = 6, not 4"),
        ({"shift": 32}, ValueError, "shift must be in [0, 31], not 32"),
        ({"offset": -(1 << 22)}, ValueError, "offset must be in [-4194303, 4194303], not -4194304"),
    ],
)
def test_init_wrong(change, error, message):
    with pytest.raises(error, match=f"^{re.escape(message)}$"):
        MeanPool(**{"tokens": 4, "channels": 6, "lanes": 2, "shift": 2} | change)
