"""Charts as inline SVG: lines and dots over two axes. Colours come from the style sheet, by class."""

from collections.abc import Sequence
from math import ceil, floor, log10
from pathlib import Path
from typing import NamedTuple

from .markup import Markup, join, tag

__all__ = ["Series", "chart", "standalone", "ticks"]

_WIDTH, _HEIGHT, _LEFT, _TOP, _BOTTOM, _LEGEND = 560, 300, 62, 14, 58, 18
_LABEL, _NAME = 24, 60  # most letters of a dot's label and of a name in the legend
_COLOURS = 6  # classes series-0 .. series-5


class Series(NamedTuple):
    """One line or one set of dots in a chart.

    Parameters
    ----------
    name
        Name in the legend.
    points
        Pairs (x, y), in order of x.
    line
        Whether a line joins the points.
    dots
        Whether the points are dots.
    labels
        Text beside each dot.
    cloud
        Whether the points are small dots, for hundreds of them.
    """

    name: str
    points: Sequence[tuple[float, float]]
    line: bool = True
    dots: bool = False
    labels: Sequence[str] | None = None
    cloud: bool = False


def ticks(low: float, high: float, count: int = 6) -> list[float]:
    """Return about ``count`` values within [low, high] that are multiples of 1, 2 or 5 times a power of ten."""
    span = (high - low) / count or 1.0
    power = 10.0 ** floor(log10(span))
    step = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= span * 0.999)
    return [round(n * step, 12) for n in range(ceil(low / step - 1e-9), floor(high / step + 1e-9) + 1)]


def _log_ticks(low: float, high: float) -> list[float]:
    """Return 1, 2 and 5 times powers of ten within [low, high]."""
    powers = range(floor(log10(low)), ceil(log10(high)) + 1)
    return [factor * 10.0**power for power in powers for factor in (1, 2, 5) if low <= factor * 10.0**power <= high]


def _short(value: float) -> str:
    """Return a number as short text, in thousands or millions where it is large."""
    for limit, unit in ((1e6, " M"), (1e3, " k")):
        if abs(value) >= limit:
            return f"{value / limit:g}{unit}"
    return f"{value:g}"


def _short_name(name: str, letters: int) -> str:
    """Return a name without its middle if it is long. Its end often says how it differs from others."""
    half = (letters - 1) // 2
    return name if len(name) <= letters else f"{name[:half]}…{name[-half:]}"


class _Axis:
    """An axis between the coordinates ``start`` and ``end`` of the picture, with a margin beyond the values."""

    def __init__(self, values: Sequence[float], start: float, end: float, *, log: bool = False):
        self.log = log
        low, high = self._scale(min(values)), self._scale(max(values))
        margin = 0.06 * (high - low) or (0.1 if log else max(abs(high), 1) * 0.05)
        self.low, self.high, self.start, self.end = low - margin, high + margin, start, end

    def _scale(self, value: float) -> float:
        """Return a value, or its logarithm on a logarithmic axis."""
        return log10(value) if self.log else value

    def place(self, value: float) -> float:
        """Return the coordinate of a value."""
        share = (self._scale(value) - self.low) / (self.high - self.low)
        return round(self.start + share * (self.end - self.start), 1)

    def ticks(self) -> list[float]:
        """Return the values at which the axis has a tick."""
        return _log_ticks(10**self.low, 10**self.high) if self.log else ticks(self.low, self.high)


def _grid(x: _Axis, y: _Axis, names: tuple[str, str]) -> Markup:
    """Return the lines of the grid with the values at the ticks, and the names of the axes."""
    bottom, right = y.start, x.end
    parts = []
    for value in x.ticks():
        place = x.place(value)
        parts.append(tag("path", d=f"M{place} {_TOP}V{bottom}", class_="grid"))
        parts.append(tag("text", _short(value), x=place, y=bottom + 16, text_anchor="middle"))
    for value in y.ticks():
        place = y.place(value)
        parts.append(tag("path", d=f"M{_LEFT} {place}H{right}", class_="grid"))
        parts.append(tag("text", _short(value), x=_LEFT - 8, y=place + 4, text_anchor="end"))
    parts.append(
        tag("text", names[0], x=(_LEFT + right) / 2, y=bottom + 36, text_anchor="middle", class_="axis-name")
    )
    turned = f"translate(14 {(_TOP + bottom) / 2}) rotate(-90)"
    parts.append(tag("text", names[1], transform=turned, text_anchor="middle", class_="axis-name"))
    return join(*parts)


def _series(index: int, series: Series, x: _Axis, y: _Axis) -> Markup:
    """Return the line and the dots of a series. A single point is always a dot."""
    places = [(x.place(a), y.place(b)) for a, b in series.points]
    parts = []
    if series.line and len(places) > 1:
        parts.append(tag("path", d="M" + "L".join(f"{a} {b}" for a, b in places), class_="line"))
    if series.cloud:  # lines without a length, whose round ends are dots
        parts.append(tag("path", d="".join(f"M{a} {b}h0" for a, b in places), class_="cloud"))
    elif series.dots or len(places) == 1:
        labels = series.labels or [""] * len(places)
        for (a, b), point, label in zip(places, series.points, labels, strict=True):
            title = tag("title", f"{label or series.name}: {point[0]:,.6g}, {point[1]:.6g}")
            parts.append(tag("circle", title, cx=a, cy=b, r=4, class_="dot"))
            if label:
                before = a > _LEFT + _WIDTH / 2
                place = {"x": a - 7, "text_anchor": "end"} if before else {"x": a + 7}
                parts.append(tag("text", tag("title", label), _short_name(label, _LABEL), **place, y=b - 6))
    return tag("g", *parts, class_=f"series-{index % _COLOURS}")


def _legend(index: int, series: Series, y: float) -> Markup:
    """Return the line of the legend for one series."""
    d, class_ = (f"M{_LEFT + 15} {y}h0", "cloud") if series.cloud else (f"M{_LEFT} {y}h30", "line")
    return join(
        tag("g", tag("path", d=d, class_=class_), class_=f"series-{index % _COLOURS}"),
        tag("text", tag("title", series.name), _short_name(series.name, _NAME), x=_LEFT + 38, y=y + 4),
    )


def chart(series: Sequence[Series], *, x: str, y: str, log_x: bool = False) -> Markup:
    """Return a chart of all series with a legend below it.

    Parameters
    ----------
    series
        The series. Those without points are left out.
    x, y
        Names of the axes.
    log_x
        Whether the x axis is logarithmic.

    Raises
    ------
    ValueError
        If there are no points.
    """
    series = [one for one in series if len(one.points)]
    if not series:
        raise ValueError("there are no points to draw")
    bottom = _TOP + _HEIGHT
    across = _Axis([a for one in series for a, _ in one.points], _LEFT, _LEFT + _WIDTH, log=log_x)
    upwards = _Axis([b for one in series for _, b in one.points], bottom, _TOP)
    width, height = _LEFT + _WIDTH + 60, bottom + _BOTTOM + _LEGEND * len(series)
    return tag(
        "svg",
        _grid(across, upwards, (x, y)),
        *(_series(index, one, across, upwards) for index, one in enumerate(series)),
        *(_legend(index, one, bottom + _BOTTOM + _LEGEND * index) for index, one in enumerate(series)),
        viewBox=f"0 0 {width} {height}",
        class_="chart",
        style=f"max-width: {width}px",
        role="img",
        aria_label=f"{y} over {x}",
    )


def standalone(picture: Markup) -> str:
    """Return a picture as an SVG file of its own, with the style sheet inside."""
    style = tag("style", Markup((Path(__file__).parent / "style.css").read_text()))
    head, _, rest = picture.partition(">")
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{head} xmlns="http://www.w3.org/2000/svg">{style}{rest}\n'
