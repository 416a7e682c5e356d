"""How the commands talk: results on standard output, progress and errors on standard error.

A result is one JSON object with ``--json`` and a table without. rich is imported when something is drawn.
"""

import json
import math
import os
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

import click

__all__ = [
    "json_option", "network_argument", "note", "print_json", "print_table", "progress", "step",
]  # fmt: skip

json_option = click.option("--json", "as_json", is_flag=True, help="Print one JSON object and nothing else.")
network_argument = click.argument("network", metavar="NETWORK")


def _plain(value):
    """As JSON has it: NumPy's scalars and arrays as numbers and lists, what is not a finite number as null."""
    if isinstance(value, dict):
        return {key: _plain(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(entry) for entry in value]
    if hasattr(value, "tolist"):
        return _plain(value.tolist())
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def print_json(value: dict) -> None:
    click.echo(json.dumps(_plain(value), indent=2, allow_nan=False, ensure_ascii=False))


def _cell(value) -> str:
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        return f"{value:,.1f}"
    return str(value)


def print_table(
    columns: list[str], rows: Iterable[Iterable], *, title: str | None = None, footer: Iterable | None = None
) -> None:
    """Columns of numbers are right-aligned and grouped by thousands; None prints as a dash."""
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    rows = [list(row) for row in rows]
    table = Table(
        title=title and Text(title), title_justify="left", box=box.SIMPLE_HEAD, show_footer=footer is not None
    )
    footers = [_cell(value) for value in footer] if footer is not None else [""] * len(columns)
    for index, column in enumerate(columns):
        numbers = any(isinstance(row[index], int | float) for row in rows)
        justify = "right" if numbers else "left"
        table.add_column(column, footer=Text(footers[index]), justify=justify, overflow="fold")
    for row in rows:
        table.add_row(*(Text(_cell(value)) for value in row))
    console = Console()
    if not console.is_terminal:
        console.width = 160  # a pipe has no width: do not fold columns
    console.print(table)


def note(text: str) -> None:
    """A line for people on standard error."""
    click.echo(text, err=True)


@contextmanager
def progress(what: str, total: int | None = None, *, as_step: bool = False) -> Iterator[Callable[..., None]]:
    """Yields ``advance(steps)``, and ``advance(steps, total=n)`` where that is known only later. A bar with rate and
    time left on a terminal; silent in a pipe. ``as_step`` leaves
    the line of a `step` behind."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    console = Console(stderr=True)
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]}"),
        TimeRemainingColumn(compact=True),
    )
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task, start, done = bar.add_task(what, total=total, rate=""), time.monotonic(), 0

        def advance(steps: int = 1, total: int | None = total) -> None:
            nonlocal done
            done += steps
            rate = done / max(time.monotonic() - start, 1e-9)
            bar.update(task, advance=steps, total=total, rate=f"{rate:,.3g}/s")

        yield advance
    if as_step:
        _finished(what, start)


def _finished(what: str, start: float) -> None:
    note(f"{what:<58} {time.monotonic() - start:7.1f} s")


@contextmanager
def step(what: str) -> Iterator[Callable[[str], None]]:
    """One step of a long command: a spinner while it runs, then a line with its time. Yields what takes a word on how
    far it is, to stand beside the spinner."""
    from rich.console import Console
    from rich.text import Text

    console, start = Console(stderr=True), time.monotonic()
    if console.is_terminal:
        with console.status(Text(f"{what} ...")) as status:
            yield lambda said: status.update(Text(f"{what} ... {said}", overflow="ellipsis", no_wrap=True))
    else:
        yield lambda said: None
    _finished(what, start)
