"""What place and route made of a design: clocks and utilisation, read from the tools' own reports."""

import json
import re
from dataclasses import dataclass
from pathlib import Path

from psahw.errors import CheckFailed

__all__ = ["NEXTPNR_REPORT", "VIVADO_CLOCKS", "VIVADO_UTILISATION", "Clock", "Routed", "nextpnr", "openxc7", "vivado"]

NEXTPNR_REPORT = "routed.json"
VIVADO_CLOCKS = "routed.txt"
VIVADO_UTILISATION = "top_utilization_place.rpt"  # Amaranth's script writes it

_TOLERANCE = 1e-3  # constraints are whole picoseconds


@dataclass(frozen=True)
class Clock:
    """The highest frequency that the routed paths of a clock allow, and the one that the tool was told of."""

    name: str
    fmax_hz: float
    constraint_hz: float

    @property
    def met(self) -> bool:
        return self.fmax_hz >= self.constraint_hz


@dataclass(frozen=True)
class Routed:
    """``used`` has (used, available) by the tool's own name for a resource."""

    clocks: tuple[Clock, ...]
    used: dict[str, tuple[float, float]]

    def clock(self, planned_hz: float) -> Clock:
        """The accelerator's: the slowest of those constrained to the planned frequency.

        Raises CheckFailed if the tool knew of no such clock: it then had no reason to meet it.
        """
        found = [clock for clock in self.clocks if abs(clock.constraint_hz / planned_hz - 1) <= _TOLERANCE]
        if not found:
            known = ", ".join(f"{clock.name} {clock.constraint_hz / 1e6:g} MHz" for clock in self.clocks) or "none"
            raise CheckFailed(f"place and route saw no clock of {planned_hz / 1e6:g} MHz; it saw {known}")
        return min(found, key=lambda clock: clock.fmax_hz)

    def to_dict(self) -> dict:
        return {
            "clocks": {
                clock.name: {"fmax_hz": clock.fmax_hz, "constraint_hz": clock.constraint_hz} for clock in self.clocks
            },
            "used": {name: {"used": used, "available": available} for name, (used, available) in self.used.items()},
        }


def nextpnr(directory: Path) -> Routed:
    """From ``nextpnr --report``."""
    report = json.loads((directory / NEXTPNR_REPORT).read_text())
    clocks = (
        Clock(name, float(clock["achieved"]) * 1e6, float(clock["constraint"]) * 1e6)
        for name, clock in report["fmax"].items()
    )
    used = {
        name: (entry["used"], entry["available"]) for name, entry in report["utilization"].items() if entry["used"]
    }
    return Routed(tuple(clocks), used)


_LOG_CLOCK = re.compile(r"Info: Max frequency for clock +'(.+)': ([\d.]+) MHz \((?:PASS|FAIL) at ([\d.]+) MHz\)")
_LOG_USED = re.compile(r"Info:\s+(\w+):\s+(\d+)/\s*(\d+)\s+\d+%")


def openxc7(directory: Path) -> Routed:
    """From the log of nextpnr-xilinx, in which later figures (after routing) replace earlier ones."""
    from .openxc7 import LOG

    text = (directory / LOG).read_text()
    clocks = {
        name: Clock(name, float(fmax) * 1e6, float(limit) * 1e6) for name, fmax, limit in _LOG_CLOCK.findall(text)
    }
    used = {name: (int(used), int(available)) for name, used, available in _LOG_USED.findall(text) if int(used)}
    return Routed(tuple(clocks.values()), used)


# The rows that count, of UG904's report_utilization: 7 series and UltraScale+.
_VIVADO_ROWS = ("Slice LUTs", "Slice Registers", "CLB LUTs", "CLB Registers", "DSPs", "Block RAM Tile", "URAM")


def vivado(directory: Path) -> Routed:
    """From the file of our own script, with periods and slacks in ns, and from Vivado's table."""
    clocks = []
    for line in (directory / VIVADO_CLOCKS).read_text().splitlines():
        name, period, slack = line.rsplit(" ", 2)
        clocks.append(Clock(name, 1e9 / (float(period) - float(slack)), 1e9 / float(period)))
    used = {}
    for line in (directory / VIVADO_UTILISATION).read_text().splitlines():
        cells = [cell.strip() for cell in line.strip().strip("|").split("|")]
        name = cells[0].rstrip("*")
        # Used first; available and the share last. Between them are columns that have changed with the releases.
        if name in _VIVADO_ROWS and len(cells) >= 4 and name not in used:
            used[name] = (float(cells[1]), float(cells[-2]))
    return Routed(tuple(clocks), used)
