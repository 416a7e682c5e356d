"""One HTML page about a network and its circuit, without scripts and without other files."""

from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

from ..network.frontier import Candidate
from . import sections
from .elements import LEGEND, mark, section
from .functions import Functions
from .markup import Markup, join, tag

__all__ = ["render"]


def render(
    info: Mapping[str, Any],
    tables: Mapping[str, Functions],
    *,
    plan: Mapping[str, Any] | None = None,
    simulation: Mapping[str, Any] | None = None,
    evaluation: Mapping[str, Any] | None = None,
    synth: Mapping[str, Any] | None = None,
    runs: Mapping[str, list[dict[str, Any]]] | None = None,
    frontier: Sequence[Candidate] | None = None,
    source: str | None = None,
) -> str:
    """Return the page as HTML.

    Parameters
    ----------
    info
        Summary of the network, from `psahw.network.summary.summarise`.
    tables
        The functions of each table by its name, from `psahw.report.functions.table_functions`.
    plan, simulation, evaluation, synth
        What ``psahw plan``, ``simulate``, ``evaluate`` and ``synth`` print with ``--json``. If one is not given, the
        page names the command that makes it.
    runs
        Epochs of training runs by name, from `psahw.report.curves.read_run`.
    frontier
        Networks to compare with.
    source
        Path or name by which commands find the network; its name if None.
    """
    name = info["network"]
    source = name if source is None else source
    legend = [join(mark(kind), f" {meaning}; ") for kind, meaning in LEGEND.items()]
    body = tag(
        "main",
        tag("h1", name),
        tag(
            "p",
            f"A psahw network with digest {info['digest'][:16]}. Marks: ",
            *legend,
            "unmarked figures are exact counts.",
            class_="soft",
        ),
        sections.cards(info, plan, simulation, evaluation),
        section("Pipeline", sections.pipeline(source, plan, synth)),
        section("Simulation", sections.simulation(info, source, simulation)),
        section("Accuracy", sections.accuracy(info, source, evaluation)),
        section("Comparison", sections.comparison(info, source, plan, simulation, evaluation, synth)),
        section("Network", sections.network(info)),
        section("Frontier", sections.frontier(frontier)) if frontier else None,
        section("Training", sections.training(info, runs)) if runs else None,
        section("Learned functions", sections.functions(tables)),
        tag("footer", tag("p", f"psahw {version('psahw')}")),
    )
    style = Markup((Path(__file__).parent / "style.css").read_text())
    head = tag(
        "head",
        tag("meta", charset="utf-8"),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        tag("title", f"{name} – psahw"),
        tag("style", style),
    )
    return f"<!doctype html>\n{tag('html', head, tag('body', body), lang='en')}\n"
