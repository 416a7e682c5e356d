"""Elements of the report's page: numbers with a mark of their origin, tables, cards, and notes of what is missing."""

import re
from collections.abc import Sequence
from html import unescape

from .comparison import Figure
from .markup import Markup, join, tag

__all__ = ["LEGEND", "card", "cell", "mark", "missing", "number", "plain", "section", "table"]

LEGEND = {
    "measured": "by running the model, the simulation or the synthesis",
    "estimated": "by the plan's cost model",
    "target": "to be met by place and route",
}
"""How a figure with each mark was obtained."""


def number(value: object, digits: int = 0) -> str:
    """Return a value as text: numbers grouped by thousands, a list as a range, and None as a dash."""
    if value is None:
        return "–"
    if isinstance(value, list | tuple):
        return " to ".join(number(item) for item in value)
    if isinstance(value, float):
        return f"{value:,.{digits}f}"
    return f"{value:,}" if isinstance(value, int) else str(value)


def plain(content: object) -> str:
    """Return markup as text without its tags."""
    return unescape(re.sub("<[^>]*>", "", content)) if isinstance(content, Markup) else str(content)


def mark(kind: str) -> Markup:
    """Return the mark of a figure that is ``measured``, ``estimated`` or a ``target``."""
    return tag("span", kind, class_=f"kind {kind}")


def cell(value: object, digits: int = 1, heading: object = None) -> Markup:
    """Return a cell of a table. A `Figure` shows how it was obtained, unless it was published.

    On a narrow screen, each cell is a line, which begins with its ``heading``.
    """
    label = None if heading is None else plain(heading)
    if isinstance(value, Figure):
        if value.value is None:
            return tag("td", "–", class_="number", data_label=label)
        shown = number(float(value.value), digits).removesuffix(".0")
        kind = None if value.kind == "published" else mark(value.kind)
        return tag("td", shown, " " if kind else None, kind, class_="number", data_label=label)
    numeric = value is None or (isinstance(value, int | float) and not isinstance(value, bool))
    shown = value if isinstance(value, Markup) else number(value, 1)
    return tag("td", shown, class_="number" if numeric else None, data_label=label)


def table(columns: Sequence[object], rows: Sequence[Sequence], *, total: Sequence | None = None) -> Markup:
    """Return a table with headings, rows of values, and a last row of totals."""
    numeric = [any(isinstance(row[i], int | float | Figure) for row in rows) for i in range(len(columns))]
    head = [tag("th", name, class_="number" if n else None) for name, n in zip(columns, numeric, strict=True)]

    def cells(row: Sequence) -> list[Markup]:
        return [cell(value, heading=name) for value, name in zip(row, columns, strict=True)]

    body = [tag("tr", *cells(row)) for row in rows]
    if total is not None:
        body.append(tag("tr", *cells(total), class_="total"))
    return tag("table", tag("thead", tag("tr", *head)), tag("tbody", *body))


def missing(result: str, command: str) -> Markup:
    """Return a note that a result was not given, with the command that makes it."""
    return tag("p", f"No {result} was given. This command makes one: ", tag("code", command), class_="missing")


def section(title: str, *content: object) -> Markup:
    """Return a section of the page."""
    return join(tag("h2", title), *content)


def card(value: str, label: str, kind: str | None = None) -> Markup:
    """Return a card with one figure, its label and its mark."""
    return tag("div", tag("b", value), tag("span", label, " ", kind and mark(kind), class_="what"), class_="card")
