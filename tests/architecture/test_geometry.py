"""Sliding windows and neighbourhoods against loops over single positions."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from psahw.architecture.geometry import SlidingWindow, neighbour_count, neighbour_reach, neighbours


@st.composite
def sliding_windows(draw):
    """Draw windows that need not be square, with padding of its own on each side and strides above the size."""
    lengths, sizes, strides, padding = [], [], [], []
    for _ in range(2):
        size = draw(st.integers(1, 6))
        before, after = (draw(st.integers(0, size - 1)) for _ in range(2))
        lengths.append(draw(st.integers(max(size - before - after, 1), 12)))
        sizes.append(size)
        strides.append(draw(st.integers(1, size + 2)))
        padding += [before, after]
    return SlidingWindow(*lengths, tuple(sizes), tuple(strides), tuple(padding))


def starts(window):
    """Return the first row of every row of windows, and the first column of every column, padding included."""
    above, below, left, right = window.padding
    return (
        range(-above, window.height + below - window.size[0] + 1, window.stride[0]),
        range(-left, window.width + right - window.size[1] + 1, window.stride[1]),
    )


@given(sliding_windows())
def test_grid(window):
    assert window.grid == tuple(map(len, starts(window)))


@given(sliding_windows())
def test_rows(window):
    """Every row of windows needs the rows of the grid that it covers, and later rows of windows free them."""
    covered = [
        [row for row in range(top, top + window.size[0]) if 0 <= row < window.height] for top in starts(window)[0]
    ]
    first, end = window.row_spans()
    assert [list(range(*span)) for span in zip(first, end, strict=True)] == covered
    still_needed = [min(rows) for rows in covered[1:]] + [window.height]
    freed_after = [next(y for y, needed in enumerate(still_needed) if row < needed) for row in range(window.height)]
    assert window.freed_after().tolist() == freed_after
    assert window.rows_freed().tolist() == [freed_after.count(y) for y in range(len(covered))]


@pytest.mark.parametrize(
    "height, size, stride, padding, rows",
    [(32, 6, 4, 1, 10), (32, 4, 4, 0, 8), (32, 4, 2, 1, 6), (8, 2, 2, 0, 4), (6, 6, 4, 0, 12), (9, 4, 4, 0, 9)],
)
def test_buffered_rows(height, size, stride, padding, rows):
    assert SlidingWindow(height, height, size, stride, padding).buffered_rows == rows


def test_one_number_for_both_axes():
    assert SlidingWindow(7, 5, 2, 3, 1) == SlidingWindow(7, 5, (2, 2), (3, 3), (1, 1, 1, 1))
    assert SlidingWindow(7, 5, 2, 3) == SlidingWindow(7, 5, (2, 2), (3, 3), (0, 0, 0, 0))


@pytest.mark.parametrize(
    ("size", "padding", "message"),
    [
        ((6, 1), (1, 0, 0, 0), "a window of 6 rows must fit 4 with padding of 1 and 0"),
        ((1, 9), (0, 0, 2, 1), "a window of 9 columns must fit 5 with padding of 2 and 1"),
        ((3, 5), (3, 1, 0, 0), "padding must be below the window's 3 rows, not 3 and 1"),
        ((2, 3), (0, 0, 1, 3), "padding must be below the window's 3 columns, not 1 and 3"),
    ],
)
def test_init_wrong_window(size, padding, message):
    with pytest.raises(ValueError, match=f"^{message}$"):
        SlidingWindow(4, 5, size, 1, padding)


odd = st.sampled_from([1, 3, 5, 7])


@given(st.tuples(st.integers(1, 6), st.integers(1, 6)), st.one_of(odd, st.tuples(odd, odd)))
def test_neighbours(grid, kernel):
    height, width = grid
    rows, columns = (kernel, kernel) if isinstance(kernel, int) else kernel
    margins = rows // 2, columns // 2
    padded = np.pad(np.arange(height * width).reshape(grid), [(n, n) for n in margins], constant_values=-1)
    expected = np.lib.stride_tricks.sliding_window_view(padded, (rows, columns)).reshape(height * width, -1)
    tokens = neighbours(grid, kernel)
    assert np.array_equal(tokens, expected)
    assert neighbour_count(grid, kernel) == (expected >= 0).sum()
    farthest = (tokens - np.arange(height * width)[:, None]).max()
    assert farthest <= neighbour_reach(grid, kernel)
    if height > margins[0] and width > margins[1]:
        assert farthest == neighbour_reach(grid, kernel)
