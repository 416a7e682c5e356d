"""The cache directory, for one process at a time."""

import os
from collections.abc import Iterator
from contextlib import contextmanager

from psahw.errors import UserError
from psahw.files import cache_directory

try:
    import fcntl
except ImportError:  # on Windows, where processes must not fetch at the same time
    fcntl = None  # type: ignore[assignment]

__all__ = ["locked_cache"]


@contextmanager
def locked_cache() -> Iterator[None]:
    """Within the block, the cache directory exists and other processes wait for it.

    The lock is on the directory itself and ends with the process, so no lock file is left behind. Raises UserError if
    the directory cannot be created.
    """
    try:
        cache_directory().mkdir(parents=True, exist_ok=True)
    except OSError as error:
        place = cache_directory()
        raise UserError(f"cannot create {place}: {error.strerror}; PSAHW_CACHE says where the cache is") from error
    if fcntl is None:
        yield
        return
    handle = os.open(cache_directory(), os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)
