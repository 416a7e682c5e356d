"""A cache of generated designs, directories with Verilog and a manifest, below ``$PSAHW_CACHE/verilog``."""

import hashlib
import importlib.metadata
import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

import psahw
from psahw.files import cache_directory, long_unused

__all__ = ["cached_design", "source_digest"]

CACHED_DESIGNS = 6
"""Designs that stay in the cache, besides those used within the last day."""

_MANIFEST = "manifest.json"


def source_digest() -> str:
    """Return a SHA-256 over Amaranth's version and psahw's Python and Verilog files, in hexadecimal."""
    package = Path(psahw.__file__).parent
    state = hashlib.sha256(importlib.metadata.version("amaranth").encode())
    for source in sorted([*package.rglob("*.py"), *package.rglob("*.v")]):
        state.update(source.relative_to(package).as_posix().encode() + source.read_bytes())
    return state.hexdigest()


def cached_design(key: str, write: Callable[[Path], object]) -> Path:
    """Return the directory of a design, generated only if it is not in the cache.

    Parameters
    ----------
    key
        Hash, in hexadecimal, over everything that the design depends on.
    write
        Called with an empty directory if the design is not in the cache. It must write ``manifest.json`` there.
    """
    cache = cache_directory() / "verilog"
    target = cache / key[:20]
    if (target / _MANIFEST).is_file():
        os.utime(target)
        return target
    cache.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=cache, prefix="writing-") as folder:
        fresh = Path(folder) / "design"
        fresh.mkdir()
        write(fresh)
        try:
            os.replace(fresh, target)
        except OSError:
            if not (target / _MANIFEST).is_file():  # otherwise another process was faster
                raise
    designs = (path for path in cache.iterdir() if (path / _MANIFEST).is_file())
    for old in long_unused(designs, CACHED_DESIGNS):
        shutil.rmtree(old, ignore_errors=True)
    return target
