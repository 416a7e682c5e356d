# amaranth: UnusedElaboratable=no
"""Components side by side, each with its share of the lanes."""

import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from psahw.gateware.slices import Slices
from psahw.gateware.transpose import Transpose
from tests.gateware.streams import run_stream

STALLS = st.lists(st.booleans(), max_size=7).filter(lambda x: not x or not all(x))
ROWS, COLUMNS, I_LANES, O_LANES = 4, 6, 2, 4  # of a slice


def transpose(i_lanes=I_LANES, o_lanes=O_LANES):
    return Transpose(rows=ROWS, columns=COLUMNS, i_lanes=i_lanes, o_lanes=o_lanes, period=1)


@settings(max_examples=10, deadline=None)
@given(st.integers(1, 3), STALLS, STALLS)
def test_each_slice_has_its_lanes(slices, i_stalls, o_stalls):
    """Each slice works as if it had a stream of its own."""
    frames = np.random.default_rng(2).integers(-128, 128, (3, ROWS, slices, COLUMNS))
    beats = frames.reshape(3, ROWS, slices, COLUMNS // I_LANES, I_LANES).transpose(0, 1, 3, 2, 4)
    out, *_ = run_stream(
        Slices(parts=[transpose() for _ in range(slices)]),
        beats.reshape(-1, slices * I_LANES),
        i_stalls=i_stalls,
        o_stalls=o_stalls,
    )
    expected = frames.transpose(0, 3, 2, 1)  # frame, column, slice, row
    assert np.array_equal(out, expected.reshape(-1, slices * O_LANES))


def test_no_parts():
    with pytest.raises(ValueError, match=r"^parts must not be empty$"):
        Slices(parts=[])


@pytest.mark.parametrize(("changes", "port"), [({"i_lanes": 3}, "i"), ({"o_lanes": 2}, "o")])
def test_unlike_parts(changes, port):
    with pytest.raises(TypeError, match=rf"^parts must have the same {re.escape(port)}\.payload, not ArrayLayout"):
        Slices(parts=[transpose(), transpose(**changes)])
