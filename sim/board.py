"""A board without a board: Verilated, its link included, behind what a real one would be reached by.

    with running(directory, Uart(cycles_per_bit=4)) as port:
        ...  # port is /dev/pts/N, to be opened like any serial port

The directory holds ``board.v`` (module ``psahw_board`` with clk, rst, and the pins of its link), ``accelerator.v``
and the memory files that they read. Builds are kept by `psahw.sim.building`.
"""

import contextlib
import os
import select
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import IPv4Address
from pathlib import Path
from typing import ClassVar

from psahw.errors import CheckFailed, UserError

from . import building

__all__ = ["Uart", "Udp", "build", "running"]

HERE = Path(__file__).parent
TOP = "psahw_board"
SOURCES = ("board.v", "accelerator.v")
COMMON = HERE / "board.h"
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
    "-CFLAGS",
    f"-I{HERE}",
    *building.BUILD_ARGS[1:],
)


@dataclass(frozen=True)
class Uart:
    """uart_rx and uart_tx behind a pseudo-terminal, whose name is the port's.

    ``cycles_per_bit`` must be what the design was made for. ``glitches``, if not 0, is the mean number of cycles
    between disturbances of the line to the device, of up to three bits.
    """

    cycles_per_bit: int
    glitches: int = 0
    program: ClassVar[Path] = HERE / "board_uart.cpp"

    def arguments(self) -> list[str]:
        return [str(self.cycles_per_bit), str(self.glitches)]


@dataclass(frozen=True)
class Udp:
    """gmii_rx and gmii_tx, with clocks of 125 MHz, behind a socket of this computer, whose ``udp://`` address is the
    port's.

    ``clock_hz`` is that of clk, ``address`` and ``port`` are those that the design was made for. ``damage``, if not
    0, is the mean number of Ethernet frames, in either direction, between those that arrive damaged and are dropped.
    """

    clock_hz: float
    address: IPv4Address
    port: int
    damage: int = 0
    program: ClassVar[Path] = HERE / "board_udp.cpp"

    def arguments(self) -> list[str]:
        return [str(round(1e15 / self.clock_hz)), str(int(self.address)), str(self.port), str(self.damage)]


def build(directory: str | os.PathLike, line: Uart | Udp) -> Path:
    """The simulator's executable, from the cache if the sources are the same. Raises UserError with the compiler's
    first complaint."""
    sources = building.with_models([*(Path(directory) / name for name in SOURCES), line.program])
    one_file = sum(source.stat().st_size for source in sources) < building.SMALL
    recipe = {
        "waves": "none, no VPI",
        "make": building.MAKE_FLAGS,
        "versions": building.versions(),
        "arguments": ARGUMENTS,
        "one_file": one_file,
        "common": COMMON.read_text(),
    }

    def verilate(folder):
        building.with_verilator(folder, sources, ARGUMENTS, one_file=one_file)

    target, _ = building.kept(recipe, sources, TOP, verilate)
    return target / TOP


@contextlib.contextmanager
def running(directory: str | os.PathLike, line: Uart | Udp, *, seed: int = 1) -> Iterator[str]:
    """Yields the name of the port; the simulation ends with the block, or with this process.

    What has no initial value starts with a random one, by ``seed``. Raises UserError when the design does not build
    or does not start, CheckFailed when it sends what no device of its kind may send.
    """
    program = build(directory, line)
    with tempfile.TemporaryDirectory(prefix="psahw-board-") as folder:
        for memory in (*Path(directory).glob("*.mem"), *Path(directory).glob("*.hex")):
            (Path(folder) / memory.name).symlink_to(memory.resolve())
        with open(Path(folder) / "stderr", "w+") as complaints:
            process = subprocess.Popen(
                [program, *line.arguments(), "+verilator+rand+reset+2", f"+verilator+seed+{seed}"],
                cwd=folder,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=complaints,
                text=True,
                start_new_session=True,  # an interrupt is for us; the end of its input is for it
            )
            try:
                started, _, _ = select.select([process.stdout], [], [], START_SECONDS)
                port = process.stdout.readline().strip() if started else ""
                if not port:
                    _stop(process)
                    raise UserError(f"the simulated board does not start: {_words(complaints)}")
                yield from _watched(process, port, complaints)
            finally:
                _stop(process)
                process.stdout.close()


def _watched(process, port, complaints):
    """Yields the port; whatever error the block ends with, the device's own fault is the better reason."""
    error = None
    try:
        yield port
    except Exception as caught:
        error = caught
    if status := _stop(process):
        message = f"the simulated board ended with status {status}: {_words(complaints)}"
        raise CheckFailed(message) from error
    if error is not None:
        raise error


def _stop(process) -> int:
    """The simulator's exit status; 0 if it had to be killed."""
    if process.returncode is not None:
        return process.returncode
    process.stdin.close()
    try:
        return process.wait(10)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
        return 0


def _words(complaints) -> str:
    complaints.seek(0)
    return complaints.read().strip()[:300]
