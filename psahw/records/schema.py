"""The form of a record, and reading and writing files of records."""

import re
from datetime import date
from pathlib import Path
from typing import Literal

import msgspec

from ..errors import UserError
from ..files import write_whole

__all__ = ["KINDS", "PUBLISHED", "How", "Record", "RecordError", "Value", "load", "load_all", "save", "store"]

KINDS = (
    "accuracy", "plan", "simulation", "synthesis", "component", "routing", "training", "board", "time",
    "verification", "published",
)  # fmt: skip
"""Kinds of records. Each has one file, ``KIND.json``."""

PUBLISHED = Path(__file__).with_name("published.json")
"""Figures that others have published. The report needs them wherever psahw is installed."""

_NAME = re.compile(r"[a-z0-9][a-z0-9./_-]*")
_COMMIT = re.compile(r"[0-9a-f]{7,40}")
_DIGEST = re.compile(r"[0-9a-f]{64}")


class RecordError(UserError):
    """A file of records does not follow the schema. The message names the file and the field."""


How = Literal["measured", "calculated", "estimated", "target", "published"]
"""How a figure is known; see `Value`."""


class Value(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """One figure.

    ``how`` says how the figure is known. A *measured* one comes from running a model, a simulation, a synthesis or a
    router; a *calculated* one follows exactly from the plan, and simulations confirm it; an *estimated* one comes
    from the cost model, or is a rate at a clock that the estimate after synthesis supports; a *target* has not been
    met by anything yet; a *published* one is quoted from its source.
    """

    what: str
    value: float | int | str
    unit: str
    how: How


class Record(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True, kw_only=True):
    """Figures that one command produced.

    ``name`` is unique within a kind. ``subject`` is a network or a system, ``digest`` the network's digest where the
    subject is a network file. ``configuration`` says under which conditions the figures hold, in words. ``command``
    and ``commit`` reproduce them; ``date`` is the day of the measurement, or of the commit where only that is known.
    A published record has a ``source`` in place of command, commit and machine.
    """

    name: str
    subject: str
    values: tuple[Value, ...]
    date: str
    configuration: str = ""
    device: str = ""
    digest: str = ""
    command: str = ""
    commit: str = ""
    machine: str = ""
    source: str = ""
    note: str = ""

    def __post_init__(self) -> None:
        for field, pattern in (("name", _NAME), ("commit", _COMMIT), ("digest", _DIGEST)):
            value = getattr(self, field)
            if (value or field == "name") and not pattern.fullmatch(value):
                raise ValueError(f"{field} must match {pattern.pattern}, not {value[:80]!r}")
        date.fromisoformat(self.date)
        if not self.values:
            raise ValueError("values must not be empty")
        if len({value.what for value in self.values}) != len(self.values):
            raise ValueError("values must not name the same figure twice")
        quoted = any(value.how == "published" for value in self.values)
        if not (self.source if quoted else self.command and self.commit and self.machine):
            raise ValueError("a record needs command, commit and machine, or a source if its values are published")

    def __getitem__(self, what: str) -> float | int | str:
        """Return the value of a figure. Raises KeyError if the record does not have it."""
        for value in self.values:
            if value.what == what:
                return value.value
        raise KeyError(what)

    def get(self, what: str, default: float | int | str | None = None) -> float | int | str | None:
        """Return the value of a figure, or ``default`` if the record does not have it."""
        return next((value.value for value in self.values if value.what == what), default)


def load(path: str | Path) -> dict[str, Record]:
    """Return the records of a file by their names.

    Raises
    ------
    RecordError
        If the file cannot be read, does not follow the schema, or uses a name twice.
    """
    try:
        records = msgspec.json.decode(Path(path).read_bytes(), type=list[Record])
    except OSError as error:
        raise RecordError(f"cannot read {path}: {error.strerror}") from error
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise RecordError(f"{path}: {error}") from error
    by_name = {record.name: record for record in records}
    if len(by_name) != len(records):
        names = [record.name for record in records]
        twice = next(name for name in names if names.count(name) > 1)
        raise RecordError(f"{path}: the name {twice!r} is used twice")
    return by_name


def load_all(directory: str | Path) -> dict[str, dict[str, Record]]:
    """Return the records of every kind in a directory: kind, then name, then record.

    Published figures come from `PUBLISHED`. A kind without a file has no records. Raises RecordError as `load` does.
    """
    files = {kind: Path(directory) / f"{kind}.json" for kind in KINDS} | {"published": PUBLISHED}
    return {kind: load(path) if path.exists() else {} for kind, path in files.items()}


def save(path: str | Path, records: dict[str, Record]) -> None:
    """Write records to a file, sorted by name, one field per line so that changes are easy to review."""
    ordered = [records[name] for name in sorted(records)]
    text = msgspec.json.format(msgspec.json.encode(ordered), indent=1)
    write_whole(Path(path), text + b"\n")


def store(directory: str | Path, kind: str, record: Record) -> Path:
    """Add a record to the file of its kind, in place of an earlier record of that name, and return the file's path.

    Raises `RecordError` or UserError if the file cannot be read or written.
    """
    path = Path(directory) / f"{kind}.json"
    save(path, (load(path) if path.exists() else {}) | {record.name: record})
    return path
