"""Files that are written whole or not at all, directories that are checked before long work, and the cache."""

import contextlib
import errno
import os
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from .errors import UserError
from .scratch import scratch_directory, scratch_file

__all__ = [
    "cache_directory", "check_room", "has_room", "long_unused", "output_directory", "real_path", "refuse_foreign",
    "temporary_directory", "whole_file", "writable_directory", "write_error", "write_whole", "writing",
]  # fmt: skip


def cache_directory() -> Path:
    """Return the directory for downloads, compiled kernels, Verilog and simulators, which may not exist yet.

    It is ``$PSAHW_CACHE``, or ``~/.cache/psahw`` if that is not set.
    """
    return Path(os.environ.get("PSAHW_CACHE") or Path.home() / ".cache" / "psahw")


def real_path(path: str | os.PathLike) -> Path:
    """Return an absolute path without links.

    A link that leads to itself stays, so that whoever opens it gets an OSError; `Path.resolve` raises RuntimeError.
    """
    return Path(os.path.realpath(path))


_RECENT_SECONDS = 24 * 3600

# The mask can only be read by setting it.
_UMASK = os.umask(0o077)
os.umask(_UMASK)


def long_unused(entries: Iterable[Path], keep: int) -> list[Path]:
    """Return the entries of a cache that may be removed, the oldest first.

    The time of modification marks the last use of an entry. Kept are the ``keep`` latest entries, and those used
    within the last day, which a long run may still need. Entries that another process has just removed are skipped.
    """
    times = []
    for entry in entries:
        with contextlib.suppress(FileNotFoundError):
            times.append((entry.stat().st_mtime, entry))
    return [
        entry for used, entry in sorted(times)[: max(len(times) - keep, 0)] if time.time() - used > _RECENT_SECONDS
    ]


def write_error(path: str | os.PathLike, error: OSError) -> UserError:
    """Return the error that says which path could not be written, why, and how to move the cache if it is there."""
    cache = cache_directory().absolute()
    inside = Path(path).absolute().is_relative_to(cache)
    hint = f"; make room, or set PSAHW_CACHE to another directory than {cache}" if inside else ""
    return UserError(f"cannot write {path}: {error.strerror or error}{hint}")


_WRITE_ERRORS = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EIO}  # with which writes fail


def _concerns(error: OSError, folder: Path) -> bool:
    """Return whether an error can be one of writing into a folder: it names a place in or above it, or none."""
    place = error.filename2 or error.filename  # a full disk names none
    if not isinstance(place, str | os.PathLike):
        return error.errno in _WRITE_ERRORS
    other = Path(place).absolute()
    return other.is_relative_to(folder) or folder.is_relative_to(other)


@contextmanager
def writing(path: str | os.PathLike) -> Iterator[None]:
    """Turn the errors of a block that writes into ``path`` or beside it into a UserError that names the path.

    Errors of other files, and others than those of writing, are raised as they are.
    """
    try:
        yield
    except OSError as error:
        if not _concerns(error, Path(path).absolute().parent):
            raise
        raise write_error(path, error) from error


@contextmanager
def whole_file(path: str | os.PathLike) -> Iterator[Path]:
    """Yield the name of a file beside ``path``, which replaces ``path`` when the block ends.

    If the block raises, however it ends, no file stays and ``path`` is what it was. The directory must exist. What a
    killed process has left is removed when the same path is written again (`psahw.scratch`). A link stays a link, and
    the file that it leads to is replaced. A file that is replaced keeps its permissions. Pipes and devices, such as
    ``/dev/null``, are written as they are: the name is ``path`` itself.

    Raises
    ------
    UserError
        If the file cannot be written.
    """
    path = Path(path)
    with writing(path):
        if path.exists() and not path.is_file() and not path.is_dir():
            yield path
            return
    target = real_path(path) if path.is_symlink() else path
    with writing(target), scratch_file(f".{target.name[:100]}.psahw-", target.parent) as fresh:
        yield fresh
        os.chmod(fresh, target.stat().st_mode & 0o777 if target.is_file() else 0o666 & ~_UMASK)
        os.replace(fresh, target)


def write_whole(path: str | os.PathLike, data: str | bytes) -> None:
    """Write a file whole or not at all. Raises UserError if it cannot be written."""
    with whole_file(path) as fresh:
        fresh.write_bytes(data.encode() if isinstance(data, str) else data)


@contextmanager
def temporary_directory(prefix: str) -> Iterator[Path]:
    """Yield a new directory among the system's temporary files, which is removed when the block ends.

    Raises
    ------
    UserError
        If the directory or a file in it cannot be written, with the way to move it.
    """
    place = tempfile.gettempdir()
    try:
        with scratch_directory(prefix) as directory:
            yield directory
    except OSError as error:
        if not _concerns(error, Path(place).absolute()):
            raise
        raise UserError(
            f"cannot write {place}: {error.strerror or error}; make room, or set TMPDIR to another directory"
        ) from error


def has_room(directory: str | os.PathLike) -> bool:
    """Return whether a file of a megabyte can be written into a directory: neither disk nor quota are used up."""
    try:
        with tempfile.TemporaryFile(dir=Path(directory), prefix=".psahw") as file:
            file.write(bytes(1 << 20))
        return True
    except OSError:
        return False


def check_room(directory: str | os.PathLike) -> None:
    """Raise OSError unless there is room in a directory, after a program that does not notice a full disk."""
    if not has_room(directory):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), os.fspath(directory))


def writable_directory(path: str | os.PathLike) -> Path:
    """Create a directory if it does not exist, check that it can be written into, and return it.

    Raises UserError otherwise, and leaves no directory that did not exist before.
    """
    path = Path(path)
    created: list[Path] = []
    try:
        for parent in (path, *path.parents):
            if parent.exists():
                break
            created.append(parent)
        path.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=path, prefix=".psahw"):
            pass
    except OSError as error:
        for parent in created:
            if parent.is_dir():
                parent.rmdir()
        raise UserError(f"cannot write into directory {path}: {error.strerror}") from error
    return path


def refuse_foreign(path: str | os.PathLike, ours: Callable[[Path], bool], mark: str) -> None:
    """Raise UserError for a directory with files that psahw did not write. Hidden files do not count.

    Parameters
    ----------
    path
        The directory, which need not exist.
    ours
        Returns whether psahw wrote a directory.
    mark
        What such a directory holds, for the message.
    """
    path = Path(path)
    if path.is_dir() and any(entry.name[0] != "." for entry in path.iterdir()) and not ours(path):
        raise UserError(f"{path} holds other files and no {mark}: name a new or empty directory")


@contextmanager
def output_directory(path: str | os.PathLike) -> Iterator[Path]:
    """Yield a directory that is created and checked as by `writable_directory`.

    If the block fails before anything was written, the directories that were created are removed.
    """
    path = Path(path)
    created = [parent for parent in (path, *path.parents) if not parent.exists()]
    try:
        yield writable_directory(path)
    except BaseException:
        for parent in created:
            try:
                parent.rmdir()
            except OSError:  # it is not empty
                break
        raise
