"""Where downloads and compiled kernels are kept between runs."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

try:
    import fcntl
except ImportError:  # not on Windows: there processes must not fetch at the same time
    fcntl = None

__all__ = ["cache_directory", "locked_cache"]


def cache_directory() -> Path:
    """`$PSAHW_CACHE`, else `~/.cache/psahw`; not necessarily existing yet."""
    return Path(os.environ.get("PSAHW_CACHE") or Path.home() / ".cache" / "psahw")


@contextmanager
def locked_cache() -> Iterator[None]:
    """The directory, made if need be, for this process alone; another one waits. The lock is on the directory
    itself and ends with the process, so nothing is left behind."""
    cache_directory().mkdir(parents=True, exist_ok=True)
    if fcntl is None:
        yield
        return
    handle = os.open(cache_directory(), os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)
