"""SVHN: 32x32 RGB images of digits, from the official `.mat` files, whose length and labels are checked."""

import os
from collections.abc import Callable
from http.client import HTTPException
from pathlib import Path

import numpy as np

from psahw import cache
from psahw.callbacks import Log
from psahw.errors import UserError

from ..download import download
from .dataset import Dataset
from .source import Source

__all__ = ["load_svhn"]

SVHN_URL = "http://ufldl.stanford.edu/housenumbers"  # without https, but the contents are checked
SVHN_IMAGES = {"train": 73_257, "test": 26_032}


def load_svhn(source: Source, log: Log) -> Dataset:
    """Return SVHN from a directory that the user names, or from the cache and the official URL."""
    directory = None if source.data is None else Path(source.data)
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
