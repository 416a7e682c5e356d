"""``psahw report``."""

import click

from ..errors import UserError
from ..network.file import load
from . import output

__all__ = ["COMMANDS"]


@click.command()
@output.network_argument
@click.option("--board", "-b", metavar="BOARD", help="Plan for this board with MAC arrays, as fast as fits.")
@click.option("--plan", "plan_path", metavar="FILE", help="Result of psahw plan --json, in place of --board.")
@click.option("--simulation", metavar="FILE", help="Result of psahw simulate --json.")
@click.option("--evaluation", metavar="FILE", help="Result of psahw evaluate --json.")
@click.option("--synth", metavar="FILE", help="Result of psahw synth --json.")
@click.option(
    "--run", "runs", metavar="DIR", multiple=True, help="Training curves of this run directory; repeatable."
)
@click.option("--frontier", metavar="FILE", multiple=True,
              help="Compare with this network, as psahw frontier does; repeatable.")  # fmt: skip
@click.option("--output", "-o", "path", metavar="FILE", help="The page; by default the network's name with .html.")
@output.json_option
def report(network, board, plan_path, simulation, evaluation, synth, runs, frontier, path, as_json):
    """Write one HTML page: pipeline, costs, functions, accuracy, comparison, training curves.

    The page needs no other file. With --evaluation it has figures of each class, value or label, the confusion matrix
    or residual plots, and the worst errors with their images. It names the results that were not given, and the
    commands that make them.

    \b
    psahw report cifar10-psa --board marble -o report.html
    psahw plan cifar10-psa --board marble --engines mac --json > plan.json
    psahw simulate cifar10-psa --engines mac --images 100 --json > simulation.json
    psahw report cifar10-psa --plan plan.json --simulation simulation.json
    psahw report runs/w5/w5.safetensors --run runs/student --run runs/w5 --frontier cifar10-psa
    """
    from ..flow.reporting import write_report

    if board is not None and plan_path is not None:
        raise UserError("--board and --plan exclude each other")
    loaded = load(network)
    planned = plan_path
    if board is not None:
        from ..flow.planning import plan

        planned = plan(loaded, board, engines="mac")
    result = write_report(
        loaded,
        path,
        plan=planned,
        simulation=simulation,
        evaluation=evaluation,
        synth=synth,
        runs=runs,
        frontier=frontier,
        name=network,
    )
    if as_json:
        output.print_json(result.to_dict())
    else:
        output.print_line(result.page)


COMMANDS = [report]
