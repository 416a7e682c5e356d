"""Observers of a training run: nothing here prints.

`psahw.cli.training_output` has one that draws a bar on a terminal.
"""

from psahw.callbacks import Log

__all__ = ["EpochLines", "TrainingObserver"]


class TrainingObserver:
    """Receives the progress of a training run, and ignores it. Override its methods to show it."""

    def start(self, epochs: int, images: int) -> None:
        """Receive the length of the run.

        Parameters
        ----------
        epochs
            All epochs of the run. Those of a resumed run may be complete already.
        images
            Images per epoch.
        """

    def step(self, images: int, loss: float) -> None:
        """Receive the number of images that were just trained on, and the loss of the last step."""

    def epoch(self, number: int, loss: float, validation_accuracy: float | None, images_per_second: float) -> None:
        """Receive the results of an epoch.

        Parameters
        ----------
        number
            Complete epochs of the run, this one included.
        loss
            Mean loss of the epoch.
        validation_accuracy
            In percent; None if the validation images were trained on.
        images_per_second
            Training images per second in this epoch.
        """

    def stop(self) -> None:
        """Receive the end of the run, which may be an error."""


class EpochLines(TrainingObserver):
    """Gives one line per epoch to `log`."""

    def __init__(self, log: Log):
        self.log = log
        self.epochs = self.images = 0

    def start(self, epochs: int, images: int) -> None:
        self.epochs, self.images = epochs, images

    def epoch(self, number: int, loss: float, validation_accuracy: float | None, images_per_second: float) -> None:
        minutes = (self.epochs - number) * self.images / images_per_second / 60
        validation = "" if validation_accuracy is None else f"  validation {validation_accuracy:.2f} %"
        self.log(
            f"epoch {number}/{self.epochs}  loss {loss:.4f}{validation}"
            f"  {images_per_second:,.0f} images/s  {minutes:.0f} min left"
        )
