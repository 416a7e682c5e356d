"""Run psahw in a directory of its own, end it at some moment, and see what it leaves."""

import contextlib
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

__all__ = ["Command", "Ended"]


@dataclass(frozen=True)
class Ended:
    """A command that has ended.

    Parameters
    ----------
    status
        Exit status; None if the command did not end within two seconds of a signal.
    out, err
        Standard output and standard error.
    left
        Command lines of the processes that the command has left, by number. They have been killed.
    seconds
        Time from the start to the end.
    """

    status: int | None
    out: str
    err: str
    left: dict[int, str]
    seconds: float


def _hear_hangups() -> None:
    """Restore the action of SIGHUP."""
    signal.signal(signal.SIGHUP, signal.SIG_DFL)


class Command:
    """A command of psahw in a process of its own, with its temporary files and its cache below a directory.

    Parameters
    ----------
    folder
        Directory in which the command runs. Temporary files are in ``tmp`` and the cache is in ``cache`` there.
    arguments
        The command line, without ``psahw``.
    prefix
        Program and arguments in front of the interpreter, such as ``prlimit``.
    environment
        More environment variables.
    """

    def __init__(
        self, folder: Path, *arguments: object, prefix: Sequence[str] = (), environment: dict[str, str] | None = None
    ) -> None:
        self.temporary, self.cache = folder / "tmp", folder / "cache"
        self.temporary.mkdir(exist_ok=True)
        self._mark = f"{folder}/{os.getpid()}/{time.monotonic_ns()}"
        own = {"TMPDIR": str(self.temporary), "PSAHW_CACHE": str(self.cache), "PSAHW_TEST": self._mark}
        own["TORCHINDUCTOR_CACHE_DIR"] = str(folder / "torch")  # a cache of torch's own, else below TMPDIR
        # Not pipes: an orphan would keep them open.
        self._out, self._err = tempfile.TemporaryFile(), tempfile.TemporaryFile()  # noqa: SIM115
        self._start = time.monotonic()
        self.process = subprocess.Popen(
            [*prefix, sys.executable, "-m", "psahw", *map(str, arguments)],
            env={**os.environ, **own, **(environment or {})},
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=self._out,
            stderr=self._err,
            # Under nohup, SIGHUP is ignored, and psahw respects that.
            preexec_fn=_hear_hangups if signal.getsignal(signal.SIGHUP) == signal.SIG_IGN else None,
        )

    def others(self) -> dict[int, str]:
        """Return the command lines of the processes that the command has started and that are running."""
        lines = {}
        for entry in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                zombie = (entry / "stat").read_text().rpartition(") ")[2][0] == "Z"
                ours = f"PSAHW_TEST={self._mark}".encode() in (entry / "environ").read_bytes().split(b"\0")
                if ours and not zombie and int(entry.name) != self.process.pid:
                    lines[int(entry.name)] = (entry / "cmdline").read_text().replace("\0", " ")
        return lines

    def wait_for(self, *texts: str, seconds: float = 240) -> None:
        """Wait until, for each of the texts, a process that has it in its command line is running."""
        end = time.monotonic() + seconds
        while time.monotonic() < end and self.process.poll() is None:
            lines = self.others().values()
            if all(any(text in line for line in lines) for text in texts):
                return
            time.sleep(0.05)
        raise AssertionError(f"not running: {texts}, {self.process.poll()}, {self.finish(1)}")

    def finish(self, seconds: float | None = None) -> Ended:
        """Wait for the end of the command, for at most so many seconds, and return what came of it."""
        try:
            status: int | None = self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            status = None
        return self._ended(status)

    def end(self, number: int, after: float = 0) -> Ended:
        """Send a signal to the command alone after so many seconds, unless it has ended, and return what came of it.

        The command gets two seconds to end.
        """
        with contextlib.suppress(subprocess.TimeoutExpired):
            return self._ended(self.process.wait(after))
        self.process.send_signal(number)
        return self.finish(2)

    def _ended(self, status: int | None) -> Ended:
        """Return how the command has ended. What it has started gets two seconds to end, and is then killed."""
        end = time.monotonic() + 2
        seconds = time.monotonic() - self._start
        while self.others() and time.monotonic() < end:
            time.sleep(0.02)
        left = self._kill_others()
        self.process.kill()
        self.process.wait()
        texts = []
        for file in (self._out, self._err):
            file.seek(0)
            texts.append(file.read().decode(errors="replace"))
            file.close()
        return Ended(status, *texts, left, seconds)

    def _kill_others(self) -> dict[int, str]:
        """Kill what the command has left, and return it."""
        left = self.others()
        for number in left:
            with contextlib.suppress(ProcessLookupError):
                os.kill(number, signal.SIGKILL)
        return left
