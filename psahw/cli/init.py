"""``psahw init``: from a data set to a configuration and the next commands."""

import click

from . import output
from .data_options import data_options
from .planning import BOARD_HELP

__all__ = ["COMMANDS"]


@click.command()
@click.argument("dataset", metavar="NAME|PATH")
@data_options(argument=True)
@click.option("--board", "-b", default="tangprimer20k", show_default=True, metavar="BOARD", help=BOARD_HELP)
@click.option(
    "--fps", type=click.FloatRange(0, 1e12, min_open=True), default=1000, show_default=True, metavar="N",
    help="Frames per second that the circuit must reach.",
)  # fmt: skip
@click.option("--max-lut", type=float, metavar="N", help="Limit of LUTs, if it is below the device's.")
@click.option("-o", "directory", required=True, metavar="DIR", help="Directory to write.")
@output.json_option
def init(dataset, data, board, fps, max_lut, directory, as_json):
    """Look at a data set, and write a configuration of a network for it.

    DIR gets config.toml, with comments, and a picture of the data: a contact sheet, or histograms of the columns.
    The network is the largest of a few usual ones of which the board has room for a circuit. The three commands that
    train, quantise and simulate it are printed, and are in the comments as well.

    \b
    psahw init digits -o digits
    psahw init photos/signs --size 32x32 --board ulx3s-85f --fps 500 -o signs
    psahw init beans.csv --target kind --max-lut 5000 -o beans
    psahw init motor.csv --target torque,speed --task values -o motor
    """
    from ..flow import initialising

    budget = {} if max_lut is None else {"lut": max_lut}
    result = initialising.init(dataset, directory, data=data, board=board, fps=fps, budget=budget, log=output.note)
    if as_json:
        output.print_json(result.to_dict())
        return
    height, width, colours = result.shape
    examples = "rows" if height * width == 1 else "images"
    output.print_line(
        f"{result.dataset}: {result.training:,} {examples} to train on, {result.validation:,} to validate, "
        f"{result.test:,} to test; {height} x {width} x {colours}"
    )
    if result.task == "values":
        ends = [[part.name, f"{part.low:.4g}", f"{part.mean:.4g}", f"{part.high:.4g}"] for part in result.parts]
        output.print_beginning(["value", "least", "mean", "greatest"], ends)
    else:
        rows = [[part.name, part.count, part.share] for part in result.parts]
        output.print_beginning(["class" if result.task == "class" else "label", examples, "%"], rows)
    output.print_line(
        f"wrote {result.picture} and {result.configuration}: {result.kind}, {result.macs:,} multiply-accumulates, "
        f"{result.plan.resources.lut:,.0f} LUTs on {result.plan.where} (estimated)"
    )
    for command in result.commands:
        output.print_line(command)


COMMANDS = [init]
