"""``psahw build``."""

from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING

import click

from ..network.file import load
from . import output
from .planning import chosen_link, link_options, make_plan, plan_options

if TYPE_CHECKING:
    from ..flow.building import BuildResult

__all__ = ["COMMANDS"]


def _show(result: "BuildResult") -> None:
    """Print utilisation and clocks."""
    if result.routed is None:
        return
    rows = [
        [name, f"{used:,g}", f"{available:,g}", f"{100 * used / available:.0f} %"]
        for name, (used, available) in result.routed.used.items()
        if available
    ]
    output.print_table(["", "used", "available", ""], rows, title=f"{result.network} on {result.board}, routed")
    for clock in result.routed.clocks:
        reached, constraint = clock.fmax_hz / 1e6, clock.constraint_hz / 1e6
        output.print_line(f"clock {clock.name}: routed {reached:.2f} MHz, constrained to {constraint:.2f} MHz")
    output.print_line(f"bitstream {result.bitstream}")


@click.command("build")
@output.network_argument
@plan_options()
@click.option(
    "--output", "-o", "directory", metavar="DIR", help="Directory to write or replace; by default build/BOARD."
)
@click.option(
    "--toolchain",
    metavar="NAME",
    help="yowasp or native for ECP5 and Gowin, vivado or openxc7 for Xilinx; by default the first that is installed.",
)
@click.option(
    "--seed", type=click.IntRange(0, 2**31 - 1), default=1, show_default=True, metavar="N",
    help="Seed of placement, on which the routed clock depends. Vivado takes none.",
)  # fmt: skip
@link_options
@output.json_option
def build_command(network, directory, toolchain, seed, link, address, baud, as_json, **options):
    """Make a board's bitstream, and check the routed clock.

    This writes what psahw elaborate writes, runs the board's tools in DIR, and compares the routed clock with the
    plan's: if it is lower, the exit status is 1. The result is in DIR/build.json, and the logs are beside it. For
    ECP5 and Gowin boards, psahw's extras synth and route bring the tools, and a build takes minutes. Xilinx boards
    need Vivado or openXC7. Without tools the project is complete all the same, and the message names the command to
    run where the tools are installed.

    \b
    psahw build cifar10-psa-small --board ulx3s-85f
    psahw build cifar10-psa --board marble -o build/marble --toolchain vivado
    psahw build cifar10-psa --board marble --link udp --address 192.168.1.50
    psahw build mine.safetensors --board tangprimer20k --seed 3 -o build/tang --json
    """
    from .. import boards
    from ..flow.building import build, check_build

    loaded = load(network)
    chosen = chosen_link(options["board"], link, address, baud)
    directory = Path(directory or Path("build") / options["board"])
    check_build(boards.get(options["board"]), directory, toolchain)  # before the minutes that planning may take
    planned = make_plan(loaded, link=chosen, **options)
    with output.steps() as shown:
        result = build(
            loaded, planned, directory, toolchain=toolchain, seed=seed, step=shown.step, status=shown.status
        )
    if as_json:
        output.print_json(result.to_dict())
    else:
        _show(result)
    result.check()
    if not as_json:
        output.print_line(f"{int(result.fps):,} FPS at {result.clock_hz / 1e6:g} MHz, which the routed design meets")
        output.print_line(
            f"psahw program {quote(str(result.directory))}, and then: "
            f"psahw run {quote(network)} {result.link.host_options}"
        )


COMMANDS = [build_command]
