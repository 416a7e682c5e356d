"""NumPy archives (.npz) with `x_train`, `y_train`, `x_test` and `y_test`, or with `x` and `y`, which are divided.

Images are [n, height, width] or [n, height, width, colours] with 1 to 4 colours, of any integer type with values of 0
to 255, or uint16 with values above that, which are scaled by the range of 16 bits. Arrays [n, features] of numbers
are tables (`columns`). Labels are integers or text, [n] or [n, 1]. Without an array `classes` of names, the classes
are the sorted labels.
"""

import contextlib
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from psahw.errors import UserError
from psahw.quoting import printable, quote

from .columns import Columns, fit_column
from .dataset import Dataset, check_class_names, check_size, encode_labels
from .source import Source, Task
from .split import split_test

__all__ = ["load"]

_PARTS = (("x_train", "y_train"), ("x_test", "y_test"))


@contextlib.contextmanager
def _reading(path: Path) -> Iterator[None]:
    """Turn what NumPy and zipfile raise for a damaged archive into a UserError."""
    try:
        yield
    except (zipfile.BadZipFile, EOFError, zlib.error, ValueError, NotImplementedError, RuntimeError) as error:
        raise UserError(f"cannot read {path}: {printable(str(error), 100) or 'it is damaged'}") from None
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror or error}") from None


def load(source: Source, columns: Columns | None = None) -> Dataset:
    """Return the data set of an archive.

    Raises
    ------
    UserError
        If the archive is damaged, or arrays are missing, do not fit each other, hold Python objects, or have values
        that are no images or no labels.
    """
    path = Path(source.name)
    source.check_options({"task"}, "an .npz file")
    pairs, titles = _read(path)
    for pair in pairs:
        _check(path, pair, source.task)
    if pairs[0].x.shape[1:] != pairs[-1].x.shape[1:]:
        both, shapes = f"{pairs[0].x_name} and {pairs[-1].x_name}", (pairs[0].x.shape[1:], pairs[-1].x.shape[1:])
        raise UserError(f"{path}: {both} must have the same shape, not {shapes[0]} and {shapes[1]}")
    if source.task == "class":
        classes, labels = _labels(path, pairs, titles)
    else:
        classes, labels = _targets(path, pairs, titles, source.task)
    train: np.ndarray | slice = slice(None)
    test: np.ndarray | slice = slice(None)
    if len(pairs) == 1:
        of_classes = source.task == "class"
        strata, names = (labels[0], classes) if of_classes else (np.zeros(len(labels[0]), int), ("all rows",))
        train, test = split_test(strata, names, path)
    if pairs[0].x.ndim == 2:
        columns = columns or _columns(path, pairs[0], train)
        images = [_coded(path, pair, columns) for pair in pairs]
    else:
        columns = None
        images = [_images(path, pair.x_name, pair.x) for pair in pairs]
    return Dataset(
        source.title, classes, images[0][train], labels[0][train], images[-1][test], labels[-1][test],
        task=source.task, columns=columns,
    )  # fmt: skip


@dataclass(frozen=True, eq=False)
class _Pair:
    """Inputs and targets of one part, with the names of their arrays."""

    x_name: str
    y_name: str
    x: np.ndarray
    y: np.ndarray


def _read(path: Path) -> tuple[list[_Pair], np.ndarray | None]:
    """Return the parts of an archive, and the names of its classes if it has them."""
    with _reading(path), zipfile.ZipFile(path) as archive:
        names = {name.removesuffix(".npy") for name in archive.namelist()}
        pairs = [("x", "y")] if {"x", "y"} <= names else [_PARTS[0]] if "x_test" not in names else list(_PARTS)
        if missing := [name for pair in pairs for name in pair if name not in names]:
            there = ", ".join(sorted(names)) or "none"
            raise UserError(f"{path} has no array {missing[0]}; it has {printable(there, 80)}")
        parts = [_Pair(x, y, _array(archive, x, path), _array(archive, y, path)) for x, y in pairs]
        return parts, _array(archive, "classes", path) if "classes" in names else None


def _check(path: Path, pair: _Pair, task: Task) -> None:
    """Raise UserError unless inputs and targets have shapes that fit each other."""
    if pair.x.ndim < 2 or not pair.x.size:
        raise UserError(f"{path}: {pair.x_name} must be images or rows, not an array of shape {pair.x.shape}")
    count, shape = len(pair.x), pair.y.shape
    several = task != "class" and len(shape) == 2 and shape[0] == count and shape[1] > 0
    if shape not in ((count,), (count, 1)) and not several:
        expected = f"one label for each of the {count:,} in {pair.x_name}"
        raise UserError(f"{path}: {pair.y_name} must have {expected}, not {shape}")


def _array(archive: zipfile.ZipFile, name: str, path: Path) -> np.ndarray:
    """Return an array of an archive, after a look at its header."""
    info = archive.getinfo(f"{name}.npy")
    with archive.open(info) as file:
        version = np.lib.format.read_magic(file)
        if version not in ((1, 0), (2, 0)):
            raise UserError(f"{path}: {name} is of version {version} of the .npy format, which is not known")
        header = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, _, dtype = header(file)
        if dtype.hasobject:
            raise UserError(
                f"{path}: {name} holds Python objects (a pickle), which are never read: save plain numbers"
            )
        check_size(f"{path}: {name}", shape, dtype.itemsize)
        size = dtype.itemsize
        for length in shape:
            size *= length
        if size > info.file_size:
            raise UserError(f"{path}: {name} declares {size:,} bytes and has {info.file_size:,}: it is damaged")
    with archive.open(info) as file:
        return np.lib.format.read_array(file, allow_pickle=False)


def _images(path: Path, name: str, x: np.ndarray) -> np.ndarray:
    """Return images as uint8 [n, height, width, colours]."""
    if x.ndim not in (3, 4) or (x.ndim == 4 and not 1 <= x.shape[3] <= 4):
        raise UserError(f"{path}: {name} must be [n, height, width] or have 1 to 4 colours after that, not {x.shape}")
    if x.dtype.kind not in "iu":
        raise UserError(
            f"{path}: {name} must hold integers of 0 to 255 (or 65,535), not {x.dtype}: scale and round them"
        )
    if x.dtype != np.uint8:
        least, greatest = int(x.min()), int(x.max())
        if x.dtype == np.uint16 and greatest > 255:
            x = np.stack([((255 * image.astype(np.uint32) + 32_767) // 65_535).astype(np.uint8) for image in x])
        elif least < 0 or greatest > 255:
            raise UserError(f"{path}: {name} must hold 0 to 255, not {least} to {greatest}")
        else:
            x = x.astype(np.uint8)
    return np.ascontiguousarray(x if x.ndim == 4 else x[..., None])


def _targets(
    path: Path, pairs: list[_Pair], titles: np.ndarray | None, task: Task
) -> tuple[tuple[str, ...], list[np.ndarray]]:
    """Return the names of values or labels, and for each part float32 [n, values] or uint8 [n, labels]."""
    targets = []
    for pair in pairs:
        y = pair.y.reshape(len(pair.y), -1)
        if y.dtype.kind not in "iufb":
            raise UserError(f"{path}: {pair.y_name} must hold numbers, not {y.dtype}")
        known = np.isin(y, (0, 1)) if task == "labels" else np.abs(y.astype(float)) <= np.finfo(np.float32).max
        if len(wrong := np.argwhere(~known)):
            kind = "0 or 1" if task == "labels" else "a number within the range of float32"
            row, column = wrong[0]
            raise UserError(f"{path}: {pair.y_name}[{row}, {column}] must be {kind}, not {y[row, column]:g}")
        targets.append(y.astype(np.float32 if task == "values" else np.uint8))
    counts = {target.shape[1] for target in targets}
    names = [str(index) for index in range(max(counts))] if titles is None else _titles(path, titles)
    if counts != {len(names)}:
        raise UserError(f"{path}: {pairs[-1].y_name} must have {len(names)} targets per example, not {min(counts)}")
    return check_class_names(names, path, 1), targets


def _titles(path: Path, titles: np.ndarray) -> list[str]:
    """Return the names in the array `classes`."""
    if titles.ndim != 1 or titles.dtype.kind not in "US":
        raise UserError(f"{path}: classes must be a list of names, not {titles.dtype} of shape {titles.shape}")
    return [_text(title) for title in titles]


def _labels(path: Path, pairs: list[_Pair], titles: np.ndarray | None) -> tuple[tuple[str, ...], list[np.ndarray]]:
    """Return the names of the classes, and class numbers for each part."""
    names, labels = [pair.y_name for pair in pairs], [pair.y.reshape(-1) for pair in pairs]
    for name, y in zip(names, labels, strict=True):
        if y.dtype.kind == "f":
            if len(wrong := np.flatnonzero(~np.isfinite(y) | (y != np.floor(y)))):
                raise UserError(f"{path}: {name}[{wrong[0]}] must be an integer or a name, not {y[wrong[0]]:g}")
        elif y.dtype.kind not in "iubUS":
            raise UserError(f"{path}: {name} must hold integers or names of classes, not {y.dtype}")
    used = np.unique(labels[0])
    if titles is not None:
        texts, known = _titles(path, titles), np.arange(len(titles))
        if not np.isin(used, known).all():
            raise UserError(f"{path}: {names[0]} must hold 0 to {len(titles) - 1}, numbers of classes")
    else:
        texts, known = [_text(label) for label in used], used
    classes = check_class_names(texts, path)
    for name, y in zip(names, labels, strict=True):
        if len(unknown := np.flatnonzero(~np.isin(y, known))):
            raise UserError(
                f"{path}: {name}[{unknown[0]}] is {quote(_text(y[unknown[0]]))}, which {names[0]} has not"
            )
    return classes, [encode_labels(classes, np.searchsorted(known, y)) for y in labels]


def _text(label: np.generic) -> str:
    """Return a label as the name of a class."""
    value = label.item()
    if isinstance(value, bytes):
        return value.decode(errors="replace")
    return str(int(value)) if isinstance(value, float | bool) else str(value)


def _columns(path: Path, pair: _Pair, train: np.ndarray | slice) -> Columns:
    """Return the rule for the columns of a table, from its training rows."""
    _check_numbers(path, pair)
    numbers = range(pair.x.shape[1])
    rules = [fit_column(_column(path, pair, index)[train], str(index), path) for index in numbers]
    return Columns.from_rules([str(number) for number in numbers], rules)


def _coded(path: Path, pair: _Pair, columns: Columns) -> np.ndarray:
    """Return a table as images uint8 [n, 1, 1, features]."""
    _check_numbers(path, pair)
    if len(columns.names) != pair.x.shape[1]:
        raise UserError(f"{path}: {pair.x_name} must have {len(columns.names)} columns, not {pair.x.shape[1]}")
    coded = np.empty((len(pair.x), 1, 1, pair.x.shape[1]), np.uint8)
    for index, rule in enumerate(columns.rules()):
        coded[:, 0, 0, index] = rule.codes(_column(path, pair, index))
    return coded


def _check_numbers(path: Path, pair: _Pair) -> None:
    if pair.x.dtype.kind not in "iufb":
        raise UserError(f"{path}: {pair.x_name} must hold numbers, not {pair.x.dtype}")


def _column(path: Path, pair: _Pair, index: int) -> np.ndarray:
    """Return a column of a table as float64 [n], and refuse what is not finite."""
    values = pair.x[:, index].astype(np.float64)
    if len(wrong := np.flatnonzero(~np.isfinite(values))):
        raise UserError(f"{path}: {pair.x_name}[{wrong[0]}, {index}] must be finite, not {values[wrong[0]]:g}")
    return values
