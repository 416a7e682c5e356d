"""The links that a board can be built with, and what is to be said of each.

``bram36`` is what their buffers take, estimated as the plan's memories are."""

from dataclasses import dataclass
from typing import ClassVar

from amaranth.lib import wiring

from psahw.errors import UserError
from psahw.host.protocol import VERSION
from psahw.host.udp_port import SCHEME
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

__all__ = ["KINDS", "WINDOWS", "Uart", "Udp", "check", "choose"]


WIRE_HZ = 125e6  # GMII's bytes a second: IEEE 802.3, clause 35


def _images(window: int, frame_bytes: int, bus_bytes: int) -> float:
    """RAMB36 equivalents of `psahw.boards.link.image_buffer`."""
    return block_ram(8 * bus_bytes, window * frame_bytes // bus_bytes, written=True)


@dataclass(frozen=True)
class Uart:
    """``baud`` bits a second."""

    baud: int
    kind: ClassVar[str] = "uart"
    window: ClassVar[int] = WINDOW
    constraints: ClassVar[tuple[str, ...]] = ()

    def component(self, inside: AcceleratorInterface, *, clock_hz) -> wiring.Component:
        return UartLink(**inside.link(), clock_hz=clock_hz, baud=self.baud)

    def bram36(self, *, frame_bytes: int, bus_bytes: int) -> float:
        return _images(self.window, frame_bytes, bus_bytes)

    def check_clock(self, hz: float) -> None:
        """Raises UserError if the accelerator's clock is too slow."""
        if hz < (lowest := MIN_CYCLES_PER_BIT * self.baud):
            raise UserError(
                f"a clock of {hz / 1e6:g} MHz is too slow for the board's UART at {self.baud} baud: it must be at "
                f"least {lowest / 1e6:g} MHz, or --baud at most {int(hz) // MIN_CYCLES_PER_BIT}"
            )

    @property
    def host_options(self) -> str:
        """Of ``psahw run``. What the serial port is called only the user's machine knows."""
        return f"--port /dev/ttyUSB1 --baud {self.baud}"

    def to_dict(self) -> dict:
        return {"kind": self.kind, "baud": self.baud, "protocol": VERSION}


@dataclass(frozen=True)
class Udp:
    """Over Ethernet, as ``identity``."""

    identity: Identity
    kind: ClassVar[str] = "udp"
    window: ClassVar[int] = UDP_WINDOW
    constraints: ClassVar[tuple[str, ...]] = CONSTRAINTS

    def component(self, inside: AcceleratorInterface, *, clock_hz) -> wiring.Component:
        return UdpLink(**inside.link(), identity=self.identity)

    def bram36(self, *, frame_bytes: int, bus_bytes: int) -> float:
        packets = block_ram(8, BUFFER_BYTES, written=True) + block_ram(8, QUEUED * LONGEST, written=True)
        return _images(self.window, frame_bytes, bus_bytes) + packets

    def check_clock(self, hz: float) -> None:
        """Raises UserError if the accelerator's clock is too slow: the link takes a byte a cycle, and a host sends
        more images in a row than the buffers hold."""
        if hz < WIRE_HZ:
            raise UserError(
                f"a clock of {hz / 1e6:g} MHz is too slow for gigabit Ethernet, which brings a byte each 8 ns: it "
                f"must be at least {WIRE_HZ / 1e6:g} MHz, or --link uart"
            )

    @property
    def host_options(self) -> str:
        """Of ``psahw run``."""
        return f"--port {SCHEME}{self.identity.address}:{self.identity.port}"

    def to_dict(self) -> dict:
        me = self.identity
        return {
            "kind": self.kind,
            "address": str(me.address),
            "port": me.port,
            "mac": me.mac_text,
            "protocol": VERSION,
        }


WINDOWS = {link.kind: link.window for link in (Uart, Udp)}
KINDS = tuple(WINDOWS)


def check(board: Board, kind: str) -> None:
    """Raises UserError if there is no such link, or the board has none."""
    if kind not in KINDS:
        raise UserError(f"unknown link {kind!r}; there are {', '.join(KINDS)}")
    if kind not in board.links:
        having = ", ".join(name for name, other in BOARDS.items() if kind in other.links)
        raise UserError(f"{board.name} has no link {kind}; boards with it: {having}")


def choose(board: Board, kind: str = Uart.kind, address: str | None = None, baud: int | None = None) -> Uart | Udp:
    """The link that the options ``--link``, ``--address`` and ``--baud`` ask for. Raises UserError if it cannot
    be."""
    check(board, kind)
    if kind == Udp.kind:
        if baud is not None:
            raise UserError("--baud is for --link uart")
        if address is None:
            raise UserError("--link udp needs the board's own address: --address 192.168.1.50, for example")
        return Udp(Identity.parse(address))
    if address is not None:
        raise UserError("--address is for --link udp")
    if baud is not None:
        bridges.check(board.bridge, baud)
    return Uart(baud or board.baud)
