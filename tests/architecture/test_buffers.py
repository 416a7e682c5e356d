"""Bank layouts: no two elements of a beat in one bank, and no two elements of a frame at one place."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from psahw.architecture.buffers import BankLayout, TransposeBuffer, WindowBuffer, bank_count
from psahw.architecture.geometry import SlidingWindow


@pytest.mark.parametrize("i_lanes, o_lanes, banks", [(1, 1, 1), (2, 1, 2), (3, 2, 4), (4, 5, 8), (8, 8, 8)])
def test_bank_count(i_lanes, o_lanes, banks):
    assert bank_count(i_lanes, o_lanes) == banks


def test_successive_elements():
    """Unless more is known, a beat may begin anywhere, and its elements are neighbours."""
    layout = BankLayout(16, 2, 4)
    assert (list(layout.i_starts), list(layout.o_starts), layout.step) == ([0, 1, 2, 3], [0, 1, 2, 3], 1)


@pytest.mark.parametrize(
    ("i_lanes", "o_lanes", "i_align", "o_align", "step", "one"),
    [(2, 2, 2, 2, 1, True), (2, 2, 1, 2, 1, False), (2, 2, 2, 1, 1, False), (1, 2, 1, 2, 1, True),
     (2, 1, 2, 1, 3, True), (2, 2, 2, 2, 3, False), (4, 2, 4, 2, 1, True), (4, 3, 4, 2, 1, False)],
)  # fmt: skip
def test_one_wide_memory(i_lanes, o_lanes, i_align, o_align, step, one):
    """It can hold all banks if the elements of every beat are within one of its words."""
    assert BankLayout(16, i_lanes, o_lanes, i_align, o_align, step).is_one_memory == one


@given(st.integers(1, 9), st.integers(1, 9), st.integers(1, 8), st.integers(1, 8), st.integers(0, 2))
def test_starts_and_words(i_lanes, o_lanes, i_align, o_align, turns):
    banks = bank_count(i_lanes, o_lanes)
    layout = BankLayout(16 * banks, i_lanes, o_lanes, i_align, o_align, step=1 + turns * banks)
    words_differ = False
    for lanes, align, step, starts in (
        (i_lanes, i_align, 1, layout.i_starts),
        (o_lanes, o_align, layout.step, layout.o_starts),
    ):
        addresses = np.arange(0, 64 * align, align)
        assert set(addresses % banks) == set(starts)
        elements = addresses[:, None] + step * np.arange(lanes)
        assert all(len(set(beat)) == lanes for beat in elements % banks)
        words_differ |= bool((elements // banks != elements[:, :1] // banks).any())
    assert layout.is_one_memory == (not words_differ)
    assert layout.words == 16


@given(st.integers(1, 6), st.integers(1, 6), st.integers(1, 4), st.integers(1, 4))
def test_transpose(row_beats, column_beats, i_lanes, o_lanes):
    buffer = TransposeBuffer(column_beats * o_lanes, row_beats * i_lanes, i_lanes, o_lanes)
    row_pitch, column_pitch = buffer.pitches
    places = np.arange(buffer.rows)[:, None] * row_pitch + np.arange(buffer.columns) * column_pitch
    layout = buffer.layout
    assert len(np.unique(places)) == places.size and places.max() < buffer.half <= places.max() + layout.banks
    assert layout.depth == 2 * buffer.half and layout.depth % layout.banks == 0
    written, read = places[:, ::i_lanes], places[::o_lanes]
    assert not (written % layout.i_align).any() and not (read % layout.o_align).any()
    for starts, lanes, step in ((written, i_lanes, 1), (read, o_lanes, layout.step)):
        together = starts.reshape(-1, 1) + step * np.arange(lanes)
        assert all(len(set(beat)) == lanes for beat in (together % layout.banks).tolist())
    for column, row in itertools.product(range(o_lanes), range(i_lanes)):
        assert np.array_equal(places[:, row::i_lanes], written + row)
        assert np.array_equal(places[column::o_lanes], read + column * layout.step)


@pytest.mark.parametrize("o_lanes, copies, row_lanes, pitch", [(3, 1, 3, 96), (18, 1, 18, 96), (36, 2, 18, 96)])
def test_window_buffer(o_lanes, copies, row_lanes, pitch):
    buffer = WindowBuffer(SlidingWindow(32, 32, 6, 4, 1), channels=3, i_lanes=4, o_lanes=o_lanes)
    assert (buffer.copies, buffer.row_lanes, buffer.pitch) == (copies, row_lanes, pitch)
    assert buffer.layout == BankLayout(960, 4, row_lanes, 4, 3)


@pytest.mark.parametrize(
    "height, width, channels, size, stride, padding, i_lanes, o_lanes",
    [
        (32, 32, 3, (6, 6), (4, 4), (1, 1, 1, 1), 4, 18),
        (1, 1, 6, (1, 1), (1, 1), 0, 6, 6),  # a table's row in a beat: nothing is rotated
        (1, 1, 6, (1, 1), (1, 1), 0, 2, 3),
        (4, 5, 3, (1, 5), (1, 5), 0, 15, 15),
        (4, 5, 3, (2, 5), (2, 5), 0, 15, 5),
        (4, 6, 3, (1, 3), (1, 3), 0, 6, 9),
        (5, 6, 2, (3, 3), (2, 2), (1, 1, 0, 1), 12, 6),
    ],
)
def test_alignment_of_windows(height, width, channels, size, stride, padding, i_lanes, o_lanes):
    """The stated alignment is that of all addresses, as far as banks tell addresses apart."""
    window = SlidingWindow(height, width, size, stride, padding)
    buffer = WindowBuffer(window, channels, i_lanes, o_lanes)
    layout, left = buffer.layout, 0 if padding == 0 else padding[2]
    rows = buffer.pitch * np.arange(3)[:, None, None]
    written = rows + np.arange(0, width * channels, i_lanes)
    starts = (np.arange(window.grid[1]) * stride[1] - left) * channels
    read = rows + starts[:, None] + np.arange(0, size[1] * channels, buffer.row_lanes)
    for addresses, starts_of in ((written, layout.i_starts), (read, layout.o_starts)):
        assert math.gcd(layout.banks, *addresses.ravel().tolist()) == starts_of.step
