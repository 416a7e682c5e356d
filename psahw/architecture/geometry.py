"""The geometry of a grid: the sliding windows that cover it, and the neighbours of its tokens.

Everything here is integers and NumPy, so that the network, the planner, the gateware and the training code share
one definition. A position outside the grid reads as the padding's code in a window, and as zero in a neighbourhood.
"""

from dataclasses import dataclass

import numpy as np

__all__ = ["SlidingWindow", "neighbour_count", "neighbour_reach", "neighbours", "pair"]


def pair(value: int | tuple[int, int]) -> tuple[int, int]:
    """Return a value for rows and columns, which a single number gives for both."""
    return (value, value) if isinstance(value, int) else value


@dataclass(frozen=True)
class SlidingWindow:
    """A window that slides over a grid of pixels or tokens, in raster order.

    Parameters
    ----------
    height, width
        Rows and columns of the grid.
    size
        Rows and columns of the window; a number stands for both.
    stride
        Distance between two windows, in rows and in columns, at least 1; a number stands for both.
    padding
        Rows above, rows below, columns left and columns right of the grid that are filled with a constant; a number
        stands for all four. A window never lies in the padding alone.

    Raises
    ------
    ValueError
        If no window fits, or if one would lie in the padding alone.
    """

    height: int
    width: int
    size: tuple[int, int]
    stride: tuple[int, int]
    padding: tuple[int, int, int, int]

    def __init__(
        self,
        height: int,
        width: int,
        size: int | tuple[int, int],
        stride: int | tuple[int, int],
        padding: int | tuple[int, int, int, int] = 0,
    ):
        fields = {
            "height": height,
            "width": width,
            "size": pair(size),
            "stride": pair(stride),
            "padding": (padding,) * 4 if isinstance(padding, int) else padding,
        }
        for name, value in fields.items():
            object.__setattr__(self, name, value)
        above, below, left, right = self.padding
        for axis, length, extent, before, after in (
            ("rows", height, self.size[0], above, below),
            ("columns", width, self.size[1], left, right),
        ):
            if length + before + after < extent:
                raise ValueError(
                    f"a window of {extent} {axis} must fit {length} with padding of {before} and {after}"
                )
            if max(before, after) >= extent:
                raise ValueError(f"padding must be below the window's {extent} {axis}, not {before} and {after}")

    @property
    def grid(self) -> tuple[int, int]:
        """Rows and columns of windows."""
        above, below, left, right = self.padding
        rows = (self.height + above + below - self.size[0]) // self.stride[0] + 1
        columns = (self.width + left + right - self.size[1]) // self.stride[1] + 1
        return rows, columns

    def row_spans(self) -> tuple[np.ndarray, np.ndarray]:
        """Return, for each row of windows, the first row of the grid that it needs and the one after its last."""
        top = np.arange(self.grid[0]) * self.stride[0] - self.padding[0]
        return np.maximum(top, 0), np.minimum(top + self.size[0], self.height)

    def freed_after(self) -> np.ndarray:
        """Return, for each row of the grid, the row of windows after which it is freed.

        No later window needs the row. A row between two windows, which none needs, is freed with those above it.
        """
        return np.minimum((np.arange(self.height) + self.padding[0]) // self.stride[0], self.grid[0] - 1)

    def rows_freed(self) -> np.ndarray:
        """Return, for each row of windows, how many rows of the grid are freed after it."""
        return np.bincount(self.freed_after(), minlength=self.grid[0])

    @property
    def buffered_rows(self) -> int:
        """Rows of the grid that a ring buffer must hold so that the windows need not wait for a steady source.

        A span reaches from the first row that one row of windows needs to the last that the next one needs, in the
        next frame if it is the frame's last. The buffer holds the longest of these spans.
        """
        first, end = self.row_spans()
        return int((np.append(end[1:], self.height + end[0]) - first).max())


def neighbours(grid: tuple[int, int], kernel: int | tuple[int, int], tokens: slice = slice(None)) -> np.ndarray:
    """Return the token at each entry of a local mixing's kernel.

    Parameters
    ----------
    grid
        Rows and columns of tokens; tokens are numbered in raster order.
    kernel
        Rows and columns of the kernel, odd; a number stands for both. Entry ``i`` of token ``n`` stands for the token
        at the (row, column) offset ``divmod(i, columns) - kernel // 2`` from ``n``.
    tokens
        The tokens whose neighbours are returned; all unless given.

    Returns
    -------
    numpy.ndarray
        Token numbers of shape (tokens, rows·columns); -1 where the neighbour lies outside the grid.
    """
    (height, width), (rows, columns) = grid, pair(kernel)
    row, column = np.divmod(np.arange(height * width)[tokens, None], width)
    dy, dx = np.divmod(np.arange(rows * columns)[None], columns)
    row, column = row + dy - rows // 2, column + dx - columns // 2
    inside = (row >= 0) & (row < height) & (column >= 0) & (column < width)
    return np.where(inside, row * width + column, -1)


def neighbour_count(grid: tuple[int, int], kernel: int | tuple[int, int]) -> int:
    """Return the number of entries of `neighbours` that lie inside the grid, without building the array."""
    height, width = (
        sum(max(length - abs(offset), 0) for offset in range(-(size // 2), size // 2 + 1))
        for length, size in zip(grid, pair(kernel), strict=True)
    )
    return height * width


def neighbour_reach(grid: tuple[int, int], kernel: int | tuple[int, int]) -> int:
    """Return the distance in the stream, in tokens, from a token to the last of its neighbours."""
    rows, columns = pair(kernel)
    return rows // 2 * grid[1] + columns // 2
