# amaranth: UnusedElaboratable=no
"""Sliding windows against the integer model, and their timing against psahw.architecture.timing."""

import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from psahw.architecture import timing
from psahw.architecture.geometry import SlidingWindow
from psahw.gateware.windows import Windows
from psahw.network.layers import Patch
from psahw.network.reference import patches
from tests.gateware.streams import run_stream

STALLS = st.lists(st.booleans(), max_size=7).filter(lambda x: not x or not all(x))
EMBEDDING = {"height": 8, "width": 8, "channels": 3, "size": 6, "stride": 4, "padding": 1}
O_LANES = "o_lanes must divide size·channels = 18, or be that times a divisor of size = 6, not "
MERGING = {"height": 4, "width": 4, "channels": 2, "size": 2, "stride": 2, "padding": 0}


def divisors(n):
    return [x for x in range(1, 9) if n % x == 0]


@st.composite
def shapes(draw):
    size = draw(st.integers(1, 4))
    stride, padding = draw(st.integers(1, size)), draw(st.integers(0, size - 1))
    smallest = max(size - 2 * padding, 1)
    height, width = draw(st.integers(smallest, 6)), draw(st.integers(smallest, 6))
    channels = draw(st.integers(1, 4))
    return {
        "height": height,
        "width": width,
        "channels": channels,
        "size": size,
        "stride": stride,
        "padding": padding,
        "i_lanes": draw(st.sampled_from(divisors(width * channels))),
        "o_lanes": draw(
            st.sampled_from([*divisors(size * channels), *(size * channels * n for n in divisors(size))])
        ),
        "period": draw(st.integers(1, 20)),
    }


def make_frames(frames, shape):
    rng = np.random.default_rng(1)
    return rng.integers(-128, 128, (frames, shape["height"], shape["width"], shape["channels"]))


def expected(frames, shape):
    patch = Patch(shape["size"], shape["stride"], shape["padding"])
    return patches(frames, patch).reshape(-1, shape["o_lanes"])


def predicted(i, shape):
    return timing.windows(
        i,
        window=SlidingWindow(*(shape[key] for key in ("height", "width", "size", "stride", "padding"))),
        i_beats=shape["width"] * shape["channels"] // shape["i_lanes"],
        o_beats=shape["size"] ** 2 * shape["channels"] // shape["o_lanes"],
        period=shape["period"],
    )


@settings(max_examples=15, deadline=None)
@given(shapes(), STALLS, STALLS)
def test_any_stalls(shape, i_stalls, o_stalls):
    frames = make_frames(2, shape)
    beats = frames.reshape(-1, shape["i_lanes"])
    out, _, _ = run_stream(Windows(**shape), beats, i_stalls=i_stalls, o_stalls=o_stalls)
    assert np.array_equal(out, expected(frames, shape))


@settings(max_examples=25, deadline=None)
@given(shapes(), STALLS)
def test_cycles(shape, i_stalls):
    frames = make_frames(2, shape)
    beats = frames.reshape(-1, shape["i_lanes"])
    out, i, o = run_stream(Windows(**shape), beats, i_stalls=i_stalls)
    assert np.array_equal(out, expected(frames, shape))
    assert np.array_equal(o, predicted(i, shape))


@pytest.mark.parametrize("grid, period", [(EMBEDDING, 110), (MERGING, 8)], ids=["embedding", "merging"])
def test_fast_source_keeps_the_period(grid, period):
    """If rows come in time, windows start ``period`` clock cycles apart, also across rows and frames."""
    shape = grid | {"i_lanes": 1, "o_lanes": 1, "period": period}
    frames = make_frames(3, shape)
    dut = Windows(**shape)
    out, _, o = run_stream(dut, frames.reshape(-1, 1), quiet=period + 10)
    assert np.array_equal(out, expected(frames, shape))
    first = o.reshape(-1, shape["size"] ** 2 * shape["channels"])[:, 0]
    assert set(np.diff(first)) == {period}


def test_merging_never_stalls_a_source_of_the_same_rate():
    shape = MERGING | {"i_lanes": 1, "o_lanes": 1, "period": 8}
    _, i, _ = run_stream(Windows(**shape), make_frames(4, shape).reshape(-1, 1))
    assert np.array_equal(i, np.arange(len(i)))


@pytest.mark.parametrize("o_lanes", [3, 36])
@pytest.mark.parametrize("reset_at", [5, 60, 131])
def test_reset(reset_at, o_lanes):
    shape = EMBEDDING | {"i_lanes": 4, "o_lanes": o_lanes, "period": 40}
    frames = make_frames(2, shape)
    out, _, _ = run_stream(Windows(**shape), frames.reshape(-1, 4), reset_at=reset_at)
    assert np.array_equal(out, expected(frames, shape))


@pytest.mark.parametrize(
    "change, error, message",
    [
        ({"stride": 7}, ValueError, "stride must be in [1, 6], not 7"),
        ({"padding": 6}, ValueError, "padding must be in [0, 5], not 6"),
        ({"size": 0}, ValueError, "size must be at least 1, not 0"),
        ({"height": 3}, ValueError, "height must be at least 4, not 3"),
        ({"width": 8.0}, TypeError, "width must be an integer, not 8.0"),
        ({"i_lanes": 5}, ValueError, "i_lanes must divide width·channels = 24, not 5"),
        ({"o_lanes": 4}, ValueError, O_LANES + "4"),
        ({"o_lanes": 24}, ValueError, O_LANES + "24"),
        ({"o_lanes": 72}, ValueError, O_LANES + "72"),
        ({"period": 0}, ValueError, "period must be at least 1, not 0"),
        ({"style": "ultra"}, ValueError, "style must be 'block' or 'distributed', not 'ultra'"),
    ],
)
def test_init_wrong(change, error, message):
    shape = EMBEDDING | {"i_lanes": 4, "o_lanes": 3, "period": 40}
    with pytest.raises(error, match=f"^{re.escape(message)}$"):
        Windows(**shape | change)
