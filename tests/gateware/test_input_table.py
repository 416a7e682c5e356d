# amaranth: UnusedElaboratable=no
"""Codes of image bytes against NumPy indexing."""

import re

import numpy as np
import pytest
from amaranth.back import rtlil
from hypothesis import given, settings
from hypothesis import strategies as st

from psahw.architecture import timing
from psahw.gateware import input_table
from psahw.gateware.input_table import InputTable
from psahw.gateware.rom import rom
from tests.gateware.streams import run_stream

STALLS = st.lists(st.booleans(), max_size=7).filter(lambda x: not x or not all(x))
TABLE = np.random.default_rng(1).integers(-128, 128, (3, 256)).astype(np.int8)


def make_images(lanes, colours):
    """Return two images whose rows are whole beats and whole pixels."""
    return np.random.default_rng(2).integers(0, 256, (2, 2, np.lcm(lanes, colours) // colours * 2, colours))


def expected(images, table, lanes):
    return table[np.arange(len(table)), images].reshape(-1, lanes)


@settings(max_examples=15, deadline=None)
@given(st.integers(1, 7), st.integers(1, 3), st.booleans(), STALLS, STALLS)
def test_any_stalls(lanes, colours, equal, i_stalls, o_stalls):
    table = TABLE[[0] * colours] if equal else TABLE[:colours]
    images = make_images(lanes, colours)
    dut = InputTable(table=table, lanes=lanes)
    out, i, o = run_stream(dut, images.reshape(-1, lanes), i_stalls=i_stalls, o_stalls=o_stalls)
    assert np.array_equal(out, expected(images, table, lanes))
    if not o_stalls:
        assert np.array_equal(o, timing.table_rom(i))


def test_every_entry():
    images = np.arange(256)[:, None].repeat(3, 1)
    out, _, _ = run_stream(InputTable(table=TABLE, lanes=4), images.reshape(-1, 4))
    assert np.array_equal(out.reshape(256, 3), TABLE.T)


@pytest.mark.parametrize("table, lanes, words", [(TABLE, 4, 768), (TABLE, 3, 256), (TABLE[[1, 1, 1]], 4, 256)])
def test_words(monkeypatch, table, lanes, words):
    depths = []
    monkeypatch.setattr(input_table, "rom", lambda **options: depths.append(len(options["words"])) or rom(**options))
    rtlil.convert(InputTable(table=table, lanes=lanes))
    assert depths == [words] * lanes


def test_reset():
    images = make_images(4, 3)
    out, _, _ = run_stream(InputTable(table=TABLE, lanes=4), images.reshape(-1, 4), reset_at=4)
    assert np.array_equal(out, expected(images, TABLE, 4))


@pytest.mark.parametrize(
    "change, error, message",
    [
        ({"table": TABLE.astype(int)}, TypeError, "table must be an array of int8, not int64"),
        ({"table": [0] * 256}, TypeError, "table must be an array of int8, not list"),
        ({"table": TABLE[:, :255]}, ValueError, "table must have shape (any, 256), not (3, 255)"),
        ({"lanes": 0}, ValueError, "lanes must be at least 1, not 0"),
    ],
)
def test_init_wrong(change, error, message):
    with pytest.raises(error, match=f"^{re.escape(message)}$"):
        InputTable(**{"table": TABLE, "lanes": 4} | change)
