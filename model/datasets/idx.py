"""IDX files, the format of MNIST: four bytes (0, 0, type, dimensions), lengths as big-endian words, then the values.

A folder has the images and labels of both parts, each perhaps compressed by gzip: `train-images-idx3-ubyte`,
`train-labels-idx1-ubyte`, `t10k-images-idx3-ubyte` and `t10k-labels-idx1-ubyte`. `test` in place of `t10k`, and a dot
in place of the second hyphen, are known too.
"""

import gzip
import struct
import zlib
from pathlib import Path
from typing import IO, cast

import numpy as np

from psahw.errors import UserError

from .dataset import Dataset, check_class_names, check_size, encode_labels
from .source import Source

__all__ = ["find", "load", "parse", "read"]

UBYTE = 8  # the type of values that is read
_KINDS = (("images", 3), ("labels", 1))


def find(folder: Path) -> list[Path] | None:
    """Return the files with training images, training labels, test images and test labels, or None if none exists.

    Raises UserError if some of them are missing.
    """
    files, absent = list[Path](), list[str]()
    for part, other in (("train", "train"), ("t10k", "test")):
        for kind, rank in _KINDS:
            names = [f"{prefix}-{kind}{mark}idx{rank}-ubyte" for prefix in (part, other) for mark in "-."]
            paths = [folder / f"{name}{end}" for name in names for end in ("", ".gz")]
            path = next((path for path in paths if path.is_file()), None)
            if path is None:
                absent.append(names[0])
            else:
                files.append(path)
    if not files:
        return None
    if absent:
        raise UserError(f"{folder} must hold {absent[0]} or {absent[0]}.gz as well")
    return files


def parse(file: IO[bytes], where: object, rank: int) -> np.ndarray:
    """Return the values of an open IDX file, uint8 with `rank` dimensions.

    Raises
    ------
    UserError
        If the file is not an IDX file of bytes, has other dimensions, or ends early or late.
    """
    head = file.read(4)
    if len(head) < 4 or head[:2] != b"\0\0":
        raise UserError(f"{where} is not an IDX file: it must begin with two zero bytes")
    if head[2] != UBYTE or head[3] != rank:
        raise UserError(
            f"{where} must hold bytes (type {UBYTE}) in {rank} dimensions, not type {head[2]} in {head[3]}"
        )
    lengths = file.read(4 * rank)
    if len(lengths) < 4 * rank:
        raise UserError(f"{where} ends within its header")
    shape = struct.unpack(f">{rank}I", lengths)
    check_size(where, shape)
    size = int(np.prod(shape, dtype=np.int64))
    if not size:
        raise UserError(f"{where} declares no values: {' x '.join(map(str, shape))}")
    values = bytearray()
    while len(values) <= size and (part := file.read(min(1 << 24, size + 1 - len(values)))):
        values += part
    if len(values) != size:
        there = "more" if len(values) > size else f"{len(values):,}"
        raise UserError(f"{where} declares {size:,} values and holds {there}: it is damaged or incomplete")
    return np.frombuffer(values, np.uint8).reshape(shape)


def read(path: Path, rank: int) -> np.ndarray:
    """Return the values of an IDX file, which may be compressed. Raises UserError as `parse` does."""
    try:
        with open(path, "rb") as file:
            compressed = file.read(2) == b"\x1f\x8b"
            file.seek(0)
            if not compressed:
                return parse(file, path, rank)
            with gzip.open(file) as content:
                return parse(cast(IO[bytes], content), path, rank)
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise UserError(f"cannot read {path}: it is a damaged or incomplete gzip file ({error})") from None
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror or error}") from None


def read_all(files: list[Path]) -> tuple[np.ndarray, ...]:
    """Return training images, training labels, test images and test labels, images with one colour.

    Raises UserError as `read` does, and if the arrays do not fit each other.
    """
    arrays = [read(path, rank) for path, rank in zip(files, (3, 1, 3, 1), strict=True)]
    for index in (0, 2):
        images, labels = arrays[index : index + 2]
        if len(images) != len(labels):
            raise UserError(
                f"{files[index + 1]} must have {len(images):,} labels, one per image, not {len(labels):,}"
            )
        arrays[index] = images[..., None]
    if arrays[0].shape[1:] != arrays[2].shape[1:]:
        sizes = [f"{height}x{width}" for _, height, width, _ in (arrays[0].shape, arrays[2].shape)]
        raise UserError(f"{files[2]} has images of {sizes[1]}, and {files[0]} of {sizes[0]}")
    return tuple(arrays)


def load(source: Source, files: list[Path]) -> Dataset:
    """Return the data set of four IDX files; its classes are the labels of the training images.

    Raises UserError as `read_all` does, and if a label occurs in testing only.
    """
    source.check_options(set(), "IDX files")
    images, labels, test_images, test_labels = read_all(files)
    used = np.unique(labels)
    names = check_class_names([str(label) for label in used], files[1])
    if len(unknown := np.setdiff1d(test_labels, used)):
        raise UserError(f"{files[3]} has the label {unknown[0]}, which {files[1]} has not")
    numbers = [encode_labels(names, np.searchsorted(used, part)) for part in (labels, test_labels)]
    return Dataset(source.title, names, images, numbers[0], test_images, numbers[1])
