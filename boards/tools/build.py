"""Run a toolchain on a project, one program after the other, with its progress and its words if it fails."""

import errno
import os
import re
import shutil
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

from psahw.errors import CheckFailed, UserError

from .toolchains import Step

__all__ = ["OUTPUT", "run"]

OUTPUT = "build.log"  # what the programs print, one after the other
MIN_FREE = 100 << 20  # bytes; cifar10-psa-small's files for the ULX3S together take 80 MB
_POLL_SECONDS = 0.2
_TAIL = 4096

_ERROR = re.compile(r"^(?:ERROR|%Error|\w*Error|terminate called|[\w.]*Trap)\b.*", re.M)  # the last two: WebAssembly
_NO_ROOM = re.compile(r"No space left on device|ENOSPC|os error 28", re.I)
_NO_FIT = re.compile(
    r"Unable to find (?:a )?placement location|no BELs remaining|Unable to place cell|failed to find a placement"
    r"|\[Place 30-640\]|\[DRC UTLZ-1\]|exceeds? the number of available",
    re.I,
)


def _tail(path: Path, size: int = _TAIL) -> str:
    try:
        with path.open("rb") as file:
            file.seek(max(path.stat().st_size - size, 0))
            return file.read().decode(errors="replace")
    except OSError:
        return ""


def _last_line(path: Path) -> str:
    lines = _tail(path).strip().splitlines()
    return lines[-1].removeprefix("Info:").strip() if lines else ""


def _failure(directory: Path, step: Step, status: int) -> Exception:
    """With one line of the program's own words."""
    text = "\n".join(_tail(directory / name, 1 << 16) for name in (step.log, OUTPUT))
    where = f"see {directory / step.log} and {OUTPUT} beside it"
    if _NO_ROOM.search(text) or shutil.disk_usage(directory).free < 1 << 20:
        return UserError(
            f"{step.name} failed: {os.strerror(errno.ENOSPC)} in {directory}; make room, then run it again"
        )
    found = _ERROR.findall(text)
    words = " ".join(found[0].split())[:300] if found else f"it ended with status {status}"
    if _NO_FIT.search(text):
        return CheckFailed(f"the design does not fit the device: {words}; plan it slower (--fps N); {where}")
    return CheckFailed(f"{step.name} failed: {words}; {where}")


def _execute(directory: Path, step: Step, progress: Callable[[str], None]) -> int:
    with (directory / OUTPUT).open("ab") as output:
        process = subprocess.Popen(
            step.command, cwd=directory, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT
        )
        try:
            while process.poll() is None:
                progress(_last_line(directory / step.log) or _last_line(directory / OUTPUT))
                time.sleep(_POLL_SECONDS)
        finally:  # an interrupt must leave no program behind
            if process.poll() is None:
                process.kill()
                process.wait()
    return process.returncode


def run(directory: Path, step: Step, progress: Callable[[str], None] = lambda line: None) -> float:
    """Run one step; returns its seconds. ``progress`` gets the last line of its log, several times a second.

    Raises UserError if the program cannot be started or the disk is full, CheckFailed with its words if it fails or
    leaves no product.
    """
    free = shutil.disk_usage(directory).free
    if free < MIN_FREE:
        raise UserError(f"{step.name} needs room: {os.strerror(errno.ENOSPC)} in {directory} ({free >> 20} MB free)")
    for name in step.products:
        (directory / name).unlink(missing_ok=True)
    start = time.monotonic()
    try:
        status = _execute(directory, step, progress)
    except OSError as error:
        raise UserError(f"{step.name}: cannot run {step.command[0]} in {directory}: {error.strerror}") from error
    absent = [
        name for name in step.products if not (directory / name).is_file() or not (directory / name).stat().st_size
    ]
    if status or absent:
        raise _failure(directory, step, status)
    return time.monotonic() - start
