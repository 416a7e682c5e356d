"""Verilog of a board without pins and clock generators, for simulation."""

from pathlib import Path

from psahw import verilog

from .core import AcceleratorInterface, Core
from .ethernet.identity import Identity
from .link.uart import SHORTEST_BIT
from .link.uart_link import UartLink
from .link.udp_link import UdpLink

__all__ = ["CYCLES_PER_BIT", "IDENTITY", "write", "write_udp"]

CYCLES_PER_BIT = SHORTEST_BIT
"""The fastest UART that works, because a simulation spends most cycles on receiving images."""

IDENTITY = Identity.parse("10.0.0.2")
"""The board's address on the simulated cable, which has no other stations."""


def write(accelerator: AcceleratorInterface, directory: Path, *, clock_hz: float) -> int:
    """Write ``board.v`` with a UART, and its memory files, and return the baud rate.

    Parameters
    ----------
    accelerator
        The accelerator that the board instantiates.
    directory
        Directory that holds the accelerator's Verilog.
    clock_hz
        Frequency of the accelerator's clock, in Hz.
    """
    baud = round(clock_hz / CYCLES_PER_BIT)
    clock_hz = CYCLES_PER_BIT * baud
    link = UartLink(**accelerator.link(), clock_hz=clock_hz, baud=baud)
    verilog.emit(Core(accelerator, link, clock_hz=clock_hz), "board", directory)
    return baud


def write_udp(accelerator: AcceleratorInterface, directory: Path, *, clock_hz: float) -> None:
    """Write ``board.v`` with Ethernet, and its memory files.

    The board has the address `IDENTITY`. Its ports are the GMII of a PHY and the clock domains of `UdpLink`.

    Parameters
    ----------
    accelerator
        The accelerator that the board instantiates.
    directory
        Directory that holds the accelerator's Verilog.
    clock_hz
        Frequency of the accelerator's clock, in Hz.
    """
    link = UdpLink(**accelerator.link(), identity=IDENTITY)
    verilog.emit(Core(accelerator, link, clock_hz=clock_hz), "board", directory)
