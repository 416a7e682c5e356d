"""A confusion matrix as inline SVG. Colours come from the style sheet, by class."""

from collections.abc import Sequence

from .markup import Markup, tag

__all__ = ["confusion_picture"]

_CELL, _LEFT, _TOP = 46, 110, 84


def _cell(x: int, y: int, count: int, share: float, title: str, *, right: bool) -> list[Markup]:
    """Return one cell, shaded by its share of the row."""
    frame = {"x": x, "y": y, "width": _CELL - 2, "height": _CELL - 2, "rx": 3}
    parts = [tag("rect", **frame, class_="empty")]
    if count:
        opacity = round(min(1, 0.12 + (0.88 if right else 2.5) * share), 3)
        shade = {"class_": "right" if right else "wrong", "fill_opacity": opacity}
        parts.append(tag("rect", tag("title", title), **frame, **shade))
        text = {"class_": "strong" if opacity > 0.55 else "count", "text_anchor": "middle"}
        parts.append(tag("text", count, x=x + _CELL / 2 - 1, y=y + 27, **text))
    return parts


def confusion_picture(matrix: Sequence[Sequence[int]], classes: Sequence[str]) -> Markup:
    """Return a picture of a confusion matrix, with the true classes in rows and the answers in columns."""
    parts = []
    for i, row in enumerate(matrix):
        total = max(1, sum(row))
        parts.append(tag("text", classes[i], x=_LEFT - 8, y=_TOP + i * _CELL + 28, class_="label", text_anchor="end"))
        corner = f"translate({_LEFT + i * _CELL + 27} {_TOP - 8}) rotate(-45)"
        parts.append(tag("text", classes[i], transform=corner, class_="label"))
        for j, count in enumerate(row):
            title = f"{classes[i]} taken for {classes[j]}: {count}"
            x, y = _LEFT + j * _CELL, _TOP + i * _CELL
            parts += _cell(x, y, count, count / total, title, right=i == j)
    width, height = _LEFT + len(matrix) * _CELL + 60, _TOP + len(matrix) * _CELL + 4
    return tag(
        "svg",
        *parts,
        viewBox=f"0 0 {width} {height}",
        class_="confusion",
        style=f"max-width: {width}px",
        role="img",
        aria_label="confusion matrix",
    )
