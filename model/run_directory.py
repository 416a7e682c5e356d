"""Run directories: which files belong to a run, where its model is, and how its result was made.

A run directory holds `log.jsonl` (one event per line), `checkpoint.safetensors` (everything that resuming needs)
and the result: `model.safetensors` of a float model, or a network file. Nothing here imports torch.
"""

import os
import subprocess
import sys
from pathlib import Path

from safetensors import SafetensorError, safe_open

from psahw import documents, processes
from psahw.errors import UserError
from psahw.files import refuse_foreign

__all__ = ["is_float_model", "model_file", "provenance", "refuse_other_files"]


def model_file(path: str | os.PathLike) -> Path:
    """Return the file of a float model: `path` itself, or the model in it if it is a run directory."""
    path = Path(path)
    return path / "model.safetensors" if path.is_dir() else path


def is_float_model(path: str | os.PathLike) -> bool:
    """Return True for a run directory or a float model's file, and False for anything else.

    The header of the file decides: a float model's has an integer as its format.
    """
    if Path(path).is_dir():
        return True
    if not Path(path).is_file():
        return False  # a network may come from a pipe, which can be read only once
    try:
        with safe_open(path, framework="numpy") as file:
            header = documents.decode((file.metadata() or {}).get("psahw", ""), path)
            return isinstance(header, dict) and type(header.get("format")) is int
    except (OSError, SafetensorError, UserError):
        return False  # it may be no network either; whoever reads it as one says what is wrong with it


def refuse_other_files(directory: str | os.PathLike, *results: str) -> None:
    """Check that a directory is absent, empty, or a run directory.

    Parameters
    ----------
    directory
        The directory that is going to be written.
    results
        Names of further files that identify a run directory.

    Raises
    ------
    UserError
        If the directory holds other files.
    """

    def is_run(path: Path) -> bool:
        names = ("checkpoint.safetensors", "model.safetensors", *results)
        return _is_log(path / "log.jsonl") or any((path / name).is_file() for name in names)

    refuse_foreign(directory, is_run, "run of psahw")


def _is_log(path: Path) -> bool:
    """Return True if a file begins as the log of a run, or is the beginning of one.

    A kill or a full disk may have left a part of the first line, or nothing.
    """
    begin = b'{"event": '
    try:
        with open(path, "rb") as file:
            return begin.startswith(file.read(len(begin)))
    except OSError:
        return False


def provenance() -> dict:
    """Return what made a result besides its settings: the command, and psahw's commit.

    The commit ends in "-dirty" if files differ from it, and is None outside of a git checkout.
    """
    return {"command": sys.argv, "commit": _commit()}


def _commit() -> str | None:
    try:
        command = ["git", "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
        folder = Path(__file__).parent
        return processes.run(command, cwd=folder, check=True, capture_output=True, text=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return None
