"""Packages of the accelerator for other tools' designs: Vivado, Vitis, FuseSoC and LiteX."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

from psahw import generate, verilog
from psahw.errors import UserError
from psahw.gateware.multiplier import MODELS
from psahw.lookup import look_up
from psahw.network.graph import Network
from psahw.planner.plan import Plan

from .. import Board
from ..axi.core import Core
from ..axi.interfaces import verilog_ports
from ..axi.kernel import DATA_BYTES, Kernel
from ..ports import interface
from . import fusesoc, litex, vitis, vivado
from .contents import Contents

__all__ = ["MARKER", "TARGETS", "Target", "target", "write"]

MARKER = "package.json"
"""Name of the file that describes a package."""


@dataclass(frozen=True)
class Target:
    """A tool that can be given a package.

    Attributes
    ----------
    name
        Name on the command line.
    title
        What the package is, for messages.
    source
        Base name of the Verilog file that instantiates ``accelerator.v``. Its top module has the same name after
        ``psahw_``.
    files
        Returns the text of the tool's own files by name.
    next
        What the user has to do next with the directory.
    families
        Device families that the tool supports, or None for all.
    boards
        Names of the boards that the tool supports, or None for all.
    """

    name: str
    title: str
    source: str
    files: Callable[[Contents], dict[str, str]]
    next: str
    families: tuple[str, ...] | None = None
    boards: tuple[str, ...] | None = None

    def check(self, board: Board) -> None:
        """Raise UserError if the tool does not support a board."""
        if self.boards is not None and board.name not in self.boards:
            raise UserError(f"--for {self.name} is for {' or '.join(self.boards)}, not for {board.name}")
        if self.families is not None and board.device.family not in self.families:
            raise UserError(f"--for {self.name} is for Xilinx devices, not for {board.name} ({board.device.name})")


TARGETS = {
    t.name: t
    for t in (
        Target(
            "vivado",
            "Vivado IP",
            "axi",
            vivado.files,
            "to write ip/component.xml, run in its directory: vivado -mode batch -source package_ip.tcl",
            families=("xc7", "xcup"),
        ),
        Target(
            "vitis",
            "Vitis kernel",
            "kernel",
            vitis.files,
            "to build psahw.xclbin and the host program, run in its directory: make",
            boards=("alveo-u250",),
        ),
        Target(
            "fusesoc",
            "FuseSoC core",
            "axi",
            fusesoc.files,
            "to check it, run in its directory: fusesoc --cores-root . run --target lint psahw:psahw:axi",
        ),
        Target("litex", "LiteX core", "axi", litex.files, "to add it to a SoC, see its psahw_litex.py"),
    )
}


def target(name: str) -> Target:
    """Return a target by name.

    Parameters
    ----------
    name
        A key of `TARGETS`, such as ``"vivado"``.

    Raises
    ------
    UserError
        If the target is not known. The message lists the known targets.
    """
    return look_up(TARGETS, name, "target", " of --for")


def write(tool: Target, board: Board, network: Network, plan: Plan, directory: Path) -> dict:
    """Write a package into an empty directory, and return the content of its ``package.json``.

    The package contains ``accelerator.v``, which is also the file that simulation runs.

    Parameters
    ----------
    tool
        The tool that the package is for.
    board, network, plan
        The board, the network, and the plan of its accelerator.
    directory
        The empty directory, see `psahw.boards.tools.whole_directory`.

    Raises
    ------
    UserError
        If the tool does not support the board, or the accelerator's input is wider than a kernel's memory port.
    """
    tool.check(board)
    if tool.source == "kernel" and plan.bus_bytes > DATA_BYTES:
        raise UserError(f"--bus-bytes must be at most {DATA_BYTES} for {tool.name}, not {plan.bus_bytes}")
    manifest = generate.write(network, plan, directory)
    wrapper = {"axi": Core, "kernel": Kernel}[tool.source](interface(manifest), manifest)
    verilog.emit(wrapper, tool.source, directory, ports=verilog_ports(wrapper))
    contents = Contents(
        board=board,
        manifest=manifest,
        wrapper=wrapper,
        top=f"psahw_{tool.source}",
        sources=(f"{tool.source}.v", "accelerator.v"),
        memories=tuple(sorted((path.name for path in directory.glob("*.mem")), key=_natural_order)),
        models=(MODELS.name,) if (directory / MODELS.name).is_file() else (),
    )
    for name, text in tool.files(contents).items():
        (directory / name).parent.mkdir(exist_ok=True)
        (directory / name).write_text(text)
    names = sorted(str(path.relative_to(directory)) for path in directory.rglob("*") if path.is_file())
    description = {
        "generator": f"psahw {version('psahw')}",
        "for": tool.name,
        "network": network.name,
        "digest": plan.digest,
        "board": board.name,
        "part": contents.part,
        "top": contents.top,
        "clock_hz": plan.clock_hz,
        "frame_interval": plan.frame_interval,
        "sources": list(contents.sources),
        "ports": sorted(verilog_ports(wrapper)),
        "files": sorted([*names, MARKER]),
    }
    (directory / MARKER).write_text(json.dumps(description, indent=2) + "\n")
    return description


def _natural_order(name: str) -> tuple[str, int]:
    """Return a sort key for names of memory files that compares the numbers at their ends as numbers."""
    stem, _, number = name.removesuffix(".mem").rpartition("-")
    return stem, int(number) if number.isdecimal() else -1
