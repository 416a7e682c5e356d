"""Write a directory completely or not at all."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from psahw.errors import UserError

__all__ = ["whole_directory"]


def _replaceable(path: Path, marker: str) -> bool:
    """Return whether ``path`` does not exist, is empty, or contains the marker."""
    return not path.exists() or (path.is_dir() and ((path / marker).is_file() or not any(path.iterdir())))


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
    path = Path(path).resolve()
    new_parents: list[Path] = []
    scratch = None
    try:
        if not _replaceable(path, marker):
            raise UserError(
                f"{path} exists and was not written by psahw (it has no {marker}); name another directory"
            )
        new_parents = [parent for parent in path.parents if not parent.exists()]  # the innermost first
        if new_parents:
            path.parent.mkdir(parents=True)
        scratch = Path(tempfile.mkdtemp(dir=path.parent, prefix=f".{path.name}."))
        fresh = scratch / "new"
        fresh.mkdir()
        yield fresh
        if path.exists():
            path.rename(scratch / "old")
        fresh.rename(path)
        new_parents = []
    except OSError as error:
        raise UserError(f"cannot write {path}: {error.strerror or error}") from error
    finally:
        if scratch is not None:
            shutil.rmtree(scratch, ignore_errors=True)
        for parent in new_parents:
            if parent.is_dir() and not any(parent.iterdir()):
                parent.rmdir()
