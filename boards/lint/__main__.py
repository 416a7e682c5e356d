"""Lint a directory that ``psahw elaborate`` has written: ``python -m psahw.boards.lint DIR``."""

import sys
from pathlib import Path

import msgspec

from psahw import documents
from psahw.errors import UserError

from .. import get
from . import lint

_ADVICE = "DIR must be a directory that psahw elaborate has written"


class _Project(msgspec.Struct):
    """The entry of ``project.json`` that matters here."""

    board: str


def _family(directory: Path) -> str:
    """Return the device family of a project, or raise UserError if the directory does not contain one."""
    return get(documents.read(directory / "project.json", _Project, hint=_ADVICE).board).device.family


def main(arguments: list[str]) -> int:
    """Print the messages and return the exit status: 0 if there are none, 1 if there are some, 2 for wrong use."""
    try:
        if len(arguments) != 1:
            raise UserError("usage: python -m psahw.boards.lint DIR")
        directory = Path(arguments[0])
        messages = lint(directory, _family(directory))
    except UserError as error:
        print(f"boards.lint: {error}", file=sys.stderr)
        return 2
    print("\n".join(messages) or f"{directory}: clean")
    return bool(messages)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
