"""Images for a circuit, simulated or on a board: test images of a data set, or picture files."""

import operator
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ..callbacks import Log, Progress, counter, silent
from ..display import counted
from ..errors import UserError
from ..network.graph import Network

if TYPE_CHECKING:
    from ..model.data import Data, Dataset, Form

__all__ = [
    "RANDOM", "SHIPPED_IMAGES", "LabelledImages", "images_for", "load_test_images", "load_test_set", "pictures",
]  # fmt: skip

SHIPPED_IMAGES = 100
"""Images that ship with psahw, the data set ``sample``."""

RANDOM = "random"
"""The name that stands for random images, which fit every network."""


@dataclass(frozen=True, eq=False)
class LabelledImages:
    """Images and what they show.

    Parameters
    ----------
    dataset
        Name of the data set, for the results.
    pixels
        uint8 (images, height, width, colours).
    labels
        Index of each image's class, or None if unknown, or if they have no classes.
    files
        The file of each image, or None.
    """

    dataset: str
    pixels: np.ndarray
    labels: np.ndarray | None = None
    files: tuple[Path, ...] | None = None

    def __len__(self) -> int:
        return len(self.pixels)


def load_test_images(
    network: Network,
    count: int | None = None,
    *,
    most: int = SHIPPED_IMAGES,
    dataset: "Data | None" = None,
    data: str | os.PathLike | None = None,
    log: Log = silent,
) -> LabelledImages:
    """Return the first test images of a data set, with their classes if the network tells one.

    Parameters
    ----------
    network
        The network that the images must fit.
    count
        Number of images. By default as many as there are, but at most `most`.
    most
        See `count`.
    dataset
        Name of a data set, path of your own data, `psahw.model.data.Source`, or a data set that is loaded; by default
        ``sample`` for up to 100 images, and otherwise ``cifar10``. ``"random"`` stands for random bytes, without
        classes.
    data
        File or directory with a copy of the named data set.
    log
        Called with a note about each download.

    Raises
    ------
    UserError
        If there is no such data set, or if it does not fit the network or has fewer images.
    ValueError
        If ``count`` is not positive.
    """
    hint = f"name a data set of this form with --dataset, or {RANDOM}"
    return _test_images(network, count, most, dataset, data, log, hint)


def load_test_set(
    network: Network, dataset: "Data", data: str | os.PathLike | None = None, log: Log = silent
) -> "Dataset":
    """Return a data set that a network fits. The rows of a table become bytes as the network records it.

    The arguments are those of `load_test_images`. Raises UserError if there is no such data set, or it does not fit.
    """
    from ..model import data as datasets

    columns = datasets.recorded_columns(network)
    path = None if data is None else os.fspath(data)
    return datasets.load(dataset, path, log=log, models=[_form(network)], columns=columns)


def _form(network: Network) -> "Form":
    """Return what a data set must have for a network."""
    from ..model import data as datasets

    shape = (*network.image, network.colours)
    return datasets.Form(network.name, shape, len(network.classes), network.output.kind)


def _test_images(
    network: Network,
    count: int | None,
    most: int,
    dataset: "Data | None",
    data: str | os.PathLike | None,
    log: Log,
    hint: str,
) -> LabelledImages:
    """Return what `load_test_images` does. If the default data set does not fit, the message ends with a hint."""
    from ..model import data as datasets

    wanted = most if count is None else count
    if wanted < 1:
        raise ValueError(f"the number of images must be positive, not {wanted}")
    if dataset == RANDOM:
        return LabelledImages(RANDOM, _random(network, wanted))
    if dataset is None:
        dataset = "sample" if wanted <= SHIPPED_IMAGES and data is None else "cifar10"
        datasets.check_named(dataset, _form(network), hint=hint)
        if dataset == "cifar10":
            images = counted(wanted, "image")
            log(f"{images}: the test set of CIFAR-10, downloaded if it is not in the cache (139 MB)")
    loaded = load_test_set(network, dataset, data, log)
    if count is not None and count > len(loaded.test_images):
        raise UserError(f"{loaded.name} has {len(loaded.test_images)} test images, not {count}")
    classes = loaded.test_labels[:wanted] if loaded.task == "class" else None
    return LabelledImages(loaded.name, loaded.test_images[:wanted], classes)


def _random(network: Network, count: int) -> np.ndarray:
    """Return random images of the bytes up to the first one behind which all stand for the same codes."""
    table = network.input_table
    changes = np.flatnonzero((table != table[:, -1:]).any(0))
    last = int(changes.max(initial=-1)) + 1
    shape = (count, *network.image, network.colours)
    return np.random.default_rng(0).integers(0, last + 1, shape).astype(np.uint8)


def pictures(
    network: Network,
    paths: Sequence[str | os.PathLike],
    count: int | None = None,
    *,
    progress: Progress = silent,
) -> LabelledImages:
    """Return pictures from files, cropped and scaled to a network's size.

    Parameters
    ----------
    network
        The network that the pictures are for.
    paths
        Files that Pillow reads, or directories of them.
    count
        Take only so many of them.
    progress
        Called as the files are read.

    Raises
    ------
    UserError
        If a file does not exist or is not a picture.
    """
    from ..host import images as picture_files

    files = picture_files.find([os.fspath(path) for path in paths])[:count]
    pixels = picture_files.load(files, (*network.image, network.colours), progress=counter(progress, len(files)))
    return LabelledImages("files", pixels, None, tuple(files))


def images_for(network: Network, images: int | LabelledImages, log: Log = silent) -> LabelledImages:
    """Return ``images``, or so many test images.

    Raises UserError if the images do not fit the network, and ValueError for a number that is not positive.
    """
    if not isinstance(images, LabelledImages):
        hint = "give images of this form, which psahw.flow.images.load_test_images loads"
        return _test_images(network, operator.index(images), SHIPPED_IMAGES, None, None, log, hint)
    shape = (*network.image, network.colours)
    if images.pixels.shape[1:] != shape:
        raise UserError(f"{network.name} takes images of {shape}; {images.dataset} has {images.pixels.shape[1:]}")
    return images
