"""Progress of a training run on stderr: a live bar on a terminal, one line an epoch in a log file."""

import sys
import time

from rich.console import Console
from rich.progress import BarColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bar

__all__ = ["Progress"]


class Progress:
    """Images a second and remaining time over a whole run of `epochs` x `images`."""

    def __init__(self, epochs: int, images: int, quiet: bool):
        self.epochs, self.images, self.quiet = epochs, images, quiet
        console = Console(stderr=True)
        self.bar = Bar(
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.percentage:>3.0f} % {task.fields[rate]} loss {task.fields[loss]}"),
            TimeRemainingColumn(),
            console=console,
            disable=quiet or not console.is_terminal,
        )
        self.task = self.bar.add_task("epoch 1", total=epochs * images, rate="", loss="")
        self.done, self.started = 0, time.monotonic()

    def __enter__(self) -> "Progress":
        self.bar.start()
        return self

    def __exit__(self, *exception) -> None:
        self.bar.stop()

    def advance(self, images: int, loss: float) -> None:
        self.done += images
        rate = f"{self.done / (time.monotonic() - self.started):,.0f} images/s"
        self.bar.update(self.task, advance=images, rate=rate, loss=f"{loss:.3f}")

    def epoch(self, number: int, loss: float, validation_accuracy: float | None, rate: float) -> None:
        """After epoch `number` of this run, counted from 1; None if no image was held out."""
        completed = number * self.images
        self.bar.update(self.task, description=f"epoch {number + 1}", completed=completed)
        if not self.quiet:
            left = (self.epochs - number) * self.images / rate
            validation = "" if validation_accuracy is None else f"  validation {validation_accuracy:.2f} %"
            line = (
                f"epoch {number}/{self.epochs}  loss {loss:.4f}{validation}"
                f"  {rate:,.0f} images/s  {left / 60:.0f} min left"
            )
            if self.bar.disable:
                print(line, file=sys.stderr, flush=True)
            else:
                self.bar.console.print(line)
