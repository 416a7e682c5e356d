"""Files that appear whole or not at all, directories known to be writable before long work starts, the cache."""

import contextlib
import os
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from .errors import UserError

__all__ = [
    "cache_directory", "long_unused", "output_directory", "refuse_foreign", "writable_directory", "write_cached",
    "write_whole",
]  # fmt: skip


def cache_directory() -> Path:
    """Where downloads, compiled kernels, Verilog and simulators are kept between runs: `$PSAHW_CACHE`, else
    `~/.cache/psahw`; not necessarily existing yet."""
    return Path(os.environ.get("PSAHW_CACHE") or Path.home() / ".cache" / "psahw")


_LATELY = 24 * 3600  # seconds


def long_unused(entries: Iterable[Path], keep: int) -> list[Path]:
    """Those of a cache's entries that may go, by their times of modification, which mark their last use: all but the
    ``keep`` latest, and but those of the last day, which a long run may still want. Of those that another process
    has just removed nothing is said."""
    times = []
    for entry in entries:
        with contextlib.suppress(FileNotFoundError):
            times.append((entry.stat().st_mtime, entry))
    return [entry for used, entry in sorted(times)[:-keep] if time.time() - used > _LATELY]


def write_whole(path: str | os.PathLike, data: str | bytes) -> None:
    """Write a file that appears whole or not at all."""
    path, data = Path(path), data.encode() if isinstance(data, str) else data
    name = None
    try:
        with tempfile.NamedTemporaryFile(dir=path.parent, prefix=f".{path.name}.", delete=False) as file:
            name = file.name
            file.write(data)
        os.chmod(name, 0o644)
        os.replace(name, path)
    except OSError as error:
        if name is not None:
            Path(name).unlink(missing_ok=True)
        raise UserError(f"cannot write {path}: {error.strerror}") from error


def write_cached(path: Path, data: str | bytes) -> None:
    """`write_whole` into the cache, whose directories need not exist. Raises UserError if they cannot be made."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(
            f"cannot write {path.parent}: {error.strerror}; PSAHW_CACHE says where the cache is"
        ) from error
    write_whole(path, data)


def writable_directory(path: str | os.PathLike) -> Path:
    """The directory, made if need be, proven writable before long work starts.

    Raises UserError, having left nothing behind.
    """
    path, made = Path(path), []
    try:
        for parent in (path, *path.parents):
            if parent.exists():
                break
            made.append(parent)
        path.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=path, prefix=".psahw"):
            pass
    except OSError as error:
        for parent in made:
            if parent.is_dir():
                parent.rmdir()
        raise UserError(f"cannot write into directory {path}: {error.strerror}") from error
    return path


def refuse_foreign(path: str | os.PathLike, ours: Callable[[Path], bool], what: str) -> None:
    """Raises UserError for a directory that holds files (hidden ones do not count) and is not `ours`."""
    path = Path(path)
    if path.is_dir() and any(entry.name[0] != "." for entry in path.iterdir()) and not ours(path):
        raise UserError(f"{path} holds other files and no {what}: name a new or empty directory")


@contextmanager
def output_directory(path: str | os.PathLike) -> Iterator[Path]:
    """A `writable_directory` for the length of the work. If that fails before anything was written into it, what
    was made of it goes again."""
    path = Path(path)
    made = [parent for parent in (path, *path.parents) if not parent.exists()]
    try:
        yield writable_directory(path)
    except BaseException:
        for parent in made:
            try:
                parent.rmdir()
            except OSError:  # it holds something
                break
        raise
