"""Checks of constructor arguments."""

import re

import numpy as np
import pytest

from psahw.gateware.check import check_choice, check_divides, check_int


@pytest.mark.parametrize("args", [(1,), (7, 7), (7, 0, 7), (-3, -3, 0)])
def test_check_int(args):
    check_int("rows", *args)


@pytest.mark.parametrize("value", [1.0, "1", None, True, np.int64(1)])
def test_check_int_no_integer(value):
    with pytest.raises(TypeError, match=f"^{re.escape(f'rows must be an integer, not {value!r}')}$"):
        check_int("rows", value)


@pytest.mark.parametrize(
    "args, requirement",
    [((0,), "at least 1, not 0"), ((8, 2, 7), "in [2, 7], not 8"), ((1, 2, 7), "in [2, 7], not 1")],
)
def test_check_int_outside(args, requirement):
    with pytest.raises(ValueError, match=f"^{re.escape(f'rows must be {requirement}')}$"):
        check_int("rows", *args)


def test_check_choice():
    check_choice("style", "block", "block", "distributed")
    with pytest.raises(ValueError, match=r"^style must be 'auto', 'block' or 'distributed', not 'lut'$"):
        check_choice("style", "lut", "auto", "block", "distributed")


def test_check_divides():
    check_divides("lanes", 4, "channels", 12)
    with pytest.raises(ValueError, match=r"^lanes must divide channels = 12, not 5$"):
        check_divides("lanes", 5, "channels", 12)
