"""Functions of a table as inline SVG, side by side. Colours come from the style sheet, by class."""

from itertools import pairwise

import numpy as np

from .markup import Markup, tag

__all__ = ["functions_picture"]

_CELL, _PITCH, _ACROSS = 64, 80, 16  # size of a function, distance between functions, functions in a row


def _curve(values: np.ndarray) -> str:
    """Return the path of one table of 256 codes in a cell of 64 x 64.

    Every fourth code is a point, and steps of one slope are one line.
    """
    heights = [64 - round((int(v) + 128) / 4) for v in (*values[::4], values[-1])]
    path, length, slope = [f"M0 {heights[0]}"], 0, 0
    for before, after in pairwise(heights):
        rise = after - before
        if length and slope != rise:
            path.append(f"l{length} {length * slope}")
            length = 0
        length, slope = length + 1, rise
    return "".join([*path, f"l{length} {length * slope}"])


def functions_picture(values: np.ndarray) -> Markup:
    """Return a picture of functions from code to code, given as int8 of shape (functions, 256)."""
    curves = []
    for index, table in enumerate(values):
        row, column = divmod(index, _ACROSS)
        curves.append(
            tag(
                "g",
                tag("path", d=f"M0 32H{_CELL}M32 0V{_CELL}", class_="axis"),
                tag("path", tag("title", index), d=_curve(table), class_="curve"),
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
