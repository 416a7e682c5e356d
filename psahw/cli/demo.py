"""``psahw demo``: the main job, start to end, on what ships with the package."""

import json
from functools import partial
from pathlib import Path

import click

from ..errors import CheckFailed, UserError
from ..files import writable_directory, write_whole
from ..network import file as networkfile
from ..network import samples
from ..network.evaluation import evaluate
from ..network.summary import summarise
from ..planner import search
from . import output
from .planning import plan_beside

__all__ = ["COMMANDS"]


def _shipped_images(network):
    images, labels = samples.load()
    if images.shape[1:] != (*network.image, network.colours) or len(network.classes) != len(samples.CLASSES):
        wanted = "x".join(map(str, (*network.image, network.colours)))
        raise UserError(f"the demo's images are 32x32x3 in 10 classes; {network.name} takes {wanted}")
    return images, labels


def _simulate(network, verilog, images, labels):
    from ..network import reference
    from ..sim import runner

    design = runner.load_design(verilog)
    with output.step("compile it with Verilator"):
        runner.build(design)
    with output.progress(f"run {len(images)} images through it", len(images), as_step=True) as advance:
        try:
            result = runner.simulate(design, images, reference.run(network, images), labels=labels, progress=advance)
        except RuntimeError as error:
            raise CheckFailed(f"{network.name}: {error}") from error
    return result, runner.problems(result)


def _measured(simulated, key):
    found, planned = simulated[key], simulated[f"{key}_predicted"]
    if found is None:
        needed = simulated["settling_frames"] + 2
        return f"not measured, that needs {needed} images; {planned:,} planned"
    found = " to ".join(f"{n:,}" for n in (found if isinstance(found, list) else [found]))
    return f"{found} measured, {planned:,} planned"


def _show(result):
    made, simulated, evaluated = result["plan"], result["simulation"], result["evaluation"]
    costs = ", ".join(f"{value:,g} {name.upper()}" for name, value in made["resources"].items())
    rows = [
        ["accuracy of the integer model", f"{evaluated['accuracy']:g} % of the {evaluated['images']} shipped images"],
        ["wrong logits in simulation", f"{simulated['mismatched_logits']} in {simulated['images']} images"],
        ["cycles between frames", _measured(simulated, "frame_interval")],
        ["latency, cycles", _measured(simulated, "latency")],
        ["frames a second", f"{int(made['fps']):,} at {made['clock_hz'] / 1e6:g} MHz (target)"],
        ["resources (estimated)", costs],
    ]
    output.print_table(["", f"{result['network']} on {made['board']}"], rows)
    here = Path.cwd()
    for what, path in (("Verilog  ", result["verilog"]), ("report   ", result["report"])):
        click.echo(f"{what}{path.relative_to(here) if path.is_relative_to(here) else path}")


@click.command()
@click.argument("network", metavar="[NETWORK]", default="cifar10-psa")
@click.option("--board", "-b", default="marble", show_default=True, metavar="BOARD", help="Board to elaborate for.")
@click.option(
    "--images", type=click.IntRange(2, 100), default=20, show_default=True, help="Shipped images to simulate."
)
@click.option("--output", "-o", "directory", default="build/demo", show_default=True, metavar="DIR")
@output.json_option
def demo(network, board, images, directory, as_json):
    """The main job on shipped data: plan, Verilog, simulation against the integer model, HTML page.

    DIR holds the board's project in verilog/, report.html, and plan and results as JSON.

    \b
    psahw demo
    psahw demo mine.safetensors --board kc705 --images 100 -o build/mine
    """
    from .. import boards
    from ..boards.link.options import choose_link
    from ..boards.tools import project
    from ..boards.tools.whole_directory import whole_directory
    from ..sim import building
    from .report import page

    building.check_tools()
    network, board = networkfile.load(network), boards.get(board)
    pixels, labels = _shipped_images(network)
    directory = writable_directory(directory).resolve()
    info = summarise(network)
    output.note(
        f"{network.name}: {info['macs'] / 1e6:.2f} M multiply-accumulates a frame, "
        f"{info['weights_nonzero']:,} non-zero weights, {info['tables']:,} tables"
    )
    with output.step(f"integer model on the {len(pixels)} shipped images"):
        evaluated = evaluate(network, pixels, labels, "the shipped sample")
    with output.step(f"plan for {board.title}"):
        bus_bytes = search.widest_bus(network, board.bus_bytes)
        make = partial(search.make, network, board.device, clock_hz=board.clock_hz, bus_bytes=bus_bytes)
        made = plan_beside(choose_link(board), board, make)
    verilog = directory / "verilog"
    with output.step("write Verilog and constraints"), whole_directory(verilog, marker=project.MARKER) as fresh:
        project.write(board, network, made, fresh)
    simulated, problems = _simulate(network, verilog, pixels[:images], labels[:images])
    result = {
        "network": network.name,
        "plan": {"network": network.name, "board": board.name} | made.to_dict(),
        "evaluation": evaluated,
        "simulation": simulated,
    }
    with output.step("draw the report"):
        html = page(network, plan=result["plan"], simulation=simulated, evaluation=evaluated)
        write_whole(directory / "report.html", html)
        for name in ("plan", "evaluation", "simulation"):
            write_whole(directory / f"{name}.json", json.dumps(result[name], indent=2) + "\n")
    result |= {"verilog": verilog, "report": Path(directory / "report.html")}
    if as_json:
        output.print_json(result)
    else:
        _show(result)
    if problems:
        raise CheckFailed(f"{network.name}: {'; '.join(problems)}")


COMMANDS = [demo]
