"""Every learned function of a network in one picture, by matplotlib."""

import io

import numpy as np

from ..network import Network, Table
from ..summary import table_layers

__all__ = ["FORMATS", "plot_functions"]

FORMATS = ("png", "svg", "pdf")
_COLUMNS = 16  # functions side by side in one panel
_CELL = 1.3  # a function's cell, in units of its own width


def _panel(axes, name: str, table: Table) -> None:
    """One place of the network: its functions over the codes -128 .. 127, each in a cell of its own."""
    from matplotlib.collections import LineCollection

    x = np.linspace(0, 1, 256)
    row, column = np.divmod(np.arange(table.channels), _COLUMNS)
    y = (table.values.astype(float) + 128) / 255
    points = np.stack([np.broadcast_to(x, y.shape) + column[:, None] * _CELL, y - row[:, None] * _CELL], -1)
    middle = 128 / 255
    left, bottom, one, half = column * _CELL, -row * _CELL, 1, np.full(table.channels, middle)
    across = np.stack([[left, bottom + half], [left + one, bottom + half]]).transpose(2, 0, 1)
    upright = np.stack([[left + half, bottom], [left + half, bottom + one]]).transpose(2, 0, 1)
    crosses = np.concatenate([across, upright])
    axes.add_collection(LineCollection(crosses, colors="0.85", linewidths=0.4))
    axes.add_collection(LineCollection(points, colors="tab:blue", linewidths=0.7))
    axes.set(xlim=(-0.1, _COLUMNS * _CELL), ylim=(-row[-1] * _CELL - 0.1, 1.1), aspect="equal")
    axes.set_axis_off()
    axes.set_title(name, fontsize=8, loc="left")


def plot_functions(network: Network, kind: str) -> bytes:
    """The picture as a file of `kind` (one of `FORMATS`). Raises ValueError for a network without tables."""
    from matplotlib.figure import Figure

    if kind not in FORMATS:
        raise ValueError(f"kind must be one of {', '.join(FORMATS)}, not {kind!r}")
    places = list(table_layers(network))
    if not places:
        raise ValueError(f"network {network.name!r} has no tables to draw")
    across = 3
    groups = [places[start : start + across] for start in range(0, len(places), across)]
    heights = [max(-(-table.channels // _COLUMNS) for _, table in group) + 1 for group in groups]
    figure = Figure(figsize=(across * 5, sum(heights) * 0.32 + 0.6), layout="constrained")
    figure.suptitle(f"{network.name}: every function, code in (-128 .. 127) to code out", fontsize=11)
    grid = figure.add_gridspec(len(groups), across, height_ratios=heights)
    for line, group in enumerate(groups):
        for column, (name, table) in enumerate(group):
            _panel(figure.add_subplot(grid[line, column]), name, table)
    buffer = io.BytesIO()
    figure.savefig(buffer, format=kind, dpi=120)
    return buffer.getvalue()
