"""Adder graphs of the networks that ship with psahw, and what follows from them, which take minutes to compute.

``networks/NAME.graphs.zip`` has them for the layers of the network NAME. The name of a member says, by a digest, what
it is an answer to: the matrix, the release of da4ml and its options, and the version of the format. A member that is
not asked for does no harm, and one that is missing is computed. ``scripts/ship_graphs.py`` writes these files.
"""

import functools
import zipfile
from pathlib import Path

__all__ = ["DIRECTORY", "SUFFIX", "read"]

DIRECTORY = Path(__file__).parents[1] / "networks"
SUFFIX = ".graphs.zip"


@functools.cache
def _archives(directory: Path) -> dict[str, Path]:
    """Return the archive of each member, by the member's name."""
    archives: dict[str, Path] = {}
    for path in sorted(directory.glob(f"*{SUFFIX}")):
        with zipfile.ZipFile(path) as archive:
            archives |= dict.fromkeys(archive.namelist(), path)
    return archives


def read(name: str) -> bytes | None:
    """Return the content of a member, or None if no network has it."""
    path = _archives(DIRECTORY).get(name)
    if path is None:
        return None
    with zipfile.ZipFile(path) as archive:
        return archive.read(name)
