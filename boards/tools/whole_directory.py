"""Write a directory completely or not at all."""

import ctypes
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from psahw.errors import UserError
from psahw.files import real_path
from psahw.scratch import scratch_directory

__all__ = ["whole_directory"]


def _replaceable(path: Path, marker: str) -> bool:
    """Return whether ``path`` does not exist, is empty, or contains the marker."""
    return not path.exists() or (path.is_dir() and ((path / marker).is_file() or not any(path.iterdir())))


def _exchange(fresh: Path, path: Path, old: Path) -> None:
    """Put a directory into the place of another one, which becomes ``fresh`` or ``old``.

    Linux exchanges the two in one step, so that there is always a directory at ``path``.
    """
    here, exchange = -100, 2  # AT_FDCWD and RENAME_EXCHANGE of fcntl.h
    rename = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None) if os.name == "posix" else None
    if rename is not None and rename(here, os.fsencode(fresh), here, os.fsencode(path), exchange) == 0:
        return
    path.rename(old)
    try:
        fresh.rename(path)
    except BaseException:
        old.rename(path)
        raise


@contextmanager
def whole_directory(path: str | os.PathLike, *, marker: str) -> Iterator[Path]:
    """Yield an empty directory that replaces ``path`` when the block ends, and is deleted if the block raises.

    Parameters
    ----------
    path
        The directory to create or replace. Missing parents are created too.
    marker
        Name of a file that the block must write. An existing directory is replaced only if it is empty or contains
        this file.

    Raises
    ------
    UserError
        If ``path`` may not be replaced or cannot be written. Most reasons are found before the block runs.
    """
    path = real_path(path)
    new_parents: list[Path] = []
    try:
        if not _replaceable(path, marker):
            raise UserError(
                f"{path} exists and was not written by psahw (it has no {marker}); name another directory"
            )
        new_parents = [parent for parent in path.parents if not parent.exists()]  # the innermost first
        if new_parents:
            path.parent.mkdir(parents=True)
        with scratch_directory(f".{path.name[:100]}.psahw-", path.parent) as scratch:
            fresh = scratch / "new"
            fresh.mkdir()
            yield fresh
            if path.exists():
                _exchange(fresh, path, scratch / "old")
            else:
                fresh.rename(path)
        new_parents = []
    except OSError as error:
        raise UserError(f"cannot write {path}: {error.strerror or error}") from error
    finally:
        for parent in new_parents:
            if parent.is_dir() and not any(parent.iterdir()):
                parent.rmdir()
