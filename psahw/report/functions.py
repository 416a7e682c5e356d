"""Functions of a table as inline SVG, side by side. Colours come from the style sheet, by class."""

from itertools import pairwise
from typing import NamedTuple

import numpy as np

from ..network.graph import Network
from .markup import Markup, tag

__all__ = ["Functions", "functions_picture", "table_functions"]

_CELL, _PITCH, _ACROSS = 64, 80, 16  # size of a function, distance between functions, functions in a row


class Functions(NamedTuple):
    """The functions of one table.

    Parameters
    ----------
    values
        Codes out, of shape (functions, codes in); a power of two of codes, 2 to 256.
    first
        The least code in.
    low, high
        The least and the greatest code out that its type has.
    """

    values: np.ndarray
    first: int = -128
    low: int = -128
    high: int = 127


def table_functions(network: Network) -> dict[str, Functions]:
    """Return the functions of every table of a network by its name."""
    return {
        name: Functions(table.values, before.codes.low, table.codes.low, table.codes.high)
        for name, table, before, _ in network.tables()
    }


def _curve(values: np.ndarray, low: int = -128, high: int = 127) -> str:
    """Return the path of one table in a cell of 64 x 64, into which codes out from ``low`` to ``high`` fit.

    At most 64 codes are points, and steps of one slope are one line.
    """
    wide, points = _CELL // min(len(values), _CELL), values[:: max(1, len(values) // _CELL)]
    heights = [_height(int(value), low, high) for value in (*points, values[-1])]
    path, length, slope = [f"M0 {heights[0]}"], 0, 0
    for before, after in pairwise(heights):
        rise = after - before
        if length and slope != rise:
            path.append(f"l{length * wide} {length * slope}")
            length = 0
        length, slope = length + 1, rise
    return "".join([*path, f"l{length * wide} {length * slope}"])


def _height(value: int, low: int, high: int) -> int:
    """Return the coordinate of a code out."""
    return _CELL - round((value - low) * _CELL / (high - low + 1))


def functions_picture(functions: Functions) -> Markup:
    """Return a picture of functions from code to code, with axes where the codes are 0."""
    values, first, low, high = functions
    across, upright = _height(0, low, high), round(-first * _CELL / values.shape[1])
    curves = []
    for index, table in enumerate(values):
        row, column = divmod(index, _ACROSS)
        curves.append(
            tag(
                "g",
                tag("path", d=f"M0 {across}H{_CELL}M{upright} 0V{_CELL}", class_="axis"),
                tag("path", tag("title", index), d=_curve(table, low, high), class_="curve"),
                transform=f"translate({column * _PITCH} {row * _PITCH})",
            )
        )
    rows = -(-len(values) // _ACROSS)
    columns = min(_ACROSS, len(values))
    return tag(
        "svg",
        *curves,
        viewBox=f"-4 -4 {columns * _PITCH} {rows * _PITCH}",
        class_="functions",
        style=f"max-width: {columns * 34}px",
        role="img",
    )
