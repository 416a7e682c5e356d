"""A confusion matrix as a table. Colours come from the style sheet, by class."""

from collections.abc import Sequence

from .elements import table
from .markup import Markup, tag

__all__ = ["MOST_CLASSES", "confusion_picture"]

MOST_CLASSES = 12
"""Classes that a matrix has room for; of more, the most frequent confusions are listed."""

_MOST_LISTED, _LETTERS = 20, 12


def _short(name: str) -> Markup:
    """Return a name, cut if it is long; then the whole name is its title."""
    if len(name) <= _LETTERS:
        return tag("span", name)
    return tag("span", f"{name[: _LETTERS - 1]}…", title=name)


def _cell(count: int, share: float, title: str, *, right: bool) -> Markup:
    """Return one cell, shaded by its share of the row. Right answers are bold."""
    if not count:
        return tag("td", class_="empty")
    shade = round(100 * min(1, 0.1 + (0.4 if right else 1.2) * share))
    content = tag("b", count) if right else count
    class_ = "right" if right else "wrong"
    return tag("td", content, class_=class_, title=title, style=f"--shade: {min(shade, 45)}%")


def _matrix(matrix: Sequence[Sequence[int]], classes: Sequence[str]) -> Markup:
    """Return the matrix with the true classes in rows and the answers in columns."""
    rows = [tag("tr", tag("td"), *(tag("th", _short(name), class_="turned") for name in classes))]
    for i, row in enumerate(matrix):
        total = max(1, sum(row))
        cells = [
            _cell(count, count / total, f"{classes[i]} taken for {classes[j]}: {count}", right=i == j)
            for j, count in enumerate(row)
        ]
        rows.append(tag("tr", tag("th", _short(classes[i])), *cells))
    return tag("table", *rows, class_="confusion")


def confusion_picture(matrix: Sequence[Sequence[int]], classes: Sequence[str]) -> Markup:
    """Return a confusion matrix, or its most frequent confusions if there are more than `MOST_CLASSES`."""
    if len(classes) <= MOST_CLASSES:
        return _matrix(matrix, classes)
    wrong = sorted(
        ((count, i, j) for i, row in enumerate(matrix) for j, count in enumerate(row) if i != j and count),
        key=lambda entry: (-entry[0], entry[1:]),
    )
    rows = [[classes[i], classes[j], count] for count, i, j in wrong[:_MOST_LISTED]]
    return table(["class", "answer", "images"], rows)
