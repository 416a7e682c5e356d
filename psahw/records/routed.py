"""The routed timing of an accelerator, as ``timing.tcl`` of a Vivado project writes it."""

import math
from pathlib import Path
from typing import Annotated

import msgspec
from msgspec import Meta

from .. import documents

__all__ = ["ModuleTiming", "RoutedTiming", "read"]

_Nanoseconds = Annotated[float, Meta(ge=-1e6, le=1e6)]
_MOST_BYTES = 16 << 20


class ModuleTiming(msgspec.Struct, frozen=True, rename={"start": "from"}):
    """The longest path that ends in a module.

    Parameters
    ----------
    module
        Name of the Verilog module.
    path_ns, slack_ns
        Delay of the path, and what is left of the period.
    levels
        Levels of logic.
    start
        The pin where the path starts.
    """

    module: str
    path_ns: _Nanoseconds
    slack_ns: _Nanoseconds
    levels: Annotated[int, Meta(ge=0, le=10_000)]
    start: str


class RoutedTiming(msgspec.Struct, frozen=True):
    """The timing of all modules of a routed accelerator.

    Parameters
    ----------
    tool, part
        Name and version of the tool, and Vivado's name of the device.
    period_ns
        Period that was asked for.
    modules
        One entry for each module with registers.
    """

    tool: str
    part: str
    period_ns: Annotated[float, Meta(gt=0, le=1e6)]
    modules: Annotated[list[ModuleTiming], Meta(min_length=1)]

    @property
    def worst(self) -> ModuleTiming:
        """The module with the least slack."""
        return min(self.modules, key=lambda module: module.slack_ns)

    @property
    def highest_mhz(self) -> float:
        """The highest clock that all paths allow; infinite if no path takes any time."""
        needed = self.period_ns - self.worst.slack_ns
        return 1000 / needed if needed > 0 else math.inf


def read(path: Path) -> RoutedTiming:
    """Read the file that the script has written.

    Raises UserError if it cannot be read or has another form.
    """
    return documents.read(
        path, RoutedTiming, hint="vivado -mode batch -source timing.tcl writes it", limit=_MOST_BYTES
    )
