"""Where downloads and compiled kernels are kept between runs."""

import os
from pathlib import Path

__all__ = ["cache_directory"]


def cache_directory() -> Path:
    """`$PSAHW_CACHE`, else `~/.cache/psahw`; not necessarily existing yet."""
    return Path(os.environ.get("PSAHW_CACHE") or Path.home() / ".cache" / "psahw")
