"""Learned functions in one picture, by matplotlib: the tables of a network, a float network's curves, or both."""

import io
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from ..network.layers import Network

__all__ = ["FORMATS", "Place", "network_places", "plot_functions", "plot_places"]

FORMATS = ("png", "svg", "pdf")
_COLUMNS = 16  # functions side by side in one panel
_CELL = 1.3  # a function's cell, in units of its own width

Curves = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]


class Place(NamedTuple):
    """The functions of one place of a network: `table` (functions, 256) of codes, `curves` as `psahw.model.functions` has
    them, in units of which [low, high] fills a cell; either may be absent."""

    name: str
    table: np.ndarray | None = None
    curves: Curves | None = None
    low: float = -128
    high: float = 127

    @property
    def functions(self) -> int:
        return len(self.curves[0] if self.table is None else self.table)


def network_places(network: Network, curves: Mapping[str, Curves] | None = None) -> list[Place]:
    """Every place with tables, with the curves in codes that are given for it."""
    return [Place(name, table.values, (curves or {}).get(name)) for name, table, _ in network.tables()]


def _panel(axes, place: Place, line: float) -> None:
    """The functions of one place, each in a cell of its own, in lines of this width."""
    from matplotlib.collections import LineCollection

    row, column = np.divmod(np.arange(place.functions), _COLUMNS)

    def cells(x, y):
        """Points (functions, points, 2) of the picture. Left and right of a cell nothing is drawn; what is above or
        below lies on its border."""
        x, y = ((np.asarray(v, float) - place.low) / (place.high - place.low) for v in (x, y))
        x = np.where((x < 0) | (x > 1), np.nan, x)
        return np.stack([x + column[:, None] * _CELL, y.clip(-0.05, 1.05) - row[:, None] * _CELL], -1)

    middle = -place.low / (place.high - place.low)
    left, bottom, one, half = column * _CELL, -row * _CELL, 1, np.full(place.functions, middle)
    across = np.stack([[left, bottom + half], [left + one, bottom + half]]).transpose(2, 0, 1)
    upright = np.stack([[left + half, bottom], [left + half, bottom + one]]).transpose(2, 0, 1)
    crosses = np.concatenate([across, upright])
    axes.add_collection(LineCollection(crosses, colors="0.85", linewidths=0.4))
    if place.table is not None:
        codes = np.broadcast_to(np.arange(-128, 128), place.table.shape)
        axes.add_collection(LineCollection(cells(codes, place.table), colors="tab:blue", linewidths=line))
    if place.curves is not None:
        x, y, grid_x, grid_y = place.curves
        axes.add_collection(LineCollection(cells(x, y), colors="tab:orange", linewidths=0.6 * line))
        points = cells(grid_x, grid_y).reshape(-1, 2)
        axes.plot(points[:, 0], points[:, 1], ".", color="black", markersize=0.3 * line, markeredgewidth=0)
    axes.set(xlim=(-0.1, _COLUMNS * _CELL), ylim=(-row[-1] * _CELL - 0.1, 1.1), aspect="equal")
    axes.set_axis_off()
    axes.set_title(place.name, fontsize=8, loc="left")


def plot_places(places: Sequence[Place], title: str, kind: str, across: int = 3) -> bytes:
    """The picture as a file of `kind`, one of `FORMATS`, `across` places side by side. Raises ValueError for none."""
    from matplotlib.figure import Figure

    if kind not in FORMATS:
        raise ValueError(f"kind must be one of {', '.join(FORMATS)}, not {kind!r}")
    if not places:
        raise ValueError("there are no functions to draw")
    groups = [places[start : start + across] for start in range(0, len(places), across)]
    heights = [max(-(-place.functions // _COLUMNS) for place in group) + 1 for group in groups]
    larger = 3 / across  # the picture is as wide as three
    figure = Figure(figsize=(15, sum(heights) * 0.32 * larger + 0.6), layout="constrained")
    figure.suptitle(title, fontsize=11)
    grid = figure.add_gridspec(len(groups), across, height_ratios=heights)
    for line, group in enumerate(groups):
        for column, place in enumerate(group):
            _panel(figure.add_subplot(grid[line, column]), place, 0.7 * larger)
    buffer = io.BytesIO()
    figure.savefig(buffer, format=kind, dpi=120)
    return buffer.getvalue()


def plot_functions(network: Network, kind: str) -> bytes:
    """Every table of a network. Raises ValueError for a network without tables."""
    places = network_places(network)
    if kind in FORMATS and not places:
        raise ValueError(f"network {network.name!r} has no tables to draw")
    return plot_places(places, f"{network.name}: every function, code in (-128 .. 127) to code out", kind)
