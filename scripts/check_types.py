"""Run mypy on the packages as they are installed: ``model``, ``sim`` and ``boards`` inside of ``psahw``.

    python scripts/check_types.py [MYPY OPTION ...]

The folders of the checkout are mapped to packages by ``setup.py``, which mypy does not know about. This script
therefore links them into one tree below ``build/types`` and checks that. pyproject.toml says which modules count.
"""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
TREE = ROOT / "build" / "types"


def link(name: Path, target: Path) -> None:
    """Make ``name`` a symbolic link to ``target``, in place of any link that is there."""
    name.unlink(missing_ok=True)
    name.symlink_to(target)


def main(options: list[str]) -> int:
    """Build the tree of links, run mypy in it, and return mypy's exit status."""
    package = TREE / "psahw"
    package.mkdir(parents=True, exist_ok=True)
    for old in package.iterdir():
        old.unlink()
    for entry in (ROOT / "psahw").iterdir():
        link(package / entry.name, entry)
    for folder in ("model", "sim", "boards"):
        link(package / folder, ROOT / folder)
    command = [sys.executable, "-m", "mypy", "--config-file", str(ROOT / "pyproject.toml"), *options, "-p", "psahw"]
    return subprocess.run(command, cwd=TREE, env=os.environ | {"MYPYPATH": str(TREE)}, check=False).returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
