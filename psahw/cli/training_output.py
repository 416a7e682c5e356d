"""Output of the training commands: results on standard output, and progress on standard error.

The progress is a bar on a terminal, and one line per epoch elsewhere.
"""

import sys
import time
from typing import Any

from ..model.progress import EpochLines, TrainingObserver
from . import output

__all__ = ["TrainingBar", "print_result", "print_run_result"]

_SMALL = ("loss", "r2")  # entries that need more digits than others


class TrainingBar(TrainingObserver):
    """Shows a bar for a whole run, with loss and images per second, and one line per epoch above it."""

    def start(self, epochs: int, images: int) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

        console = Console(stderr=True)
        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.percentage:>3.0f} % {task.fields[rate]} loss {task.fields[loss]}"),
            TimeRemainingColumn(),
        )
        self.bar = Progress(*columns, console=console, disable=not console.is_terminal)
        self.task = self.bar.add_task("epoch 1", total=epochs * images, rate="", loss="")
        self.lines = EpochLines(self.bar.console.print if console.is_terminal else _print_line)
        self.lines.start(epochs, images)
        self.images, self.trained, self.started = images, 0, time.monotonic()
        self.bar.start()

    def step(self, images: int, loss: float) -> None:
        self.trained += images
        rate = f"{self.trained / (time.monotonic() - self.started):,.0f} images/s"
        self.bar.update(self.task, advance=images, rate=rate, loss=f"{loss:.3f}")

    def epoch(self, number: int, loss: float, validation_accuracy: float | None, images_per_second: float) -> None:
        self.bar.update(self.task, description=f"epoch {number + 1}", completed=number * self.images)
        self.lines.epoch(number, loss, validation_accuracy, images_per_second)

    def stop(self) -> None:
        self.bar.stop()


def _print_line(line: str) -> None:
    """Print a line on standard error."""
    print(line, file=sys.stderr, flush=True)


def print_result(result: dict[str, Any], as_json: bool, task: str = "class") -> None:
    """Print a result as one JSON object, or as a table with one line per entry.

    In the table, scores of networks for values are called R², which is what they are.
    """
    if as_json:
        output.print_json(result)
    else:
        rows = [
            [_label(key, task), f"{value:.4f}" if key in _SMALL and value is not None else value]
            for key, value in result.items()
        ]
        output.print_table(["", "value"], rows)


def _label(key: str, task: str) -> str:
    """Return the label of an entry, such as "validation accuracy"."""
    if key == "r2":
        return "R²"
    label = key.replace("_", " ")
    if task != "values" or not label.startswith("validation "):
        return label
    return f"validation R² {label.removeprefix('validation ').removeprefix('accuracy')}".rstrip() + ", %"


def print_run_result(result: dict[str, Any], as_json: bool, task: str = "class") -> None:
    """Print the result of a command that trains for a task, or say that the run is unfinished.

    With several processes, only the first one prints.
    """
    from ..model.processes import processes

    if processes()[0] != 0:
        return
    if result.get("finished", True):
        print_result(result, as_json, task)
        return
    epochs = f"{result['epoch']} of {result['epochs']}"
    output.note(f"stopped after epoch {epochs}; the same command without --stop-after continues")
    if as_json:
        output.print_json(result)
