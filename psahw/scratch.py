"""Files and directories for what is being made, which are removed when a block ends, or after a kill by the next run.

The process that makes one holds a lock: of a file on the file itself, of a directory on a file beside it. A lock that
nobody holds belongs to a process that was killed.
"""

import contextlib
import glob
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

try:
    import fcntl
except ImportError:  # on Windows, where what a killed process has left stays
    fcntl = None  # type: ignore[assignment]

__all__ = ["locked", "remove_all", "remove_leftovers", "scratch_directory", "scratch_file"]

_LOCK = ".scratch"  # ends the names of the files that lock directories

_open: set[Path] = set()


def _remove_stale(parent: Path, prefix: str, suffix: str = "") -> None:
    """Remove the files with a prefix and a suffix that no process has locked, with the directories beside them."""
    for name in glob.glob(f"{glob.escape(prefix)}????????{suffix}", root_dir=parent, include_hidden=True):
        with contextlib.suppress(OSError):  # another process has it, or removes it, too
            descriptor = os.open(parent / name, os.O_RDWR | os.O_NOFOLLOW)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if os.path.samestat(os.fstat(descriptor), os.lstat(parent / name)):
                    _remove(parent / name)
            finally:
                os.close(descriptor)


def _remove(path: Path) -> None:
    """Remove a file, and first the directory beside it if it is the lock file of one."""
    directory = path.with_suffix("") if path.suffix == _LOCK else None
    if directory is not None and directory.is_dir():
        shutil.rmtree(directory, ignore_errors=True)
    if directory is None or not directory.exists():
        path.unlink(missing_ok=True)


@contextmanager
def scratch_file(prefix: str, parent: str | os.PathLike, suffix: str = "") -> Iterator[Path]:
    """Yield the path of a new, empty file, which is removed at the end of the block if it is still there.

    A program that writes it must not put another file into its place. Files with the same prefix and suffix that a
    killed process has left are removed, too.

    Parameters
    ----------
    prefix
        Beginning of the name, by which leftovers are recognised. Eight characters follow it.
    parent
        Directory in which it is made, which must exist.
    suffix
        End of the name.

    Raises
    ------
    OSError
        If the file cannot be made.
    """
    parent = Path(parent).absolute()
    if fcntl is not None:
        _remove_stale(parent, prefix, suffix)
    descriptor, path = _locked_file(prefix, parent, suffix)
    try:
        _open.add(path)
        yield path
    finally:
        _remove(path)
        _open.discard(path)
        os.close(descriptor)


def _locked_file(prefix: str, parent: Path, suffix: str) -> tuple[int, Path]:
    """Make a file and lock it. Return its descriptor and path."""
    while True:
        descriptor, name = tempfile.mkstemp(prefix=prefix, suffix=suffix, dir=parent)
        if fcntl is None:
            return descriptor, Path(name)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)  # waits for a process that takes the new file for a leftover
        except OSError:  # a file system without locks, where nothing is ever taken for a leftover
            return descriptor, Path(name)
        if os.path.exists(name):
            return descriptor, Path(name)
        os.close(descriptor)


@contextmanager
def scratch_directory(prefix: str, parent: str | os.PathLike | None = None) -> Iterator[Path]:
    """Yield a new, empty directory, which is removed with all its content at the end of the block.

    Directories with the same prefix that a killed process has left are removed, too.

    Parameters
    ----------
    prefix
        Beginning of the name, by which leftovers are recognised. Eight characters follow it.
    parent
        Directory in which it is made, which must exist; the system's for temporary files if None.

    Raises
    ------
    OSError
        If the directory cannot be made.
    """
    with scratch_file(prefix, tempfile.gettempdir() if parent is None else parent, _LOCK) as lock:
        directory = lock.with_suffix("")
        directory.mkdir(mode=0o700)
        yield directory


@contextmanager
def locked(path: Path, *, wait: bool = True) -> Iterator[bool]:
    """Hold a lock within a block, and yield whether it was free, which it is after waiting.

    Its file exists only while a process holds it or waits for it, or after a kill until the lock is taken again. On a
    file system without locks, it is always free.

    Parameters
    ----------
    path
        Name of the lock's file, in a directory that exists.
    wait
        Wait for a process that holds the lock.

    Raises
    ------
    OSError
        If the file cannot be made.
    """
    if fcntl is None:
        yield True
        return
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
            if os.path.samestat(os.fstat(descriptor), os.stat(path)):
                break
        except BlockingIOError:
            os.close(descriptor)
            yield False
            return
        except FileNotFoundError:  # the process that held the lock has removed its file
            pass
        except OSError:  # a file system without locks
            break
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)
    try:
        _open.add(path)
        yield True
    finally:
        path.unlink(missing_ok=True)
        _open.discard(path)
        os.close(descriptor)


def remove_leftovers(prefix: str, parent: str | os.PathLike) -> None:
    """Remove the directories of `scratch_directory` that killed processes have left.

    Parameters
    ----------
    prefix
        Beginning of their names.
    parent
        Directory in which they are.
    """
    if fcntl is not None:
        _remove_stale(Path(parent), prefix, _LOCK)


def remove_all() -> None:
    """Remove what all blocks of this process have made. The process is about to end without leaving them."""
    for path in list(_open):
        _remove(path)
