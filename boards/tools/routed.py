"""Routed clocks and utilisation, read from the reports of the place and route tools."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import msgspec

from psahw import documents
from psahw.errors import CheckFailed, UserError
from psahw.quoting import quote

__all__ = ["NEXTPNR_REPORT", "VIVADO_CLOCKS", "VIVADO_UTILISATION", "Clock", "Routed", "nextpnr", "openxc7", "vivado"]

NEXTPNR_REPORT = "routed.json"
VIVADO_CLOCKS = "routed.txt"
VIVADO_UTILISATION = "top_utilization_place.rpt"  # Amaranth's script writes it

_REPORT_BYTES = 64 << 20  # the paths in it may be long
_TOLERANCE = 1e-3  # relative; constraints are rounded to whole picoseconds


@dataclass(frozen=True)
class Clock:
    """A clock after routing.

    Attributes
    ----------
    name
        The tool's name for the clock.
    fmax_hz
        Highest frequency that the routed paths allow, in Hz.
    constraint_hz
        Frequency that the tool was told to reach, in Hz.
    """

    name: str
    fmax_hz: float
    constraint_hz: float

    @property
    def met(self) -> bool:
        """True if the routed paths allow the constrained frequency."""
        return self.fmax_hz >= self.constraint_hz


@dataclass(frozen=True)
class Routed:
    """Results of place and route.

    Attributes
    ----------
    clocks
        All clocks that the tool knew of.
    used
        Used and available number of each resource, by the tool's name for it.
    """

    clocks: tuple[Clock, ...]
    used: dict[str, tuple[float, float]]

    def clock(self, planned_hz: float) -> Clock:
        """Return the accelerator's clock, the slowest one that is constrained to the planned frequency.

        Raises
        ------
        CheckFailed
            If the tool knew of no such clock, and thus had no reason to reach its frequency.
        """
        matching = [clock for clock in self.clocks if abs(clock.constraint_hz / planned_hz - 1) <= _TOLERANCE]
        if not matching:
            known = ", ".join(f"{clock.name} {clock.constraint_hz / 1e6:g} MHz" for clock in self.clocks) or "none"
            raise CheckFailed(f"place and route saw no clock of {planned_hz / 1e6:g} MHz; it saw {known}")
        return min(matching, key=lambda clock: clock.fmax_hz)

    def to_dict(self) -> dict:
        """Return the results in the form of ``build.json``."""
        return {
            "clocks": {
                clock.name: {"fmax_hz": clock.fmax_hz, "constraint_hz": clock.constraint_hz} for clock in self.clocks
            },
            "used": {name: {"used": used, "available": available} for name, (used, available) in self.used.items()},
        }


class _Fmax(msgspec.Struct):
    """Frequencies of a clock in nextpnr's report, in MHz."""

    achieved: float
    constraint: float


class _Utilisation(msgspec.Struct):
    """Numbers of a resource in nextpnr's report."""

    used: int
    available: int


class _Report(msgspec.Struct):
    """The parts of nextpnr's report that are read."""

    fmax: dict[str, _Fmax]
    utilization: dict[str, _Utilisation]


def nextpnr(directory: Path) -> Routed:
    """Read the file that ``nextpnr --report`` has written into a project's directory.

    Raises UserError if there is no such report, or if a full disk has cut it off.
    """
    path = directory / NEXTPNR_REPORT
    report = documents.read(path, _Report, hint="nextpnr writes it after routing", limit=_REPORT_BYTES)
    clocks = (Clock(name, clock.achieved * 1e6, clock.constraint * 1e6) for name, clock in report.fmax.items())
    used: dict[str, tuple[float, float]] = {
        name: (entry.used, entry.available) for name, entry in report.utilization.items() if entry.used
    }
    return Routed(tuple(clocks), used)


_LOG_CLOCK = re.compile(
    r"Info: Max frequency for clock +'(.+)': (\d+\.?\d*) MHz \((?:PASS|FAIL) at (\d+\.?\d*) MHz\)"
)
_LOG_USED = re.compile(r"Info:\s+(\w+):\s+(\d+)/\s*(\d+)\s+\d+%")


def openxc7(directory: Path) -> Routed:
    """Read the log of nextpnr-xilinx.

    The log has figures after placement and after routing. The latter come last and count.
    """
    from .openxc7 import LOG

    text = "\n".join(line for _, line in _lines(directory / LOG))
    clocks = {
        name: Clock(name, float(fmax) * 1e6, float(limit) * 1e6) for name, fmax, limit in _LOG_CLOCK.findall(text)
    }
    used: dict[str, tuple[float, float]] = {
        name: (int(used), int(available)) for name, used, available in _LOG_USED.findall(text) if int(used)
    }
    return Routed(tuple(clocks.values()), used)


# Rows of report_utilization (UG904), for the 7 series and for UltraScale+.
_VIVADO_ROWS = ("Slice LUTs", "Slice Registers", "CLB LUTs", "CLB Registers", "DSPs", "Block RAM Tile", "URAM")


def vivado(directory: Path) -> Routed:
    """Read Vivado's utilisation table, and the clocks that the project's script has written.

    The script writes name, period and worst setup slack of each clock, in ns.
    """
    clocks = []
    for number, line in _lines(directory / VIVADO_CLOCKS):
        try:
            name, period, slack = line.rsplit(" ", 2)
            clocks.append(Clock(name, 1e9 / (float(period) - float(slack)), 1e9 / float(period)))
        except (ValueError, ZeroDivisionError):
            wanted = "a name, a period and a slack in ns"
            raise UserError(
                f"{directory / VIVADO_CLOCKS}, line {number}: must be {wanted}, not {quote(line)}"
            ) from None
    used = {}
    for number, line in _lines(directory / VIVADO_UTILISATION):
        cells = [cell.strip() for cell in line.strip().strip("|").split("|")]
        name = cells[0].rstrip("*")
        # "Used" is the first column, "Available" and "Util%" are the last ones. The columns between them depend on
        # the release.
        if name in _VIVADO_ROWS and len(cells) >= 4 and name not in used:
            try:
                used[name] = (float(cells[1]), float(cells[-2]))
            except ValueError:
                where = f"{directory / VIVADO_UTILISATION}, line {number}"
                raise UserError(f"{where}: must have numbers in its columns, not {quote(line)}") from None
    return Routed(tuple(clocks), used)


def _lines(path: Path) -> Iterator[tuple[int, str]]:
    """Yield the lines of a tool's report with their numbers, from 1. Raises UserError if it cannot be read."""
    text = documents.read_bytes(path, _REPORT_BYTES).decode(errors="replace")
    yield from enumerate(text.splitlines(), 1)
