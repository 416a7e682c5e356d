"""Tables of results: the text of a cell, and HTML for notebooks."""

from collections.abc import Iterable, Sequence
from html import escape

__all__ = ["cell", "counted", "html_table", "is_number", "outputs_named", "wrong_answers"]


def is_number(value: object) -> bool:
    """Return whether a value is shown right-aligned, as a number."""
    return isinstance(value, int | float)


def cell(value: object) -> str:
    """Return a value as text: numbers grouped by thousands, None as a dash."""
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        return f"{value:,.1f}"
    return str(value)


def counted(number: int, noun: str, plural: str | None = None) -> str:
    """Return a number with its noun, in the plural unless it is 1.

    Examples
    --------
    >>> counted(1, "block"), counted(2_000, "class", "classes")
    ('1 block', '2,000 classes')
    """
    return f"{number:,} {noun if number == 1 else plural or f'{noun}s'}"


def outputs_named(kind: str) -> str:
    """Return the word for the numbers that networks of a kind give: ``"logits"`` or ``"outputs"``.

    Parameters
    ----------
    kind
        ``"class"``, ``"values"`` or ``"labels"``. Only numbers that choose a class are logits.
    """
    return "logits" if kind == "class" else "outputs"


def wrong_answers(kind: str, outputs: int, classes: int) -> list[list]:
    """Return the rows of a table that count what differs from the integer model, beside 0, which is expected.

    Parameters
    ----------
    kind
        What the network answers: ``"class"``, ``"values"`` or ``"labels"``.
    outputs
        Numbers that differ.
    classes
        Indices of the greatest number that differ. They are no answers unless the network chooses a class.
    """
    rows: list[list] = [[f"wrong {outputs_named(kind)}", outputs, 0]]
    return [*rows, ["wrong classes", classes, 0]] if kind == "class" else rows


def html_table(
    columns: Sequence[str], rows: Iterable[Iterable], *, caption: str, footer: Iterable | None = None
) -> str:
    """Return an HTML table that notebooks show in place of an object's ``repr``.

    Parameters
    ----------
    columns
        Headings.
    rows
        Values, as many in each row as there are columns.
    caption
        Text above the table.
    footer
        A last row in bold, such as totals.
    """

    lines = [list(row) for row in rows]
    sides = ["right" if any(is_number(row[index]) for row in lines) else "left" for index in range(len(columns))]

    def line(tag: str, values: Iterable) -> str:
        cells = (
            f'<{tag} style="text-align: {side}">{escape(cell(value))}</{tag}>'
            for side, value in zip(sides, values, strict=True)
        )
        return f"<tr>{''.join(cells)}</tr>"

    head, body = line("th", columns), "".join(line("td", row) for row in lines)
    foot = "" if footer is None else f"<tfoot>{line('th', footer)}</tfoot>"
    return (
        f'<table><caption style="text-align: left">{escape(caption)}</caption>'
        f"<thead>{head}</thead><tbody>{body}</tbody>{foot}</table>"
    )
