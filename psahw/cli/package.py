"""``psahw package``."""

import click

from ..errors import UserError
from ..network import file as networkfile
from . import output
from .planning import make_plan, plan_options, show_directory

__all__ = ["COMMANDS"]


@click.command("package")
@output.network_argument
@click.option("--for", "made_for", required=True, metavar="TOOL", help="vivado, vitis, fusesoc or litex.")
@plan_options(board_required=False)
@click.option("--output", "-o", "directory", required=True, metavar="DIR", help="Directory to write, or to replace.")
@output.json_option
def package_command(network, made_for, directory, as_json, board, **options):
    """Write the accelerator as a part for another design.

    vivado is an IP with AXI4-Stream ports and AXI4-Lite registers, and the script that writes its component.xml;
    fusesoc and litex are the same core with a .core file, or a Python module. vitis is a kernel for Alveo cards that
    reads images from memory and writes results into it, with host programs in Python and C++. None of these tools is
    needed now. --board says for which device and clock to plan; a Vitis kernel is for alveo-u250. An existing DIR is
    replaced if psahw package wrote it.

    \b
    psahw package cifar10-psa --for vivado --board kc705 -o build/ip
    psahw package cifar10-psa --for vitis -o build/kernel
    psahw package cifar10-psa-small --for litex --board ulx3s-85f --fps 100 -o build/litex
    """
    from .. import boards
    from ..boards import packages
    from ..boards.tools.whole_directory import whole_directory

    target = packages.target(made_for)
    if board is None and target.boards is None:
        raise UserError(f"--for {target.name} needs --board: {', '.join(boards.BOARDS)}")
    board = board or target.boards[0]
    target.check(boards.get(board))
    network = networkfile.load(network)
    board, made = make_plan(network, board=board, **options)
    with (
        output.step(f"{network.name} as a {target.title} for {board.name}"),
        whole_directory(directory, marker=packages.MARKER) as fresh,
    ):
        written = packages.write(target, board, network, made, fresh)
    last = (
        f"{network.name} as a {target.title}, {made.clock_hz / 1e6:g} MHz (target), "
        f"{int(made.fps):,} FPS at that clock; {target.next}"
    )
    show_directory(directory, made, written, last, as_json)


COMMANDS = [package_command]
