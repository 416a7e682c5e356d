"""Everything that git tracks below the packages' folders is part of a wheel."""

import subprocess
import tomllib
from fnmatch import fnmatch
from pathlib import Path

ROOT = Path(__file__).parents[1]
FOLDERS = {
    "psahw": "psahw",
    "model": "psahw.model",
    "sim": "psahw.sim",
    "boards": "psahw.boards",
    "recipes": "psahw.recipes",
}


def _tracked(folder):
    """Return the files that git tracks in a folder of the checkout."""
    listing = subprocess.run(["git", "ls-files", folder], cwd=ROOT, capture_output=True, text=True, check=True)
    return [Path(line) for line in listing.stdout.splitlines()]


def test_every_folder_with_modules_is_a_package():
    """setuptools leaves out a folder without ``__init__.py``."""
    folders = {path.parent for name in FOLDERS for path in _tracked(name) if path.suffix == ".py"}
    folders -= {Path("boards/packages/files")}  # data: programs that run elsewhere
    assert [str(folder) for folder in sorted(folders) if not (ROOT / folder / "__init__.py").is_file()] == []


def test_every_data_file_is_packaged():
    patterns = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["package-data"]
    left_out = []
    for folder, package in FOLDERS.items():
        for path in _tracked(folder):
            name = path.relative_to(folder).as_posix()
            is_data = path.suffix != ".py" or "packages/files" in name
            if is_data and not any(fnmatch(name, pattern) for pattern in patterns[package]):
                left_out.append(str(path))
    assert left_out == []
