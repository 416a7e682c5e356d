"""Logs that grow by a line per record, and that a kill or a full disk in the middle of a line does not spoil."""

import json
import os
from pathlib import Path
from typing import IO, Any, TypeVar

import msgspec

from . import documents
from .errors import UserError
from .files import writing

__all__ = ["append", "open_text", "read"]

MAX_BYTES = 256 << 20
"""The largest log that is read."""

_BLOCK = 1 << 16
_BEGIN = b'{"event": '  # of each record


_T = TypeVar("_T")


class _Event(msgspec.Struct):
    """The entry that all records have."""

    event: str


def _unfinished(file: IO[bytes]) -> bytes:
    """Return what follows the last line break of a file."""
    position, blocks = file.seek(0, os.SEEK_END), [b""]
    while position > 0 and b"\n" not in blocks[-1]:
        start = max(0, position - _BLOCK)
        file.seek(start)
        blocks.append(file.read(position - start))
        position = start
    return b"".join(reversed(blocks)).rpartition(b"\n")[2]


def _record(text: str | bytes, name: object) -> dict[str, Any]:
    """Return the record of a line. Raises UserError if it holds none."""
    record = documents.decode(text, name)
    documents.convert(record, _Event, name)
    return record


def _holds_record(text: str | bytes) -> bool:
    """Return whether a line holds a record."""
    try:
        _record(text, "")
    except UserError:
        return False
    return True


def append(path: Path, event: str, **values: Any) -> None:
    """Append a record to a log, which is created if it does not exist.

    What a kill has left of the record before is removed. If the disk is full, the log stays as it was.

    Parameters
    ----------
    path
        The log.
    event
        Name of the event.
    values
        Further entries of the record, as JSON.

    Raises
    ------
    UserError
        If the log cannot be written.
    ValueError
        If a value is not finite.
    """
    line = f"{json.dumps({'event': event, **values}, allow_nan=False)}\n".encode()
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(path, "a+b", buffering=0) as file:
            unfinished = _unfinished(file)
            size = file.seek(0, os.SEEK_END)
            if unfinished and _holds_record(unfinished):  # only its line break is missing
                line = b"\n" + line
            elif unfinished:
                size = file.truncate(size - len(unfinished))
            try:
                while line:
                    line = line[file.write(line) :]
            except OSError:
                file.truncate(size)
                raise


def open_text(path: Path) -> IO[str]:
    """Open a log of plain text, such as a command's output, to append whole lines to it.

    If a kill has left a part of a line, a new line begins. Raises UserError if the log cannot be written.
    """
    with writing(path):
        with open(path, "a+b", buffering=0) as file:
            if _unfinished(file):
                file.write(b"\n")
        return open(path, "a")


def read(path: Path, kind: type[_T], *, hint: str = "") -> list[_T]:
    """Return the records of a log, in order.

    Left out is what a kill has left of a record: the last line, or, in the logs of earlier versions, the beginning of
    a line to which a resumed run has appended its first record.

    Parameters
    ----------
    path
        The log.
    kind
        The type of a record; see `documents.convert`.
    hint
        What to do about a file that is no such log.

    Raises
    ------
    UserError
        If the log cannot be read, or if a line is anything else than a record.
    """
    *lines, last = documents.read_bytes(path, MAX_BYTES, hint).split(b"\n")
    records = []
    try:
        for number, line in enumerate(lines, 1):
            begin = line.rfind(_BEGIN)
            if begin > 0 and not _holds_record(line):
                line = line[begin:]
            if line:
                name = f"{path}, line {number}"
                records.append(documents.convert(_record(line, name), kind, name))
    except UserError as error:
        raise UserError(f"{error}; {hint}" if hint else str(error)) from None
    if _holds_record(last):
        records.append(documents.convert(_record(last, path), kind, path))
    return records
