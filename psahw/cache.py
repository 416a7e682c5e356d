"""The cache: designs, simulators, adder graphs and more, which are made again if they are not as they were written.

There are two kinds of entries. A file begins with a line that has a SHA-256 of its name and of the rest. A directory
has a list of its files with the SHA-256 of each, ``.psahw-entry``. What does not match, because a file was cut off,
emptied, altered, or copied from another entry, is not used: one line on standard error says so (the logger
``psahw.cache``), and the entry is made again.

Entries appear whole, by renaming, and a key names everything that an entry depends on. Several processes and several
versions of psahw can therefore share the cache.
"""

import contextlib
import hashlib
import logging
import os
import shutil
from collections.abc import Callable
from pathlib import Path

from .files import cache_directory, long_unused, write_whole, writing
from .scratch import locked, remove_leftovers, scratch_directory

__all__ = ["directory", "find", "place", "prune", "read", "write"]

SEAL = ".psahw-entry"
"""Name of the list of files in a directory entry."""

_SCRATCH = "new-"  # begins the names of directories in which entries are made
_MARK = b"psahw-entry "

_logger = logging.getLogger(__name__)

_intact: dict[Path, tuple] = {}
"""States of the directories whose content this process has compared with their seals."""


def place(kind: str) -> Path:
    """Return the absolute path of the directory with the entries of a kind."""
    return cache_directory().absolute() / kind


def _complain(path: Path, reason: str) -> None:
    _logger.warning("%s in the cache is damaged (%s): it is made again", path, reason)


def _digest(name: str, content: bytes) -> bytes:
    """Return the first line of a file entry."""
    return _MARK + hashlib.sha256(name.encode() + b"\n" + content).hexdigest().encode() + b"\n"


def read(path: Path) -> bytes | None:
    """Return the content of a file entry, or None if it is absent or not as `write` has written it."""
    try:
        line, _, content = path.read_bytes().partition(b"\n")
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        _complain(path, error.strerror or str(error))
        return None
    if line + b"\n" == _digest(path.name, content):
        return content
    _complain(path, "its content has another digest" if line.startswith(_MARK) else "it has no digest")
    return None


def write(path: Path, content: bytes) -> None:
    """Write a file entry whole or not at all, and create its directories.

    Raises
    ------
    UserError
        If it cannot be written.
    """
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, _digest(path.name, content) + content)


def _files(entry: Path) -> dict[str, Path]:
    """Return all files of a directory entry apart from its seal by their relative names."""
    paths = {path.relative_to(entry).as_posix(): path for path in sorted(entry.rglob("*")) if not path.is_dir()}
    paths.pop(SEAL, None)
    return paths


def _sha256(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _seal(entry: Path, name: str) -> None:
    """Write the list of an entry's files into it."""
    lines = [f"{_sha256(path)}  {file}\n" for file, path in _files(entry).items()]
    (entry / SEAL).write_text(f"# {name}\n{''.join(lines)}")


def _difference(entry: Path) -> str | None:
    """Return how a directory entry differs from its seal, in words, or None if it is as it was written.

    Raises OSError if it is absent. A process reads the files only once, unless their sizes or times change.
    """
    entry.stat()
    try:
        paths = _files(entry)
        stats = [path.stat() for path in (entry / SEAL, *paths.values())]
        state = (*paths, *((stat.st_ino, stat.st_size, stat.st_mtime_ns) for stat in stats))
        if _intact.get(entry) == state:
            return None
        head, *lines = (entry / SEAL).read_text().splitlines()
        sealed = dict(line.split("  ", 1)[::-1] for line in lines)
        if head != f"# {entry.name}" or not sealed:
            return "its list of files is that of another entry"
        for name in sorted(sealed.keys() | paths.keys()):
            if name not in paths:
                return f"{name} is missing"
            if name not in sealed:
                return f"{name} does not belong to it"
            if _sha256(paths[name]) != sealed[name]:
                return f"{name} has another digest"
    except FileNotFoundError as error:
        return f"{Path(error.filename).name} is missing"
    except OSError as error:
        return f"{error.filename}: {error.strerror}"
    except ValueError:  # the list is not text, or has other lines
        return f"{SEAL} is not a list of files"
    _intact[entry] = state
    return None


def _usable(entry: Path) -> bool:
    """Return whether a directory entry is as it was written, and mark it as used."""
    try:
        if _difference(entry) is not None:
            return False
    except OSError:  # it is absent, or the cache cannot be read
        return False
    with contextlib.suppress(OSError):  # the cache may be read-only
        os.utime(entry)
    return True


def _clear(entry: Path) -> None:
    """Remove what is left beside a usable entry if the process that made it was killed after the last step."""
    if _lock(entry).exists():
        with contextlib.suppress(OSError), _locked(entry, wait=False) as free:
            if free:
                remove_leftovers(_SCRATCH, entry.parent)


def find(kind: str, key: str) -> Path | None:
    """Return the directory of an entry, or None if the cache does not have it as it was written."""
    entry = place(kind) / key
    if not _usable(entry):
        return None
    _clear(entry)
    return entry


def directory(kind: str, key: str, make: Callable[[Path], object], *, keep: int) -> Path:
    """Return the directory of an entry, which is made only if the cache does not have it as it was written.

    Parameters
    ----------
    kind
        Name of the directory below the cache.
    key
        Hash, in hexadecimal, over everything that the entry depends on.
    make
        Called with an empty directory to write the entry into, if the cache does not have it. It can use the
        directory above for other files, which are deleted afterwards.
    keep
        Entries of this kind that stay in the cache, besides those used within the last day.

    Raises
    ------
    UserError
        If the entry cannot be written, with the way to move the cache. Nothing of it stays.
    """
    entry = place(kind) / key
    if _usable(entry):
        _clear(entry)
        return entry
    with writing(entry):
        entry.parent.mkdir(parents=True, exist_ok=True)
        with _locked(entry):
            if _usable(entry):  # another process has made it meanwhile
                return entry
            _make(entry, make)
    prune(entry.parent, keep)
    return entry


def _locked(entry: Path, *, wait: bool = True) -> contextlib.AbstractContextManager[bool]:
    """Keep other processes from making or removing an entry."""
    return locked(_lock(entry), wait=wait)


def _lock(entry: Path) -> Path:
    """Return the file that exists while a process makes or removes an entry."""
    return entry.with_name(f"{entry.name}.lock")


def _make(entry: Path, make: Callable[[Path], object]) -> None:
    """Make an entry in place of a damaged one or of none. The caller holds its lock."""
    with contextlib.suppress(OSError):
        _complain(entry, _difference(entry) or "")
    with scratch_directory(_SCRATCH, entry.parent) as scratch:
        fresh = scratch / "entry"
        fresh.mkdir()
        make(fresh)
        _seal(fresh, entry.name)
        if entry.is_dir() and not entry.is_symlink():
            shutil.rmtree(entry)
        else:
            entry.unlink(missing_ok=True)
        os.rename(fresh, entry)


def prune(folder: Path, keep: int) -> None:
    """Remove the directory entries in a folder that were not used for a long time, except those that a process holds.

    Parameters
    ----------
    folder
        Directory of a kind of entries.
    keep
        Entries that stay, besides those used within the last day.
    """

    def unused() -> list[Path]:
        with contextlib.suppress(OSError):
            folders = [path for path in folder.iterdir() if path.is_dir() and not path.name.startswith(_SCRATCH)]
            return long_unused(folders, keep)
        return []

    for old in unused():
        with contextlib.suppress(OSError), _locked(old, wait=False) as free:
            if free and old in unused():
                shutil.rmtree(old, ignore_errors=True)
