"""The accelerator as a part of somebody else's design: what each tool wants to find in a directory."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

from psahw import generate, verilog
from psahw.errors import UserError
from psahw.gateware.dsp48 import MODELS
from psahw.network.layers import Network
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


@dataclass(frozen=True)
class Target:
    """What a tool takes.

    ``source`` names the Verilog file around ``accelerator.v``, whose top module is ``psahw_`` and that name;
    ``files`` gives the tool's own files by name; ``boards`` are those that it can be for, all if it is None; ``next``
    says what to do in the directory.
    """

    name: str
    title: str
    source: str
    files: Callable[[Contents], dict[str, str]]
    next: str
    families: tuple[str, ...] | None = None
    boards: tuple[str, ...] | None = None

    def check(self, board: Board):
        """UserError if it cannot be for that board."""
        if self.boards is not None and board.name not in self.boards:
            raise UserError(f"--for {self.name} is for {' or '.join(self.boards)}, not for {board.name}")
        if self.families is not None and board.device.family not in self.families:
            raise UserError(f"--for {self.name} is for devices of Xilinx, not for {board.name} ({board.device.name})")


TARGETS = {
    t.name: t
    for t in (
        Target(
            "vivado",
            "Vivado IP",
            "axi",
            vivado.files,
            "make ip/component.xml there: vivado -mode batch -source package_ip.tcl",
            families=("xc7", "xcup"),
        ),
        Target(
            "vitis",
            "Vitis kernel",
            "kernel",
            vitis.files,
            "make psahw.xclbin and the host program there: make",
            boards=("alveo-u250",),
        ),
        Target(
            "fusesoc",
            "FuseSoC core",
            "axi",
            fusesoc.files,
            "check it there: fusesoc --cores-root . run --target lint psahw:psahw:axi",
        ),
        Target("litex", "LiteX core", "axi", litex.files, "add it to a SoC: see psahw_litex.py there"),
    )
}


def target(name: str) -> Target:
    """The target of that name; UserError, naming the known ones, if there is none."""
    try:
        return TARGETS[name]
    except KeyError:
        raise UserError(f"unknown target {name!r} of --for; known targets: {', '.join(TARGETS)}") from None


def write(made_for: Target, board: Board, network: Network, plan: Plan, directory: Path) -> dict:
    """Write the package into an empty directory; returns the content of its ``package.json``.

    ``accelerator.v`` is the file that simulation runs.
    """
    made_for.check(board)
    if made_for.source == "kernel" and plan.bus_bytes > DATA_BYTES:
        raise UserError(f"--bus-bytes must be at most {DATA_BYTES} for {made_for.name}, not {plan.bus_bytes}")
    manifest = generate.write(network, plan, directory)
    around = {"axi": Core, "kernel": Kernel}[made_for.source](interface(manifest), manifest)
    verilog.emit(around, made_for.source, directory, ports=verilog_ports(around))
    contents = Contents(
        board=board,
        manifest=manifest,
        around=around,
        top=f"psahw_{made_for.source}",
        sources=(f"{made_for.source}.v", "accelerator.v"),
        memories=tuple(sorted((path.name for path in directory.glob("*.mem")), key=_numbered)),
        models=(MODELS.name,) if (directory / MODELS.name).is_file() else (),
    )
    for name, text in made_for.files(contents).items():
        (directory / name).parent.mkdir(exist_ok=True)
        (directory / name).write_text(text)
    written = sorted(str(path.relative_to(directory)) for path in directory.rglob("*") if path.is_file())
    content = {
        "generator": f"psahw {version('psahw')}",
        "for": made_for.name,
        "network": network.name,
        "digest": plan.digest,
        "board": board.name,
        "part": contents.part,
        "top": contents.top,
        "clock_hz": plan.clock_hz,
        "frame_interval": plan.frame_interval,
        "sources": list(contents.sources),
        "ports": sorted(verilog_ports(around)),
        "files": sorted([*written, MARKER]),
    }
    (directory / MARKER).write_text(json.dumps(content, indent=2) + "\n")
    return content


def _numbered(name: str):
    stem = name.removesuffix(".mem").rpartition("-")
    return stem[0], int(stem[2]) if stem[2].isdecimal() else -1
