"""Adder graphs as loops over bits, simulated beside the Verilog from which they were made."""

import re
import subprocess

import numpy as np
import pytest

from psahw import verilog
from psahw.adder_graph import solve
from psahw.gateware.graph_engine import SERIAL_GRAPH, GraphEngine
from psahw.sim import building
from psahw.sim.bit_loops import rewrite

DIGITS = (1, 2, 4, 8)
WRONG = 2  # the digit of the pair in which an operand is one bit off

# Drives pairs of circuits with the same random inputs, resets and stalls, and compares all outputs in every cycle.
BENCH = """
#include "Vpairs.h"
#include "verilated.h"
#include <cstdio>
#include <random>
int main(int argc, char** argv) {
  VerilatedContext context;
  context.commandArgs(argc, argv);
  Vpairs pairs{&context};
  std::mt19937 draw(1);
  long wrong[PAIRS] = {}, results[PAIRS] = {};
  for (int cycle = 0; cycle < 20000; ++cycle) {
    pairs.rst = cycle < 2 || draw() % 997 == 0;
    pairs.i_valid = draw() % 4 != 0;
    pairs.o_ready = cycle % 2000 < 1500 ? draw() % 8 != 0 : draw() % 50 == 0;
    pairs.i_payload = draw();
    for (int clk = 0; clk < 2; ++clk) {
      pairs.clk = clk;
      pairs.eval();
      for (int n = 0; n < PAIRS; ++n) {
        wrong[n] += pairs.different >> n & 1;
        results[n] += !clk && pairs.result >> n & 1;
      }
    }
  }
  for (int n = 0; n < PAIRS; ++n) std::printf("pair %ld %ld\\n", wrong[n], results[n]);
}
"""
PAIR = """
  psahw_engine{n} first{n}(
    .clk, .rst, .i__payload(i_payload), .i__valid(i_valid), .i__ready(i_ready[{n}]),
    .o__payload(o_payload[{n}]), .o__valid(o_valid[{n}]), .o__ready(o_ready));
  other_engine{n} second{n}(
    .clk, .rst, .i__payload(i_payload), .i__valid(i_valid), .i__ready(j_ready[{n}]),
    .o__payload(p_payload[{n}]), .o__valid(p_valid[{n}]), .o__ready(o_ready));
  // Memories start with random contents, so that only payloads that are offered are equal.
  assign different[{n}] = i_ready[{n}] != j_ready[{n}] | o_valid[{n}] != p_valid[{n}]
    | o_valid[{n}] & o_payload[{n}] != p_payload[{n}];
"""
PAIRS = """
module pairs(
  input clk, input rst, input i_valid, input o_ready, input [31:0] i_payload,
  output [{last}:0] different, output [{last}:0] result);
  wire [{last}:0] i_ready, j_ready, o_valid, p_valid;
  wire [7:0] o_payload[{last}:0], p_payload[{last}:0];
  assign result = o_valid & {{{count}{{o_ready}}}};
{pairs}
endmodule
"""


def _is_graph(name):
    return name.endswith(building.GRAPHS)


def test_name_of_graphs():
    assert f".{SERIAL_GRAPH}" == building.GRAPHS


def _engine(folder, digit, name):
    """Return the Verilog of a small engine with random weights."""
    rng = np.random.default_rng(3)
    graph = solve(rng.integers(-128, 128, (4, 4)), workers=1)
    engine = GraphEngine(graph=graph, bias=rng.integers(-99, 99, 4), shift=[5, 7, 0, 9], digit=digit, o_lanes=1)
    return verilog.emit(engine, name, folder).read_text()


def test_same_outputs(tmp_path):
    """In every clock cycle, from the first on, with random inputs, stalls and resets. A wrong operand is noticed."""
    pytest.importorskip("da4ml")
    sources = []
    for n, digit in enumerate([*DIGITS, WRONG]):
        text = _engine(tmp_path, digit, f"engine{n}")
        other, code = rewrite(text, _is_graph, f"bits{n}")
        if n == len(DIGITS):
            table = re.search(r"_t\[\] = \{\n(\d+), (\d+), (\d+)", code)
            assert table[2] != table[3]
            code = code.replace(table[0], table[0].removesuffix(table[3]) + table[2], 1)
        # Files whose names end in .v would be rewritten by the build.
        for name, content in (
            (f"first{n}.sv", text),
            (f"second{n}.sv", other.replace("psahw_engine", "other_engine")),
            (f"loops{n}.cpp", code),
        ):
            (tmp_path / name).write_text(content)
            sources.append(tmp_path / name)
    count = len(DIGITS) + 1
    text = PAIRS.format(last=count - 1, count=count, pairs="".join(PAIR.format(n=n) for n in range(count)))
    (tmp_path / "pairs.sv").write_text(text)
    (tmp_path / "main.cpp").write_text(BENCH.replace("PAIRS", str(count)))
    arguments = [*("--cc", "--exe", "--build", "--top-module", "pairs", "--prefix", "Vpairs", "-o", "pairs")]
    arguments += building.BUILD_ARGS
    sources = [tmp_path / "pairs.sv", *sources, tmp_path / "main.cpp"]
    recipe = {"waves": None, "make": building.MAKE_FLAGS, "versions": building.versions(), "headers": {}}

    def build(folder):
        building.build_with_verilator(folder, sources, arguments, one_file=True)

    folder, _ = building.cached_build(recipe | {"arguments": arguments}, sources, "pairs", build)
    run = subprocess.run([folder / "pairs", "+verilator+rand+reset+2"], capture_output=True, text=True, check=True)
    wrong, results = zip(*(map(int, pair) for pair in re.findall(r"pair (\d+) (\d+)", run.stdout)), strict=True)
    assert wrong[: len(DIGITS)] == (0,) * len(DIGITS)
    assert wrong[-1] > 0
    assert min(results) > 2000


MODULE = """module \\a.serial (clk, x, y);
  input clk;
  wire clk;
  input [1:0] x;
  wire [1:0] x;
  output [1:0] y;
  wire [1:0] y;
  reg [1:0] r = 2'h1;
  wire [1:0] s;
  assign s = x & r;
  always @(posedge clk)
    r <= s;
  assign y = r;
endmodule
"""


def test_example():
    text, code = rewrite(MODULE, _is_graph, "bits")
    assert "bits_0_cycle" in text and "bits_0_cycle(Bit* v)" in code
    assert "And()" in code


@pytest.mark.parametrize(
    "before, after",
    [
        ("assign y = r;", "assign y = x;"),  # an output that depends on an input
        ("assign s = x & r;", "assign s = x * r;"),
        ("assign s = x & r;", "assign s = s & r;"),  # a loop
        ("assign s = x & r;", "assign s[0] = x[0];"),  # a bit that nothing drives
        ("assign s = x & r;", "reg [1:0] m [3:0];\n  assign s = x & r;"),
        ("assign y = r;", "assign y = r;\n  other o (.x(x));"),
        ("r <= s;", "if (x[0]) r <= s;"),
        ("assign s = x & r;", "assign s = x & q;"),  # a signal without a declaration
    ],
)
def test_other_forms_stay(before, after):
    text = MODULE.replace(before, after)
    assert text != MODULE
    assert rewrite(text, _is_graph, "bits") == (text, "")


def test_other_modules_stay():
    text = MODULE.replace("a.serial", "a.parallel")
    assert rewrite(text, _is_graph, "bits") == (text, "")
