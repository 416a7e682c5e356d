# amaranth: UnusedElaboratable=no
"""Argmax against NumPy, and its timing against psahw.architecture.timing."""

import re

import numpy as np
import pytest
from amaranth.lib import data
from amaranth.utils import bits_for
from hypothesis import given, settings
from hypothesis import strategies as st

from psahw.architecture import timing
from psahw.architecture.codes import Codes
from psahw.gateware.argmax import Argmax
from tests.gateware.streams import run_stream, unpack

STALLS = st.lists(st.booleans(), max_size=7).filter(lambda x: not x or not all(x))


def check(results, frames, bits):
    classes = frames.shape[1]
    logits = unpack([x & ((1 << (bits * classes)) - 1) for x in results], classes, bits)
    assert np.array_equal(logits, frames)
    assert [x >> (bits * classes) for x in results] == frames.argmax(1).tolist()


@settings(max_examples=15, deadline=None)
@given(
    st.integers(1, 4), st.integers(1, 5), st.integers(2, 24), st.booleans(), STALLS, STALLS,
    st.randoms(use_true_random=False),
)  # fmt: skip
def test_any_stalls(beats, lanes, bits, is_signed, i_stalls, o_stalls, random):
    classes = beats * lanes
    codes = Codes(bits, is_signed)
    values = [random.randint(codes.low, codes.high) for _ in range(3)] + [codes.low]  # so few that ties are frequent
    frames = np.array([[random.choice(values) for _ in range(classes)] for _ in range(6)])
    dut = Argmax(classes=classes, codes=codes, lanes=lanes)
    out, i, o = run_stream(dut, frames.reshape(-1, lanes), i_stalls=i_stalls, o_stalls=o_stalls)
    check(out, frames, dut.bits)
    if not o_stalls:
        assert np.array_equal(o, timing.argmax(i, beats=beats, lanes=lanes))


@pytest.mark.parametrize("lanes", [1, 2, 4])
def test_first_greatest_wins(lanes):
    frames = np.array([[-3, 5, 5, -8], [-8, -8, -8, -8], [7, 7, 0, 7]])
    out, _, _ = run_stream(Argmax(classes=4, codes=Codes(4), lanes=lanes), frames.reshape(-1, lanes))
    assert [x >> 16 for x in out] == [1, 0, 0]


def test_layout():
    shape = Argmax(classes=10, codes=Codes(20)).o.payload.shape()
    assert isinstance(shape, data.StructLayout) and shape.size == 200 + bits_for(9)


def test_reset():
    frames = np.array([[-3, 5, 4, -8], [6, -2, -3, 7]])
    out, _, _ = run_stream(Argmax(classes=4, codes=Codes(4)), frames.reshape(-1, 1), reset_at=2)
    check(out, frames, 4)


@pytest.mark.parametrize(
    "change, error, message",
    [
        ({"classes": 0}, ValueError, "classes must be at least 1, not 0"),
    ],
)
def test_init_wrong(change, error, message):
    with pytest.raises(error, match=f"^{re.escape(message)}$"):
        Argmax(**{"classes": 10, "codes": Codes(8)} | change)
