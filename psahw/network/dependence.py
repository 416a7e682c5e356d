"""The pixels on which a network's outputs depend.

An accelerator may answer as soon as it has taken them. Windows with a stride leave rows and columns out, in any layer
and not only in the first one, so that the last pixels of an image may not matter.
"""

import numpy as np

from .graph import Network, Residual, Series
from .layers import Flatten, MaxPool, MeanPool, TokenMixing, Windows

__all__ = ["needed_pixels"]


def needed_pixels(network: Network) -> int:
    """Return the number of pixels, in raster order, up to the last one on which an output depends.

    A layer's structure counts, not its weights: a pixel that is multiplied by 0 is needed as well.
    """
    grids = {place.name: (place.input.grid, place.output.grid) for place in network.places}
    end = np.ones(network.logits.grid, bool)
    needed = _before(network.layers, end, grids)
    return int(np.flatnonzero(needed)[-1]) + 1


_Grids = dict[str, tuple[tuple[int, int], tuple[int, int]]]


def _before(series: Series, needed: np.ndarray, grids: _Grids) -> np.ndarray:
    """Return which tokens of its input a series of layers needs for some tokens of its output.

    Both are boolean arrays with the shape of a grid.
    """
    for name, layer in reversed(series):
        grid = grids[name][0]
        match layer:
            case Residual(branch=branch, shortcut=shortcut):
                needed = _before(branch, needed, grids) | _before(shortcut, needed, grids)
            case (
                Windows(size=size, stride=stride, padding=padding)
                | MaxPool(size=size, stride=stride, padding=padding)
            ):
                needed = _under_windows(needed, grid, size, stride, (padding[0], padding[2]))
            case TokenMixing(kernel=(rows, columns)):
                needed = _under_windows(needed, grid, (rows, columns), (1, 1), (rows // 2, columns // 2))
            case MeanPool() | Flatten() | TokenMixing():
                needed = np.ones(grid, bool)
    return needed


def _under_windows(
    needed: np.ndarray, grid: tuple[int, int], size: tuple[int, int], stride: tuple[int, int], before: tuple[int, int]
) -> np.ndarray:
    """Return which tokens of a grid the needed windows cover; ``before`` is the padding above and on the left."""
    rows = _covered(needed.shape[0], grid[0], size[0], stride[0], before[0])
    columns = _covered(needed.shape[1], grid[1], size[1], stride[1], before[1])
    covered: np.ndarray = rows.T.astype(np.int32) @ needed.astype(np.int32) @ columns.astype(np.int32) > 0
    return covered


def _covered(windows: int, length: int, size: int, stride: int, before: int) -> np.ndarray:
    """Return which positions of an axis each window covers, a boolean array of shape (windows, positions)."""
    first = (np.arange(windows) * stride - before)[:, None]
    position = np.arange(length)
    return (position >= first) & (position < first + size)
