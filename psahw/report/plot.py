"""Pictures of learned functions by matplotlib: the tables of a network, the curves of a float model, or both."""

import io
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from ..network.graph import Network

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["FORMATS", "Place", "network_places", "plot_places"]

FORMATS = ("png", "svg", "pdf")
"""Kinds of files."""

_COLUMNS = 16  # functions side by side in one panel
_CELL = 1.3  # distance between functions, in units of a function's width

Curves = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]


class Place(NamedTuple):
    """The functions of one place in a network: a table, curves of the float model, or both.

    Parameters
    ----------
    name
        Name of the place.
    table
        Codes of shape (functions, codes in), or None.
    curves
        x and y of the functions and of the grid on which they were trained, as `psahw.model.functions` gives them, or
        None.
    across, upwards
        The ranges of x and of y that fill a cell of the picture.
    """

    name: str
    table: np.ndarray | None = None
    curves: Curves | None = None
    across: tuple[float, float] = (-128, 127)
    upwards: tuple[float, float] = (-128, 127)

    @property
    def functions(self) -> int:
        """Number of functions."""
        if self.table is not None:
            return len(self.table)
        return 0 if self.curves is None else len(self.curves[0])


def network_places(network: Network, curves: Mapping[str, Curves] | None = None) -> list[Place]:
    """Return every place of a network that has tables, with the curves for it, whose units are codes."""
    places = []
    for name, table, before, _ in network.tables():
        ends = [(codes.low, codes.high) for codes in (before.codes, table.codes)]
        places.append(Place(name, table.values, (curves or {}).get(name), *ends))
    return places


def _panel(axes: "Axes", place: Place, line: float) -> None:
    """Draw the functions of one place into a panel, each into a cell of its own, with lines ``line`` points wide."""
    from matplotlib.collections import LineCollection

    row, column = np.divmod(np.arange(place.functions), _COLUMNS)

    def to_cells(x: np.ndarray, y: np.ndarray) -> np.ndarray:
        """Return points of the picture, of shape (functions, points, 2), from points of the functions.

        Points to the left or right of a cell are left out. Those above or below it are moved to its border.
        """
        ends = (place.across, place.upwards)
        x, y = ((np.asarray(v, float) - low) / (high - low) for v, (low, high) in zip((x, y), ends, strict=True))
        x = np.where((x < 0) | (x > 1), np.nan, x)
        return np.stack([x + column[:, None] * _CELL, y.clip(-0.05, 1.05) - row[:, None] * _CELL], -1)

    def draw(lines: np.ndarray, colour: str, width: float) -> None:
        axes.add_collection(LineCollection(list(lines), colors=colour, linewidths=width))

    zero_x, zero_y = (-low / (high - low) for low, high in (place.across, place.upwards))
    left, bottom = column * _CELL, -row * _CELL
    across = np.stack([[left, bottom + zero_y], [left + 1, bottom + zero_y]]).transpose(2, 0, 1)
    upright = np.stack([[left + zero_x, bottom], [left + zero_x, bottom + 1]]).transpose(2, 0, 1)
    draw(np.concatenate([across, upright]), "0.85", 0.4)
    if place.table is not None:
        codes = np.broadcast_to(np.arange(place.across[0], place.across[1] + 1), place.table.shape)
        draw(to_cells(codes, place.table), "tab:blue", line)
    if place.curves is not None:
        x, y, grid_x, grid_y = place.curves
        draw(to_cells(x, y), "tab:orange", 0.6 * line)
        points = to_cells(grid_x, grid_y).reshape(-1, 2)
        axes.plot(points[:, 0], points[:, 1], ".", color="black", markersize=0.3 * line, markeredgewidth=0)
    axes.set(xlim=(-0.1, _COLUMNS * _CELL), ylim=(-row[-1] * _CELL - 0.1, 1.1), aspect="equal")
    axes.set_axis_off()
    axes.set_title(place.name, fontsize=8, loc="left")


def plot_places(places: Sequence[Place], title: str, kind: str, across: int = 3) -> bytes:
    """Return a picture of places as the contents of a file.

    Parameters
    ----------
    places
        The places, at least one.
    title
        Text above the picture.
    kind
        One of `FORMATS`.
    across
        Places side by side.

    Raises
    ------
    ValueError
        If there are no places, or for another kind.
    """
    from matplotlib.figure import Figure

    if kind not in FORMATS:
        raise ValueError(f"kind must be one of {', '.join(FORMATS)}, not {kind!r}")
    if not places:
        raise ValueError("there are no functions to draw")
    groups = [places[start : start + across] for start in range(0, len(places), across)]
    heights = [max(-(-place.functions // _COLUMNS) for place in group) + 1 for group in groups]
    scale = 3 / across  # the picture is as wide as three places of normal size
    figure = Figure(figsize=(15, sum(heights) * 0.32 * scale + 0.6), layout="constrained")
    figure.suptitle(title, fontsize=11)
    grid = figure.add_gridspec(len(groups), across, height_ratios=heights)
    for line, group in enumerate(groups):
        for column, place in enumerate(group):
            _panel(figure.add_subplot(grid[line, column]), place, 0.7 * scale)
    buffer = io.BytesIO()
    figure.savefig(buffer, format=kind, dpi=120)
    return buffer.getvalue()
