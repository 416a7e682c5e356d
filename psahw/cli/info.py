"""``psahw info``."""

from pathlib import Path

import click

from .. import networkfile
from ..errors import UserError
from ..files import write_whole
from ..summary import summarise
from . import output

__all__ = ["COMMANDS"]


def _listing(as_json):
    names = networkfile.shipped()
    if as_json:
        output.print_json({"networks": names})
        return
    rows = []
    for name in names:
        info = summarise(networkfile.load(name))
        accuracy = ", ".join(f"{k} {v:g} %" for k, v in info["accuracy"].items())
        rows.append([name, info["macs"], info["weights_nonzero"], info["tables"], accuracy])
    columns = ["network", "MAC a frame", "weights", "tables", "accuracy"]
    output.print_table(columns, rows, title="Networks that ship with psahw")


def _shape(layer):
    if layer["kind"] == "linear":
        return f"{layer['inputs']} -> {layer['outputs']}"
    kind = "shared " if layer["shared"] else ""
    extent = f"{kind}{layer['kernel']}x{layer['kernel']} of " if layer["kernel"] else ""
    groups = f", {layer['groups']} groups" if layer["groups"] > 1 else ""
    return f"{extent}{layer['inputs']} tokens{groups}"


def _show(info):
    height, width, colours = info["image"]
    click.echo(f"{info['network']}   {height}x{width}x{colours}, {len(info['classes'])} classes")
    click.echo(f"digest {info['digest']}")
    for name, value in info["accuracy"].items():
        click.echo(f"accuracy {name} {value:g} %")
    keys = ("vectors", "weights", "weights_nonzero", "weight_bits", "macs", "adder_luts")
    output.print_table(
        ["layer", "shape", "vectors", "weights", "non-zero", "bits", "MAC a frame", "adder LUTs*"],
        [[layer["name"], _shape(layer), *(layer[k] for k in keys)] for layer in info["layers"]],
        footer=["total", None, None, *(info[k] for k in keys[1:])],
    )
    click.echo("* estimated, of a parallel adder graph: a vector a clock, no multiplier (docs/training.md)")
    output.print_table(
        ["tables", "functions", "distinct", "identity"],
        [[entry[k] for k in ("name", "functions", "distinct", "identity")] for entry in info["functions"]],
        footer=["total", info["tables"], info["tables_distinct"], None],
    )


@click.command()
@click.argument("network", metavar="[NETWORK]", required=False)
@output.json_option
@click.option("--plot", metavar="FILE", help="Draw every learned function (.png, .svg or .pdf).")
def info(network, as_json, plot):
    """Layers, weights, operations, tables and accuracy of a network; without NETWORK, those that ship.

    \b
    psahw info
    psahw info cifar10-psa
    psahw info runs/mine.safetensors --plot functions.png
    """
    if network is None:
        if plot is not None:
            raise UserError("--plot needs a network")
        return _listing(as_json)
    loaded = networkfile.load(network)
    if plot is not None:
        from ..report.plot import FORMATS, plot_functions

        kind = Path(plot).suffix.removeprefix(".").lower()
        if kind not in FORMATS:
            raise UserError(f"--plot: {plot}: the name must end in .png, .svg or .pdf")
        try:
            picture = plot_functions(loaded, kind)
        except ValueError as error:
            raise UserError(f"--plot: {error}") from error
        write_whole(plot, picture)
        output.note(f"functions drawn in {plot}")
    result = summarise(loaded)
    if as_json:
        output.print_json(result)
    else:
        _show(result)


COMMANDS = [info]
