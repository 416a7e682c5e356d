"""``psahw program``."""

import json
import shlex
import subprocess
from pathlib import Path

import click

from ..errors import CheckFailed, UserError
from . import output
from .build import RESULT

__all__ = ["COMMANDS"]

_SUFFIXES = (".bit", ".fs")


def _read(path: Path, **kinds: type) -> list:
    """Entries of a JSON file, of these kinds."""
    try:
        written = json.loads(path.read_text())
        values = [written[name] for name in kinds]
        if not all(map(isinstance, values, kinds.values())):
            raise TypeError
        return values
    except (ValueError, KeyError, TypeError):
        raise UserError(f"{path} is not what psahw writes: build again, or name a bitstream file") from None


def _made_by_hand(directory: Path) -> tuple[str, Path]:
    """Board and bitstream where the script of ``psahw elaborate`` was run; nobody has read the clock it reports."""
    from ..boards.tools.project import MARKER, TOP

    (board,) = _read(directory / MARKER, board=str)
    found = [path for path in (directory / f"{TOP}{suffix}" for suffix in _SUFFIXES) if path.is_file()]
    if not found:
        raise UserError(f"{directory} has no bitstream yet: run ./build_{TOP}.sh in it, or psahw build")
    output.note(f"{found[0]} was not made by psahw build: see in its tools' reports that the clock is met")
    return board, found[0]


def _built(directory: Path) -> tuple[str, Path]:
    """Board and bitstream of what ``psahw build`` left."""
    board, bitstream, met = _read(directory / RESULT, board=str, bitstream=str, met=bool)
    bitstream = directory / Path(bitstream).name
    if not met:
        reached, wanted = (hz / 1e6 for hz in _read(directory / RESULT, fmax_hz=float | int, clock_hz=float | int))
        raise UserError(
            f"{directory} misses its clock ({reached:.2f} of {wanted:g} MHz) and may compute wrongly: build it with "
            f"a lower --clock, or name {bitstream} itself"
        )
    return board, bitstream


def _found(path: Path, board: str | None) -> tuple[str, Path]:
    from ..boards.tools.project import MARKER

    if not path.exists():
        raise UserError(f"{path}: No such file or directory")
    if not path.is_dir():
        if board is None:
            raise UserError(f"{path} does not say which board it is for: give --board")
        return board, path
    if (path / RESULT).is_file():
        name, bitstream = _built(path)
    elif (path / MARKER).is_file():
        name, bitstream = _made_by_hand(path)
    else:
        raise UserError(f"{path} was not written by psahw build or elaborate; name a bitstream file")
    if board is not None and board != name:
        raise UserError(f"{path} was built for {name}, not for {board}")
    return name, bitstream


@click.command("program")
@click.argument("what", metavar="DIR|BITSTREAM")
@click.option("--board", "-b", metavar="BOARD", help="The board; DIR knows its own.")
@click.option("--tool", metavar="NAME", help="openfpgaloader, vivado or openocd; the first of them that is here.")
@click.option("--cable", metavar="NAME", help="openFPGALoader's name of another cable than the board's own.")
@click.option("--flash", is_flag=True, help="Into the flash memory, to stay; else until power-off.")
@click.option("--dry-run", is_flag=True, help="Print the command, run nothing.")
@output.json_option
def program_command(what, board, tool, cable, flash, dry_run, as_json):
    """Load a bitstream into a board.

    DIR is what psahw build wrote, or psahw elaborate, with a bitstream that its script has made. A missing tool,
    cable or permission is explained.

    \b
    psahw program build/ulx3s-85f
    psahw program build/ulx3s-85f --flash
    psahw program top.bit --board kc705 --tool vivado --dry-run
    """
    from .. import boards
    from ..boards.tools import program

    board, bitstream = _found(Path(what).resolve(), board)
    board = boards.get(board)
    if not bitstream.is_file():
        raise UserError(f"no bitstream {bitstream}: No such file")
    if bitstream.suffix not in _SUFFIXES:
        raise UserError(f"{bitstream} is no bitstream: its name must end in {' or '.join(_SUFFIXES)}")
    found = program.choose(board, bitstream, name=tool, flash=flash, cable=cable, installed=not dry_run)
    command = found.command(board, bitstream, flash, cable)
    result = {"board": board.name, "bitstream": bitstream, "tool": found.name, "command": command}
    if not dry_run:
        with output.step(f"{found.program}: {bitstream.name} into {board.title}"):
            done = subprocess.run(
                command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                errors="replace",
            )  # fmt: skip
        if done.returncode:
            raise CheckFailed(program.explain(board, found, done.stdout, done.returncode))
    if as_json:
        output.print_json(result | {"programmed": not dry_run})
    elif dry_run:
        click.echo(shlex.join(command))
    else:
        click.echo(f"{board.title} runs {bitstream}")


COMMANDS = [program_command]
