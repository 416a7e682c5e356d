"""``python -m boards.lint DIR``: lint what ``psahw elaborate`` wrote."""

import json
import sys
from pathlib import Path

from .. import get
from . import lint

directory = Path(sys.argv[1])
board = get(json.loads((directory / "project.json").read_text())["board"])
messages = lint(directory, board.device.family)
print("\n".join(messages) or f"{directory}: clean")
sys.exit(bool(messages))
