"""Simulate a whole board, with its link, so that a host can use it like a real one.

    with running(directory, Uart(cycles_per_bit=4)) as port:
        ...  # port is /dev/pts/N, which can be opened like any serial port

The directory contains ``board.v`` (module ``psahw_board`` with clk, rst and the pins of its link), ``accelerator.v``
and the memory files that they read. `psahw.sim.building` caches the simulators.
"""

import contextlib
import os
import select
from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import IPv4Address
from pathlib import Path
from subprocess import PIPE, TimeoutExpired
from typing import ClassVar, TextIO

from psahw.errors import CheckFailed, UserError
from psahw.files import temporary_directory
from psahw.processes import Child

from . import building

__all__ = ["Uart", "Udp", "build", "running"]

HERE = Path(__file__).parent
TOP = "psahw_board"
SOURCES = ("board.v", "accelerator.v")
HEADERS = (HERE / "board.h",)  # included by the programs of all links
START_SECONDS = 60
ARGUMENTS = (
    "--cc",
    "--exe",
    "--build",
    "--top-module",
    TOP,
    "--prefix",
    f"V{TOP}",
    "-o",
    TOP,
    *building.BUILD_ARGS[1:],
)


@dataclass(frozen=True)
class Uart:
    """A board with the pins uart_rx and uart_tx, whose port is the name of a pseudo-terminal.

    Attributes
    ----------
    cycles_per_bit
        Clock cycles of the UART per bit, which must be those of the design.
    glitches
        Mean number of these cycles between disturbances of the line to the device, each of up to three bits, or 0 for
        none.
    uart_cycles
        Clock cycles of the UART per cycle of clk. If this exceeds 1, it must be even, and the UART has a clock of its
        own, uart_clk, with the reset uart_rst.
    """

    cycles_per_bit: int
    glitches: int = 0
    uart_cycles: int = 1
    program: ClassVar[Path] = HERE / "board_uart.cpp"

    def arguments(self) -> list[str]:
        """Return the arguments of the simulator."""
        return [str(self.cycles_per_bit), str(self.glitches), str(self.uart_cycles)]


@dataclass(frozen=True)
class Udp:
    """A board with the ports gmii_rx and gmii_tx and clocks of 125 MHz, whose port is a ``udp://`` address.

    The address leads to a socket of this computer.

    Attributes
    ----------
    clock_hz
        Frequency of clk, in Hz.
    address, port
        The board's own address and UDP port, which must be those of the design.
    damage
        Mean number of Ethernet frames, in either direction, between damaged ones, which are dropped, or 0 for none.
    """

    clock_hz: float
    address: IPv4Address
    port: int
    damage: int = 0
    program: ClassVar[Path] = HERE / "board_udp.cpp"

    def arguments(self) -> list[str]:
        """Return the arguments of the simulator."""
        return [str(round(1e15 / self.clock_hz)), str(int(self.address)), str(self.port), str(self.damage)]


def build(directory: str | os.PathLike, link: Uart | Udp) -> Path:
    """Return the simulator's executable, which is built only if it is not in the cache.

    Parameters
    ----------
    directory
        Directory with the Verilog.
    link
        The link that the design has.

    Raises
    ------
    UserError
        If the design does not build, with the compiler's first error.
    """
    sources = building.with_models([*(Path(directory) / name for name in SOURCES), link.program])
    one_file = sum(source.stat().st_size for source in sources) < building.SMALL
    recipe = {
        "waves": "none, no VPI",
        "make": building.MAKE_FLAGS,
        "versions": building.versions(),
        "arguments": ARGUMENTS,
        "one_file": one_file,
        "headers": {path.name: path.read_text() for path in HEADERS},
    }

    def verilate(folder: Path) -> None:
        building.build_with_verilator(folder, sources, ARGUMENTS, one_file=one_file, includes=[HERE])

    target, _ = building.cached_build(recipe, sources, TOP, verilate)
    return target / TOP


@contextlib.contextmanager
def running(directory: str | os.PathLike, link: Uart | Udp, *, seed: int = 1) -> Iterator[str]:
    """Run a simulated board, and yield the name of its port.

    The simulation ends with the block, or with this process.

    Parameters
    ----------
    directory
        Directory with the Verilog and the memory files.
    link
        The link that the design has.
    seed
        Seed of the random values of registers without initialisation.

    Raises
    ------
    UserError
        If the design does not build or does not start.
    CheckFailed
        If the design sends something that violates the link's specification.
    """
    program = build(directory, link)
    with temporary_directory("psahw-board-") as folder:
        for memory in (*Path(directory).glob("*.mem"), *Path(directory).glob("*.hex")):
            (Path(folder) / memory.name).symlink_to(memory.resolve())
        with open(Path(folder) / "stderr", "w+") as complaints:
            process = Child(
                [program, *link.arguments(), "+verilator+rand+reset+2", f"+verilator+seed+{seed}"],
                cwd=folder,
                stdin=PIPE,
                stdout=PIPE,
                stderr=complaints,
                text=True,
            )
            try:
                started, _, _ = select.select([process.stdout], [], [], START_SECONDS)
                port = process.stdout.readline().strip() if started else ""
                if not port:
                    _stop(process)
                    raise UserError(f"the simulated board does not start: {_excerpt(complaints)}")
                yield from _watched(process, port, complaints)
            finally:
                _stop(process)
                process.stdout.close()


def _watched(process: Child, port: str, complaints: TextIO) -> Iterator[str]:
    """Yield the port. If the device has failed, raise its error instead of the one with which the block ends."""
    error = None
    try:
        yield port
    except Exception as caught:
        error = caught
    if status := _stop(process):
        message = f"the simulated board ended with status {status}: {_excerpt(complaints)}"
        raise CheckFailed(message) from error
    if error is not None:
        raise error


def _stop(process: Child) -> int:
    """End the simulator, and return its exit status, or 0 if it had to be killed."""
    if process.returncode is not None:
        return process.returncode
    process.stdin.close()
    try:
        return process.wait(10)
    except TimeoutExpired:
        return 0
    finally:
        process.end()


def _excerpt(complaints: TextIO) -> str:
    """Return the beginning of what the simulator has written to standard error."""
    complaints.seek(0)
    return complaints.read().strip()[:300]
