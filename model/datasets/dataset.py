"""A labelled data set of any shape, and the check that a model fits it."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from psahw.errors import UserError
from psahw.network.checks import MAX_NAME
from psahw.quoting import printable, quote

from .columns import Columns
from .source import Task
from .split import split, split_groups

__all__ = ["MAX_BYTES", "Dataset", "Form", "check_class_names", "check_fits", "check_size", "encode_labels"]

MAX_BYTES = 16 << 30
"""Most bytes of the images of one part of a data set. They are held in memory, one byte per colour."""


@dataclass(frozen=True, eq=False)
class Dataset:
    """Labelled images, or rows of a table as images of one pixel.

    Parameters
    ----------
    name
        Name of the data set.
    classes
        Names of the classes, or of the values or labels.
    train_images, train_labels
        Images uint8 [n, height, width, colours] and labels, for training and validation; see `split`. A row of a
        table is an image of 1 x 1 pixels with one colour per column. Labels are class numbers [n], uint8 or int32,
        for the task "class"; float32 [n, values] for "values"; and uint8 [n, labels], 0 or 1, for "labels".
    test_images, test_labels
        The same for testing. No training reads them, since nothing may be chosen by them; only
        `psahw.model.evaluation.evaluate` and simulations do.
    task
        What is learned.
    columns
        How raw values became bytes, for a table.
    train_groups
        Number of each training image's group [n], if images of a group must not be divided between training and
        validation.
    """

    name: str
    classes: tuple[str, ...]
    train_images: np.ndarray
    train_labels: np.ndarray
    test_images: np.ndarray
    test_labels: np.ndarray
    task: Task = field(default="class", kw_only=True)
    columns: Columns | None = field(default=None, kw_only=True, repr=False)
    train_groups: np.ndarray | None = field(default=None, kw_only=True, repr=False)

    @property
    def shape(self) -> tuple[int, int, int]:
        """Height, width and colours of an image."""
        height, width, colours = self.train_images.shape[1:]
        return height, width, colours

    def split(self, *, all_images: bool = False) -> tuple[np.ndarray, np.ndarray]:
        """Return the indices of the training images and of the validation images, in ascending order.

        With `all_images`, the validation images are trained on too.
        """
        if self.train_groups is None:
            return split(len(self.train_images), all_images=all_images)
        training, validation = split_groups(self.train_groups, 10)
        return (np.arange(len(self.train_images)) if all_images else training), validation


@dataclass(frozen=True)
class Form:
    """The images that a model takes and the classes that it gives.

    Parameters
    ----------
    name
        What messages call the model.
    shape
        Height, width and colours of its images.
    classes
        Number of its classes, values or labels.
    task
        What it learns.
    is_free
        Whether the model is still to be made, so that its shape can be changed.
    """

    name: str
    shape: tuple[int, ...]
    classes: int
    task: str = "class"
    is_free: bool = False


def check_fits(model: Form, name: str, shape: Sequence[int], classes: int, task: Task = "class") -> None:
    """Raise UserError unless a model fits a data set with this name, shape of images, number of classes and task."""
    if model.task != task:
        raise UserError(f"{model.name} gives {_WORDS[model.task]}; {name} has {_WORDS[task]}")
    if tuple(model.shape) != tuple(shape) or model.classes != classes:
        kind, (height, width, colours) = _WORDS[task], shape
        changes = f"--shape image=[{height},{width}] --shape colours={colours} --shape classes={classes}"
        hint = f"; {changes} makes it fit" if model.is_free else ""
        raise UserError(
            f"{model.name} takes images of {tuple(model.shape)} in {model.classes} {kind}; "
            f"{name} has {tuple(shape)} in {classes}{hint}"
        )


_WORDS: dict[str, str] = {"class": "classes", "values": "values", "labels": "labels"}


def check_class_names(names: Sequence[str], where: object, fewest: int = 2) -> tuple[str, ...]:
    """Return the names of classes. Raises UserError unless a network file can hold them and there are enough."""
    if len(names) < fewest:
        held = f"only the class {quote(names[0])}" if names else "no classes"
        raise UserError(f"{where} has {held}: a classifier needs at least two")
    if len(names) > 1 << 16:
        raise UserError(f"{where} has {len(names):,} classes: a classifier may have at most {1 << 16:,}")
    for name in names:
        if not (1 <= len(name) <= MAX_NAME and name.isprintable()):
            raise UserError(
                f"{where}: a class name must have 1 to {MAX_NAME} printable characters, not {quote(name)}"
            )
    return tuple(names)


def check_size(where: object, shape: Sequence[int], item_bytes: int = 1) -> None:
    """Raise UserError for images [n, ...] that are too many to be held in memory, before any are read."""
    size = item_bytes
    for length in shape:  # Python's integers do not overflow
        size *= int(length)
    if size > MAX_BYTES:
        lengths = " x ".join(map(str, shape))
        raise UserError(
            f"{where} declares {printable(lengths, 60)} values, more than the {MAX_BYTES >> 30} GiB allowed"
        )


def encode_labels(names: Sequence[str], numbers: np.ndarray) -> np.ndarray:
    """Return class numbers in the smallest type that `Dataset` uses for so many classes."""
    return numbers.astype(np.uint8 if len(names) <= 256 else np.int32)
