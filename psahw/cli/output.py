"""Output of the commands: results on standard output, progress and errors on standard error.

A result is one JSON object with ``--json``, and a table without. rich is imported only when something is drawn.
"""

import json
import math
import os
import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import click

from .. import callbacks
from ..quoting import printable
from .tables import print_beginning, print_paragraph, print_table

__all__ = [
    "COUNT", "Steps", "json_option", "network_argument", "note", "print_beginning", "print_json", "print_line",
    "print_paragraph", "print_table", "progress", "step", "steps",
]  # fmt: skip

json_option = click.option("--json", "as_json", is_flag=True, help="Print one JSON object and nothing else.")
network_argument = click.argument("network", metavar="NETWORK")

COUNT = click.IntRange(1, 10**9)
"""The type of an option for a number of things."""


def _plain(value: Any) -> Any:
    """Return a value as JSON has it: NumPy's scalars and arrays as numbers and lists, non-finite numbers as null."""
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


def print_json(value: dict[str, Any]) -> None:
    """Print one JSON object on standard output, with escapes for characters that do not print."""
    text = json.dumps(_plain(value), indent=2, allow_nan=False, ensure_ascii=False)
    click.echo(
        re.sub(r"[^\n -~]", lambda match: match[0] if match[0].isprintable() else json.dumps(match[0])[1:-1], text)
    )


def print_line(content: object) -> None:
    """Print a line of a result on standard output, without control characters."""
    click.echo(printable(str(content)))


def note(text: str) -> None:
    """Print a line for people on standard error, without control characters."""
    click.echo(printable(text), err=True)


def _print_seconds(title: str, start: float) -> None:
    """Print how long a step took."""
    note(f"{title:<58} {time.monotonic() - start:7.1f} s")


class _Bar:
    """A progress bar with rate and time left, which is silent in a pipe. It is shown until `stop` is called.

    Parameters
    ----------
    title
        Text in front of the bar.
    complete
        Items that were complete before. They do not count for the rate.
    total
        Number of all items.
    """

    def __init__(self, title: str, complete: int, total: int) -> None:
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
        self._bar = Progress(*columns, console=console, transient=True, disable=not console.is_terminal)
        self._task = self._bar.add_task(title, completed=complete, total=total, rate="")
        self._before, self._start = complete, time.monotonic()
        self._bar.start()

    def update(self, complete: int, total: int) -> None:
        """Show the number of items that are complete, and of all."""
        rate = (complete - self._before) / max(time.monotonic() - self._start, 1e-9)
        self._bar.update(self._task, completed=complete, total=total, rate=f"{rate:,.3g}/s")

    def stop(self) -> None:
        """Remove the bar."""
        self._bar.stop()


@contextmanager
def progress(title: str) -> Iterator[callbacks.Progress]:
    """Yield a callback that shows a bar for the items of a block, from its first call until all are complete.

    The bar ends with the last item, because only one can be drawn at a time and another one may follow.
    """
    bar: _Bar | None = None

    def report(complete: int, total: int) -> None:
        nonlocal bar
        bar = bar or _Bar(title, complete, total)
        bar.update(complete, total)
        if complete >= total:
            bar.stop()
            bar = None

    try:
        yield report
    finally:
        if bar is not None:
            bar.stop()


@contextmanager
def step(title: str) -> Iterator[Callable[[str], None]]:
    """Show a spinner during one step of a long command, and then a line with its time.

    Yields a function that takes a text to show beside the spinner.
    """
    with steps() as shown:
        shown.step(title)
        yield shown.status


class Steps:
    """The steps of a long command: a spinner or a bar for the current one, and a line with the time of each.

    Its methods are the callbacks that the functions of `psahw.flow` take.
    """

    def __init__(self) -> None:
        self._title: str | None = None
        self._start = 0.0
        self._spinner: Any = None
        self._bar: _Bar | None = None

    def step(self, title: str) -> None:
        """Begin a step, and end the one before."""
        self.finish()
        self._title, self._start = title, time.monotonic()
        self.status("")

    def status(self, text: str) -> None:
        """Show a text beside the spinner."""
        from rich.console import Console
        from rich.text import Text

        console = Console(stderr=True)
        if self._title is None or not console.is_terminal:
            return
        line = Text(printable(f"{self._title} ... {text}"), overflow="ellipsis", no_wrap=True)
        if self._spinner is None:
            self._spinner = console.status(line)
            self._spinner.start()
        else:
            self._spinner.update(line)

    def progress(self, complete: int, total: int) -> None:
        """Show a bar in place of the spinner. The rate counts what was completed since the first call."""
        if self._bar is None:
            self._stop_spinner()
            self._bar = _Bar(self._title or "", complete, total)
        self._bar.update(complete, total)

    def finish(self) -> None:
        """End the current step, and print its time."""
        self.stop()
        if self._title is not None:
            _print_seconds(self._title, self._start)
            self._title = None

    def stop(self) -> None:
        """Remove spinner and bar."""
        self._stop_spinner()
        if self._bar is not None:
            self._bar.stop()
            self._bar = None

    def _stop_spinner(self) -> None:
        """Remove the spinner."""
        if self._spinner is not None:
            self._spinner.stop()
            self._spinner = None


@contextmanager
def steps() -> Iterator[Steps]:
    """Yield a `Steps`, which shows the steps of a block. The time of a step that fails is not printed."""
    shown = Steps()
    try:
        yield shown
        shown.finish()
    finally:
        shown.stop()
