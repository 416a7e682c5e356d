# amaranth: UnusedElaboratable=no
"""Tables in ROM against NumPy indexing."""

import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from psahw.architecture import timing
from psahw.gateware.table import TableRom
from tests.gateware.streams import run_stream

stalls = st.lists(st.booleans(), max_size=4).map(lambda pattern: [*pattern, False])


def tables(seed, channels):
    return np.random.default_rng(seed).integers(-128, 128, (channels, 256)).astype(np.int8)


@settings(max_examples=15, deadline=None)
@given(st.data())
def test_outputs(data):
    lanes, beats = data.draw(st.integers(1, 3)), data.draw(st.integers(1, 4))
    values = tables(data.draw(st.integers(0, 9)), lanes * beats)
    if data.draw(st.booleans()):
        values = np.repeat(values[:1], lanes * beats, axis=0)
    dut = TableRom(
        values=values,
        lanes=lanes,
        style=data.draw(st.sampled_from(["block", "distributed"])),
        bank_words=data.draw(st.sampled_from([None, 64, 256, 512])),
    )
    x = np.random.default_rng(1).integers(-128, 128, (6, lanes * beats))
    out, _, _ = run_stream(
        dut, x.reshape(-1, lanes), i_stalls=data.draw(stalls), o_stalls=data.draw(stalls), quiet=20
    )
    expected = values[np.arange(lanes * beats), x + 128]
    np.testing.assert_array_equal(out, expected.reshape(-1, lanes))


@pytest.mark.parametrize(("bank_words", "banks"), [(None, 1), (512, 1), (256, 2), (128, 4), (1, 512)])
def test_every_code_and_latency(bank_words, banks):
    values = tables(0, 2)
    x = np.repeat(np.arange(-128, 128), 2).reshape(-1, 1)
    dut = TableRom(values=values, lanes=1, bank_words=bank_words)
    out, i_cycles, o_cycles = run_stream(dut, x, i_stalls=[1, 0, 0, 0])
    np.testing.assert_array_equal(out.reshape(256, 2), values.T)
    assert dut.banks == banks
    np.testing.assert_array_equal(o_cycles, timing.table_rom(i_cycles, banks))


@pytest.mark.parametrize("style", ["block", "distributed"])
def test_a_stalled_table_in_banks(style):
    """A word that was read from a bank stays while the output stalls."""
    values = tables(4, 4)
    x = np.random.default_rng(3).integers(-128, 128, (40, 4))
    dut = TableRom(values=values, lanes=1, style=style, bank_words=256)
    out, _, _ = run_stream(dut, x.reshape(-1, 1), o_stalls=[1, 1, 0, 1, 0, 0])
    np.testing.assert_array_equal(out.reshape(40, 4), values[np.arange(4), x + 128])


def test_shared_table_is_stored_once():
    assert TableRom(values=tables(0, 6), lanes=2).depth == 3 * 256
    assert TableRom(values=np.repeat(tables(0, 1), 6, axis=0), lanes=2).depth == 256


@pytest.mark.parametrize("bank_words", [None, 256])
def test_reset_within_a_vector(bank_words):
    values = tables(3, 4)
    x = np.random.default_rng(2).integers(-128, 128, (5, 4))
    dut = TableRom(values=values, lanes=1, bank_words=bank_words)
    out, _, _ = run_stream(dut, x.reshape(-1, 1), reset_at=6)
    np.testing.assert_array_equal(out.reshape(5, 4), values[np.arange(4), x + 128])


@pytest.mark.parametrize(
    ("wrong", "error", "message"),
    [
        ({"values": [1]}, TypeError, "values must be an array of int8 or uint8, not list"),
        ({"values": np.zeros((2, 256))}, TypeError, "values must be an array of int8 or uint8, not float64"),
        ({"values": np.zeros((2, 9), np.int8)}, ValueError, "values must have shape (any, 256), not (2, 9)"),
        ({"lanes": 4}, ValueError, "lanes must divide channels = 6, not 4"),
        ({"lanes": 0}, ValueError, "lanes must be at least 1, not 0"),
        ({"bank_words": 3}, ValueError, "bank_words must be a power of two, not 3"),
        ({"style": "ultra"}, ValueError, "style must be one of block, distributed, not 'ultra'"),
    ],
)
def test_init_wrong(wrong, error, message):
    with pytest.raises(error, match=f"^{re.escape(message)}$"):
        TableRom(**({"values": tables(0, 6), "lanes": 1} | wrong))
