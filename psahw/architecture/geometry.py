"""The geometry of a grid: the sliding windows that cover it, and the neighbours of its tokens.

Everything here is integers and NumPy, so that the network, the planner, the gateware and the training code share
one definition. A position outside the grid reads as zero, both in a window and in a neighbourhood.
"""

from dataclasses import dataclass

import numpy as np

__all__ = ["SlidingWindow", "neighbour_count", "neighbour_reach", "neighbours"]


@dataclass(frozen=True)
class SlidingWindow:
    """A square window that slides over a grid of pixels or tokens, in raster order.

    Parameters
    ----------
    height, width
        Rows and columns of the grid.
    size
        Rows and columns of the window.
    stride
        Distance between two windows in both directions, 1 to ``size``.
    padding
        Rows and columns of zeros on each side of the grid, 0 to ``size - 1``.
    """

    height: int
    width: int
    size: int
    stride: int
    padding: int = 0

    @property
    def grid(self) -> tuple[int, int]:
        """Rows and columns of windows."""
        rows, columns = (
            (length + 2 * self.padding - self.size) // self.stride + 1 for length in (self.height, self.width)
        )
        return rows, columns

    def row_spans(self) -> tuple[np.ndarray, np.ndarray]:
        """Return, for each row of windows, the first row of the grid that it needs and the one after its last."""
        top = np.arange(self.grid[0]) * self.stride - self.padding
        return np.maximum(top, 0), np.minimum(top + self.size, self.height)

    def freed_after(self) -> np.ndarray:
        """Return, for each row of the grid, the row of windows after which no window needs it."""
        return np.minimum((np.arange(self.height) + self.padding) // self.stride, self.grid[0] - 1)

    def rows_freed(self) -> np.ndarray:
        """Return, for each row of windows, how many rows of the grid no window needs after it."""
        return np.bincount(self.freed_after(), minlength=self.grid[0])

    @property
    def needed_pixels(self) -> int:
        """Positions of the grid in raster order, from its first one to the last one that a window needs."""
        row, column = (
            min((count - 1) * self.stride - self.padding + self.size, length)
            for count, length in zip(self.grid, (self.height, self.width), strict=True)
        )
        return (row - 1) * self.width + column

    @property
    def buffered_rows(self) -> int:
        """Rows of the grid that a ring buffer must hold so that the windows need not wait for a steady source.

        A span reaches from the first row that one row of windows needs to the last that the next one needs, in the
        next frame if it is the frame's last. The buffer holds the longest of these spans.
        """
        first, end = self.row_spans()
        return int((np.append(end[1:], self.height + end[0]) - first).max())


def neighbours(grid: tuple[int, int], kernel: int, tokens: slice = slice(None)) -> np.ndarray:
    """Return the token at each entry of a local mixing's kernel.

    Parameters
    ----------
    grid
        Rows and columns of tokens; tokens are numbered in raster order.
    kernel
        Rows and columns of the kernel, odd. Entry ``i`` of token ``n`` stands for the token at the (row, column)
        offset ``divmod(i, kernel) - kernel // 2`` from ``n``.
    tokens
        The tokens whose neighbours are returned; all unless given.

    Returns
    -------
    numpy.ndarray
        Token numbers of shape (tokens, kernel²); -1 where the neighbour lies outside the grid.
    """
    height, width = grid
    row, column = np.divmod(np.arange(height * width)[tokens, None], width)
    dy, dx = np.divmod(np.arange(kernel**2)[None], kernel)
    row, column = row + dy - kernel // 2, column + dx - kernel // 2
    inside = (row >= 0) & (row < height) & (column >= 0) & (column < width)
    return np.where(inside, row * width + column, -1)


def neighbour_count(grid: tuple[int, int], kernel: int) -> int:
    """Return the number of entries of `neighbours` that lie inside the grid, without building the array."""
    height, width = (
        sum(max(length - abs(offset), 0) for offset in range(-(kernel // 2), kernel // 2 + 1)) for length in grid
    )
    return height * width


def neighbour_reach(grid: tuple[int, int], kernel: int) -> int:
    """Return the distance in the stream, in tokens, from a token to the last of its neighbours."""
    return kernel // 2 * (grid[1] + 1)
