# amaranth: UnusedElaboratable=no
"""Memory styles, and the packing of words against integers."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from psahw.gateware.rom import pack_words, rom, style_for


@st.composite
def words(draw):
    """Draw (values, bits), an array of two's complement numbers and their width."""
    bits = draw(st.integers(1, 20))
    shape = draw(st.tuples(st.integers(1, 6), st.integers(1, 9)))
    elements = st.integers(-(1 << bits - 1), (1 << bits - 1) - 1)
    return draw(arrays(np.int32, shape, elements=elements)), bits


@given(words())
def test_pack_words(case):
    values, bits = case
    expected = [sum((x % (1 << bits)) << bits * k for k, x in enumerate(row)) for row in values.tolist()]
    assert pack_words(values, bits) == expected


def test_pack_words_literal():
    assert pack_words(np.array([[-1, 0, 1], [-4, 3, -2]], np.int8), 3) == [0b001_000_111, 0b110_011_100]


@pytest.mark.parametrize("depth, style", [(1, "distributed"), (128, "distributed"), (129, "block")])
def test_style_for(depth, style):
    assert style_for(depth) == style


@pytest.mark.parametrize(
    "style, attrs",
    [("block", {"rom_style": "block"}), ("distributed", {"rom_style": "distributed", "ram_style": "registers"})],
)
def test_rom(style, attrs):
    memory = rom(shape=7, words=[1, 127, 0], style=style)
    assert (memory.shape, memory.depth, list(memory.init)) == (7, 3, [1, 127, 0])
    assert memory.attrs == attrs


def test_rom_wrong_style():
    with pytest.raises(ValueError, match=r"^style must be one of block, distributed, not 'auto'$"):
        rom(shape=7, words=[1], style="auto")
