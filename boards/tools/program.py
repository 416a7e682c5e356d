"""Loading a bitstream into a board: the command for each tool, and what its complaints mean."""

import re
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from psahw.errors import UserError

from .. import Board

__all__ = ["TOOLS", "Tool", "choose", "explain"]

_XILINX = ("xc7", "xcup")
UDEV = "https://trabucayre.github.io/openFPGALoader/guide/install.html#udev-rules"

VIVADO_SCRIPT = Path(__file__).with_name("program.tcl")


@dataclass(frozen=True)
class Tool:
    """``serves`` says why the tool cannot do a board, None if it can. ``command`` gets the board, the bitstream,
    whether it should stay after power-off, and the cable if the user names one."""

    name: str
    program: str
    serves: Callable[[Board, bool], str | None]
    command: Callable[[Board, Path, bool, str | None], list[str]]


def _loader_serves(board: Board, flash: bool) -> str | None:
    return None if board.loader else f"it does not know {board.name}"


def _loader_command(board, bitstream, flash, cable):
    options = list(board.loader)
    if cable is not None and "--cable" in options:
        options[options.index("--cable") + 1] = cable
    elif cable is not None:
        options += ["--cable", cable]
    return ["openFPGALoader", *options, *(["--write-flash"] if flash else []), str(bitstream)]


def _vivado_serves(board: Board, flash: bool) -> str | None:
    if board.device.family not in _XILINX:
        return f"{board.name} is not Xilinx's"
    return "only openFPGALoader writes the flash memory here" if flash else None


def _vivado_command(board, bitstream, flash, cable):
    command = ["vivado", "-mode", "batch", "-nojournal", "-nolog", "-notrace", "-source", str(VIVADO_SCRIPT)]
    return [*command, "-tclargs", str(bitstream), board.device.name]


def _openocd_serves(board: Board, flash: bool) -> str | None:
    if board.openocd is None:
        return f"it brings no configuration for {board.name}"
    return "only openFPGALoader writes the flash memory here" if flash else None


def _openocd_command(board, bitstream, flash, cable):
    # Braces keep Tcl from looking into the name; choose() has refused names with braces in them.
    return ["openocd", "-f", board.openocd, "-c", f"init; pld load 0 {{{bitstream}}}; exit"]


TOOLS = {
    tool.name: tool
    for tool in (
        Tool("openfpgaloader", "openFPGALoader", _loader_serves, _loader_command),
        Tool("vivado", "vivado", _vivado_serves, _vivado_command),
        Tool("openocd", "openocd", _openocd_serves, _openocd_command),
    )
}


def choose(board: Board, bitstream: Path, *, name: str | None, flash: bool, cable: str | None, here: bool) -> Tool:
    """The tool of that name, or the first that can do the board; with ``here``, the first that is on the ``PATH``.

    Raises UserError if there is none.
    """
    if name is not None and name not in TOOLS:
        raise UserError(f"--tool must be one of {', '.join(TOOLS)}, not {name!r}")
    if re.search(r"[{}\\\n]", str(bitstream)):
        raise UserError(f"{str(bitstream)!r}: braces and backslashes in the name would confuse the tools; rename it")
    reasons, able = [], []
    for tool in TOOLS.values() if name is None else (TOOLS[name],):
        reason = tool.serves(board, flash)
        if reason is None and cable is not None and tool.name != "openfpgaloader":
            reason = "--cable is openFPGALoader's"
        (able if reason is None else reasons).append(tool if reason is None else f"{tool.program}: {reason}")
    if not able:
        raise UserError(f"nothing can load {board.name}: {'; '.join(reasons)}")
    found = [tool for tool in able if shutil.which(tool.program)]
    if here and not found:
        programs = " or ".join(tool.program for tool in able)
        raise UserError(
            f"{programs} is not on the PATH: install it (openFPGALoader is in most distributions, and in OSS CAD "
            "Suite), or see the command with --dry-run and run it where it is"
        )
    return (found or able)[0]


_MEANINGS = (
    (
        # libftdi's -4 and -5, libusb's ACCESS
        r"usb_open\(\) failed|LIBUSB_ERROR_ACCESS|unable to claim|insufficient permissions|Permission denied",
        f"the USB cable is there but may not be opened: install the udev rules ({UDEV}), join their group (plugdev), "
        "unplug it and plug it in again",
    ),
    (
        r"device not found|no device found|There is no current hw_target|No hardware targets? exist"
        r"|unable to open ftdi device|LIBUSB_ERROR_NO(?:T_FOUND|_DEVICE)|cable .*not found",
        "no cable was found: is the board plugged in at its JTAG connector, powered, and free of other programs? "
        "(openFPGALoader --scan-usb lists what is there)",
    ),
    (
        r"No devices? detected on target|JTAG chain|no (?:FPGA|device) detected|Found 0 devices|all ones|all zeroes",
        "the cable was found, but no FPGA answers behind it: is the board powered, and are its JTAG switches set?",
    ),
    (
        r"IDCODE|wrong (?:device|part)|not (?:match|compatible)|does not match",
        "another FPGA answers than the bitstream is for: is it this board?",
    ),
)


def explain(board: Board, tool: Tool, output: str, status: int) -> str:
    """One line on why a tool failed, from what it printed."""
    for pattern, meaning in _MEANINGS:
        if re.search(pattern, output, re.I):
            return f"{board.name}: {meaning}"
    lines = [line for line in output.split("\n") if line.strip()]
    words = ": " + " ".join(lines[-1].split())[:200] if lines else ""
    return f"{board.name}: {tool.program} ended with status {status}{words}"
