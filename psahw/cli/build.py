"""``psahw build``."""

import json
from pathlib import Path

import click

from ..errors import CheckFailed, UserError
from ..files import write_whole
from ..network import file as networkfile
from . import output
from .planning import link_options, make_plan, plan_options

__all__ = ["COMMANDS", "RESULT"]

RESULT = "build.json"


def _run(toolchain, directory):
    """Seconds of each step."""
    from ..boards.tools import build

    seconds = {}
    for step in toolchain.steps(directory):
        with output.step(f"{toolchain.title}: {step.name}") as says:
            seconds[step.name] = build.run(directory, step, progress=says)
    return seconds


def _show(result):
    rows = [
        [name, f"{entry['used']:,g}", f"{entry['available']:,g}", f"{100 * entry['used'] / entry['available']:.0f} %"]
        for name, entry in result["used"].items()
        if entry["available"]
    ]
    output.print_table(["", "used", "there are", ""], rows, title=f"{result['network']} on {result['board']}, routed")
    for name, clock in result["clocks"].items():
        reached, wanted = clock["fmax_hz"] / 1e6, clock["constraint_hz"] / 1e6
        click.echo(f"clock {name}: routed {reached:.2f} MHz, constrained to {wanted:.2f} MHz")
    click.echo(f"bitstream {result['bitstream']}")


@click.command("build")
@output.network_argument
@plan_options()
@click.option(
    "--output", "-o", "directory", metavar="DIR", help="Directory to write, or to replace; build/BOARD if not given."
)
@click.option(
    "--toolchain",
    metavar="NAME",
    help="yowasp or native for ECP5 and Gowin, vivado or openxc7 for Xilinx; the first of them that is here.",
)
@click.option(
    "--seed", type=click.IntRange(0, 2**31 - 1), default=1, show_default=True, metavar="N",
    help="Of placement: another one routes to another clock. Vivado takes none.",
)  # fmt: skip
@link_options
@output.json_option
def build_command(network, directory, toolchain, seed, link, address, baud, as_json, **options):
    """Make a board's bitstream; routed clock and utilisation.

    Writes what psahw elaborate writes, runs the board's tools in DIR, and compares the routed clock with the plan's:
    if it is lower, the status is 1. Result in DIR/build.json, logs beside it. ECP5 and Gowin boards need no more than
    pip install -e '.[synth,route]' and minutes; for Xilinx boards Vivado or openXC7 must be here. Without tools the
    project is complete all the same, and the command to run where they are is named.

    \b
    psahw build cifar10-psa-small --board ulx3s-85f
    psahw build cifar10-psa --board marble -o build/marble --toolchain vivado
    psahw build cifar10-psa --board marble --link udp --address 192.168.1.50
    psahw build mine.safetensors --board tangprimer20k --seed 3 -o build/tang --json
    """
    from .. import boards
    from ..boards.link.options import choose_link
    from ..boards.tools import project, toolchains
    from ..boards.tools.whole_directory import whole_directory

    named, network = network, networkfile.load(network)
    link = choose_link(boards.get(options["board"]), link, address, baud)  # before minutes of work
    found, missing = toolchains.choose(boards.get(options["board"]), toolchain)
    directory = Path(directory or Path("build") / options["board"]).resolve()
    with whole_directory(directory, marker=project.MARKER) as fresh:  # may it be written? before minutes of work
        board, made = make_plan(network, link=link, **options)
        with output.step(f"{network.name} for {board.name}: Verilog, constraints, scripts"):
            project.write(board, network, made, fresh, seed=seed, link=link)
    clock = project.clock_for(board, made.clock_hz, link)
    result = {
        "network": network.name,
        "board": board.name,
        "device": made.device.name,
        "directory": directory,
        "toolchain": found and found.name,
        "clock_hz": float(clock.hz),
        "frame_interval": made.frame_interval,
        "fps": made.fps,
        "estimate": made.resources.to_dict(),
        "seed": seed,
        "bitstream": None,
    }
    if found is None:
        commands = list(dict.fromkeys(entry.command for entry in missing))
        if as_json:
            output.print_json(result | {"missing": {m.toolchain: m.reason for m in missing}, "run": commands})
        raise UserError(
            f"no bitstream: {'; '.join(map(str, missing))}. The project is complete: where the tools are, run "
            f"{' or '.join(commands)} in {directory}"
        )
    seconds = _run(found, directory)
    routed = found.read(directory)
    routed_clock = routed.clock(result["clock_hz"])
    fmax, met = routed_clock.fmax_hz, routed_clock.met
    bitstream = directory / found.steps(directory)[-1].products[0]
    result |= routed.to_dict() | {"fmax_hz": fmax, "met": met, "seconds": seconds, "bitstream": bitstream}
    write_whole(directory / RESULT, json.dumps(result, indent=2, default=str) + "\n")
    if as_json:
        output.print_json(result)
    else:
        _show(result)
    if not met:
        raise CheckFailed(
            f"routed to {fmax / 1e6:.2f} MHz, below the plan's {result['clock_hz'] / 1e6:g} MHz: build with "
            f"--clock {int(fmax / 1e6)}e6, or try another --seed"
        )
    if not as_json:
        click.echo(f"{int(made.fps):,} FPS at {result['clock_hz'] / 1e6:g} MHz, which the routed design meets")
        click.echo(f"psahw program {directory}, and then: psahw run {named} {link.host_options}")


COMMANDS = [build_command]
