"""Tables on standard output, in a layout that suits the width of the terminal.

A table that is too wide is made narrower in steps, until it fits: its headings take several lines, dotted names in
the first column become an outline, and columns that can be missed are left out. Only then its cells are folded.
"""

import re
import textwrap
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import click

from ..display import cell, is_number
from ..quoting import printable

__all__ = ["outline", "print_beginning", "print_paragraph", "print_table"]

_NUMBERED = re.compile(r"(?:[A-Za-z_]\w*\.\d+\.)+")  # the beginning of a name such as stages.0.blocks.1.linear
_UNLIMITED = 10_000
_MOST_ROWS = 20  # of classes, values or labels


def outline(names: Sequence[str]) -> list[tuple[str | None, str]]:
    """Return a heading, or None, and a shorter label for each of several dotted names in order.

    Names that begin with the same numbered parts have one heading in front of them, and a name that continues an
    earlier one of its group is indented.

    Examples
    --------
    >>> outline(["embed", "stages.0.mixing", "stages.0.mixing.table", "head"])
    [(None, 'embed'), ('stages.0', '  mixing'), (None, '    .table'), (None, 'head')]
    """
    lines: list[tuple[str | None, str]] = []
    group, parent = "", ""
    for name in names:
        match = _NUMBERED.match(name)
        own = match[0] if match else ""
        heading = own.rstrip(".") if own and own != group else None
        if own != group:
            group, parent = own, ""
        rest = name.removeprefix(group)
        if parent and rest.startswith(f"{parent}."):
            label = f"  {rest.removeprefix(parent)}"
        else:
            label, parent = rest, rest
        lines.append((heading, f"  {label}" if group else label))
    return lines


@dataclass(frozen=True)
class _Layout:
    """A table as text: headings, rows and footer, and whether each column is right-aligned."""

    columns: list[str]
    rows: list[list[str]]
    footer: list[str] | None
    right: list[bool]

    def with_short_headings(self) -> "_Layout":
        """Return the layout with headings that are not wider than their columns, if their words are not."""
        columns = []
        for index, heading in enumerate(self.columns):
            cells = [row[index] for row in (*self.rows, *([self.footer] if self.footer else []))]
            width = max([*map(len, cells), *map(len, heading.split()), 1])
            columns.append("\n".join(textwrap.wrap(heading, width, break_on_hyphens=False)))
        return _Layout(columns, self.rows, self.footer, self.right)

    def with_outline(self) -> "_Layout":
        """Return the layout with the names in the first column as an outline."""
        rows = []
        for (heading, label), row in zip(outline([row[0] for row in self.rows]), self.rows, strict=True):
            if heading is not None:
                rows.append([heading, *[""] * (len(row) - 1)])
            rows.append([label, *row[1:]])
        return _Layout(self.columns, rows, self.footer, self.right)

    def without(self, index: int) -> "_Layout":
        """Return the layout without a column."""

        def rest(values: list) -> list:
            return values[:index] + values[index + 1 :]

        footer = None if self.footer is None else rest(self.footer)
        return _Layout(rest(self.columns), [rest(row) for row in self.rows], footer, rest(self.right))

    def width(self) -> int:
        """Return the number of characters in a line, with two between columns."""
        lines = [*self.rows, *([self.footer] if self.footer else []), [_widest(name) for name in self.columns]]
        return sum(max(len(line[n]) for line in lines) for n in range(len(self.columns))) + 2 * len(self.columns) - 2


def _widest(text: str) -> str:
    """Return the widest line of a text."""
    return max(text.split("\n"), key=len)


def _layouts(full: _Layout, optional: Sequence[str]) -> Iterator[tuple[_Layout, list[str]]]:
    """Yield narrower and narrower layouts of a table, each with the columns that it leaves out."""
    yield full, []
    layout = full.with_short_headings()
    yield layout, []
    layout = full.with_outline().with_short_headings()
    yield layout, []
    names, missing = list(full.columns), []
    for name in optional:
        layout = layout.without(names.index(name))
        names.remove(name)
        missing.append(name)
        yield layout, list(missing)


def _console() -> Any:
    """Return rich's console for standard output. A pipe has no width: nothing is folded there."""
    from rich.console import Console

    console = Console()
    if not console.is_terminal:
        console.width = _UNLIMITED
    return console


def print_paragraph(text: str) -> None:
    """Print a text on standard output, broken between words where it would not fit a line of the terminal."""
    text, width = printable(text), _console().width
    click.echo("\n".join(textwrap.wrap(text, width, break_long_words=False, break_on_hyphens=False)) or text)


def print_table(
    columns: list[str],
    rows: Iterable[Iterable],
    *,
    title: str | None = None,
    footer: Iterable | None = None,
    optional: Sequence[str] = (),
) -> None:
    """Print a table on standard output.

    Columns with numbers are right-aligned, numbers are grouped by thousands, and None is a dash.

    Parameters
    ----------
    columns
        Headings.
    rows
        Values, as many in each row as there are columns.
    title
        Text above the table.
    footer
        A last row, such as totals.
    optional
        Headings of columns that are left out on a terminal that is too narrow, the first one first.
    """
    from rich import box
    from rich.table import Table
    from rich.text import Text

    console = _console()

    def text(value: object) -> str:  # "R²" and names need not be in the encoding of the terminal
        return printable(cell(value)).encode(console.encoding, "replace").decode(console.encoding)

    values = [list(row) for row in rows]
    right = [any(is_number(row[index]) for row in values) for index in range(len(columns))]
    full = _Layout(
        [text(name) for name in columns],
        [[text(value) for value in row] for row in values],
        None if footer is None else [text(value) for value in footer],
        right,
    )
    layouts = list(_layouts(full, optional))
    layout, missing = next(((one, gone) for one, gone in layouts if one.width() <= console.width), layouts[-1])
    look: Any = {"box": box.SIMPLE_HEAD, "show_edge": False, "pad_edge": False, "padding": (0, 1, 0, 0)}
    table = Table(**look, show_footer=layout.footer is not None)
    footers = layout.footer or [""] * len(layout.columns)
    for name, last, is_right in zip(layout.columns, footers, layout.right, strict=True):
        table.add_column(Text(name), footer=Text(last), justify="right" if is_right else "left", overflow="fold")
    for line in layout.rows:
        table.add_row(*map(Text, line))
    if title is not None:
        print_paragraph(title)
    console.print(table)
    if missing:
        print_paragraph(f"A wider terminal, or a pipe, also shows: {', '.join(missing)}.")
    click.echo()


def print_beginning(columns: list[str], rows: Sequence[Sequence]) -> None:
    """Print a table of classes, values or labels, of which there may be thousands: its first 20 rows."""
    print_table(columns, rows[:_MOST_ROWS])
    if len(rows) > _MOST_ROWS:
        click.echo(f"and {len(rows) - _MOST_ROWS} more")
