"""Load a bitstream into a board: the command for each tool, and explanations of its error messages."""

import re
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from psahw.errors import UserError
from psahw.quoting import quote

from .. import Board

__all__ = ["TOOLS", "Tool", "choose", "explain"]

_XILINX = ("xc7", "xcup")
UDEV = "https://trabucayre.github.io/openFPGALoader/guide/install.html#udev-rules"

VIVADO_SCRIPT = Path(__file__).with_name("program.tcl")


@dataclass(frozen=True)
class Tool:
    """A program that loads bitstreams.

    Attributes
    ----------
    name
        Name on the command line.
    program
        Name of the executable.
    reason_against
        Returns why the tool cannot program a board, or None if it can. The second argument is true if the bitstream
        goes into the flash memory.
    command
        Returns the command line for a board, a bitstream, whether the bitstream goes into the flash memory, and the
        cable that the user has named, or None.
    """

    name: str
    program: str
    reason_against: Callable[[Board, bool], str | None]
    command: Callable[[Board, Path, bool, str | None], list[str]]


def _loader_reason_against(board: Board, flash: bool) -> str | None:
    return None if board.loader else f"it does not know {board.name}"


def _loader_command(board: Board, bitstream: Path, flash: bool, cable: str | None) -> list[str]:
    options = list(board.loader)
    if cable is not None and "--cable" in options:
        options[options.index("--cable") + 1] = cable
    elif cable is not None:
        options += ["--cable", cable]
    return ["openFPGALoader", *options, *(["--write-flash"] if flash else []), str(bitstream)]


def _vivado_reason_against(board: Board, flash: bool) -> str | None:
    if board.device.family not in _XILINX:
        return f"{board.name} is not Xilinx's"
    return "only openFPGALoader can write the flash memory" if flash else None


def _vivado_command(board: Board, bitstream: Path, flash: bool, cable: str | None) -> list[str]:
    command = ["vivado", "-mode", "batch", "-nojournal", "-nolog", "-notrace", "-source", str(VIVADO_SCRIPT)]
    return [*command, "-tclargs", str(bitstream), board.device.name]


def _openocd_reason_against(board: Board, flash: bool) -> str | None:
    if board.openocd is None:
        return f"it has no configuration for {board.name}"
    return "only openFPGALoader can write the flash memory" if flash else None


def _openocd_command(board: Board, bitstream: Path, flash: bool, cable: str | None) -> list[str]:
    assert board.openocd is not None
    # The braces keep Tcl from interpreting the name. choose() has refused names that contain braces.
    return ["openocd", "-f", board.openocd, "-c", f"init; pld load 0 {{{bitstream}}}; exit"]


TOOLS = {
    tool.name: tool
    for tool in (
        Tool("openfpgaloader", "openFPGALoader", _loader_reason_against, _loader_command),
        Tool("vivado", "vivado", _vivado_reason_against, _vivado_command),
        Tool("openocd", "openocd", _openocd_reason_against, _openocd_command),
    )
}


def choose(
    board: Board, bitstream: Path, *, name: str | None, flash: bool, cable: str | None, installed: bool
) -> Tool:
    """Return the tool that loads a bitstream into a board.

    Tools on the ``PATH`` are preferred, otherwise the first one that can program the board is returned.

    Parameters
    ----------
    board, bitstream
        The board, and the file that is to be loaded.
    name
        A key of `TOOLS`, or None for any tool.
    flash
        True if the bitstream goes into the flash memory, where it outlasts the power supply.
    cable
        Name of the cable for openFPGALoader, or None for the board's own.
    installed
        True if the tool must be on the ``PATH``.

    Raises
    ------
    UserError
        If no tool can do this, or the bitstream's name contains braces, backslashes or line breaks.
    """
    if name is not None and name not in TOOLS:
        raise UserError(f"--tool must be one of {', '.join(TOOLS)}, not {quote(name)}")
    if re.search(r"[{}\\\n]", str(bitstream)):
        raise UserError(
            f"{quote(str(bitstream))}: braces and backslashes in the name would confuse the tools; rename it"
        )
    reasons: list[str] = []
    able: list[Tool] = []
    for tool in TOOLS.values() if name is None else (TOOLS[name],):
        reason = tool.reason_against(board, flash)
        if reason is None and cable is not None and tool.name != "openfpgaloader":
            reason = "only openFPGALoader has --cable"
        if reason is None:
            able.append(tool)
        else:
            reasons.append(f"{tool.program}: {reason}")
    if not able:
        raise UserError(f"no tool can load {board.name}: {'; '.join(reasons)}")
    on_path = [tool for tool in able if shutil.which(tool.program)]
    if installed and not on_path:
        programs = " or ".join(tool.program for tool in able)
        raise UserError(
            f"{programs} is not on the PATH: install it (openFPGALoader is in most distributions, and in OSS CAD "
            "Suite), or print the command with --dry-run and run it on another machine"
        )
    return (on_path or able)[0]


_MEANINGS = (
    (
        # Error codes -4 and -5 of libftdi, ACCESS of libusb.
        r"usb_open\(\) failed|LIBUSB_ERROR_ACCESS|unable to claim|insufficient permissions|Permission denied",
        f"the USB cable was found but may not be opened: install the udev rules ({UDEV}), join their group "
        "(plugdev), unplug it and plug it in again",
    ),
    (
        r"device not found|no device found|There is no current hw_target|No hardware targets? exist"
        r"|unable to open ftdi device|LIBUSB_ERROR_NO(?:T_FOUND|_DEVICE)|cable .*not found",
        "no cable was found: is the board plugged in at its JTAG connector, powered, and free of other programs? "
        "(openFPGALoader --scan-usb lists all cables)",
    ),
    (
        r"No devices? detected on target|JTAG chain|no (?:FPGA|device) detected|Found 0 devices|all ones|all zeroes",
        "the cable was found, but no FPGA answers behind it: is the board powered, and are its JTAG switches set?",
    ),
    (
        r"IDCODE|wrong (?:device|part)|not (?:match|compatible)|does not match",
        "the FPGA on the cable is not the one that the bitstream is for: is it this board?",
    ),
)


def explain(board: Board, tool: Tool, output: str, status: int) -> str:
    """Return one line on why a tool failed.

    Parameters
    ----------
    board, tool
        The board, and the tool that was to program it.
    output
        The text that the tool has printed.
    status
        The tool's exit status.
    """
    for pattern, meaning in _MEANINGS:
        if re.search(pattern, output, re.I):
            return f"{board.name}: {meaning}"
    lines = [line for line in output.split("\n") if line.strip()]
    last_line = ": " + " ".join(lines[-1].split())[:200] if lines else ""
    return f"{board.name}: {tool.program} ended with status {status}{last_line}"
