"""Load a bitstream into a board."""

import os
from dataclasses import dataclass
from pathlib import Path
from subprocess import PIPE, STDOUT
from typing import Any

import msgspec

from .. import boards, documents, processes
from ..callbacks import Log, silent
from ..errors import CheckFailed, UserError
from ..files import real_path
from ..quoting import printable
from .building import RESULT_FILE

__all__ = ["ProgramResult", "program"]

_SUFFIXES = (".bit", ".fs")


@dataclass(frozen=True)
class ProgramResult:
    """A board that was programmed, or the command that would do it.

    Parameters
    ----------
    board
        Name of the board.
    bitstream
        The file.
    tool
        Name of the tool.
    command
        Its command line.
    programmed
        Whether the command was run.
    """

    board: str
    bitstream: Path
    tool: str
    command: tuple[str, ...]
    programmed: bool

    def to_dict(self) -> dict[str, Any]:
        """Return what ``psahw program --json`` prints."""
        return {
            "board": self.board,
            "bitstream": str(self.bitstream),
            "tool": self.tool,
            "command": list(self.command),
            "programmed": self.programmed,
        }


class _Project(msgspec.Struct):
    """The entry of ``project.json`` that matters here."""

    board: str


class _Build(msgspec.Struct):
    """The entries of ``build.json`` that matter here."""

    board: str
    bitstream: str
    met: bool
    fmax_hz: float
    clock_hz: float


_HINT = "build again, or name a bitstream file"


def _elaborated(directory: Path, log: Log) -> tuple[str, Path]:
    """Return board and bitstream of a project whose script was run by hand."""
    from ..boards.tools.project import MARKER, TOP

    project = documents.read(directory / MARKER, _Project, hint=_HINT)
    candidates = (directory / f"{TOP}{suffix}" for suffix in _SUFFIXES)
    bitstream = next((path for path in candidates if path.is_file()), None)
    if bitstream is None:
        raise UserError(f"{directory} has no bitstream yet: run ./build_{TOP}.sh in it, or psahw build")
    log(f"{bitstream} was not made by psahw build: check in the reports of the tools that the clock is met")
    return project.board, bitstream


def _built(directory: Path) -> tuple[str, Path]:
    """Return board and bitstream of a directory that `psahw.build` left. Raises UserError if it misses its clock."""
    build = documents.read(directory / RESULT_FILE, _Build, hint=_HINT)
    bitstream = directory / Path(build.bitstream).name  # the directory may have been moved
    if not build.met:
        raise UserError(
            f"{directory} misses its clock ({build.fmax_hz / 1e6:.2f} of {build.clock_hz / 1e6:g} MHz) and may "
            f"compute wrongly: build it with a lower --clock, or name {bitstream} itself"
        )
    return build.board, bitstream


def _bitstream(source: Path, board: str | None, log: Log) -> tuple[str, Path]:
    """Return board and bitstream of a directory or a file."""
    from ..boards.tools.project import MARKER

    if not source.exists():
        raise UserError(f"{source}: No such file or directory")
    if not source.is_dir():
        if board is None:
            raise UserError(f"{source} does not say which board it is for: give --board")
        return board, source
    if (source / RESULT_FILE).is_file():
        name, bitstream = _built(source)
    elif (source / MARKER).is_file():
        name, bitstream = _elaborated(source, log)
    else:
        raise UserError(f"{source} was not written by psahw build or elaborate; name a bitstream file")
    if board is not None and boards.get(board).name != name:
        raise UserError(f"{source} was built for {printable(name, 80)}, not for {boards.get(board).name}")
    return name, bitstream


def program(
    source: str | os.PathLike,
    *,
    board: str | None = None,
    tool: str | None = None,
    cable: str | None = None,
    flash: bool = False,
    dry_run: bool = False,
    step: Log = silent,
    log: Log = silent,
) -> ProgramResult:
    """Load a bitstream into a board.

    Parameters
    ----------
    source
        A directory that `psahw.build` wrote, one that `psahw.elaborate` wrote and whose script was run, or a
        bitstream file.
    board
        Name of the board, which only a file needs.
    tool
        ``openfpgaloader``, ``vivado`` or ``openocd``; by default the first one that serves the board and is
        installed.
    cable
        openFPGALoader's name of the cable, if it is not the board's own.
    flash
        Write into the flash memory, so that the design outlives a power-off.
    dry_run
        Only choose the command.
    step, log
        Callbacks (see `psahw.flow`).

    Returns
    -------
    ProgramResult
        The bitstream and the command that loads it.

    Raises
    ------
    UserError
        If there is no bitstream, it misses its clock, or no tool serves the board or is installed.
    CheckFailed
        If the tool fails. The message says what its output means.
    """
    from ..boards.tools import program as programmers

    name, bitstream = _bitstream(real_path(source), board, log)
    target = boards.get(name)
    if not bitstream.is_file():
        raise UserError(f"no bitstream {bitstream}: No such file")
    if bitstream.suffix not in _SUFFIXES:
        raise UserError(f"{bitstream} is not a bitstream: its name must end in {' or '.join(_SUFFIXES)}")
    chosen = programmers.choose(target, bitstream, name=tool, flash=flash, cable=cable, installed=not dry_run)
    command = chosen.command(target, bitstream, flash, cable)
    if not dry_run:
        step(f"{chosen.program}: {bitstream.name} into {target.title}")
        finished = processes.run(command, stdout=PIPE, stderr=STDOUT, text=True, errors="replace")
        if finished.returncode:
            raise CheckFailed(programmers.explain(target, chosen, finished.stdout, finished.returncode))
    return ProgramResult(target.name, bitstream, chosen.name, tuple(command), not dry_run)
