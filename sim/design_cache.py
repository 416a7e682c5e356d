"""A cache of generated designs, directories with Verilog and a manifest, in ``$PSAHW_CACHE/verilog``."""

import hashlib
import importlib.metadata
from collections.abc import Callable
from pathlib import Path

import psahw
from psahw import cache

__all__ = ["cached_design", "source_digest"]

CACHED_DESIGNS = 6
"""Designs that stay in the cache, besides those used within the last day."""


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
        Called with an empty directory if the design is not in the cache.

    Raises
    ------
    UserError
        If the cache cannot be written.
    """
    return cache.directory("verilog", key[:20], write, keep=CACHED_DESIGNS)
