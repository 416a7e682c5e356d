"""The end of a command by a signal: its children and its temporary directories go with it.

SIGINT (Ctrl-C), SIGTERM (a scheduler) and SIGHUP (a closed terminal) become exceptions in the main thread, so that
every block removes what it has half made. The children are ended before, because a block may wait for one. An
exception that Python drops is raised again. If the main thread does not end soon, because a library does not return,
or if a second signal comes, the process ends without it.
"""

import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from . import processes, scratch

__all__ = ["Ended", "decisive", "describe", "handle", "leave", "status"]

_NUMBERS = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if os.name == "posix"]
_STUCK_SECONDS = 1.0  # until the main thread must have reacted
_LOST_SECONDS = 0.05  # until a signal is sent again
_SLOW_SECONDS = 10.0  # until it must have ended


class Ended(BaseException):
    """SIGTERM or SIGHUP, whose name is the argument, has asked this process to end."""


def describe(end: Ended | KeyboardInterrupt) -> str:
    """Return what has ended a command, in words."""
    return f"ended by {end}" if isinstance(end, Ended) else "interrupted"


def status(end: Ended | KeyboardInterrupt) -> int:
    """Return the exit status after a signal: 128 and its number."""
    return 128 + (signal.Signals[str(end)] if isinstance(end, Ended) else signal.SIGINT)


def _exception(number: int) -> Ended | KeyboardInterrupt:
    """Return the exception that a signal becomes."""
    return KeyboardInterrupt() if number == signal.SIGINT else Ended(signal.Signals(number).name)


class _Reaction:
    """The reaction of this process to its first signal."""

    def __init__(self) -> None:
        self.number: int | None = None

    def handle(self, number: int, frame: FrameType | None) -> None:
        """End all children, and raise an exception in the main thread; at a second signal, end this process."""
        if self.number is not None:
            _abandon(number)
        self.number = number
        processes.end_all()
        raise _exception(number)

    def lost(self, unraisable: "sys.UnraisableHookArgs") -> None:
        """Send the signal again if its exception came where Python drops exceptions, as in a ``__del__``.

        It comes from another thread and a little later, when the main thread has left that place.
        """
        if self.number is None or not isinstance(unraisable.exc_value, Ended | KeyboardInterrupt):
            sys.__unraisablehook__(unraisable)
            return
        number, self.number = self.number, None
        threading.Timer(_LOST_SECONDS, os.kill, (os.getpid(), number)).start()

    def supervise(self, pipe: int) -> None:
        """Wait for a signal, and end this process if the main thread does not."""
        while (number := os.read(pipe, 1)[0]) not in _NUMBERS:
            pass
        time.sleep(_STUCK_SECONDS)
        if self.number is not None:
            time.sleep(_SLOW_SECONDS)
        _abandon(number)


_reaction = _Reaction()


def _abandon(number: int) -> None:
    """End this process without its main thread."""
    processes.end_all()
    scratch.remove_all()
    os._exit(128 + number)


def handle() -> None:
    """Turn signals into exceptions until this process ends, except those that it was started to ignore.

    On Windows, Python turns Ctrl-C into an exception by itself, and there are no other signals.
    """
    if not _NUMBERS:
        return
    read, write = os.pipe()
    os.set_blocking(write, False)
    for number in _NUMBERS:
        if signal.getsignal(number) != signal.SIG_IGN:  # nohup, or a shell's background job
            signal.signal(number, _reaction.handle)
    signal.set_wakeup_fd(write, warn_on_full_buffer=False)
    sys.unraisablehook = _reaction.lost
    os.register_at_fork(after_in_child=lambda: signal.set_wakeup_fd(-1))
    threading.Thread(target=_reaction.supervise, args=(read,), daemon=True).start()


@contextmanager
def decisive() -> Iterator[None]:
    """Raise the exception of a signal instead of any other one that follows it.

    A library can make another exception of it: the import of an extension module fails with an ImportError, for
    example, as if the module were not installed.
    """
    try:
        yield
    except Exception as error:
        if _reaction.number is None:
            raise
        raise _exception(_reaction.number) from error


def leave(status: int) -> None:
    """End this process with an exit status, without waiting for threads if a signal has ended the command."""
    if _reaction.number is None:
        sys.exit(status)
    os._exit(status)
