"""Check that no docstring begins with a word that leaves its sentence without a subject.

    python scripts/check_docstrings.py [FILE ...]

Without arguments, all Python files that git tracks are checked. The exit status is 1 if a docstring fails.
"""

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

DANGLING = re.compile(r"(Of|That|Those|What|So|By|At|Whether|None|Who|Which|Whose)\b")


def tracked_files() -> list[Path]:
    """Return the Python files that git tracks below the current directory."""
    listing = subprocess.run(["git", "ls-files", "*.py"], capture_output=True, text=True, check=True).stdout
    return [Path(line) for line in listing.splitlines()]


def complaints(path: Path) -> Iterator[str]:
    """Yield one line for each docstring of a file that begins with a dangling word."""
    kinds = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    for node in ast.walk(ast.parse(path.read_text(), str(path))):
        if not isinstance(node, kinds):
            continue
        docstring = ast.get_docstring(node)
        if docstring and (match := DANGLING.match(docstring)):
            line = node.body[0].lineno
            yield f"{path}:{line}: a docstring begins with {match[0]!r}; say what it does or returns"


def main(arguments: list[str]) -> int:
    """Print the complaints about the named files, or about all tracked ones, and return the exit status."""
    paths = [Path(name) for name in arguments] or tracked_files()
    lines = [line for path in paths for line in complaints(path)]
    print("\n".join(lines), end="\n" if lines else "")
    return 1 if lines else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
