"""``psahw run``."""

from typing import TYPE_CHECKING

import click

from ..display import counted
from ..errors import UserError
from ..network.file import load
from ..network.graph import Network
from . import output
from .data_options import data_options
from .planning import Baud, make_plan, plan_options

if TYPE_CHECKING:
    from ..flow.images import LabelledImages
    from ..flow.running import RunResult
    from ..model.datasets.source import Source

__all__ = ["COMMANDS"]

SHOWN = 20  # files in the table


def _show(result: "RunResult") -> None:
    """Print what was measured, and the answers to the first files."""
    columns, rows = result.table()
    output.print_table(columns, rows, title=result.title)
    if result.files is not None:
        columns, rows = result.answer_table(SHOWN)
        output.print_table(columns, rows)
        if len(result.files) > SHOWN:
            output.print_line(f"and {len(result.files) - SHOWN} more; --json has all of them")
    accuracy = "" if result.accuracy is None else f"accuracy {result.accuracy:g} %; "
    kind = " (the simulation's time, not a board's)" if result.simulated else ""
    rate = "not measurable" if result.fps_host is None else f"{result.fps_host:,.1f} images/s"
    output.print_line(
        f"{accuracy}measured by this computer: {rate}, round trip of one image "
        f"{1e3 * result.round_trip_seconds:,.1f} ms{kind}; {counted(result.resent, 'frame')} sent again"
    )


def _check_options(given: set[str], port: str) -> None:
    """Raise UserError for options that do not go with the port, or with each other."""
    from ..flow.running import SIMULATED
    from ..host.udp_port import SCHEME

    simulated = port == SIMULATED
    planned = sorted("engine" if name == "rules" else name for name in given - {"design", "baud", "link"})
    if not simulated and (wrong := [*planned, *(["design"] if "design" in given else [])]):
        raise UserError(f"--{wrong[0].replace('_', '-')} is for --port sim: a board has its circuit already")
    if not simulated and "link" in given:
        raise UserError("--link is for --port sim: --port says how a board is reached")
    if simulated and "baud" in given:
        raise UserError("--baud is for boards: with --port sim it is a quarter of the clock")
    if port.startswith(SCHEME) and "baud" in given:
        raise UserError("--baud is for serial ports")
    if planned and "design" in given:
        raise UserError("--design is a circuit already: it takes none of the options of a plan")


def _images(
    network: Network, paths: tuple[str, ...], dataset: "str | Source | None", data: str | None, count: int | None
) -> "LabelledImages":
    """Return the pictures that are named, or test images.

    Raises UserError if both pictures and a data set are named.
    """
    from ..flow.images import load_test_images, pictures

    if not paths:
        return load_test_images(network, count, dataset=dataset, data=data, log=output.note)
    if dataset is not None or data is not None:
        raise UserError("give either picture files or a data set, not both")
    with output.steps() as shown:
        return pictures(network, paths, count, progress=shown.progress)


@click.command("run")
@output.network_argument
@click.argument("paths", nargs=-1, metavar="[IMAGES]...")
@click.option(
    "--port", "-p", required=True, metavar="PORT", help="/dev/ttyUSB1, udp://ADDRESS, a URL for pyserial, or sim."
)
@click.option(
    "--baud",
    type=Baud(),
    metavar="N",
    help="Bits per second of the board's UART; by default that of --board, or 3000000.",
)
@click.option("--images", "count", type=output.COUNT, metavar="N", help="Only the first N; 100 of a data set.")
@data_options(default=None)
@click.option(
    "--timeout",
    type=click.FloatRange(0, 3600, min_open=True),
    metavar="S",
    help="Seconds to wait for an answer; by default 1, or 600 with --port sim.",
)
@click.option(
    "--link",
    type=click.Choice(["uart", "udp"]),
    default="uart",
    help="With --port sim: how the simulated board is reached, udp on boards that have it; else as --design says.",
)
@click.option("--design", metavar="DIR", help="With --port sim: simulate what psahw elaborate wrote there.")
@plan_options(default_board="marble")
@output.json_option
@click.pass_context
def run_command(context, network, paths, port, baud, count, dataset, data, timeout, link, design, as_json, **options):
    """Send images to a board, and compare its answers with the integer model.

    IMAGES are files that Pillow reads, or directories of them; by default test images of a data set are taken.
    Pictures are turned upright, cropped in the middle to the network's proportions, and scaled to its size.

    With --port sim no board is needed: its design runs in Verilator, from one UART pin to the other, or with --link
    udp from the PHY of its Ethernet and back, and the same program talks to it that talks to boards. Only then do the
    options of a plan count; otherwise --board is the board that must answer.

    \b
    psahw run cifar10-psa --port /dev/ttyUSB1 holiday/
    psahw run cifar10-psa --port /dev/ttyUSB1 --dataset cifar10 --images 10000 --json
    psahw run cifar10-psa --port udp://192.168.1.50 --dataset cifar10 --images 10000
    psahw run cifar10-psa-small --port sim --images 20
    psahw run cifar10-psa-small --port sim --link udp --images 100
    psahw run cifar10-psa --port sim --design build/marble cat.jpg
    """
    from .. import boards
    from ..flow.running import SIMULATED, check_simulated, run

    loaded = load(network)
    given = {name for name in context.params if context.get_parameter_source(name).name == "COMMANDLINE"}
    _check_options(given & ({*options, "design", "baud", "link"} - {"board"}), port)
    board = options["board"] if "board" in given or (port == SIMULATED and design is None) else None
    link = link if "link" in given else None
    if port == SIMULATED:
        check_simulated(design, board, link)
    elif board is not None:
        boards.get(board)
    images = _images(loaded, paths, dataset, data, count)
    circuit = make_plan(loaded, **options) if port == SIMULATED and design is None else design
    with output.steps() as shown:
        result = run(
            loaded,
            port,
            images=images,
            design=circuit,
            board=board,
            link=link,
            baud=baud,
            timeout=timeout,
            step=shown.step,
            progress=shown.progress,
        )
    if as_json:
        output.print_json(result.to_dict())
    else:
        _show(result)
    result.check()


COMMANDS = [run_command]
