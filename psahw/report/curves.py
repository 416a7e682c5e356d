"""Charts that compare runs and networks: training curves, and accuracy against cost."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from .. import logs
from ..errors import UserError
from ..network.frontier import Candidate
from .chart import Series, chart
from .markup import Markup
from .results import Event

__all__ = ["frontier_chart", "read_run", "training_charts"]


def read_run(directory: str | Path) -> list[dict[str, Any]]:
    """Return the epochs in the log of a run directory, in order.

    An epoch that was trained again after an interruption counts as it was trained last. Raises UserError for a
    directory without a log and for a log without a finished epoch. What a kill has left of a record is left out.

    Returns
    -------
    list of dict
        For each epoch ``epoch``, ``loss``, and ``validation_accuracy`` in percent or None.
    """
    path = Path(directory) / "log.jsonl"
    events = logs.read(path, Event, hint="a run directory has one")
    epochs: dict[int, dict[str, Any]] = {
        event.epoch: {
            "epoch": float(event.epoch), "loss": event.loss, "validation_accuracy": event.validation_accuracy
        }
        for event in events
        if event.event == "epoch" and event.epoch is not None
    }  # fmt: skip
    if not epochs:
        raise UserError(f"{path} has no finished epoch")
    return [epochs[number] for number in sorted(epochs)]


def training_charts(runs: dict[str, list[dict[str, Any]]], score: str = "accuracy") -> list[Markup]:
    """Return charts of loss and of validation accuracy over the epochs, with a line for each run.

    If no run held images out for validation, there is no chart of the accuracy.

    Parameters
    ----------
    runs
        Epochs by the name of the run, as `read_run` returns them.
    score
        What the validation accuracy is called.
    """

    def draw(key: str, name: str) -> list[Markup]:
        points = {run: [(e["epoch"], e[key]) for e in epochs if e[key] is not None] for run, epochs in runs.items()}
        series = [Series(run, places) for run, places in points.items() if places]
        return [chart(series, x="epoch", y=name)] if series else []

    return draw("loss", "loss, training images") + draw("validation_accuracy", f"{score} on validation images, %")


def _series(name: str, networks: Iterable[Candidate], *, line: bool) -> Series:
    """Return the networks as labelled dots, accuracy over LUTs."""
    points, labels = [], []
    for candidate in networks:
        if candidate.validation is not None:
            points.append((float(candidate.luts), candidate.validation))
            labels.append(candidate.network)
    return Series(name, points, line, dots=True, labels=labels)


def frontier_chart(networks: Sequence[Candidate]) -> Markup:
    """Return a chart of validation accuracy over LUTs, in which a line joins the Pareto set.

    Raises ValueError if no network records a validation accuracy.
    """
    judged = [candidate for candidate in networks if candidate.validation is not None and candidate.luts]
    if not judged:
        raise ValueError("no network records its validation accuracy: there is nothing to draw")
    best = [candidate for candidate in judged if candidate.pareto]
    others = [candidate for candidate in judged if not candidate.pareto]
    return chart(
        [_series("Pareto set", best, line=True), _series("others", others, line=False)],
        x="LUTs of parallel adder graphs (estimated)",
        y="accuracy on validation images, %",
        log_x=True,
    )
