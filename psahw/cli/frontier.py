"""``psahw frontier``."""

from pathlib import Path

import click

from ..errors import UserError
from ..files import write_whole
from ..network import file as networkfile
from ..network.frontier import candidates
from . import output

__all__ = ["COMMANDS"]


@click.command()
@click.argument("networks", metavar="NETWORK...", nargs=-1, required=True)
@output.json_option
@click.option("--plot", metavar="FILE", help="Draw accuracy over LUTs (.svg).")
def frontier(networks, as_json, plot):
    """Accuracy against estimated LUTs of several networks, and which of them no other beats.

    The accuracies are those that the files record; the validation images judge, so a network that names none for
    them is listed only. LUTs are of parallel adder graphs, a vector a clock, as in psahw
    info.

    \b
    psahw frontier cifar10-psa runs/w5/w5.safetensors runs/w4/w4.safetensors
    psahw frontier runs/sweep/w*/w*.safetensors --plot frontier.svg
    """
    if plot is not None and Path(plot).suffix.lower() != ".svg":
        raise UserError(f"--plot: {plot}: the name must end in .svg")
    found = candidates([(name, networkfile.load(name)) for name in networks])
    if plot is not None:
        from ..report.chart import standalone
        from ..report.curves import frontier_chart

        try:
            picture = frontier_chart(found)
        except ValueError as error:
            raise UserError(f"--plot: {error}") from error
        write_whole(plot, standalone(picture))
        output.note(f"frontier drawn in {plot}")
    if as_json:
        output.print_json({"networks": [candidate.to_dict() for candidate in found]})
        return
    output.print_table(
        ["network", "LUTs*", "validation", "test", "bits", "non-zero", "MAC a frame", "Pareto", "file"],
        [
            [c.network, c.luts, _percent(c.validation), _percent(c.test), c.weight_bits, c.weights_nonzero, c.macs,
             c.pareto, c.path]
            for c in found
        ],
    )  # fmt: skip
    click.echo("* estimated, of parallel adder graphs: a vector a clock, no multiplier (docs/training.md)")


def _percent(value: float | None) -> str | None:
    return None if value is None else f"{value:.2f} %"


COMMANDS = [frontier]
