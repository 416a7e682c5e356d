"""Pictures in a folder with one folder per class.

    pets/cat/1.png, pets/cat/2.png, pets/dog/1.png                        divided by `split.split_test`
    pets/train/cat/1.png, pets/train/dog/1.png, pets/test/cat/2.png, ...  divided by the user

Hidden files and folders are left out, and so are the files that systems leave in folders of pictures. Every other
file below a class folder must be a picture. Classes are sorted by name, or by number if all names are numbers.
"""

import re
from pathlib import Path

import numpy as np
from PIL import Image

from psahw import pictures
from psahw.callbacks import Log
from psahw.display import counted
from psahw.errors import UserError
from psahw.quoting import quote

from .dataset import Dataset, check_class_names, check_size, encode_labels
from .source import Source
from .split import split_test

__all__ = ["load"]

_LEFT_BY_SYSTEMS = {"thumbs.db", "desktop.ini"}
REPORT = 10_000  # pictures after which a message says how many are read


def load(source: Source, log: Log) -> Dataset:
    """Return the pictures of a folder.

    Raises
    ------
    UserError
        If there are no class folders, one is empty, a file is not a picture, or the pictures differ in size and
        `source.size` does not say to which they are scaled.
    """
    folder = Path(source.name)
    source.check_options({"size", "colours", "group"}, "a folder of pictures")
    pattern = source.group_pattern()
    train_folder, test_folder = folder / "train", folder / "test"
    if train_folder.is_dir() and test_folder.is_dir():
        classes = _classes(train_folder)
        if unknown := sorted(set(_classes(test_folder)) - set(classes)):
            raise UserError(f"{test_folder / unknown[0]}: there is no class {quote(unknown[0])} in {train_folder}")
        files = [_files(part, classes) for part in (train_folder, test_folder)]
    elif train_folder.is_dir() or test_folder.is_dir():
        raise UserError(f"{folder} must have both train and test, or class folders")
    else:
        classes = _classes(folder)
        files = [_files(folder, classes)]
    names = check_class_names(classes, folder)
    groups = None if pattern is None else _groups(files[0], pattern)
    if len(files) == 1:
        labels = np.array([label for _, label in files[0]])
        train, test = split_test(labels, names, folder, groups)
        files = [[files[0][index] for index in part] for part in (train, test)]
        groups = None if groups is None else groups[train]
    elif groups is not None and len(np.unique(groups)) < 2:
        raise UserError(f"{train_folder} must have at least 2 groups, for training and validation")
    shape = _shape([path for part in files for path, _ in part], source)
    read: list[np.ndarray] = []
    for part in files:
        read += (_read(part, shape, source, log), encode_labels(names, np.array([label for _, label in part])))
    return Dataset(source.title, names, *read, train_groups=groups)


def _number_or_name(name: str) -> tuple[int, str]:
    return (int(name) if name.isascii() and name.isdigit() else 0, name)


def _classes(folder: Path) -> list[str]:
    """Return the names of the class folders in a folder, in their order."""
    names = [entry.name for entry in folder.iterdir() if entry.is_dir() and not entry.name.startswith(".")]
    if not names:
        raise UserError(f"{folder} must contain one folder per class, with its pictures")
    numbered = all(name.isascii() and name.isdigit() for name in names)
    return sorted(names, key=_number_or_name if numbered else None)


def _files(folder: Path, classes: list[str]) -> list[tuple[Path, int]]:
    """Return the files of all classes, sorted within each, with the number of their class."""
    files: list[tuple[Path, int]] = []
    for label, name in enumerate(classes):
        below = folder / name
        inside = sorted(path for path in below.rglob("*") if path.is_file() and not _ignored(path.relative_to(below)))
        if not inside and below.is_dir():
            raise UserError(f"{below} contains no pictures")
        files += ((path, label) for path in inside)
    return files


def _ignored(path: Path) -> bool:
    return any(part.startswith(".") for part in path.parts) or path.name.lower() in _LEFT_BY_SYSTEMS


def _groups(files: list[tuple[Path, int]], pattern: re.Pattern[str]) -> np.ndarray:
    """Return the number of each file's group: what the pattern, or its first parenthesis, finds in the name."""
    found: list[str] = []
    for path, _ in files:
        match = pattern.search(path.name)
        if match is None:
            raise UserError(f"{path}: --group {quote(pattern.pattern)} finds nothing in its name")
        found.append((match[1] if match.re.groups else match[0]) or "")
    return np.unique(found, return_inverse=True)[1]


def _shape(files: list[Path], source: Source) -> tuple[int, int, int]:
    """Return height, width and colours of all pictures; those whose header is damaged are refused."""
    colours = source.colours or (1 if all(pictures.is_grey(path) for path in files) else 3)
    if source.size is not None:
        return (*source.size, colours)
    width, height = pictures.read(files[0]).size
    return height, width, colours


def _read(files: list[tuple[Path, int]], shape: tuple[int, int, int], source: Source, log: Log) -> np.ndarray:
    """Return pictures as uint8 [n, height, width, colours], one after the other into one array."""
    height, width, colours = shape
    check_size(source.name, (len(files), *shape))
    images = np.empty((len(files), *shape), np.uint8)
    for index, (path, _) in enumerate(files):
        picture: Image.Image = pictures.read(path, pictures.MODES[colours])
        if source.size is None and picture.size != (width, height):
            raise UserError(
                f"{path} is {picture.height}x{picture.width}, not {height}x{width} like the first picture; "
                f"--size {height}x{width} cuts and scales all of them"
            )
        images[index] = np.asarray(pictures.fit(picture, height, width)).reshape(shape)
        if index and index % REPORT == 0:
            log(f"read {index:,} of {counted(len(files), 'picture')}")
    return images
