"""Copies of the checkout in which one module is mutated while its tests run."""

import os
import resource
import shutil
import signal
import sys
import time
from math import ceil
from pathlib import Path

from .targets import Target

__all__ = ["ROOT", "SURVIVED", "Tree"]

ROOT = Path(__file__).resolve().parents[2]

SURVIVED = 0
"""Exit status of pytest if all tests passed."""

_FOLDERS = ("psahw", "model", "sim", "boards")
_HEAVY = ("amaranth.sim", "hypothesis", "numpy", "pytest", "safetensors.numpy", "scipy.optimize")


def _copy_links(source: Path, target: Path) -> None:
    """Make a directory whose folders are real and whose files are links to those of another directory."""
    target.mkdir()
    for entry in source.iterdir():
        if entry.name == "__pycache__":
            continue
        if entry.is_dir() and not entry.is_symlink():
            _copy_links(entry, target / entry.name)
        else:
            (target / entry.name).symlink_to(entry.resolve())


class Tree:
    """A tree of links to the checkout, in which ``model``, ``sim`` and ``boards`` are inside of ``psahw``.

    Python prefers the current directory to the editable installation, so that tests run in the tree import its files.

    Parameters
    ----------
    path
        Directory of the tree. It is made anew.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        shutil.rmtree(path, ignore_errors=True)
        path.mkdir(parents=True)
        for folder in _FOLDERS:
            _copy_links(ROOT / folder, path / folder)
            if folder != "psahw":
                (path / "psahw" / folder).symlink_to(path / folder)
        (path / "psahw" / "recipes").symlink_to(ROOT / "recipes")
        for name in ("tests", "docs", "results", "examples", "scripts", "calibration", "recipes", "README.md"):
            (path / name).symlink_to(ROOT / name)
        shutil.copy(ROOT / "pyproject.toml", path)

    def run(self, target: Target, source: str | None, limit: float) -> tuple[int | None, float]:
        """Run the tests of a target with another source of its module.

        Parameters
        ----------
        target
            The module and its tests.
        source
            Text of the module, or None for the text in the checkout.
        limit
            Seconds of processor time after which the tests are stopped. Because they may also wait for ever, they are
            stopped after three times as many seconds, too, and half a minute.

        Returns
        -------
        status : int or None
            Exit status of pytest, or None if the tests were stopped.
        seconds : float
            Processor time that the tests took.
        """
        module = self.path / target.module
        module.unlink(missing_ok=True)
        if source is None:
            module.symlink_to(ROOT / target.module)
        else:
            module.write_text(source)
        process = os.fork()
        if process == 0:
            self._test(target, ceil(limit))
        try:
            return _wait(process, time.monotonic() + 3 * limit + 30)
        finally:
            module.unlink()
            module.symlink_to(ROOT / target.module)

    def _test(self, target: Target, limit: int) -> None:
        """Run the tests of a target in this process, which is a fresh fork, and end it with pytest's status.

        The system stops it after ``limit`` seconds of processor time.
        """
        os.setsid()
        resource.setrlimit(resource.RLIMIT_CPU, (limit, limit))
        null = os.open(os.devnull, os.O_RDWR)
        for stream in (0, 1, 2):
            os.dup2(null, stream)
        status = 3
        try:
            os.chdir(self.path)
            sys.path[:] = [str(self.path), *(entry for entry in sys.path if Path(entry or ".").resolve() != ROOT)]
            for name in [name for name in sys.modules if name.split(".")[0] in ("psahw", "tests")]:
                del sys.modules[name]
            import pytest

            options = ["-x", "-q", "-p", "no:cacheprovider", "-m", "not slow", "--timeout", "0"]
            status = pytest.main([*options, "--hypothesis-profile", "fixed", *target.tests])
        finally:
            os._exit(int(status))


def preload() -> None:
    """Import large libraries, so that each fork has them already."""
    for name in _HEAVY:
        __import__(name)


def _wait(process: int, deadline: float) -> tuple[int | None, float]:
    """Return the exit status of a child and its processor time, or None in place of the status if it was stopped.

    At the deadline, its process group is killed.
    """
    ended = 0
    while time.monotonic() < deadline and not ended:
        ended, status, usage = os.wait4(process, os.WNOHANG)
        time.sleep(0 if ended else 0.02)
    if not ended:
        os.killpg(process, signal.SIGKILL)
        _, status, usage = os.wait4(process, 0)
    return None if os.WIFSIGNALED(status) else os.waitstatus_to_exitcode(status), usage.ru_utime + usage.ru_stime
