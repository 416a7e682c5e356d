"""``psahw plan`` and ``psahw synth``."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ..display import counted
from ..errors import UserError
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
    from ..synthesis.static_timing import GRADES

    clock = planned.clock
    if clock.highest_hz is None:
        command = "synth estimates" if planned.device.family in GRADES else "build tells"
        output.note(f"the clock is a request: psahw {command} which clock the circuit supports, in minutes")
    elif not clock.supports(planned.clock_hz):
        cause = f" ({clock.cause})" if clock.cause else ""
        output.note(
            f"the circuit does not support {planned.clock_hz / 1e6:g} MHz: {clock.how} "
            f"{clock.highest_hz / 1e6:.0f} MHz{cause}; plan with --clock auto, or with a lower --clock"
        )


@click.command("plan")
@output.network_argument
@plan_options()
@click.option("--output", "-o", "path", metavar="FILE", help="Write the plan into a file, for --plan.")
@output.json_option
def plan_command(network, path, as_json, **options):
    """Choose an engine and a folding for every layer on a board, and show cadence and cost.

    The plan is the smallest circuit that reaches a frame rate (--fps), or the fastest one that fits. Frame interval
    and latency are exact: simulation measures the same numbers. LUT, FF, DSP and BRAM are estimates. The clock is a
    request until psahw synth has estimated it or psahw build has routed the circuit. With --clock auto the plan is
    synthesised, which takes minutes, and gets the highest clock that the estimate supports.

    The engine of a layer is a MAC array (mac, or mac:ROWSxCOLUMNS), an adder graph that takes 1 to 8 bits per clock
    cycle (serial, or serial:4), or one that takes a whole vector per clock cycle (parallel, or parallel:2 for
    two additions between registers instead of as many as the clock permits). Adder graphs of networks that ship are
    solved already. Others are solved once and kept in the cache; each takes seconds, or minutes for matrices like
    112 x 256. --engines mac needs none.

    \b
    psahw plan cifar10-psa --board marble
    psahw plan cifar10-psa --board alveo-u250 --fps 100000 --json
    psahw plan cifar10-psa-small --board marble --max-lut 40000 --engines mac,serial
    psahw plan cifar10-psa-small --board marble --engine embed=parallel --engine 'stages.2.*=mac' -o plan.json
    psahw plan cifar10-psa-small --board marble --plan plan.json
    psahw plan cifar10-psa-small --board marble --clock auto
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
    path = [stage.get(name) for name in ("path_ns", "slack_ns", "cause", "path_from")]
    lut, ff, dsp, bram = (stage["resources"][name] for name in ("lut", "ff", "dsp", "bram36"))
    lut_planned, ff_planned = (stage["estimate"] and stage["estimate"][name] for name in ("lut", "ff"))
    return [stage["name"], stage["engine"], lut, lut_planned, ff, ff_planned, dsp, bram, *path]


def _show_synthesised(result: "SynthesisResult") -> None:
    """Print the resources of every stage and of the whole accelerator, and the longest path."""
    columns = ["stage", "engine", "LUT", "planned", "FF", "planned", "DSP", "BRAM36", "ns", "slack", "cause", "from"]
    rows = [_stage_row(stage) for stage in result.stages]
    output.print_table(columns, rows, optional=("from", "engine", "planned", "planned"))
    columns, rows = result.table()
    output.print_table(columns, rows, title=f"{result.network} on {result.board}")
    timing = result.timing
    output.print_paragraph(
        f"longest path, estimated for speed grade {timing.grade}: {timing.path_ns:.2f} ns ({timing.cause}), and "
        f"{timing.allowance_ns:g} ns for skew and jitter: {timing.slack_ns:+.2f} ns at the planned "
        f"{timing.clock_hz / 1e6:g} MHz; {timing.highest_hz / 1e6:.0f} MHz are supported"
    )
    if result.note:
        output.print_paragraph(result.note)


@click.command("synth")
@output.network_argument
@plan_options()
@click.option("--jobs", type=output.COUNT, metavar="N", help="Processes at once; by default one per core.")
@click.option(
    "--modules",
    "directory",
    metavar="DIR",
    help="In place of the figures, write stages between registers, as netlists for a router elsewhere.",
)
@click.option(
    "--stage", "stages", multiple=True, metavar="NAME", help="With --modules: a stage, or several with wildcards."
)
@output.json_option
def synth_command(network, jobs, directory, stages, as_json, **options):
    """Synthesise the circuit with Yosys, and show its resources beside the plan's estimate.

    It also shows the longest path that ends in each stage, estimated before anything is placed, with its slack at the
    planned clock and its largest part.

    This takes minutes. The results of every module are kept in the cache, so that a run that was interrupted
    continues, and another plan has only its new modules synthesised.

    \b
    psahw synth cifar10-psa --board marble --json
    psahw synth cifar10-psa-small --board marble --modules modules --stage 'stages.1.*'
    """
    from .. import boards
    from ..flow.synthesis import check_synthesis, synthesise
    from ..flow.wrapped_modules import export_modules

    if stages and not directory:
        raise UserError("--stage chooses what --modules writes: give --modules DIR as well")
    if directory:
        writable_directory(directory)

    loaded = load(network)
    check_synthesis(boards.get(options["board"]))  # before the minutes that planning may take
    planned = make_plan(loaded, **options)
    if directory:
        with output.steps() as shown:
            listing = export_modules(
                loaded, planned, directory, stages=stages or ("*",), jobs=jobs, step=shown.step,
                progress=shown.progress,
            )  # fmt: skip
        if as_json:
            output.print_json(listing)
        else:
            output.print_line(f"wrote {counted(len(listing['stages']), 'stage')} below {directory}")
        return
    with output.steps() as shown:
        result = synthesise(loaded, planned, jobs=jobs, step=shown.step, progress=shown.progress)
    if as_json:
        output.print_json(result.to_dict())
    else:
        _show_synthesised(result)


COMMANDS = [plan_command, synth_command]
