"""Test the names that ``import psahw`` offers."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import psahw


def test_every_name_is_a_function():
    for package in ("torch", "amaranth"):
        pytest.importorskip(package)
    assert all(callable(getattr(psahw, name)) for name in psahw._MODULES)
    assert set(psahw._MODULES) <= set(dir(psahw))


def test_type_checkers_see_the_same_names():
    """The imports for type checkers are those that are made at run time."""
    tree = ast.parse(Path(psahw.__file__).read_text())
    (block,) = (node for node in tree.body if isinstance(node, ast.If))
    seen = {alias.name: node.module for node in block.body for alias in node.names}
    assert seen == psahw._MODULES
    assert sorted(seen.keys() - {"distill", "init", "quantize", "teach", "train"}) == psahw.__all__


def test_star_import_without_torch():
    """All names but those of the training functions are there if torch is not installed."""
    code = "import sys; sys.modules['torch'] = None; from psahw import *; print(load, evaluate, simulate, sep='\\n')"
    finished = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert (finished.returncode, finished.stderr) == (0, "")
    assert finished.stdout.count("<function ") == 3


def test_unknown_name():
    with pytest.raises(AttributeError, match="module 'psahw' has no attribute 'nonsense'"):
        psahw.nonsense  # noqa: B018


@pytest.mark.parametrize(
    "line", ["import psahw", "import psahw; dir(psahw); psahw.load", "import psahw.network, psahw.adder_graph"]
)
def test_import_is_light(line):
    """Neither the package nor loading a network imports torch, Amaranth, scipy, cocotb or matplotlib."""
    heavy = ["torch", "amaranth", "scipy", "cocotb", "matplotlib"]
    code = f"import sys; {line}; sys.exit(', '.join(sys.modules.keys() & {heavy}) or None)"
    finished = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert (finished.returncode, finished.stderr) == (0, "")
