"""Paths that GNU Make and the shell take literally: links to directories whose own names have special characters.

GNU Make separates names by spaces and has no way to write one inside of a name. Verilator's makefiles contain the
paths of Verilator, of the sources and of the directory that they build in, so none of these may have a space or a
character that make or the shell interprets.
"""

import os
import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from psahw.errors import UserError
from psahw.scratch import scratch_directory

__all__ = ["Links", "is_plain", "plain_directory"]

_PLAIN = re.compile(r"[\w./+,@-]+", re.ASCII)


def is_plain(path: Path) -> bool:
    """Return whether a path has only characters that mean themselves to make and to a shell."""
    return _PLAIN.fullmatch(str(path)) is not None


class Links:
    """Plain names of files anywhere: their own, or names that lead through links in one directory.

    Parameters
    ----------
    directory
        Directory for the links, which is created with the first one. Its path must be plain.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._links: dict[Path, Path] = {}

    def plain(self, path: str | os.PathLike) -> Path:
        """Return an absolute name of a file or a directory that is plain, which need not be its only name."""
        path = Path(path).absolute()
        if is_plain(path):
            return path
        # The directory of a file is linked, not the file, so that a compiler finds what is beside it.
        folder, name = (path.parent, path.name) if is_plain(Path(path.name)) else (path, "")
        if folder not in self._links:
            link = self._directory / str(len(self._links))
            self._directory.mkdir(exist_ok=True)
            link.symlink_to(folder, target_is_directory=True)
            self._links[folder] = link
        return self._links[folder] / name


@contextmanager
def plain_directory(preferred: Path) -> Iterator[Path]:
    """Yield a new directory with a plain path, which is deleted when the block ends.

    It lies in ``preferred`` if the path of that is plain, otherwise in the system's directory for temporary files.

    Raises
    ------
    UserError
        If the paths of all these directories have special characters, or cannot be written.
    """
    candidates = [preferred]
    if not is_plain(preferred.resolve()):
        candidates = [Path(tempfile.gettempdir()), Path("/tmp"), Path("/var/tmp")]
    # make asks the system for the path of the directory, which has no links.
    places = [place.resolve() for place in candidates]
    place = next((place for place in places if is_plain(place) and os.access(place, os.W_OK | os.X_OK)), None)
    if place is None:
        raise UserError(
            f"make cannot work in {places[0]} because of the special characters in its path, and /tmp and /var/tmp "
            "cannot be written: set TMPDIR or PSAHW_CACHE to a directory with a plain name"
        )
    with scratch_directory("psahw-build-", place) as directory:
        yield directory
