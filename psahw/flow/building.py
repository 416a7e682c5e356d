"""Make a board's bitstream, and compare the routed clock with the plan's."""

import json
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..architecture.device import Resources
from ..boards import Board
from ..callbacks import Log, silent
from ..errors import CheckFailed, UserError
from ..files import write_whole
from ..network.graph import Network
from .clocks import Clock, remember
from .elaboration import check_directory, elaborate
from .planning import BoardPlan

if TYPE_CHECKING:
    from ..boards.link.options import LinkOptions
    from ..boards.tools.routed import Routed
    from ..boards.tools.toolchains import Toolchain
from .arguments import check_network

__all__ = ["RESULT_FILE", "BuildResult", "build", "check_build"]

RESULT_FILE = "build.json"
"""The file in which a build leaves its result."""


@dataclass(frozen=True)
class BuildResult:
    """A bitstream with its routed clock and utilisation, or a project whose tools are not installed.

    Parameters
    ----------
    network, board, device
        Names.
    directory
        The project, with the logs of the tools.
    toolchain
        Name of the toolchain that ran, or None if none is installed.
    clock_hz
        The clock that the board's clock generator makes, in Hz.
    frame_interval
        Clock cycles between the results of two frames, as planned.
    fps
        Frames per second at the planned clock.
    estimate
        Resources as the plan estimates them.
    seed
        Seed of placement.
    link
        The link that joins the accelerator to a host.
    bitstream
        The file, or None if no toolchain is installed.
    routed
        Clocks (Hz) and utilisation as the tools report them.
    fmax_hz
        The highest frequency, in Hz, that the routed paths of the accelerator's clock allow.
    met
        Whether ``fmax_hz`` reaches the constraint.
    seconds
        Run time of each tool.
    missing
        What each toolchain lacks, if none is installed.
    commands
        What to run in ``directory`` where the tools are installed.
    """

    network: str
    board: str
    device: str
    directory: Path
    toolchain: str | None
    clock_hz: float
    frame_interval: int
    fps: float
    estimate: Resources
    seed: int
    link: "LinkOptions"
    bitstream: Path | None = None
    routed: "Routed | None" = None
    fmax_hz: float | None = None
    met: bool | None = None
    seconds: dict[str, float] = field(default_factory=dict)
    missing: dict[str, str] = field(default_factory=dict)
    commands: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Return what ``psahw build --json`` prints."""
        result = {
            "network": self.network,
            "board": self.board,
            "device": self.device,
            "directory": str(self.directory),
            "toolchain": self.toolchain,
            "clock_hz": self.clock_hz,
            "frame_interval": self.frame_interval,
            "fps": self.fps,
            "estimate": self.estimate.to_dict(),
            "seed": self.seed,
            "bitstream": None,
        }
        if self.routed is None:
            return result | {"missing": self.missing, "run": list(self.commands)}
        result |= self.routed.to_dict()
        return result | {
            "fmax_hz": self.fmax_hz,
            "met": self.met,
            "seconds": self.seconds,
            "bitstream": str(self.bitstream),
        }

    def check(self) -> None:
        """Raise UserError if there is no bitstream, and CheckFailed if the routed clock is too low."""
        if self.routed is None or self.fmax_hz is None:
            reasons = "; ".join(f"{toolchain}: {reason}" for toolchain, reason in self.missing.items())
            raise UserError(
                f"no bitstream: {reasons}. The project is complete: where the tools are installed, run "
                f"{' or '.join(self.commands)} in {self.directory}"
            )
        if not self.met:
            raise CheckFailed(
                f"routed to {self.fmax_hz / 1e6:.2f} MHz, below the plan's {self.clock_hz / 1e6:g} MHz: build with "
                f"--clock {int(self.fmax_hz / 1e6)}e6, or try another --seed"
            )


def check_build(board: Board, directory: str | os.PathLike, toolchain: str | None = None) -> None:
    """Raise UserError if `build` would refuse its arguments, before the minutes that planning may take."""
    from ..boards.tools import toolchains

    toolchains.choose(board, toolchain)
    check_directory(directory)


def _run(toolchain: "Toolchain", directory: Path, step: Log, status: Log) -> dict[str, float]:
    """Run the programs of a toolchain, and return the seconds that each took."""
    from ..boards.tools import build as runner

    seconds = {}
    for program in toolchain.steps(directory):
        step(f"{toolchain.title}: {program.name}")
        seconds[program.name] = runner.run(directory, program, progress=status)
    return seconds


def build(
    network: Network,
    plan: BoardPlan,
    directory: str | os.PathLike,
    *,
    toolchain: str | None = None,
    seed: int = 1,
    step: Log = silent,
    status: Log = silent,
) -> BuildResult:
    """Write a board's project and run its tools, up to the bitstream.

    The result is also left in ``build.json`` in the directory. If none of the board's toolchains is installed, the
    project is complete, but the result has no bitstream; ``BuildResult.check`` raises an error that says what to do.

    Parameters
    ----------
    network
        The network.
    plan
        Its plan, from `psahw.plan`, with board and link.
    directory
        Where to write. An existing directory is replaced if psahw wrote it; otherwise it must be empty.
    toolchain
        ``yowasp`` or ``native`` for ECP5 and Gowin, ``vivado`` or ``openxc7`` for Xilinx; by default the first one
        that is installed.
    seed
        Seed of placement. Vivado takes none.
    step
        Called with a title as each tool begins (see `psahw.flow`).
    status
        Called several times per second with the last line of the running tool's log.

    Returns
    -------
    BuildResult
        The project and, if a toolchain is installed, the bitstream with its routed clock and utilisation.

    Raises
    ------
    UserError
        If the toolchain named is not installed or does not serve the board, or if the directory cannot be written.
    CheckFailed
        If a tool fails, for example because the design does not fit the device.
    """
    check_network(network)
    from ..boards.tools import toolchains

    chosen, missing = toolchains.choose(plan.board, toolchain)
    step(f"{network.name} for {plan.board.name}: Verilog, constraints, scripts")
    project = elaborate(network, plan, directory, seed=seed)
    common: dict[str, Any] = {
        "network": network.name,
        "board": plan.board.name,
        "device": plan.device.name,
        "directory": project.directory,
        "clock_hz": project.clock_hz,
        "frame_interval": plan.frame_interval,
        "fps": plan.fps,
        "estimate": plan.resources,
        "seed": seed,
        "link": project.link,
    }
    if chosen is None:
        reasons = {entry.toolchain: entry.reason for entry in missing}
        commands = tuple(dict.fromkeys(entry.command for entry in missing))
        return BuildResult(**common, toolchain=None, missing=reasons, commands=commands)
    seconds = _run(chosen, project.directory, step, status)
    routed = chosen.read(project.directory)
    clock = routed.clock(project.clock_hz)
    result = BuildResult(
        **common,
        toolchain=chosen.name,
        bitstream=project.directory / chosen.steps(project.directory)[-1].products[0],
        routed=routed,
        fmax_hz=clock.fmax_hz,
        met=clock.met,
        seconds=seconds,
    )
    write_whole(project.directory / RESULT_FILE, json.dumps(result.to_dict(), indent=2) + "\n")
    remember(plan.accelerator, plan.board.name, Clock("routed", clock.fmax_hz, asked_hz=clock.constraint_hz))
    return result
