# amaranth: UnusedElaboratable=no
"""Verilog and memory files. tests/sim and tests/synthesis check that simulators and synthesisers read them."""

import gc
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from amaranth.hdl import Module, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from psahw import verilog
from psahw.gateware.rom import pack_words, rom
from psahw.gateware.stream import Gather
from psahw.gateware.table import TableRom

ROOT = Path(__file__).parents[1]


class TwoRoms(wiring.Component):
    """Two memories of different widths, read with one address."""

    a: Out(7)
    b: Out(12)
    addr: In(2)

    def __init__(self, words):
        self.words = words
        super().__init__()

    def elaborate(self, platform):
        m = Module()
        for o, words in zip((self.a, self.b), self.words, strict=True):
            memory = rom(shape=o.shape(), words=words, style="block")
            m.submodules += memory
            read = memory.read_port()
            m.d.comb += [read.addr.eq(self.addr), o.eq(read.data)]
        return m


def contents(path):
    """Return the words of a memory file for $readmemb."""
    return [int(word, 2) for word in re.sub(r"//.*|@\w+", "", path.read_text()).split()]


def test_memory_files(tmp_path):
    words = [1, 127, 0, 85], [4095, 0, 1, 2730]
    path = verilog.emit(TwoRoms(words), "roms", tmp_path)
    assert path == tmp_path / "roms.v"
    memories = {file.name: contents(file) for file in tmp_path.glob("*.mem")}
    assert sorted(memories.values()) == sorted(words)
    text = path.read_text()
    assert re.findall(r"^module (\w+)", text, re.MULTILINE)[0].startswith("psahw_roms")
    assert set(re.findall(r'\$readmemb\("(.*?)"', text)) == set(memories)
    assert {file.name for file in tmp_path.iterdir()} == {"roms.v", *memories}
    assert all(re.fullmatch(r"roms-\d+\.mem", name) for name in memories)


def test_contents_of_a_table(tmp_path):
    values = np.random.default_rng(1).integers(-128, 128, (4, 256)).astype(np.int8)
    verilog.emit(TableRom(values=values, lanes=2), "table", tmp_path)
    memories = sorted(contents(file) for file in tmp_path.glob("*.mem"))
    # One memory for each lane: the bytes of its channels one after the other, in the order of the raw input code.
    raw = np.roll(values, 128, axis=1)
    expected = sorted(pack_words(raw[lane::2].reshape(-1, 1), 8) for lane in range(2))
    assert memories == expected


def test_without_memories(tmp_path):
    path = verilog.emit(Gather(lanes=1, ratio=2), "gather", tmp_path)
    assert [file.name for file in tmp_path.iterdir()] == ["gather.v"]
    assert re.search(r"^module psahw_gather\(", path.read_text(), re.MULTILINE)


def test_repeatable(tmp_path):
    text = verilog.emit(Gather(lanes=1, ratio=2), "gather", tmp_path).read_text()
    assert verilog.emit(Gather(lanes=1, ratio=2), "gather", tmp_path).read_text() == text


@pytest.mark.parametrize("name", ["", "1st", "a-b", "a b", "a.v", "../a", "a;b", "a\n"])
def test_wrong_name(tmp_path, name):
    with pytest.raises(ValueError, match=f"^{re.escape(f'name must be an identifier, not {name!r}')}$"):
        verilog.emit(Gather(lanes=1, ratio=2), name, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_garbage_collection_is_enabled_again(tmp_path):
    assert gc.isenabled()
    verilog.emit(Gather(lanes=1, ratio=2), "gather", tmp_path)
    assert gc.isenabled()


def test_yosys_fails(tmp_path, monkeypatch):
    """The error has the message of Yosys, and no file remains."""
    monkeypatch.setattr(verilog.rtlil, "convert", lambda *args, **kwargs: "no rtlil\n")
    with pytest.raises(RuntimeError, match=r"(?s)^Yosys could not write gather\.v: .*ERROR"):
        verilog.emit(Gather(lanes=1, ratio=2), "gather", tmp_path)
    assert list(tmp_path.iterdir()) == []


class TwoClocks(wiring.Component):
    """A register in each of two clock domains."""

    i: In(1)
    o: Out(1)

    def elaborate(self, platform):
        m = Module()
        between = Signal()
        m.d.slow += between.eq(self.i)
        m.d.sync += self.o.eq(between)
        return m


EMIT = """
import sys
from pathlib import Path
from psahw import verilog
from tests.test_verilog import TwoClocks
verilog.emit(TwoClocks(), "two", Path(sys.argv[1]), domains=("sync", "slow"))
"""


def test_domains_are_in_the_same_order_in_every_process(tmp_path):
    """Python hashes strings differently in every process, and Amaranth collects domains in a set."""
    texts = set()
    for seed in range(4):
        environment = os.environ | {"PYTHONHASHSEED": str(seed)}
        subprocess.run([sys.executable, "-c", EMIT, tmp_path], env=environment, cwd=ROOT, check=True)
        texts.add((tmp_path / "two.v").read_text())
    (text,) = texts
    ports = re.search(r"module psahw_two\((.*)\);", text)
    assert ports and set(ports[1].split(", ")) == {"i", "o", "clk", "rst", "slow_clk", "slow_rst"}


def test_domains_wrong(tmp_path):
    message = r"^domains must have '(slow|sync)', which the component uses, not be \('other',\)$"
    with pytest.raises(ValueError, match=message):
        verilog.emit(TwoClocks(), "two", tmp_path, domains=("other",))


def test_ports_with_several_domains(tmp_path):
    """Clocks and resets would not be among the ports."""
    two = TwoClocks()
    with pytest.raises(ValueError, match=r"^ports must be None with several domains, here \('sync', 'slow'\)$"):
        verilog.emit(two, "two", tmp_path, ports={"a": two.i}, domains=("sync", "slow"))


def test_a_port_with_the_name_of_a_clock(tmp_path):
    component = wiring.Component({"slow_clk": In(1)})
    message = r"^component must not have a member 'slow_clk', which is a port of \('sync', 'slow'\)$"
    with pytest.raises(ValueError, match=message):
        verilog.emit(component, "two", tmp_path, domains=("sync", "slow"))
