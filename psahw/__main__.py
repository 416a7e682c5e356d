"""The command line, as ``psahw`` and as ``python -m psahw``."""

import io
import os
import sys
from typing import Any

from . import signals

__all__ = ["program"]


class _Output(io.FileIO):
    """Standard output, whose errors name it as others name a file."""

    def write(self, data: Any) -> int:
        """Write bytes, and return their number."""
        try:
            return super().write(data)
        except OSError as error:
            error.filename = "standard output"
            raise


def _name_output() -> None:
    """Let errors of standard output name it, so that the command line can tell them from others."""
    if isinstance(sys.stdout, io.TextIOWrapper) and os.name == "posix":
        sys.stdout.flush()
        sys.stdout = io.TextIOWrapper(
            io.BufferedWriter(_Output(sys.stdout.fileno(), "w", closefd=False)),
            encoding=sys.stdout.encoding,
            errors=sys.stdout.errors,
            line_buffering=sys.stdout.line_buffering,
            write_through=sys.stdout.write_through,
        )


def _open_standard_streams() -> None:
    """Open standard input and standard error if they are closed: the next file that is opened would take their place.

    The same goes for standard output, but only an error message can be right without it.
    """
    for descriptor, stream in ((0, sys.stdin), (1, sys.stdout), (2, sys.stderr)):
        if stream is None:
            null = os.open(os.devnull, os.O_RDWR)
            if null != descriptor:
                os.dup2(null, descriptor)
                os.close(null)
    if sys.stderr is None:
        sys.stderr = os.fdopen(2, "w", closefd=False)


def program() -> None:
    """Run the command line of this process, and end the process with its status."""
    _open_standard_streams()
    _name_output()
    try:
        signals.handle()
        from .cli import main

        status = main()
    except (KeyboardInterrupt, signals.Ended) as error:  # while modules are loaded, or while a message is printed
        print(f"psahw: {signals.describe(error)}", file=sys.stderr)
        status = signals.status(error)
    signals.leave(status)


if __name__ == "__main__":
    program()
