"""``psahw demo``: the whole flow from a network to a checked circuit, on shipped data or others."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ..display import counted, outputs_named
from ..network.file import load
from . import output
from .data_options import data_options

if TYPE_CHECKING:
    from ..flow.demonstration import DemoResult
    from ..flow.simulation import Cycles

__all__ = ["COMMANDS"]


def _measured(measured: "Cycles", planned: int, irregular_frames: int) -> str:
    """Return a measured number of clock cycles beside the planned one, as text."""
    if measured is None:
        return f"not measured, which takes {counted(irregular_frames + 2, 'image')}; {planned:,} planned"
    values = measured if isinstance(measured, list) else [measured]
    return f"{' to '.join(f'{cycles:,}' for cycles in values)} measured, {planned:,} planned"


def _accuracy(evaluation: dict[str, Any]) -> list[str]:
    """Return the row of a table that says how often the integer model is right, or how much it explains."""
    shipped = evaluation["dataset"] == "the shipped sample"
    count = f"{evaluation['images']:,}"
    of = f"the {count} shipped images" if shipped else f"{count} test images of {evaluation['dataset']}"
    if evaluation["task"] == "values":
        return ["R² of the integer model", f"{100 * evaluation['r2']:.4g} % on {of}"]
    whose = "of the labels of" if evaluation["task"] == "labels" else "of"
    return ["accuracy of the integer model", f"{evaluation['accuracy']:g} % {whose} {of}"]


def _show(result: "DemoResult") -> None:
    """Print the results, and where the files are."""
    plan, simulation, evaluation = result.plan, result.simulation, result.evaluation
    costs = ", ".join(f"{value:,g} {name.upper()}" for name, value in plan.resources.to_dict().items())
    irregular = simulation.settling_frames + simulation.draining_frames
    interval = _measured(simulation.frame_interval, simulation.frame_interval_predicted, irregular)
    latency = _measured(simulation.latency, simulation.latency_predicted, irregular)
    rows = [
        *([] if evaluation is None else [_accuracy(evaluation)]),
        [
            f"wrong {outputs_named(simulation.output)} in simulation",
            f"{simulation.mismatched_logits} in {counted(simulation.images, 'image')}",
        ],
        ["frame interval, cycles", interval],
        ["latency, cycles", latency],
        ["frames per second", f"{int(plan.fps):,} at {plan.clock_hz / 1e6:g} MHz ({plan.clock_note})"],
        ["resources (estimated)", costs],
    ]
    output.print_table(["", f"{result.network} on {plan.board.name}"], rows)
    here = Path.cwd()
    for title, path in (("Verilog  ", result.verilog), ("report   ", result.report)):
        output.print_line(f"{title}{path.relative_to(here) if path.is_relative_to(here) else path}")


@click.command()
@click.argument("network", metavar="[NETWORK]", default="cifar10-psa")
@click.option("--board", "-b", default="marble", show_default=True, metavar="BOARD", help="Board to elaborate for.")
@click.option(
    "--images",
    type=click.IntRange(2, 100),
    default=20,
    show_default=True,
    help="Images to simulate, if there are so many.",
)
@data_options(default=None)
@click.option("--output", "-o", "directory", default="build/demo", show_default=True, metavar="DIR")
@output.json_option
def demo(network, board, images, dataset, data, directory, as_json):
    """Run the whole flow on shipped data: plan, Verilog, simulation against the integer model, HTML page.

    A network for other data needs --dataset; random bytes fit every network. DIR holds the board's project in
    verilog/, report.html, and plan and results as JSON.

    \b
    psahw demo
    psahw demo mine.safetensors --board kc705 --images 100 -o build/mine
    psahw demo mnist-psa --dataset mnist
    psahw demo signs.safetensors --dataset photos/signs
    psahw demo dry-bean-psa --dataset random
    """
    from ..flow.demonstration import demo as run_demo

    loaded = load(network)
    with output.steps() as shown:
        result = run_demo(
            loaded,
            directory,
            board=board,
            images=images,
            dataset=dataset,
            data=data,
            step=shown.step,
            progress=shown.progress,
            log=output.note,
        )
    if as_json:
        output.print_json(result.to_dict())
    else:
        _show(result)
    result.check()


COMMANDS = [demo]
