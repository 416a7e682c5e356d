"""``psahw program``."""

import shlex

import click

from .. import boards
from . import output

__all__ = ["COMMANDS"]


@click.command("program")
@click.argument("source", metavar="DIR|BITSTREAM")
@click.option("--board", "-b", metavar="BOARD", help="The board, which only a bitstream file needs.")
@click.option("--tool", metavar="NAME", help="openfpgaloader, vivado or openocd; by default the first installed.")
@click.option("--cable", metavar="NAME", help="openFPGALoader's name of the cable, if it is not the board's own.")
@click.option("--flash", is_flag=True, help="Write the flash memory, so that the design outlives a power-off.")
@click.option("--dry-run", is_flag=True, help="Print the command, and run nothing.")
@output.json_option
def program_command(source, board, tool, cable, flash, dry_run, as_json):
    """Load a bitstream into a board.

    DIR is a directory that psahw build wrote, or one that psahw elaborate wrote and whose script has made a
    bitstream. A missing tool, cable or permission is explained.

    \b
    psahw program build/ulx3s-85f
    psahw program build/ulx3s-85f --flash
    psahw program top.bit --board kc705 --tool vivado --dry-run
    """
    from ..flow.programming import program

    with output.steps() as shown:
        result = program(
            source,
            board=board,
            tool=tool,
            cable=cable,
            flash=flash,
            dry_run=dry_run,
            step=shown.step,
            log=output.note,
        )
    if as_json:
        output.print_json(result.to_dict())
    elif dry_run:
        output.print_line(shlex.join(result.command))
    else:
        output.print_line(f"{boards.get(result.board).title} runs {result.bitstream}")


COMMANDS = [program_command]
