"""``psahw run``."""

import contextlib
import json
import tempfile
from pathlib import Path

import click
import numpy as np

from ..errors import CheckFailed, UserError
from ..network import file as networkfile
from ..network import reference
from . import output
from .planning import Baud, make_plan, plan_options
from .simulate import SAMPLE, elaborated, test_images

__all__ = ["COMMANDS"]

SIMULATED = "sim"
SIMULATION_TIMEOUT = 600.0  # seconds: simulations are slow, and lose nothing at the clocks that boards may have
DEFAULT_BAUD = 3_000_000
SHOWN = 20  # files in the table
FRAMES = 64  # that the interval is the mean of
SIMULATED_FRAMES = 4  # each as long as the one before


@contextlib.contextmanager
def _simulated_board(network, directory, board, link):
    """Yields the port of the Verilated board, and its baud rate, if it has one."""
    from ..boards import simulated
    from ..boards.core import AcceleratorInterface
    from ..boards.link.options import WINDOWS, UdpOptions
    from ..sim import board as simulation
    from ..sim import runner

    loaded = runner.load_design(directory)
    if loaded.digest != networkfile.digest(network):
        raise UserError(f"{directory} holds another network, {loaded.network} with digest {loaded.digest[:12]}")
    with tempfile.TemporaryDirectory(prefix="psahw-run-") as folder:
        folder = Path(folder)
        for pattern in ("accelerator*", simulation.building.MODELS, "*.hex"):
            for path in loaded.directory.glob(pattern):
                (folder / path.name).symlink_to(path)
        manifest = json.loads((loaded.directory / "manifest.json").read_text())
        clock_hz, circuit = manifest["clock_hz"], folder / "accelerator.v"
        inside = AcceleratorInterface.from_manifest(
            manifest, board=board, clock_hz=clock_hz, verilog=circuit, window=WINDOWS[link]
        )
        with output.step(f"Verilator: {board} behind its pins"):
            if link == UdpOptions.kind:
                UdpOptions(simulated.IDENTITY).check_clock(clock_hz)
                simulated.write_udp(inside, folder, clock_hz=clock_hz)
                me = simulated.IDENTITY
                baud, line = None, simulation.Udp(clock_hz, me.address, me.port)
            else:
                baud = simulated.write(inside, folder, clock_hz=clock_hz)
                line = simulation.Uart(simulated.CYCLES_PER_BIT)
            simulation.build(folder, line)
        with simulation.running(folder, line) as port:
            yield port, baud


def _written_for(directory: Path) -> dict[str, str]:
    """Board and link of a directory that ``psahw elaborate`` wrote; nothing of one that is the accelerator alone."""
    from ..boards.tools.project import MARKER

    path = directory / MARKER
    if not path.is_file():
        return {}
    try:
        written = json.loads(path.read_text())
        return {"board": written["board"], "link": written["link"]["kind"]}
    except (ValueError, KeyError, TypeError):
        raise UserError(f"{path} is not what psahw elaborate writes; elaborate again") from None


def _choose_simulated(design: str | None, asked: dict[str, str], given: set[str]):
    """The board and the name of the link: those of ``design``, or else what is ``asked`` for. Raises UserError where
    ``given`` options contradict a design, or the board has no such link."""
    from .. import boards
    from ..boards.link.options import check_link

    written = {} if design is None else _written_for(Path(design))
    if design is not None and not written and "board" not in given:
        raise UserError(f"{design} does not say which board it is for: give --board, or what psahw elaborate wrote")
    for name in written.keys() & given:
        if asked[name] != written[name]:
            raise UserError(f"{design} was written for --{name} {written[name]}, not {asked[name]}")
    asked = asked | written
    board = boards.get(asked["board"])
    check_link(board, asked["link"])
    return board, asked["link"]


def _pixels(network, paths, dataset, data, count):
    """(what they are called, images, labels or None, files or None)"""
    from ..host import images

    if not paths:
        return *test_images(network, dataset, data, count or SAMPLE), None
    if dataset is not None or data is not None:
        raise UserError("give either picture files or a data set, not both")
    files = images.find(paths)[:count]
    with output.progress("pictures", len(files)) as advance:
        pixels = images.load(files, (*network.image, network.colours), progress=advance)
    return "files", pixels, None, files


def _classify(device, network, pixels, labels, simulated):
    """Everything that is measured, and the answers."""
    expected = reference.run(network, pixels)
    with output.step("the device measures its frame interval"):
        timing = device.measure(pixels[0], frames=SIMULATED_FRAMES if simulated else FRAMES)
    device.clear_counters()
    with output.progress("images", len(pixels)) as advance:
        answers = device.run(pixels, progress=advance)
    counters = device.counters()
    hello, statistics = device.hello, device.statistics
    count = len(pixels)
    return answers, {
        "network": hello.network,
        "board": hello.board,
        "build": hello.build,
        "images": count,
        "mismatched_logits": int((answers.logits != expected).sum()),
        "mismatched_classes": int((answers.classes != expected.argmax(1)).sum()),
        "accuracy": None if labels is None else 100 * float(np.mean(answers.classes == labels)),
        "clock_hz": hello.clock_hz,
        "fps_device": hello.clock_hz / timing.frame_interval,
        "frame_interval": timing.frame_interval,
        "frame_interval_planned": hello.frame_interval,
        "latency": timing.latency,
        "latency_planned": hello.latency,
        "fps_link": hello.clock_hz * (count - 1) / answers.cycles if answers.cycles else None,
        "fps_host": count / answers.seconds,
        "round_trip_seconds": timing.round_trip,
        "frames_counted": counters["frames"],
        "stage_stalls": counters["stalls"],
        "link_losses": counters["link_losses"],
        "resent": statistics.resent,
        "timeouts": statistics.timeouts,
        "broken_answers": statistics.broken,
        "reported_faults": statistics.reported,
    }


def _show(result, network, files, answers):
    # A simulated UART is as fast as it can be simulated, whatever the board's is.
    at = f" at {result['baud'] / 1e6:g} Mbaud" if result["simulated"] and result["baud"] else ""
    rows = [
        ("wrong logits", result["mismatched_logits"], 0),
        ("wrong classes", result["mismatched_classes"], 0),
        ("frame interval, cycles", result["frame_interval"], float(result["frame_interval_planned"])),
        ("latency, cycles", result["latency"], result["latency_planned"]),
        ("frames a second, the accelerator's own", int(result["fps_device"]), None),
        (f"frames a second over the link{at}", result["fps_link"], None),
    ]
    where = f"{result['board']} at {result['port']}" + (", simulated" if result["simulated"] else "")
    title = f"{result['network']} on {where}: {result['images']} images"
    output.print_table(["", "measured", "expected"], rows, title=title)
    if files is not None:
        shown = zip(files[:SHOWN], answers.classes, answers.logits, strict=False)
        answered = [(str(path), network.classes[index], int(logits[index])) for path, index, logits in shown]
        output.print_table(["picture", "class", "logit"], answered)
        if len(files) > SHOWN:
            click.echo(f"and {len(files) - SHOWN} more; --json has all of them")
    accuracy = "" if result["accuracy"] is None else f"accuracy {result['accuracy']:g} %; "
    kind = " (the simulation's time, not a board's)" if result["simulated"] else ""
    click.echo(
        f"{accuracy}measured here: {result['fps_host']:,.1f} images/s, round trip of one image "
        f"{1e3 * result['round_trip_seconds']:,.1f} ms{kind}; {result['resent']} frames sent again"
    )


def _check_options(given: set[str], port: str) -> None:
    """``given`` are options that do not go with everything."""
    from ..host.udp_port import SCHEME
    from ..sim import building

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
    if simulated:
        building.check_tools()


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
    help=f"Of the board's UART; that of --board, else {DEFAULT_BAUD}.",
)
@click.option("--images", "count", type=click.IntRange(1), metavar="N", help="Only the first N; 100 of a data set.")
@click.option("--dataset", metavar="NAME", help="sample, the default up to 100 images, or cifar10.")
@click.option("--data", metavar="DIR", help="Directory with the data set's official files.")
@click.option(
    "--timeout",
    type=click.FloatRange(0, 3600, min_open=True),
    metavar="S",
    help=f"Seconds to wait for an answer: 1, or {SIMULATION_TIMEOUT:g} simulated, if not given.",
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
    """Classify images on a board, and compare with the integer model.

    IMAGES are files that Pillow reads, or directories of them; without any, test images of a data set are taken.
    Pictures are turned upright, cropped in the middle to the network's proportions and scaled to its size.

    With --port sim there need be no board: its design is run in Verilator, from one UART pin to the other, or with
    --link udp from the PHY of its Ethernet and back, by the very same program that talks to boards. Only then do the
    options of a plan count; --board is otherwise the board that must answer.

    \b
    psahw run cifar10-psa --port /dev/ttyUSB1 holiday/
    psahw run cifar10-psa --port /dev/ttyUSB1 --dataset cifar10 --images 10000 --json
    psahw run cifar10-psa --port udp://192.168.1.50 --dataset cifar10 --images 10000
    psahw run cifar10-psa-small --port sim --images 20
    psahw run cifar10-psa-small --port sim --link udp --images 100
    psahw run cifar10-psa --port sim --design build/marble cat.jpg
    """
    from .. import boards
    from ..host import Accelerator

    network, simulated = networkfile.load(network), port == SIMULATED
    given = {name for name in context.params if context.get_parameter_source(name).name == "COMMANDLINE"}
    _check_options(given & ({*options, "design", "baud", "link"} - {"board"}), port)
    if simulated:
        board, link = _choose_simulated(design, {"board": options["board"], "link": link}, given)
    else:
        board = boards.get(options["board"]) if "board" in given else None
    what, pixels, labels, files = _pixels(network, paths, dataset, data, count)
    with contextlib.ExitStack() as stack:
        if simulated:
            directory = Path(design) if design is not None else elaborated(network, make_plan(network, **options)[1])
            port, baud = stack.enter_context(_simulated_board(network, directory, board.name, link))
        device = Accelerator(
            port,
            baud=baud or (board.baud if board else DEFAULT_BAUD),
            network=network,
            board=board and board.name,
            timeout=timeout or (SIMULATION_TIMEOUT if simulated else 1.0),
        )
        stack.enter_context(device)
        answers, measured = _classify(device, network, pixels, labels, simulated)
    result = {"port": port, "baud": device.baud, "simulated": simulated, "dataset": what, **measured}
    if files is not None:
        result["answers"] = [
            {"file": path, "class": network.classes[index], "class_index": index, "logits": logits}
            for path, index, logits in zip(files, answers.classes.tolist(), answers.logits, strict=True)
        ]
    if as_json:
        output.print_json(result)
    else:
        _show(result, network, files, answers)
    if wrong := result["mismatched_logits"] or result["mismatched_classes"]:
        raise CheckFailed(f"{network.name} on {port}: {wrong} logits or classes differ from the integer model")


COMMANDS = [run_command]
