"""Supported boards, and the shells that connect an accelerator to their pins.

This module holds what commands such as ``psahw plan`` need to know about a board. The pins are in
:mod:`psahw.boards.platforms`, which only elaboration loads. Clock frequencies are targets, not results:
only place and route can tell which frequency a board reaches.
"""

from dataclasses import dataclass

from psahw.architecture.device import DEVICES, Device
from psahw.errors import UserError
from psahw.lookup import look_up
from psahw.quoting import quote

__all__ = ["BOARDS", "Board", "get"]


@dataclass(frozen=True)
class Board:
    """A supported board and its defaults, which command-line options override.

    Attributes
    ----------
    name
        Name of the board on the command line.
    title
        Manufacturer and model.
    device
        The FPGA.
    platform_class
        Name of the board's class in `psahw.boards.platforms`.
    clock_hz
        Default clock frequency of the accelerator, in Hz.
    bus_bytes
        Default width of the accelerator's input, in image bytes per beat.
    baud
        Default rate of the UART, in bits per second.
    bridge
        The chip between the UART and USB, see `psahw.boards.link.bridges`.
    loader
        Options that select the board in openFPGALoader, empty if openFPGALoader does not support it.
    openocd
        Configuration file for the board that is part of OpenOCD, or None.
    engines
        Default engines that a plan chooses from, or None for all.
    links
        Links that the board can be built with, see `psahw.boards.link.options`.
    """

    name: str
    title: str
    device: Device
    platform_class: str
    clock_hz: float
    bus_bytes: int
    baud: int
    bridge: str
    loader: tuple[str, ...] = ()
    openocd: str | None = None
    engines: str | None = None
    links: tuple[str, ...] = ("uart",)

    @property
    def grade(self) -> str:
        """Speed grade of the FPGA: the first character of the platform's, such as ``2`` of ``2L-e``."""
        return self.platform().speed[0]

    def platform(self):
        """Return a new Amaranth platform. A platform can build only one design.

        Raises UserError if `psahw.boards.platforms` does not have the board's class.
        """
        from . import platforms

        if not hasattr(platforms, self.platform_class):
            raise UserError(f"board {self.name}: psahw.boards.platforms has no class {quote(self.platform_class)}")
        return getattr(platforms, self.platform_class)()


def _by_name(*boards: Board) -> dict[str, Board]:
    """Return the boards by name, in the given order."""
    return {board.name: board for board in boards}


# The cost of adder graphs in 4-input LUTs has not been measured, and none has been routed on such a device.
_LUT4_ENGINES = "mac"
_K160T, _K325T = DEVICES["xc7k160t"], DEVICES["xc7k325t"]
BOARDS = _by_name(
    Board(
        "kc705", "Xilinx KC705", _K325T, "KC705",
        clock_hz=200e6, bus_bytes=4, baud=921_600, bridge="CP2103",
        loader=("--board", "kc705"), openocd="board/kc705.cfg",
    ),
    Board(
        "genesys2", "Digilent Genesys 2", _K325T, "Genesys2",
        clock_hz=200e6, bus_bytes=4, baud=3_000_000, bridge="FT232R",
        loader=("--board", "genesys2"), links=("uart", "udp"),
    ),
    Board(
        "nereid", "Numato Nereid", _K160T, "Nereid",
        clock_hz=125e6, bus_bytes=4, baud=3_000_000, bridge="FT2232H",
        loader=("--cable", "ft2232", "--fpga-part", "xc7k160tfbg676"),
    ),
    # 143 MHz is the clock of the published XC7K160T design.
    Board(
        "marble", "Berkeley Marble", _K160T, "Marble",
        clock_hz=143e6, bus_bytes=4, baud=3_000_000, bridge="FT4232H",
        loader=("--cable", "ft4232", "--fpga-part", "xc7k160tffg676"), links=("uart", "udp"),
    ),
    Board(
        "alveo-u250", "AMD Alveo U250", DEVICES["xcu250"], "AlveoU250",
        clock_hz=300e6, bus_bytes=8, baud=3_000_000, bridge="FT4232H",
    ),
    Board(
        "ulx3s-85f", "Radiona ULX3S 85F", DEVICES["lfe5u-85f"], "ULX3S85F",
        clock_hz=40e6, bus_bytes=4, baud=3_000_000, bridge="FT231X",
        loader=("--board", "ulx3s"), engines=_LUT4_ENGINES,
    ),
    Board(
        "ecpix5-85f", "LambdaConcept ECPIX-5 85F", DEVICES["lfe5um5g-85f"], "ECPIX585F",
        clock_hz=50e6, bus_bytes=4, baud=3_000_000, bridge="FT2232H",
        loader=("--board", "ecpix5"), engines=_LUT4_ENGINES,
    ),
    # The rates that the bridge's firmware supports are not documented. 1 Mbaud is a common one.
    Board(
        "tangprimer20k", "Sipeed Tang Primer 20K", DEVICES["gw2a-18c"], "TangPrimer20K",
        clock_hz=54e6, bus_bytes=4, baud=1_000_000, bridge="BL702",
        loader=("--board", "tangprimer20k"), engines=_LUT4_ENGINES,
    ),
    Board(
        "tangnano9k", "Sipeed Tang Nano 9K", DEVICES["gw1nr-9c"], "TangNano9K",
        clock_hz=27e6, bus_bytes=4, baud=1_000_000, bridge="BL702",
        loader=("--board", "tangnano9k"), engines=_LUT4_ENGINES,
    ),
)  # fmt: skip


def get(name: str) -> Board:
    """Return a board by name.

    Parameters
    ----------
    name
        A key of `BOARDS`, such as ``"marble"``, in capital or small letters.

    Raises
    ------
    UserError
        If the board is not known. The message lists the known boards.

    Examples
    --------
    >>> get("marble").title
    'Berkeley Marble'
    """
    return look_up(BOARDS, name.lower() if name.lower() in BOARDS else name, "board")
