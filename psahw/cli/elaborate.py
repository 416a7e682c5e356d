"""``psahw elaborate``."""

from pathlib import Path
from shlex import quote

import click

from ..network.file import load
from . import output
from .planning import chosen_link, link_options, make_plan, plan_options, show_directory

__all__ = ["COMMANDS"]


@click.command("elaborate")
@output.network_argument
@plan_options()
@click.option("--output", "-o", "directory", required=True, metavar="DIR", help="Directory to write or replace.")
@link_options
@output.json_option
def elaborate_command(network, directory, link, address, baud, as_json, **options):
    """Write Verilog, constraints and plan for a board.

    DIR then holds all that the board's tools need: top.v and accelerator.v (the file that psahw simulate runs) with
    the contents of its memories, pins and clocks (top.xdc, top.lpf or top.cst), and build_top.sh, the script that
    makes the bitstream with Vivado, or with Yosys and nextpnr for ECP5 and Gowin. These tools are not needed now;
    psahw build runs them. An existing DIR is replaced if psahw wrote it.

    \b
    psahw elaborate cifar10-psa --board marble -o build/marble
    psahw elaborate cifar10-psa --board marble --link udp --address 192.168.1.50 -o build/marble
    """
    from ..flow.elaboration import check_directory, elaborate

    loaded = load(network)
    chosen = chosen_link(options["board"], link, address, baud)
    check_directory(directory)  # before the minutes that planning may take
    planned = make_plan(loaded, link=chosen, **options)
    with output.step(f"{loaded.name} for {planned.board.name}"):
        result = elaborate(loaded, planned, directory)
    script = Path(directory) / f"build_{result.project['top']}.sh"
    last = (
        f"{loaded.name} on {planned.board.title}, {result.clock_hz / 1e6:g} MHz ({planned.clock_note}), "
        f"{int(planned.fps):,} FPS at that clock\n"
        f"next: {quote(str(script))} makes the bitstream, psahw program {quote(directory)} loads it, "
        f"psahw run {quote(network)} {result.link.host_options} uses it"
    )
    show_directory(result, result.project["files"], last, as_json)


COMMANDS = [elaborate_command]
