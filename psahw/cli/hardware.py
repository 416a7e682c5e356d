"""``psahw plan`` and ``psahw synth``."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ..display import counted
from ..files import writable_directory, write_whole
from ..network.file import load
from . import output
from .planning import make_plan, plan_options

if TYPE_CHECKING:
    from ..flow.planning import BoardPlan
    from ..flow.synthesis import SynthesisResult

__all__ = ["COMMANDS"]


def _show_plan(planned: "BoardPlan") -> None:
    """Print the stages of a plan, and what limits it."""
    columns, rows, totals = planned.table()
    output.print_table(columns, rows, footer=totals, optional=("size", "buffer"))
    output.print_paragraph(planned.summary)
    tokens = planned.frame_interval // planned.period
    output.print_paragraph(
        f"limited by: {planned.limited_by} (intervals are multiples of {counted(tokens, 'cycle')}, one per token)"
    )


@click.command("plan")
@output.network_argument
@plan_options()
@click.option("--output", "-o", "path", metavar="FILE", help="Write the plan into a file, for --plan.")
@output.json_option
def plan_command(network, path, as_json, **options):
    """Choose an engine and a folding for every layer on a board, and show cadence and cost.

    The plan is the smallest circuit that reaches a frame rate (--fps), or the fastest one that fits. Frame interval
    and latency are exact: simulation measures the same numbers. LUT, FF, DSP and BRAM are estimates, and the clock is
    a target.

    The engine of a layer is a MAC array (mac, or mac:ROWSxCOLUMNS), an adder graph that takes 1, 2, 4 or 8 bits per
    clock cycle (serial, or serial:4), or one that takes a whole vector per clock cycle (parallel). Adder graphs of
    networks that ship are solved already. Others are solved once and kept in the cache; each takes seconds, or
    minutes for matrices like 112 x 256. --engines mac needs none.

    \b
    psahw plan cifar10-psa --board marble
    psahw plan cifar10-psa --board alveo-u250 --fps 100000 --json
    psahw plan cifar10-psa-small --board marble --max-lut 40000 --engines mac,serial
    psahw plan cifar10-psa-small --board marble --engine embed=parallel --engine 'stages.2.*=mac' -o plan.json
    psahw plan cifar10-psa-small --board marble --plan plan.json
    """
    loaded = load(network)
    if path:
        writable_directory(Path(path).parent)
    planned = make_plan(loaded, **options)
    if path:
        write_whole(path, json.dumps(planned.to_dict(), indent=2) + "\n")
    if as_json:
        output.print_json(planned.to_dict())
    else:
        _show_plan(planned)


def _stage_row(stage: dict[str, Any]) -> list:
    """Return a stage's row: resources with their estimates, and the longest path that ends in the stage."""
    path = [stage.get("levels"), stage.get("ps") and stage["ps"] / 1000, stage.get("ps_from")]
    lut, ff, dsp, bram = (stage["resources"][name] for name in ("lut", "ff", "dsp", "bram36"))
    lut_planned, ff_planned = (stage["estimate"] and stage["estimate"][name] for name in ("lut", "ff"))
    return [stage["name"], stage["engine"], lut, lut_planned, ff, ff_planned, dsp, bram, *path]


def _show_synthesised(result: "SynthesisResult") -> None:
    """Print the resources of every stage and of the whole accelerator, and the longest path."""
    columns = ["stage", "engine", "LUT", "planned", "FF", "planned", "DSP", "BRAM36", "levels", "ns", "from"]
    rows = [_stage_row(stage) for stage in result.stages]
    output.print_table(columns, rows, optional=("from", "engine", "planned", "planned"))
    columns, rows = result.table()
    output.print_table(columns, rows, title=f"{result.network} on {result.board}")
    if result.lut_levels:
        output.print_paragraph(
            f"longest path: {result.lut_levels} levels of LUTs, counted; {result.path_ns_estimate:.2f} ns, "
            "estimated (cells of Artix-7's slowest grade, assumed wires)"
        )
    if result.note:
        output.print_paragraph(result.note)


@click.command("synth")
@output.network_argument
@plan_options()
@click.option("--jobs", type=output.COUNT, metavar="N", help="Processes at once; by default one per core.")
@output.json_option
def synth_command(network, jobs, as_json, **options):
    """Synthesise the circuit with Yosys, and show its resources beside the plan's estimate.

    On 7 series it also shows the longest paths.

    This takes minutes. The results of every module are kept in the cache, so that a run that was interrupted
    continues, and another plan has only its new modules synthesised.

    \b
    psahw synth cifar10-psa --board marble --json
    """
    from .. import boards
    from ..flow.synthesis import check_synthesis, synthesise

    loaded = load(network)
    check_synthesis(boards.get(options["board"]))  # before the minutes that planning may take
    planned = make_plan(loaded, **options)
    with output.steps() as shown:
        result = synthesise(loaded, planned, jobs=jobs, step=shown.step, progress=shown.progress)
    if as_json:
        output.print_json(result.to_dict())
    else:
        _show_synthesised(result)


COMMANDS = [plan_command, synth_command]
