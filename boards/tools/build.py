"""Run the steps of a toolchain, show their progress, and explain failures in one line."""

import errno
import os
import re
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from subprocess import STDOUT

from psahw.errors import CheckFailed, UserError
from psahw.files import has_room
from psahw.processes import Child

from .toolchains import Step

__all__ = ["OUTPUT", "run"]

OUTPUT = "build.log"  # standard output and standard error of all steps
MIN_FREE = 100 << 20  # bytes; the files of cifar10-psa-small for the ULX3S take 80 MB
_POLL_SECONDS = 0.2
_TAIL = 4096  # bytes of a log that are searched for its last line

_ERROR = re.compile(r"^(?:ERROR|%Error|\w*Error|terminate called|[\w.]*Trap)\b.*", re.M)  # Trap: WebAssembly
_NO_ROOM = re.compile(r"No space left on device|ENOSPC|os error 28|Disk quota exceeded", re.I)
_NO_FIT = re.compile(
    r"Unable to find (?:a )?placement location|no BELs remaining|Unable to place cell|failed to find a placement"
    r"|\[Place 30-640\]|\[DRC UTLZ-1\]|exceeds? the number of available",
    re.I,
)


def _tail(path: Path, size: int = _TAIL) -> str:
    """Return the last ``size`` bytes of a file as text, or nothing if it cannot be read."""
    try:
        with path.open("rb") as file:
            file.seek(max(path.stat().st_size - size, 0))
            return file.read().decode(errors="replace")
    except OSError:
        return ""


def _last_line(path: Path) -> str:
    """Return the last line of a log without nextpnr's prefix."""
    lines = _tail(path).strip().splitlines()
    return lines[-1].removeprefix("Info:").strip() if lines else ""


def _failure(directory: Path, step: Step, status: int) -> Exception:
    """Return an error that quotes the first error message of the failed program."""
    text = "\n".join(_tail(directory / name, 1 << 16) for name in (step.log, OUTPUT))
    logs = f"see {directory / step.log} and {OUTPUT} beside it"
    if _NO_ROOM.search(text) or not has_room(directory):
        return UserError(
            f"{step.name} failed: {os.strerror(errno.ENOSPC)} in {directory}; make room, then run it again"
        )
    error = _ERROR.search(text)
    reason = " ".join(error[0].split())[:300] if error else f"it ended with status {status}"
    if _NO_FIT.search(text):
        return CheckFailed(
            f"the design does not fit the device: {reason}; plan it for a lower rate (--fps N); {logs}"
        )
    return CheckFailed(f"{step.name} failed: {reason}; {logs}")


def _execute(directory: Path, step: Step, progress: Callable[[str], None]) -> int:
    """Run the program of a step, report its progress, and return its exit status."""
    environment = os.environ | {"TMPDIR": str(directory.absolute())}  # so that a kill leaves nothing elsewhere
    with (
        (directory / OUTPUT).open("ab") as output,
        Child(step.command, cwd=directory, env=environment, stdout=output, stderr=STDOUT) as process,
    ):
        while process.poll() is None:
            progress(_last_line(directory / step.log) or _last_line(directory / OUTPUT))
            time.sleep(_POLL_SECONDS)
        return process.returncode


def run(directory: Path, step: Step, progress: Callable[[str], None] = lambda line: None) -> float:
    """Run one step of a toolchain, and return how long it took, in seconds.

    Parameters
    ----------
    directory
        Directory of the project, as `psahw.boards.tools.project.write` writes it.
    step
        The step to run. Its products of an earlier run are deleted first.
    progress
        Called with the last line of the step's log, several times per second.

    Raises
    ------
    UserError
        If the program cannot be started, or the disk is full.
    CheckFailed
        If the program fails or does not write its products. The message quotes the program's own error.
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
    if status or absent or not has_room(directory):  # some programs do not notice a full disk
        raise _failure(directory, step, status)
    return time.monotonic() - start
