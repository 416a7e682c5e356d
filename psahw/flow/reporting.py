"""Write the HTML page of a network: pipeline, costs, functions, accuracy, comparison and training curves."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from .. import documents
from ..errors import UserError
from ..files import real_path, write_whole
from ..network import samples
from ..network.evaluation import evaluate
from ..network.file import digest, load, shipped
from ..network.frontier import candidates
from ..network.graph import Network
from ..network.summary import summarise
from ..quoting import quote
from .arguments import check_network

__all__ = ["ReportResult", "Source", "fits_samples", "read_result", "write_report"]


class _Result(Protocol):
    """A result of this package."""

    def to_dict(self) -> dict[str, Any]: ...


Source = _Result | Mapping[str, Any] | str | os.PathLike
"""A result of this package, its dictionary, or the file that holds what a command printed with ``--json``."""


@dataclass(frozen=True)
class ReportResult:
    """A page that was written.

    Parameters
    ----------
    network
        Name of the network.
    page
        The file.
    size
        Its bytes.
    """

    network: str
    page: Path
    size: int

    def to_dict(self) -> dict[str, Any]:
        """Return what ``psahw report --json`` prints."""
        return {"network": self.network, "page": str(self.page), "bytes": self.size}


def read_result(kind: str, source: Source | None, network: Network) -> dict[str, Any] | None:
    """Return a result as a dictionary, checked to be complete and to be about this network.

    Parameters
    ----------
    kind
        ``plan``, ``simulation``, ``evaluation`` or ``synth``.
    source
        The result, or None, which is returned as it is.
    network
        The network.

    Raises
    ------
    UserError
        If a file cannot be read, a key that the page needs is missing or of another type, or the result is about
        another network.
    """
    if source is None:
        return None
    from ..report.results import KINDS

    if isinstance(source, str | os.PathLike):
        name = f"{kind}: {source}"
        try:
            value = documents.read(source, dict[str, Any])
        except UserError as error:
            raise UserError(f"{kind}: {error}") from None
    else:
        name = f"{kind}: the result"
        value = dict(source) if isinstance(source, Mapping) else source.to_dict()
    documents.convert(value, KINDS[kind], name)
    if value.get("network", network.name) != network.name:
        raise UserError(f"{name} is about network {quote(value['network'])}, not {network.name!r}")
    if "digest" in value and value["digest"] != digest(network):
        raise UserError(f"{name} is about another network that is called {network.name!r}: the digests differ")
    if kind == "evaluation":
        _check_task(name, value, network)
    return value


def _check_task(name: str, evaluation: dict[str, Any], network: Network) -> None:
    """Raise UserError unless an evaluation is about what a network says: its classes, values or labels."""
    task, count, word = evaluation.get("task", "class"), len(network.classes), network.output.words[0]
    if task != network.output.kind:
        raise UserError(f"{name}: task must be {network.output.kind!r}, as that of the network, not {task!r}")
    for key in ("confusion", "classes", "labels", "values"):
        parts = "rows" if key == "confusion" else "entries"
        if evaluation.get(key) is not None and len(evaluation[key]) != count:
            raise UserError(f"{name}: {key} must have {count} {parts}, one per {word}")


def _check_one_design(
    plan: dict[str, Any] | None, simulation: dict[str, Any] | None, synth: dict[str, Any] | None
) -> None:
    """Raise UserError if the results are of different circuits, because one row must not mix them."""
    if plan is None:
        return
    for kind, result in (("simulation", simulation), ("synth", synth)):
        names = {"board": "board", "frame_interval": "frame_interval", "latency": "latency"}
        if kind == "simulation":
            names |= {"frame_interval": "frame_interval_predicted", "latency": "latency_predicted"}
        for key, name in names.items():
            value = (result or {}).get(name)
            if value is not None and value != plan.get(key, value):
                label = key.replace("_", " ")
                raise UserError(f"{kind}: this is the result of another plan, {label} {value}, not {plan[key]}")


def fits_samples(network: Network) -> bool:
    """Return whether a network takes images like those that ship with psahw, and says one of as many classes."""
    images, _ = samples.load()
    shape = (*network.image, network.colours)
    is_classifier = network.output.kind == "class" and len(network.classes) == len(samples.CLASSES)
    return images.shape[1:] == shape and is_classifier


def _source(network: Network) -> str:
    """Return what commands must be given for a network: its name if it ships, else the usual name of its file."""
    if network.name in shipped() and digest(load(network.name)) == digest(network):
        return network.name
    return f"{network.name}.safetensors"


def write_report(
    network: Network,
    path: str | os.PathLike | None = None,
    *,
    plan: Source | None = None,
    simulation: Source | None = None,
    evaluation: Source | None = None,
    synth: Source | None = None,
    runs: Sequence[str | os.PathLike] = (),
    frontier: Sequence[str | os.PathLike] = (),
    name: str | None = None,
) -> ReportResult:
    """Write the HTML page of a network.

    The page needs no other file. It says which results were not given, and which command makes them. Without an
    evaluation, one on the shipped images is made if the network is for CIFAR-10.

    Parameters
    ----------
    network
        The network.
    path
        The file to write; the network's name with ``.html`` if None.
    plan, simulation, evaluation, synth
        Results of `psahw.plan`, `psahw.simulate`, `psahw.evaluate` and `psahw.synthesise`, their dictionaries, or
        files with what the commands printed with ``--json``.
    runs
        Run directories whose training curves are drawn.
    frontier
        Networks to compare with, by path or name.
    name
        Path or name by which this network is listed among them; its own name if None.

    Returns
    -------
    ReportResult
        The file of the page and its size.

    Raises
    ------
    UserError
        If a result is about another network or another plan, or if a file cannot be read or written.

    Examples
    --------
    >>> planned = psahw.plan(network, "marble", engines="mac")  # doctest: +SKIP
    >>> psahw.write_report(network, "report.html", plan=planned).page  # doctest: +SKIP
    """
    check_network(network)
    from ..report.comparison import is_compared
    from ..report.curves import read_run
    from ..report.functions import table_functions
    from ..report.page import render

    sources = {"plan": plan, "simulation": simulation, "evaluation": evaluation, "synth": synth}
    results = {kind: read_result(kind, source, network) for kind, source in sources.items()}
    _check_one_design(results["plan"], results["simulation"], results["synth"])
    curves = {str(run): read_run(Path(run)) for run in runs}
    compared = [(name or network.name, network), *((str(other), load(other)) for other in frontier)]
    info = summarise(network)
    if results["evaluation"] is None and fits_samples(network) and is_compared(info):
        images, labels = samples.load()
        results["evaluation"] = evaluate(network, images, labels, "the shipped sample")
    html = render(
        info,
        table_functions(network),
        **results,
        runs=curves,
        frontier=candidates(compared) if frontier else None,
        source=name or _source(network),
    )
    target = Path(path or f"{network.name}.html")
    write_whole(target, html)
    return ReportResult(network.name, real_path(target), len(html.encode()))
