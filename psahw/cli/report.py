"""``psahw report``."""

import json
from pathlib import Path

import click

from ..errors import UserError
from ..files import write_whole
from ..network import file as networkfile
from ..network import samples
from ..network.evaluation import evaluate
from ..network.frontier import candidates
from ..network.summary import summarise
from ..report.curves import read_run
from . import output

__all__ = ["COMMANDS", "page"]

_NEEDED = {  # what the page reads of each kind of result
    "plan": ("frame_interval", "fps", "latency", "clock_hz", "resources", "limits", "stages"),
    "simulation": ("images", "mismatched_logits", "mismatched_classes", "frame_interval", "frame_interval_predicted"),
    "evaluation": ("images", "correct", "accuracy", "dataset"),
    "synth": ("resources",),
}


def _read(kind: str, path: str | None, network: str, digest: str) -> dict | None:
    """The result that a command printed with --json, checked to be one, and to be about this network."""
    if path is None:
        return None
    try:
        value = json.loads(Path(path).read_text())
    except OSError as error:
        raise UserError(f"--{kind}: cannot read {path}: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        raise UserError(f"--{kind}: {path} must be JSON: {error}") from error
    if not isinstance(value, dict) or any(key not in value for key in _NEEDED[kind]):
        raise UserError(f"--{kind}: {path} must be a {kind} result, with {', '.join(_NEEDED[kind])}")
    if value.get("network", network) != network:
        raise UserError(f"--{kind}: {path} is about network {value['network']!r}, not {network!r}")
    if value.get("digest", digest) != digest:
        raise UserError(f"--{kind}: {path} is about another network called {network!r}: its digest is another")
    return value


def _check_one_design(plan: dict | None, simulation: dict | None, synth: dict | None) -> None:
    """Raises UserError if the results are of different circuits: one row must not mix them."""
    if plan is None:
        return
    for kind, result in (("simulation", simulation), ("synth", synth)):
        found = {"board": "board", "frame_interval": "frame_interval", "latency": "latency"}
        if kind == "simulation":
            found |= {"frame_interval": "frame_interval_predicted", "latency": "latency_predicted"}
        for key, name in found.items():
            value = (result or {}).get(name)
            if value is not None and value != plan.get(key, value):
                what = key.replace("_", " ")
                raise UserError(f"--{kind}: it is of another plan, {what} {value}; the plan's is {plan[key]}")


def _sample(network) -> dict | None:
    """An evaluation on the shipped images, if they are of the network's kind."""
    images, labels = samples.load()
    if images.shape[1:] != (*network.image, network.colours) or len(network.classes) != len(samples.CLASSES):
        return None
    return evaluate(network, images, labels, "the shipped sample")


def page(network, *, plan=None, simulation=None, evaluation=None, synth=None, runs=None, frontier=None) -> str:
    """The page of a loaded network; without an evaluation, one on the shipped images is made."""
    from ..report.page import render

    tables = {name: table.values for name, table, _ in network.tables()}
    return render(
        summarise(network),
        tables,
        plan=plan,
        simulation=simulation,
        evaluation=evaluation or _sample(network),
        synth=synth,
        runs=runs,
        frontier=frontier,
    )


@click.command()
@output.network_argument
@click.option("--board", "-b", metavar="BOARD", help="Plan for this board, as fast as fits.")
@click.option("--plan", "plan_path", metavar="FILE", help="Result of psahw plan --json, in place of --board.")
@click.option("--simulation", "simulation_path", metavar="FILE", help="Result of psahw simulate --json.")
@click.option("--evaluation", "evaluation_path", metavar="FILE", help="Result of psahw evaluate --json.")
@click.option("--synth", "synth_path", metavar="FILE", help="Result of psahw synth --json.")
@click.option(
    "--run", "runs", metavar="DIR", multiple=True, help="Training curves of this run directory; repeatable."
)
@click.option("--frontier", "others", metavar="FILE", multiple=True,
              help="Compare with this network, as psahw frontier does; repeatable.")  # fmt: skip
@click.option("--output", "-o", "path", metavar="FILE", help="The page; NETWORK's name with .html if not given.")
@output.json_option
def report(network, board, plan_path, simulation_path, evaluation_path, synth_path, runs, others, path, as_json):
    """One HTML page: pipeline, costs, functions, accuracy, comparison, training curves.

    The page needs nothing but itself. What is not given is named on it, with the command that makes it.

    \b
    psahw report cifar10-psa --board marble -o report.html
    psahw plan cifar10-psa --board marble --engines mac --json > plan.json
    psahw simulate cifar10-psa --engines mac --images 100 --json > simulation.json
    psahw report cifar10-psa --plan plan.json --simulation simulation.json
    psahw report runs/w5/w5.safetensors --run runs/student --run runs/w5 --frontier cifar10-psa
    """
    if board is not None and plan_path is not None:
        raise UserError("--board and --plan exclude each other")
    loaded = networkfile.load(network)
    paths = {"simulation": simulation_path, "evaluation": evaluation_path, "synth": synth_path, "plan": plan_path}
    digest = networkfile.digest(loaded)
    results = {kind: _read(kind, given, loaded.name, digest) for kind, given in paths.items()}
    if board is not None:
        from .. import boards
        from ..planner import search

        board = boards.get(board)
        made = search.make(loaded, board.device, clock_hz=board.clock_hz, bus_bytes=board.bus_bytes)
        results["plan"] = {"network": loaded.name, "board": board.name} | made.to_dict()
    _check_one_design(results["plan"], results["simulation"], results["synth"])
    results["runs"] = {str(run): read_run(run) for run in runs}
    if others:
        results["frontier"] = candidates([(network, loaded), *((name, networkfile.load(name)) for name in others)])
    path = Path(path or f"{loaded.name}.html")
    html = page(loaded, **results)
    write_whole(path, html)
    if as_json:
        output.print_json({"network": loaded.name, "page": path.resolve(), "bytes": len(html.encode())})
    else:
        click.echo(path.resolve())


COMMANDS = [report]
