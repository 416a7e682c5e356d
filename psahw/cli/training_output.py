"""Output of the training commands: results on standard output, and progress on standard error.

The progress is a bar on a terminal, and one line per epoch elsewhere.
"""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

from ..model.progress import EpochLines, Progress, TrainingProgress
from . import output

__all__ = ["TerminalProgress", "print_result", "print_run_result"]


class _Bar(TrainingProgress):
    """A bar over a whole run with loss, images per second and remaining time, and one line per epoch above it."""

    def __init__(self, bar, task, lines: TrainingProgress, images: int):
        self.bar, self.task, self.lines, self.images = bar, task, lines, images
        self.trained, self.started = 0, time.monotonic()

    def step(self, images: int, loss: float) -> None:
        self.trained += images
        rate = f"{self.trained / (time.monotonic() - self.started):,.0f} images/s"
        self.bar.update(self.task, advance=images, rate=rate, loss=f"{loss:.3f}")

    def epoch(self, number: int, loss: float, validation_accuracy: float | None, images_per_second: float) -> None:
        self.bar.update(self.task, description=f"epoch {number + 1}", completed=number * self.images)
        self.lines.epoch(number, loss, validation_accuracy, images_per_second)


class TerminalProgress(Progress):
    """Shows the progress of a library function on standard error."""

    def counting(self, items: str, total: int) -> AbstractContextManager[Callable[[int], None]]:
        return output.progress(items, total)

    @contextmanager
    def training(self, epochs: int, images: int) -> Iterator[TrainingProgress]:
        from rich.console import Console
        from rich.progress import BarColumn, TextColumn, TimeRemainingColumn
        from rich.progress import Progress as Bars

        console = Console(stderr=True)
        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.percentage:>3.0f} % {task.fields[rate]} loss {task.fields[loss]}"),
            TimeRemainingColumn(),
        )
        with Bars(*columns, console=console, disable=not console.is_terminal) as bar:
            task = bar.add_task("epoch 1", total=epochs * images, rate="", loss="")
            log = bar.console.print if console.is_terminal else _print
            with EpochLines(log).training(epochs, images) as lines:
                yield _Bar(bar, task, lines, images)


def _print(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def print_result(result: dict[str, Any], as_json: bool) -> None:
    """Print a result as one JSON object, or as a table with one line per entry."""
    if as_json:
        output.print_json(result)
    else:
        output.print_table(["", "value"], [[key.replace("_", " "), value] for key, value in result.items()])


def print_run_result(result: dict[str, Any], as_json: bool) -> None:
    """Print the result of a command that trains, or say that the run is unfinished.

    With several processes, only the first one prints.
    """
    from ..model.processes import processes

    if processes()[0] != 0:
        return
    if result.get("finished", True):
        print_result(result, as_json)
        return
    epochs = f"{result['epoch']} of {result['epochs']}"
    output.note(f"stopped after epoch {epochs}; the same command without --stop-after goes on")
    if as_json:
        output.print_json(result)
