"""Pictures of a data set: a contact sheet of its images, or histograms of its columns."""

import io
from collections.abc import Sequence

import numpy as np

from .chart import standalone
from .markup import Markup, tag

__all__ = ["contact_sheet", "histograms"]

_ROWS, _ACROSS, _GAP = 20, 12, 2  # most classes and images per class, and pixels between them
_SIDE, _LARGEST = 56, 128  # pixels to which small images are enlarged, and large ones reduced
_BINS, _COLUMNS, _PER_LINE = 32, 60, 4  # bars of a histogram, most histograms, and histograms side by side
_CELL, _HEIGHT, _TITLE = 180, 60, 16  # sizes of a histogram


def contact_sheet(images: np.ndarray, rows: Sequence[Sequence[int]]) -> bytes:
    """Return a PNG file with images side by side.

    Parameters
    ----------
    images
        uint8 [n, height, width, colours], with 1 to 4 colours. Only the first three are shown.
    rows
        Indices of the images of each line, such as those of a class. The first 20 lines of 12 images are shown.
    """
    from PIL import Image

    every = max(1, -(-max(images.shape[1:3]) // _LARGEST))  # of so many pixels of a large image, one is shown
    images = images[:, ::every, ::every]
    height, width = images.shape[1:3]
    factor = max(1, _SIDE // max(height, width))
    step_y, step_x = height * factor + _GAP, width * factor + _GAP
    rows = [row[:_ACROSS] for row in rows[:_ROWS]]
    sheet = np.full((len(rows) * step_y + _GAP, max(map(len, rows)) * step_x + _GAP, 3), 255, np.uint8)
    for line, row in enumerate(rows):
        for place, index in enumerate(row):
            image = images[index]
            shown = np.repeat(image[..., :1], 3, axis=2) if image.shape[2] < 3 else image[..., :3]
            large = shown.repeat(factor, axis=0).repeat(factor, axis=1)
            top, left = line * step_y + _GAP, place * step_x + _GAP
            sheet[top : top + large.shape[0], left : left + large.shape[1]] = large
    content = io.BytesIO()
    Image.fromarray(sheet).save(content, "PNG")
    return content.getvalue()


def histograms(values: np.ndarray, names: Sequence[str], ends: Sequence[tuple[float, float]]) -> str:
    """Return an SVG file with a histogram of each column.

    Parameters
    ----------
    values
        uint8 [n, columns].
    names
        Names of the columns.
    ends
        The values for which the bytes 0 and 255 stand, by column.
    """
    names = names[:_COLUMNS]
    lines = -(-len(names) // _PER_LINE)
    height = _HEIGHT + 2 * _TITLE + 10
    cells = []
    for index, name in enumerate(names):
        across, down = index % _PER_LINE * (_CELL + 16) + 8, index // _PER_LINE * height + _TITLE
        counts, _ = np.histogram(values[:, index], _BINS, (0, 256))
        cells.append(_histogram(name, counts, ends[index], across, down))
    size = _PER_LINE * (_CELL + 16), lines * height + 8
    return standalone(tag("svg", *cells, viewBox=f"0 0 {size[0]} {size[1]}", class_="chart", role="img"))


def _histogram(name: str, counts: np.ndarray, ends: tuple[float, float], left: int, top: int) -> Markup:
    """Return the bars of a histogram, under its name and above the values at its ends."""
    width, largest = _CELL / len(counts), max(1, int(counts.max()))
    bars = [
        tag(
            "rect",
            x=f"{left + n * width:.1f}",
            y=f"{top + _HEIGHT * (1 - count / largest):.1f}",
            width=f"{width - 0.6:.1f}",
            height=f"{_HEIGHT * count / largest:.1f}",
            fill="currentColor",
        )
        for n, count in enumerate(counts.tolist())
        if count
    ]
    low, high = (f"{value:.4g}" for value in ends)
    labels = (
        tag("text", name[:28], x=left, y=top - 4, font_size=11),
        tag("text", low, x=left, y=top + _HEIGHT + 12, font_size=10),
        tag("text", high, x=left + _CELL, y=top + _HEIGHT + 12, font_size=10, text_anchor="end"),
    )
    return tag("g", *bars, *labels)
