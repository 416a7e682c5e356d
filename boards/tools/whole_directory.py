"""A directory that appears whole or not at all."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from psahw.errors import UserError

__all__ = ["whole_directory"]


def _replaceable(path: Path, marker: str) -> bool:
    return not path.exists() or (path.is_dir() and ((path / marker).is_file() or not any(path.iterdir())))


@contextmanager
def whole_directory(path: str | os.PathLike, *, marker: str) -> Iterator[Path]:
    """Yields an empty directory that takes the place of ``path`` if the block ends well, and vanishes if not.

    An existing directory is replaced only if it is empty or holds the file ``marker``, which the block must write.
    Raises UserError if ``path`` may not be replaced or cannot be written, before the block runs where that can be
    known.
    """
    path = Path(path).resolve()
    made, around = [], None
    try:
        if not _replaceable(path, marker):
            raise UserError(
                f"{path} exists and was not written by psahw (it has no {marker}); name another directory"
            )
        made = [parent for parent in path.parents if not parent.exists()]  # the innermost first
        if made:
            path.parent.mkdir(parents=True)
        around = Path(tempfile.mkdtemp(dir=path.parent, prefix=f".{path.name}."))
        fresh = around / "new"
        fresh.mkdir()
        yield fresh
        if path.exists():
            path.rename(around / "old")
        fresh.rename(path)
        made = []
    except OSError as error:
        raise UserError(f"cannot write {path}: {error.strerror or error}") from error
    finally:
        if around is not None:
            shutil.rmtree(around, ignore_errors=True)
        for parent in made:
            if parent.is_dir() and not any(parent.iterdir()):
                parent.rmdir()
