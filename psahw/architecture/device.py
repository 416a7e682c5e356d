"""What the FPGAs hold.

7 series: Xilinx DS180; UltraScale+ U250: AMD DS962 and UG1120; ECP5: Lattice FPGA-DS-02012; GW2A: Gowin DS102.
"""

from dataclasses import dataclass
from math import ceil

__all__ = ["DEVICES", "LUT_ROM_WORDS", "RESOURCES", "Device", "Resources"]

RESOURCES = ("lut", "ff", "dsp", "bram36")

LUT_ROM_WORDS = 128
"""Words of the deepest ROM in LUTs: two LUT6 and a MUXF7 for each bit of a word (UG474)."""


@dataclass(frozen=True)
class Resources:
    """Amounts; block RAM in units of 36 Kb, in halves."""

    lut: float = 0
    ff: float = 0
    dsp: int = 0
    bram36: float = 0

    def __add__(self, other: "Resources") -> "Resources":
        return Resources(self.lut + other.lut, self.ff + other.ff, self.dsp + other.dsp, self.bram36 + other.bram36)

    def __mul__(self, count: int) -> "Resources":
        return Resources(self.lut * count, self.ff * count, self.dsp * count, self.bram36 * count)

    def to_dict(self) -> dict:
        return {"lut": ceil(self.lut), "ff": ceil(self.ff), "dsp": self.dsp, "bram36": self.bram36}


@dataclass(frozen=True)
class Device:
    """An FPGA's name, family and amounts of each resource.

    ``lut`` counts 6-input LUTs (ECP5, GW2A: 4-input), ``dsp`` counts DSP48 slices (ECP5, GW2A: 18x18 multipliers),
    ``bram36`` counts 36 Kb block RAMs, in halves where the family has 18 Kb ones.
    """

    name: str
    family: str
    lut: int
    ff: int
    dsp: int
    bram36: float

    @property
    def multiplier(self) -> str | None:
        """The primitive with a multiplier and an accumulator, which can serve two products (`psahw.architecture.packing`): UG479,
        UG579. Those of ECP5 and GW2A have 18 x 18 bits and are inferred: None."""
        return {"xc7": "DSP48E1", "xcup": "DSP48E2"}.get(self.family)

    def limits(self) -> dict[str, float]:
        return {name: getattr(self, name) for name in RESOURCES}


DEVICES = {
    device.name: device
    for device in (
        Device("xc7k160t", "xc7", 101_400, 202_800, 600, 325),
        Device("xc7k325t", "xc7", 203_800, 407_600, 840, 445),
        Device("xcu250", "xcup", 1_728_000, 3_456_000, 12_288, 2_688),
        Device("lfe5u-85f", "ecp5", 83_640, 83_640, 156, 104),
        Device("lfe5um5g-85f", "ecp5", 83_640, 83_640, 156, 104),
        Device("gw2a-18c", "gw2a", 20_736, 15_552, 48, 23),
    )
}
