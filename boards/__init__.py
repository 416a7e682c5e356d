"""The boards that psahw knows: what is on them, and how the accelerator is put there.

A board's pins are in :mod:`psahw.boards.platforms`; what the other commands need of a board is here, so that
``psahw plan`` does not load any platform. Clock frequencies are targets, not results: only place and route
can tell what a board reaches.
"""

from dataclasses import dataclass

from psahw.architecture.device import DEVICES, Device
from psahw.errors import UserError

__all__ = ["BOARDS", "Board", "get"]


@dataclass(frozen=True)
class Board:
    """A board by name.

    ``clock_hz`` is the accelerator's clock unless the user asks for another, ``bus_bytes`` the image bytes
    that enter it in a beat, ``baud`` the rate of the board's UART unless the user asks for another, ``bridge`` what
    joins it to USB.
    ``engines`` are those that a plan chooses from unless the user says otherwise, None for all; ``loader`` are the
    options by which openFPGALoader knows the board, none if it does not; ``openocd`` is the
    configuration for it that OpenOCD brings, or None; ``links`` are those of `psahw.boards.link.options` that it can have.
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

    def platform(self):
        """A new Amaranth platform; each serves for one design."""
        from . import platforms

        return getattr(platforms, self.platform_class)()


def _boards(*boards: Board) -> dict[str, Board]:
    return {board.name: board for board in boards}


# What adder graphs cost in LUTs of four inputs is not measured, and none has been routed there.
_LUT4_ENGINES = "mac"
_K160T, _K325T = DEVICES["xc7k160t"], DEVICES["xc7k325t"]
BOARDS = _boards(
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
    # 143 MHz: the clock of the published XC7K160T design
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
    # What the bridge's firmware can make is not documented: a rate that is common
    Board(
        "tangprimer20k", "Sipeed Tang Primer 20K", DEVICES["gw2a-18c"], "TangPrimer20K",
        clock_hz=54e6, bus_bytes=4, baud=1_000_000, bridge="BL702",
        loader=("--board", "tangprimer20k"), engines=_LUT4_ENGINES,
    ),
)  # fmt: skip


def get(name: str) -> Board:
    """The board of that name; UserError, naming the known ones, if there is none."""
    try:
        return BOARDS[name]
    except KeyError:
        raise UserError(f"unknown board {name!r}; known boards: {', '.join(BOARDS)}") from None
