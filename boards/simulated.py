"""The Verilog of a board without its pins and its clock generators, for simulation."""

from pathlib import Path

from psahw import verilog

from .core import AcceleratorInterface, Core
from .ethernet.identity import Identity
from .link.uart import SHORTEST_BIT
from .link.uart_link import UartLink
from .link.udp_link import UdpLink

__all__ = ["CYCLES_PER_BIT", "IDENTITY", "write", "write_udp"]

CYCLES_PER_BIT = SHORTEST_BIT
"""The fastest UART that there is: most of a simulation's cycles pass while an image comes in."""

IDENTITY = Identity.parse("10.0.0.2")
"""On the simulated cable, where nobody else is."""


def write(inside: AcceleratorInterface, directory: Path, *, clock_hz: float) -> int:
    """Write ``board.v`` and its memory files beside the accelerator's; returns the baud rate."""
    baud = round(clock_hz / CYCLES_PER_BIT)
    clock_hz = CYCLES_PER_BIT * baud
    link = UartLink(**inside.link(), clock_hz=clock_hz, baud=baud)
    verilog.emit(Core(inside, link, clock_hz=clock_hz), "board", directory)
    return baud


def write_udp(inside: AcceleratorInterface, directory: Path, *, clock_hz: float) -> None:
    """The same with Ethernet, as `IDENTITY`, from and to the GMII of a PHY. The domains of `UdpLink` are ports."""
    link = UdpLink(**inside.link(), identity=IDENTITY)
    verilog.emit(Core(inside, link, clock_hz=clock_hz), "board", directory)
