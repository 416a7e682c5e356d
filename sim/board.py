"""A board without a board: Verilated, its UART included, behind a pseudo-terminal.

    with running(directory, cycles_per_bit=4) as port:
        ...  # port is /dev/pts/N, to be opened like any serial port

The directory holds ``board.v`` (module ``psahw_board`` with clk, rst, uart_rx, uart_tx), ``accelerator.v`` and the
memory files that they read. Builds are kept by `sim.building`.
"""

import contextlib
import os
import select
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

from psahw.errors import UserError

from . import building

__all__ = ["build", "running"]

HERE = Path(__file__).parent
TOP = "psahw_board"
SOURCES = ("board.v", "accelerator.v")
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


def build(directory: str | os.PathLike) -> Path:
    """The simulator's executable, from the cache if the sources are the same. Raises UserError with the compiler's
    first complaint."""
    sources = building.with_models([*(Path(directory) / name for name in SOURCES), HERE / "board.cpp"])
    one_file = sum(source.stat().st_size for source in sources) < building.SMALL
    recipe = {
        "waves": "none, no VPI",
        "make": building.MAKE_FLAGS,
        "versions": building.versions(),
        "arguments": ARGUMENTS,
        "one_file": one_file,
    }

    def verilate(folder):
        building.with_verilator(folder, sources, ARGUMENTS, one_file=one_file)

    target, _ = building.kept(recipe, sources, TOP, verilate)
    return target / TOP


@contextlib.contextmanager
def running(directory: str | os.PathLike, *, cycles_per_bit: int, seed: int = 1, glitches: int = 0) -> Iterator[str]:
    """Yields the name of the pseudo-terminal; the simulation ends with the block, or with this process.

    ``cycles_per_bit`` must be what the design was made for. What has no initial value starts with a random one, by
    ``seed``. ``glitches``, if not 0, is the mean number of cycles between disturbances of the line to the device, of
    up to three bits. Raises UserError when the design does not build or does not start.
    """
    program = build(directory)
    with tempfile.TemporaryDirectory(prefix="psahw-board-") as folder:
        for memory in (*Path(directory).glob("*.mem"), *Path(directory).glob("*.hex")):
            (Path(folder) / memory.name).symlink_to(memory.resolve())
        complaints = open(Path(folder) / "stderr", "w+")  # noqa: SIM115 - closed below
        process = subprocess.Popen(
            [program, str(cycles_per_bit), str(glitches), "+verilator+rand+reset+2", f"+verilator+seed+{seed}"],
            cwd=folder,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=complaints,
            text=True,
        )
        try:
            started, _, _ = select.select([process.stdout], [], [], START_SECONDS)
            port = process.stdout.readline().strip() if started else ""
            if not port:
                complaints.seek(0)
                raise UserError(f"the simulated board does not start: {complaints.read().strip()[:300]}")
            yield port
        finally:
            process.stdin.close()
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            process.stdout.close()
            complaints.close()
