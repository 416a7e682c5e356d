"""Devices and their resources.

Sources: Xilinx DS180 for the 7 series, DS190 for Zynq-7000, AMD DS891 for Zynq UltraScale+, DS962 and UG1120 for the
UltraScale+ U250, Lattice FPGA-DS-02012 for ECP5,
Gowin DS102 for GW2A and DS117 for GW1NR.
"""

from dataclasses import dataclass
from math import ceil

__all__ = [
    "DEVICES", "LUT_ROM_WORDS", "MULTIPLIERS", "REGISTERED_MULTIPLIERS", "RESOURCES", "TABLE_BANK_WORDS", "Device",
    "Resources",
]  # fmt: skip

RESOURCES = ("lut", "ff", "dsp", "bram36")
"""Names of the resources that are counted."""

MULTIPLIERS = {"xc7": "DSP48E1", "xcup": "DSP48E2", "ecp5": "MULT18X18D"}
"""The primitives that multiply, by family. Engines instantiate them; on other families tools infer multipliers."""

REGISTERED_MULTIPLIERS = (MULTIPLIERS["ecp5"],)
"""The multipliers whose operands have a further register in front. Without its output register, which Yosys does not
use, the block RAM of an ECP5 takes 5.8 ns, and the multiplier may be far away from it."""

TABLE_BANK_WORDS = {"ecp5": 2048}
"""Most words of a table in one block RAM, by family. A larger table has a register behind each of its block RAMs, in
front of the choice of one of them, for the same reason. Other families need no such register."""

LUT_ROM_WORDS = 128
"""Words of the deepest ROM in LUTs: two LUT6 and a MUXF7 for each bit of a word (UG474)."""


@dataclass(frozen=True)
class Resources:
    """An amount of each resource. Block RAM is in units of 36 Kb, in steps of a half."""

    lut: float = 0
    ff: float = 0
    dsp: int = 0
    bram36: float = 0

    def __add__(self, other: "Resources") -> "Resources":
        return Resources(self.lut + other.lut, self.ff + other.ff, self.dsp + other.dsp, self.bram36 + other.bram36)

    def __mul__(self, count: int) -> "Resources":
        return Resources(self.lut * count, self.ff * count, self.dsp * count, self.bram36 * count)

    def to_dict(self) -> dict[str, float]:
        """Return the amounts by name, with LUTs and flip-flops rounded up."""
        return {"lut": ceil(self.lut), "ff": ceil(self.ff), "dsp": self.dsp, "bram36": self.bram36}


@dataclass(frozen=True)
class Device:
    """An FPGA.

    Parameters
    ----------
    name
        Name as vendors write it, without package and speed grade.
    family
        ``xc7``, ``xcup`` (UltraScale+), ``ecp5``, ``gw2a`` or ``gw1n``.
    lut
        LUTs with six inputs, or with four on ECP5 and Gowin.
    ff
        Flip-flops.
    dsp
        DSP48 slices, or multipliers of 18 x 18 bits on ECP5 and Gowin.
    bram36
        Block RAMs of 36 Kb. A block RAM of 18 Kb counts a half.
    """

    name: str
    family: str
    lut: int
    ff: int
    dsp: int
    bram36: float

    @property
    def multiplier(self) -> str | None:
        """The primitive that multiplies, or None if tools infer multipliers, as on Gowin."""
        return MULTIPLIERS.get(self.family)

    def limits(self) -> dict[str, float]:
        """Return the amount of each resource by name."""
        return {name: getattr(self, name) for name in RESOURCES}


DEVICES = {
    device.name: device
    for device in (
        Device("xc7k160t", "xc7", 101_400, 202_800, 600, 325),
        Device("xc7k325t", "xc7", 203_800, 407_600, 840, 445),
        Device("xc7z045", "xc7", 218_600, 437_200, 900, 545),
        Device("xczu5ev", "xcup", 117_120, 234_240, 1_248, 144),
        Device("xcu250", "xcup", 1_728_000, 3_456_000, 12_288, 2_688),
        Device("lfe5u-85f", "ecp5", 83_640, 83_640, 156, 104),
        Device("lfe5um5g-85f", "ecp5", 83_640, 83_640, 156, 104),
        Device("gw2a-18c", "gw2a", 20_736, 15_552, 48, 23),
        Device("gw1nr-9c", "gw1n", 8_640, 6_480, 20, 13),
    )
}
"""The known devices by name."""
