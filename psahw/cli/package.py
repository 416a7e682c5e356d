"""``psahw package``."""

import click

from ..network.file import load
from . import output
from .planning import make_plan, plan_options, show_directory

__all__ = ["COMMANDS"]


@click.command("package")
@output.network_argument
@click.option("--for", "tool", required=True, metavar="TOOL", help="vivado, vitis, fusesoc or litex.")
@plan_options(board_required=False)
@click.option("--output", "-o", "directory", required=True, metavar="DIR", help="Directory to write or replace.")
@output.json_option
def package_command(network, tool, directory, as_json, board, **options):
    """Write the accelerator as a part for another design.

    vivado is an IP with AXI4-Stream ports and AXI4-Lite registers, and the script that writes its component.xml;
    fusesoc and litex are the same core with a .core file or a Python module. vitis is a kernel for Alveo cards that
    reads images from memory and writes results into it, with host programs in Python and C++. None of these tools is
    needed now. --board determines device and clock; a Vitis kernel is for alveo-u250. An existing DIR is replaced if
    psahw package wrote it.

    \b
    psahw package cifar10-psa --for vivado --board kc705 -o build/ip
    psahw package cifar10-psa --for vitis -o build/kernel
    psahw package cifar10-psa-small --for litex --board ulx3s-85f --fps 100 -o build/litex
    """
    from ..flow.packaging import check_package, package, package_target

    target, board = package_target(tool, board)
    loaded = load(network)
    check_package(directory)  # before the minutes that planning may take
    planned = make_plan(loaded, board=board, **options)
    with output.step(f"{loaded.name} as a {target.title} for {board}"):
        result = package(loaded, planned, tool, directory)
    last = (
        f"{loaded.name} as a {target.title}, {planned.clock_hz / 1e6:g} MHz ({planned.clock_note}), "
        f"{int(planned.fps):,} FPS at that clock; {target.next}"
    )
    show_directory(result, result.content["files"], last, as_json)


COMMANDS = [package_command]
