# amaranth: UnusedElaboratable=no
"""Sliding windows against the integer model, and their timing against psahw.architecture.timing."""

import math
import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from psahw.architecture import timing
from psahw.architecture.geometry import SlidingWindow
from psahw.gateware.windows import Windows
from psahw.network import layers, reference
from tests.gateware.streams import run_stream

STALLS = st.lists(st.booleans(), max_size=7).filter(lambda x: not x or not all(x))
EMBEDDING = {"height": 8, "width": 8, "channels": 3, "size": 6, "stride": 4, "padding": 1}
O_LANES = "o_lanes must divide the 18 elements of a row, or be that by a divisor of 6, not "
MERGING = {"height": 4, "width": 4, "channels": 2, "size": 2, "stride": 2, "padding": 0}


def divisors(n):
    return [x for x in range(1, 9) if n % x == 0]


@st.composite
def shapes(draw):
    """Draw windows that need not be square, with padding of its own on each side and strides above the size."""
    lengths, size, stride, padding = [], [], [], []
    for _ in range(2):
        extent = draw(st.integers(1, 4))
        before, after = (draw(st.integers(0, extent - 1)) for _ in range(2))
        lengths.append(draw(st.integers(max(extent - before - after, 1), 6)))
        size.append(extent)
        stride.append(draw(st.integers(1, extent + 2)))
        padding += [before, after]
    channels = draw(st.integers(1, 4))
    row = size[1] * channels
    return {
        "height": lengths[0],
        "width": lengths[1],
        "channels": channels,
        "size": tuple(size),
        "stride": tuple(stride),
        "padding": tuple(padding),
        "code": draw(st.sampled_from([0, -128, 77])),
        "i_lanes": draw(st.sampled_from(divisors(lengths[1] * channels))),
        "o_lanes": draw(st.sampled_from([*divisors(row), *(row * n for n in divisors(size[0]))])),
        "period": draw(st.integers(1, 20)),
    }


def make_frames(frames, shape):
    rng = np.random.default_rng(1)
    return rng.integers(-128, 128, (frames, shape["height"], shape["width"], shape["channels"]))


def expected(frames, shape):
    window = sliding(shape)
    windows = layers.Windows(window.size, window.stride, window.padding, shape.get("code", 0))
    tokens = frames.reshape(len(frames), -1, shape["channels"])
    return reference.im2col(windows, (window.height, window.width), tokens).reshape(-1, shape["o_lanes"])


def sliding(shape):
    return SlidingWindow(*(shape[key] for key in ("height", "width", "size", "stride", "padding")))


def predicted(i, shape):
    return timing.windows(
        i,
        window=sliding(shape),
        i_beats=shape["width"] * shape["channels"] // shape["i_lanes"],
        o_beats=math.prod(sliding(shape).size) * shape["channels"] // shape["o_lanes"],
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


@pytest.mark.parametrize("o_lanes", [3, 36, 108])
@pytest.mark.parametrize("reset_at", [5, 60, 131])
def test_reset(reset_at, o_lanes):
    shape = EMBEDDING | {"i_lanes": 4, "o_lanes": o_lanes, "period": 40}
    frames = make_frames(2, shape)
    out, _, _ = run_stream(Windows(**shape), frames.reshape(-1, 4), reset_at=reset_at)
    assert np.array_equal(out, expected(frames, shape))


@pytest.mark.parametrize(
    "change, error, message",
    [
        ({"stride": (4, 0)}, ValueError, "stride must be at least 1, not 0"),
        ({"padding": (0, 0, 0, 6)}, ValueError, "padding must be below the window's 6 columns, not 0 and 6"),
        ({"padding": -1}, ValueError, "padding must be at least 0, not -1"),
        ({"code": 128}, ValueError, "code must be in [-128, 127], not 128"),
        ({"size": 0}, ValueError, "size must be at least 1, not 0"),
        ({"height": 3}, ValueError, "a window of 6 rows must fit 3 with padding of 1 and 1"),
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
