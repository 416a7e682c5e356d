# amaranth: UnusedElaboratable=no
"""Transposition against NumPy, and its timing against psahw.architecture.timing."""

import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from psahw.architecture import timing
from psahw.gateware.transpose import Transpose
from tests.gateware.streams import run_stream

STALLS = st.lists(st.booleans(), max_size=7).filter(lambda x: not x or not all(x))
few_examples = settings(max_examples=15, deadline=None)


@st.composite
def shapes(draw):
    i_lanes, o_lanes = draw(st.integers(1, 4)), draw(st.integers(1, 4))
    rows, columns = o_lanes * draw(st.integers(1, 4)), i_lanes * draw(st.integers(1, 3))
    period = draw(st.integers(1, 8))
    return {"rows": rows, "columns": columns, "i_lanes": i_lanes, "o_lanes": o_lanes, "period": period}


def make_frames(frames, shape):
    rng = np.random.default_rng(1)
    return rng.integers(-128, 128, (frames, shape["rows"], shape["columns"]))


def expected(frames, shape):
    return frames.transpose(0, 2, 1).reshape(-1, shape["o_lanes"])


@few_examples
@given(shapes(), STALLS, STALLS)
def test_any_stalls(shape, i_stalls, o_stalls):
    frames = make_frames(3, shape)
    beats = frames.reshape(-1, shape["i_lanes"])
    out, _, _ = run_stream(Transpose(**shape), beats, i_stalls=i_stalls, o_stalls=o_stalls)
    assert np.array_equal(out, expected(frames, shape))


@few_examples
@given(shapes(), STALLS)
def test_cycles(shape, i_stalls):
    frames = make_frames(3, shape)
    beats = frames.reshape(-1, shape["i_lanes"])
    out, i, o = run_stream(Transpose(**shape), beats, i_stalls=i_stalls)
    predicted = timing.transpose(
        i,
        i_beats=shape["rows"] * shape["columns"] // shape["i_lanes"],
        vectors=shape["columns"],
        o_beats=shape["rows"] // shape["o_lanes"],
        period=shape["period"],
    )
    assert np.array_equal(out, expected(frames, shape))
    assert np.array_equal(o, predicted)


@pytest.mark.parametrize("i_lanes, o_lanes", [(1, 1), (2, 2), (4, 4), (3, 3)])
def test_full_throughput(i_lanes, o_lanes):
    shape = {"rows": 12, "columns": 12, "i_lanes": i_lanes, "o_lanes": o_lanes, "period": 12 // o_lanes}
    frames = make_frames(3, shape)
    _, i, o = run_stream(Transpose(**shape), frames.reshape(-1, i_lanes))
    assert np.array_equal(i, np.arange(len(i)))
    assert np.array_equal(np.diff(o), np.ones(len(o) - 1))


@pytest.mark.parametrize("reset_at", [5, 23, 31])
def test_reset(reset_at):
    shape = {"rows": 4, "columns": 6, "i_lanes": 2, "o_lanes": 2, "period": 3}
    frames = make_frames(3, shape)
    out, _, _ = run_stream(Transpose(**shape), frames.reshape(-1, 2), reset_at=reset_at)
    assert np.array_equal(out, expected(frames, shape))


@pytest.mark.parametrize(
    "change, error, message",
    [
        ({"rows": 0}, ValueError, "rows must be at least 1, not 0"),
        ({"columns": 4.0}, TypeError, "columns must be an integer, not 4.0"),
        ({"i_lanes": 4}, ValueError, "i_lanes must divide columns = 6, not 4"),
        ({"o_lanes": 3}, ValueError, "o_lanes must divide rows = 4, not 3"),
        ({"period": 0}, ValueError, "period must be at least 1, not 0"),
        ({"style": "ultra"}, ValueError, "style must be 'block' or 'distributed', not 'ultra'"),
    ],
)
def test_init_wrong(change, error, message):
    shape = {"rows": 4, "columns": 6, "i_lanes": 2, "o_lanes": 2, "period": 3}
    with pytest.raises(error, match=f"^{re.escape(message)}$"):
        Transpose(**shape | change)
