"""The links that a board can be built with, and their options.

A link carries the host protocol (``docs/reference/host-protocol.md``) between the accelerator and a host:
`UartOptions` describes a serial port, `UdpOptions` gigabit Ethernet. `choose_link` makes either
from command-line options.
"""

from dataclasses import dataclass
from fractions import Fraction
from typing import ClassVar

from amaranth.lib import wiring

from psahw.errors import UserError
from psahw.host.protocol import VERSION
from psahw.host.udp_port import SCHEME
from psahw.lookup import look_up
from psahw.planner.primitives import block_ram

from .. import BOARDS, Board
from ..core import AcceleratorInterface
from ..ethernet.datagrams import QUEUED
from ..ethernet.endpoint import BUFFER_BYTES, LONGEST
from ..ethernet.identity import Identity
from ..ethernet.rgmii import CONSTRAINTS
from . import bridges
from .link import WINDOW
from .uart import MIN_CYCLES_PER_BIT
from .uart_link import UartLink
from .udp_link import UDP_WINDOW, UdpLink

__all__ = ["KINDS", "WINDOWS", "LinkOptions", "UartOptions", "UdpOptions", "check_link", "choose_link"]


WIRE_HZ = 125e6  # bytes per second of GMII (IEEE 802.3, clause 35)


def _image_bram36(window: int, frame_bytes: int, bus_bytes: int) -> float:
    """Return the RAMB36 equivalents of `psahw.boards.link.image_buffer`, estimated as the plan's memories are."""
    return block_ram(8 * bus_bytes, window * frame_bytes // bus_bytes, written=True)


@dataclass(frozen=True)
class UartOptions:
    """Options of a link over a UART.

    Parameters
    ----------
    baud
        Bits per second on the line.
    """

    baud: int
    kind: ClassVar[str] = "uart"
    window: ClassVar[int] = WINDOW
    constraints: ClassVar[tuple[str, ...]] = ()

    def component(self, accelerator: AcceleratorInterface, *, clock_hz: float | Fraction) -> wiring.Component:
        """Return the link to an accelerator whose clock has ``clock_hz`` Hz."""
        return UartLink(**accelerator.link(), clock_hz=clock_hz, baud=self.baud)

    def bram36(self, *, frame_bytes: int, bus_bytes: int) -> float:
        """Return the block RAM of the link's buffers, in RAMB36 equivalents (estimated)."""
        return _image_bram36(self.window, frame_bytes, bus_bytes)

    def check_clock(self, hz: float) -> None:
        """Raise UserError if the accelerator's clock is too slow for the baud rate."""
        if hz < (lowest := MIN_CYCLES_PER_BIT * self.baud):
            raise UserError(
                f"a clock of {hz / 1e6:g} MHz is too slow for the board's UART at {self.baud} baud: it must be at "
                f"least {lowest / 1e6:g} MHz, or --baud at most {int(hz) // MIN_CYCLES_PER_BIT}"
            )

    @property
    def host_options(self) -> str:
        """Options of ``psahw run`` for this link. The name of the serial port is an example."""
        return f"--port /dev/ttyUSB1 --baud {self.baud}"

    def to_dict(self) -> dict:
        """Return the options as ``project.json`` holds them."""
        return {"kind": self.kind, "baud": self.baud, "protocol": VERSION}


@dataclass(frozen=True)
class UdpOptions:
    """Options of a link over UDP and gigabit Ethernet.

    Parameters
    ----------
    identity
        Addresses and port of the board.
    """

    identity: Identity
    kind: ClassVar[str] = "udp"
    window: ClassVar[int] = UDP_WINDOW
    constraints: ClassVar[tuple[str, ...]] = CONSTRAINTS

    def component(self, accelerator: AcceleratorInterface, *, clock_hz: float | Fraction) -> wiring.Component:
        """Return the link to an accelerator. It is the same for every ``clock_hz``."""
        return UdpLink(**accelerator.link(), identity=self.identity)

    def bram36(self, *, frame_bytes: int, bus_bytes: int) -> float:
        """Return the block RAM of the link's buffers, in RAMB36 equivalents (estimated)."""
        packets = block_ram(8, BUFFER_BYTES, written=True) + block_ram(8, QUEUED * LONGEST, written=True)
        return _image_bram36(self.window, frame_bytes, bus_bytes) + packets

    def check_clock(self, hz: float) -> None:
        """Raise UserError if the accelerator's clock is slower than the wire.

        The link takes one byte per clock cycle, and a host sends more images in a row than the
        buffers hold.
        """
        if hz < WIRE_HZ:
            raise UserError(
                f"a clock of {hz / 1e6:g} MHz is too slow for gigabit Ethernet, which carries a byte every 8 ns: it "
                f"must be at least {WIRE_HZ / 1e6:g} MHz, or use --link uart"
            )

    @property
    def host_options(self) -> str:
        """Options of ``psahw run`` for this link."""
        return f"--port {SCHEME}{self.identity.address}:{self.identity.port}"

    def to_dict(self) -> dict:
        """Return the options as ``project.json`` holds them."""
        identity = self.identity
        return {
            "kind": self.kind,
            "address": str(identity.address),
            "port": identity.port,
            "mac": identity.mac_text,
            "protocol": VERSION,
        }


LinkOptions = UartOptions | UdpOptions
"""Options of a link of any kind."""

WINDOWS = {link.kind: link.window for link in (UartOptions, UdpOptions)}
"""Images that a link of each kind holds at once."""
KINDS = tuple(WINDOWS)
"""Names of the links, as in ``--link``."""


def check_link(board: Board, kind: str) -> None:
    """Raise UserError if there is no link of this kind, or if the board does not have one."""
    look_up(WINDOWS, kind, "link")
    if kind not in board.links:
        others = ", ".join(name for name, other in BOARDS.items() if kind in other.links)
        raise UserError(f"{board.name} has no {kind} link; boards that have one: {others}")


def choose_link(
    board: Board, kind: str = UartOptions.kind, address: str | None = None, baud: int | None = None
) -> LinkOptions:
    """Return the link that the options ``--link``, ``--address`` and ``--baud`` select.

    Parameters
    ----------
    board
        The board, which must have a link of this kind.
    kind
        One of `KINDS`.
    address
        The board's own IPv4 address, with or without a port; required for UDP.
    baud
        Bits per second of the UART; the board's default if None.

    Raises
    ------
    UserError
        If the board does not have the link, an option belongs to the other link, the address is
        invalid, or the board's USB bridge does not support the baud rate.
    """
    check_link(board, kind)
    if kind == UdpOptions.kind:
        if baud is not None:
            raise UserError("--baud requires --link uart")
        if address is None:
            raise UserError("--link udp requires the board's own address, for example --address 192.168.1.50")
        return UdpOptions(Identity.parse(address))
    if address is not None:
        raise UserError("--address requires --link udp")
    if baud is not None:
        bridges.check_rate(board.bridge, baud)
    return UartOptions(baud or board.baud)
