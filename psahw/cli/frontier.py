"""``psahw frontier``."""

from pathlib import Path

import click

from ..errors import UserError
from . import output

__all__ = ["COMMANDS"]


@click.command()
@click.argument("networks", metavar="NETWORK...", nargs=-1, required=True)
@output.json_option
@click.option("--plot", metavar="FILE", help="Draw accuracy over LUTs (.svg).")
def frontier(networks, as_json, plot):
    """Compare accuracy and estimated LUTs of several networks, and show which of them no other beats.

    The accuracies are those that the files record. Networks are compared by their accuracy on the validation images;
    one that does not record it is only listed. The LUTs are those of parallel adder graphs, which take one vector per
    clock cycle, as in psahw info.

    \b
    psahw frontier cifar10-psa runs/w5/w5.safetensors runs/w4/w4.safetensors
    psahw frontier runs/sweep/w*/w*.safetensors --plot frontier.svg
    """
    from ..flow.frontier import frontier as compare

    if plot is not None and Path(plot).suffix.lower() != ".svg":
        raise UserError(f"--plot: {plot}: the name must end in .svg")
    result = compare(networks)
    if plot is not None:
        result.write_chart(plot)
        output.note(f"frontier drawn in {plot}")
    if as_json:
        output.print_json(result.to_dict())
        return
    output.print_table(*result.table())
    output.print_line("* estimated, of parallel adder graphs: one vector per clock cycle, no multipliers")


COMMANDS = [frontier]
