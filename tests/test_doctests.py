"""Run the examples in docstrings. Those that take long or need a board are marked with ``+SKIP``."""

import doctest
import importlib

import pytest

from .test_imports import OURS

MODULES = [module for module, (_, text) in OURS.items() if ">>> " in text]


@pytest.mark.parametrize("module", MODULES)
def test_examples(module):
    try:
        loaded = importlib.import_module(module)
    except ModuleNotFoundError as error:
        if (error.name or "").startswith("psahw"):
            raise
        pytest.skip(f"{error.name} is not installed")
    assert doctest.testmod(loaded).failed == 0


def test_there_are_examples():
    assert {"psahw.flow.planning", "psahw.network.file", "psahw.model.evaluation"} <= set(MODULES)
