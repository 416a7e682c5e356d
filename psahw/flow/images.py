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
    from ..model.data import Source

__all__ = ["SHIPPED_IMAGES", "LabelledImages", "images_for", "load_test_images", "pictures"]

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
        Index of each image's class, or None if unknown.
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
    dataset: "str | Source | None" = None,
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
        Name of a data set, path of your own data, or `psahw.model.data.Source`; by default ``sample`` for up to 100
        images, and otherwise ``cifar10``. ``"random"`` stands for random bytes, without classes.
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
    from ..model import data as datasets

    wanted = most if count is None else count
    if wanted < 1:
        raise ValueError(f"the number of images must be positive, not {wanted}")
    if dataset == RANDOM:
        return LabelledImages(RANDOM, _random(network, wanted))
    form = datasets.Form(network.name, (*network.image, network.colours), len(network.classes), network.output.kind)
    chosen: datasets.Data = dataset or "cifar10"
    if dataset is None:
        name = "sample" if wanted <= SHIPPED_IMAGES and data is None else "cifar10"
        datasets.check_named(name, form, hint=f"name a data set of this form with --dataset, or {RANDOM}")
        if name == "cifar10":
            images = counted(wanted, "image")
            log(f"{images}: the test set of CIFAR-10, downloaded if it is not in the cache (139 MB)")
        chosen = name
    columns = datasets.recorded_columns(network)
    loaded = datasets.load(chosen, None if data is None else os.fspath(data), log=log, models=[form], columns=columns)
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
        return load_test_images(network, operator.index(images), log=log)
    shape = (*network.image, network.colours)
    if images.pixels.shape[1:] != shape:
        raise UserError(f"{network.name} takes images of {shape}; {images.dataset} has {images.pixels.shape[1:]}")
    return images
