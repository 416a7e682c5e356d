"""End the processes that another process has started, also after that process was killed.

A process is recognised by a token in its environment, which every process inherits from the one that starts it. The
token is looked up in /proc, so that this works on Linux only.

As a program, ``python watchdog.py TOKEN`` waits for the end of standard input. That is a pipe whose other end only
the watched process has. If it closes without a byte before, which means that the watched process was killed, the
processes with the token are ended. It imports nothing of psahw, so that it starts within milliseconds.
"""

import contextlib
import os
import signal
import sys
import time

__all__ = ["PATIENCE_SECONDS", "VARIABLE", "end_family", "family"]

VARIABLE = "PSAHW_FAMILY"
"""Environment variable with the tokens of a process' ancestors, separated by spaces."""

PATIENCE_SECONDS = 0.7
"""Time in which a process may end by itself after SIGTERM, before it is killed."""

_KILL_SECONDS = 1.0  # until the kernel has ended a killed process
_POLL_SECONDS = 0.02
_ROUNDS = 3  # without a process, after which none will appear: one that was being started needs a moment to show


def family(token: str) -> set[int]:
    """Return the numbers of the running processes, besides this one, with a token in their environment."""
    members = set()
    for name in os.listdir("/proc") if os.path.isdir("/proc") else ():
        if not name.isdigit() or int(name) == os.getpid():
            continue
        with contextlib.suppress(OSError), open(f"/proc/{name}/environ", "rb") as file:
            entries = (entry for entry in file.read().split(b"\0") if entry.startswith(f"{VARIABLE}=".encode()))
            if any(token.encode() in entry for entry in entries):
                members.add(int(name))
    return members


def end_family(token: str, patience: float = PATIENCE_SECONDS) -> None:
    """End all processes with a token: with SIGTERM, and after ``patience`` seconds with SIGKILL."""
    start = time.monotonic()
    asked: set[int] = set()
    empty = 0
    while empty < _ROUNDS and (seconds := time.monotonic() - start) < patience + _KILL_SECONDS:
        members = family(token)
        empty = 0 if members else empty + 1
        for member in members if seconds > patience else members - asked:
            with contextlib.suppress(OSError):  # it has ended
                os.kill(member, signal.SIGKILL if seconds > patience else signal.SIGTERM)
        asked |= members
        time.sleep(_POLL_SECONDS)


if __name__ == "__main__":
    if not os.read(0, 1):
        end_family(sys.argv[1])
