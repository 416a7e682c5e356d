"""``psahw elaborate``."""

import click

from ..network import file as networkfile
from . import output
from .planning import link_options, make_plan, plan_options, show_directory

__all__ = ["COMMANDS"]


@click.command("elaborate")
@output.network_argument
@plan_options()
@click.option("--output", "-o", "directory", required=True, metavar="DIR", help="Directory to write, or to replace.")
@link_options
@output.json_option
def elaborate_command(network, directory, link, address, baud, as_json, **options):
    """Write Verilog, constraints and plan for a board.

    DIR then holds all that the board's tools need: top.v and accelerator.v (the file that psahw simulate runs) with
    its memory contents, pins and clocks (top.xdc, top.lpf or top.cst), and a script that makes the bitstream
    (build_top.sh: Vivado, or Yosys and nextpnr for ECP5 and Gowin), which are not needed now; psahw build runs it. An
    existing DIR is replaced if psahw wrote it.

    \b
    psahw elaborate cifar10-psa --board marble -o build/marble
    psahw elaborate cifar10-psa --board marble --link udp --address 192.168.1.50 -o build/marble
    """
    from .. import boards
    from ..boards.link.options import choose_link
    from ..boards.tools import project
    from ..boards.tools.whole_directory import whole_directory

    named, network = network, networkfile.load(network)
    link = choose_link(boards.get(options["board"]), link, address, baud)
    with whole_directory(directory, marker=project.MARKER) as fresh:  # may it be written? before minutes of work
        board, made = make_plan(network, link=link, **options)
        with output.step(f"{network.name} for {board.name}"):
            written = project.write(board, network, made, fresh, link=link)
    last = (
        f"{network.name} on {board.title}, {written['clock']['hz'] / 1e6:g} MHz (target), "
        f"{int(made.fps):,} FPS at that clock\n"
        f"next: ./build_{written['top']}.sh there makes the bitstream, psahw program {directory} loads it, "
        f"psahw run {named} {link.host_options} uses it"
    )
    show_directory(directory, made, written, last, as_json)


COMMANDS = [elaborate_command]
