"""``psahw program``."""

import json
import shlex
import subprocess
import tempfile
from pathlib import Path

import click

from ..errors import CheckFailed, UserError
from . import output
from .build import RESULT

__all__ = ["COMMANDS"]

_SUFFIXES = (".bit", ".fs")


def _built(directory: Path, board: str | None) -> tuple[str, Path]:
    """Board and bitstream of what ``psahw build`` left."""
    path = directory / RESULT
    try:
        result = json.loads(path.read_text())
        name, bitstream, met = result["board"], directory / Path(result["bitstream"]).name, result["met"]
    except OSError as error:
        raise UserError(f"{path}: {error.strerror}: psahw build writes it; or name a bitstream file") from None
    except (ValueError, KeyError, TypeError):
        raise UserError(f"{path} is not what psahw build writes; build again, or name a bitstream file") from None
    if board is not None and board != name:
        raise UserError(f"{directory} was built for {name}, not for {board}")
    if not met:
        reached, wanted = result["fmax_hz"] / 1e6, result["clock_hz"] / 1e6
        raise UserError(
            f"{directory} misses its clock ({reached:.2f} of {wanted:g} MHz) and may compute wrongly: build it with "
            f"a lower --clock, or name {bitstream} itself"
        )
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

    DIR is what psahw build wrote. A missing tool, cable or permission is explained.

    \b
    psahw program build/ulx3s-85f
    psahw program build/ulx3s-85f --flash
    psahw program top.bit --board kc705 --tool vivado --dry-run
    """
    import boards
    from boards import program

    path = Path(what).resolve()
    if path.is_dir():
        board, bitstream = _built(path, board)
    elif board is None:
        raise UserError("a bitstream does not say which board it is for: give --board")
    else:
        bitstream = path
    board = boards.get(board)
    if not bitstream.is_file():
        raise UserError(f"no bitstream {bitstream}: No such file")
    if bitstream.suffix not in _SUFFIXES:
        raise UserError(f"{bitstream} is no bitstream: its name must end in {' or '.join(_SUFFIXES)}")
    found = program.choose(board, bitstream, name=tool, flash=flash, cable=cable, here=not dry_run)
    with tempfile.TemporaryDirectory(prefix="psahw-") as scripts:
        command = found.command(board, bitstream, flash, cable, Path(scripts))
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
