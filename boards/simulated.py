"""The Verilog of a board without its pins and its clock generator, for simulation."""

from pathlib import Path

from psahw import verilog

from .core import Core, Inside
from .uart import SHORTEST_BIT
from .uart_link import UartLink

__all__ = ["CYCLES_PER_BIT", "write"]

CYCLES_PER_BIT = SHORTEST_BIT
"""The fastest UART that there is: most of a simulation's cycles pass while an image comes in."""


def write(inside: Inside, directory: Path, *, clock_hz: float) -> int:
    """Write ``board.v`` and its memory files beside the accelerator's; returns the baud rate."""
    baud = round(clock_hz / CYCLES_PER_BIT)
    clock_hz = CYCLES_PER_BIT * baud
    link = UartLink(**inside.link(), clock_hz=clock_hz, baud=baud)
    verilog.emit(Core(inside, link, clock_hz=clock_hz), "board", directory)
    return baud
