"""``psahw info``."""

import click

from ..display import counted
from ..errors import UserError
from ..network.file import load, shipped
from ..network.summary import outputs, summarise
from . import output

__all__ = ["COMMANDS"]


def _show_shipped(as_json: bool) -> None:
    """Print the networks that ship with psahw."""
    names = shipped()
    if as_json:
        output.print_json({"networks": names})
        return
    rows = []
    for name in names:
        info = summarise(load(name))
        tested = {images: value for images, value in info["accuracy"].items() if " test " in images}
        accuracy = ", ".join(f"{images} {value:g} %" for images, value in tested.items())
        rows.append([name, info["macs"], info["weights_nonzero"], info["tables"], accuracy])
    columns = ["network", "MAC per frame", "non-zero weights", "tables", "accuracy"]
    output.print_table(columns, rows, title="Networks that ship with psahw")


def _shape(layer: dict) -> str:
    """Return the shape of a layer, as text."""
    if layer["kind"] == "linear":
        return f"{layer['inputs']} -> {layer['outputs']}"
    kind = "shared " if layer["shared"] else ""
    extent = f"{kind}{'x'.join(map(str, layer['kernel']))} of " if layer["kernel"] else ""
    groups = f", {layer['groups']} groups" if layer["groups"] > 1 else ""
    return f"{extent}{counted(layer['inputs'], 'token')}{groups}"


def _show(info: dict) -> None:
    """Print a network's accuracy, layers and tables."""
    height, width, colours = info["image"]
    output.print_line(f"{info['network']}   {height}x{width}x{colours}, {outputs(info)}")
    output.print_line(f"digest {info['digest']}")
    score = "R²" if info["output"] == "values" else "accuracy"
    for name, value in info["accuracy"].items():
        output.print_line(f"{score} {name} {value:g} %")
    keys = ("vectors", "weights", "weights_nonzero", "weight_bits", "macs", "adder_luts")
    output.print_table(
        ["layer", "shape", "vectors", "weights", "non-zero", "bits", "MAC per frame", "adder LUTs*"],
        [[layer["name"], _shape(layer), *(layer[k] for k in keys)] for layer in info["layers"]],
        footer=["total", None, None, *(info[k] for k in keys[1:])],
        optional=("shape", "vectors"),
    )
    output.print_paragraph("* estimated, of a parallel adder graph: one vector per clock cycle, no multipliers")
    output.print_table(
        ["tables", "functions", "distinct", "identity"],
        [[entry[k] for k in ("name", "functions", "distinct", "identity")] for entry in info["functions"]],
        footer=["total", info["tables"], info["tables_distinct"], None],
    )


@click.command()
@click.argument("network", metavar="[NETWORK]", required=False)
@output.json_option
@click.option("--plot", metavar="FILE|DIR",
              help="Draw every learned function: in one picture (.png, .svg or .pdf), or one per layer.")  # fmt: skip
@click.option("--float", "run", metavar="RUN",
              help="Draw the functions of this float run on top, and their grid, in codes.")  # fmt: skip
def info(network, as_json, plot, run):
    """Show layers, weights, operations, tables and accuracy of a network; without NETWORK, list those that ship.

    \b
    psahw info
    psahw info cifar10-psa
    psahw info runs/mine.safetensors --plot functions.png
    psahw info runs/int8/mine.safetensors --float runs/student --plot functions
    psahw info runs/student --plot functions.pdf
    """
    from ..flow.functions import draw_functions, is_run

    if run is not None and plot is None:
        raise UserError("--float needs --plot")
    if network is None:
        if plot is not None:
            raise UserError("--plot needs a network")
        return _show_shipped(as_json)
    if is_run(network):
        if plot is None or run is not None:
            raise UserError(f"{network} is a run directory: with --plot, info draws the functions of its float model")
        draw_functions(None, plot, run=network)
        output.note(f"functions drawn in {plot}")
        if as_json:
            output.print_json({"run": network, "plot": plot})
        return None
    loaded = load(network)
    if plot is not None:
        draw_functions(loaded, plot, run=run)
        output.note(f"functions drawn in {plot}")
    result = summarise(loaded)
    if as_json:
        output.print_json(result)
    else:
        _show(result)


COMMANDS = [info]
