"""Verilog of a board without pins and clock generators, for simulation."""

from pathlib import Path

from psahw import verilog

from .core import AcceleratorInterface, Core
from .ethernet.identity import Identity
from .link.uart import SHORTEST_BIT
from .link.uart_link import UartLink
from .link.udp_link import UdpLink

__all__ = ["CYCLES_PER_BIT", "IDENTITY", "UART_CYCLES", "write", "write_udp"]

CYCLES_PER_BIT = SHORTEST_BIT
"""Clock cycles of the UART per bit: the fastest UART that works."""

UART_CYCLES = 32
"""Cycles of a fast simulated UART per clock cycle of the accelerator.

An accelerator takes much longer to simulate than a UART, and an image at one byte per 40 clock cycles would take
thirty times as many cycles as its computation. A byte comes every 1.25 cycles of the accelerator at most, and the
link takes one in every cycle.
"""

_UART_DOMAIN = "uart"

IDENTITY = Identity.parse("10.0.0.2")
"""The board's address on the simulated cable, which has no other stations."""


def write(accelerator: AcceleratorInterface, directory: Path, *, clock_hz: float, uart_cycles: int = 1) -> int:
    """Write ``board.v`` with a UART, and its memory files, and return the baud rate.

    If ``uart_cycles`` exceeds 1, the UART is in a clock domain of its own, ``uart``, as `UartLink` offers it.

    Parameters
    ----------
    accelerator
        The accelerator that the board instantiates.
    directory
        Directory that holds the accelerator's Verilog.
    clock_hz
        Frequency of the accelerator's clock, in Hz.
    uart_cycles
        Clock cycles of the UART per clock cycle of the accelerator.
    """
    baud = round(uart_cycles * clock_hz / CYCLES_PER_BIT)
    domain = _UART_DOMAIN if uart_cycles > 1 else "sync"
    link = UartLink(**accelerator.link(), clock_hz=CYCLES_PER_BIT * baud, baud=baud, domain=domain)
    domains = ("sync", domain) if domain != "sync" else ("sync",)
    verilog.emit(Core(accelerator, link, clock_hz=clock_hz), "board", directory, domains=domains)
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
    domains = ("sync", "ethernet", "ethernet_rx")
    verilog.emit(Core(accelerator, link, clock_hz=clock_hz), "board", directory, domains=domains)
