"""``python -m psahw.boards.lint DIR``: lint what ``psahw elaborate`` wrote."""

import json
import sys
from pathlib import Path

from psahw.errors import UserError

from .. import get
from . import lint


def _family(directory: Path) -> str:
    path = directory / "project.json"
    try:
        name = json.loads(path.read_text())["board"]
    except OSError as error:
        raise UserError(f"{path}: {error.strerror}: DIR must be what psahw elaborate wrote") from None
    except (ValueError, KeyError, TypeError):
        raise UserError(f"{path} does not name a board: DIR must be what psahw elaborate wrote") from None
    return get(name).device.family


def main(arguments: list[str]) -> int:
    """0 clean, 1 messages, 2 wrong use."""
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
