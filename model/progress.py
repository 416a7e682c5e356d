"""Messages and progress of long work, given to callables: nothing here prints.

`psahw.cli.training_progress` shows them on a terminal.
"""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext

__all__ = ["EpochLines", "Log", "Progress", "TrainingProgress", "ignore"]

Log = Callable[[str], None]
"""A function that receives messages for people, one line each."""


def ignore(line: str) -> None:
    """Drop a message."""


class TrainingProgress:
    """Receives the progress of one training run. This class ignores it."""

    def step(self, images: int, loss: float) -> None:
        """Receive the number of images that were just trained on, and the loss of the last step."""

    def epoch(self, number: int, loss: float, validation_accuracy: float | None, images_per_second: float) -> None:
        """Receive the results of an epoch.

        Parameters
        ----------
        number
            Epochs of the run so far, this one included.
        loss
            Mean loss of the epoch.
        validation_accuracy
            In percent; None if the validation images were trained on.
        images_per_second
            Rate of the epoch.
        """


class Progress:
    """Receives the progress of a library function. This class ignores it; override its methods to show it."""

    def counting(self, items: str, total: int) -> AbstractContextManager[Callable[[int], None]]:
        """Return a context for work on `total` things called `items`.

        Entering it gives a function, which must be called with the number of items finished since its last call.
        """
        return nullcontext(lambda count: None)

    def training(self, epochs: int, images: int) -> AbstractContextManager[TrainingProgress]:
        """Return a context for a training run of `epochs` epochs with `images` images each."""
        return nullcontext(TrainingProgress())


class _EpochLines(TrainingProgress):
    def __init__(self, epochs: int, images: int, log: Log):
        self.epochs, self.images, self.log = epochs, images, log

    def epoch(self, number: int, loss: float, validation_accuracy: float | None, images_per_second: float) -> None:
        minutes = (self.epochs - number) * self.images / images_per_second / 60
        validation = "" if validation_accuracy is None else f"  validation {validation_accuracy:.2f} %"
        self.log(
            f"epoch {number}/{self.epochs}  loss {loss:.4f}{validation}"
            f"  {images_per_second:,.0f} images/s  {minutes:.0f} min left"
        )


class EpochLines(Progress):
    """Gives one line per epoch of training to `log`, and shows nothing else."""

    def __init__(self, log: Log):
        self.log = log

    def training(self, epochs: int, images: int) -> AbstractContextManager[TrainingProgress]:
        return nullcontext(_EpochLines(epochs, images, self.log))
