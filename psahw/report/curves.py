"""What several runs and networks have to show beside each other: training curves, accuracy against cost."""

import json
from collections.abc import Sequence
from pathlib import Path

from ..errors import UserError
from ..network.frontier import Candidate
from .chart import Series, chart
from .markup import Markup

__all__ = ["frontier_chart", "read_run", "training_charts"]


def read_run(directory: str | Path) -> list[dict]:
    """The epochs in a run directory's log, in order; of one that was trained again after an interruption the last.
    Raises UserError for a directory without a log or a log without an epoch."""
    path = Path(directory) / "log.jsonl"
    epochs = {}
    try:
        for line in path.read_text().splitlines():
            event = json.loads(line)
            if event["event"] == "epoch":
                judged = event["validation_accuracy"]
                epochs[event["epoch"]] = {
                    "epoch": float(event["epoch"]),
                    "loss": float(event["loss"]),
                    "validation_accuracy": None if judged is None else float(judged),
                }
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror}") from error
    except (ValueError, TypeError, KeyError) as error:
        raise UserError(f"{path} is no log of a run") from error
    if not epochs:
        raise UserError(f"{path} has no finished epoch")
    return [epochs[number] for number in sorted(epochs)]


def training_charts(runs: dict[str, list[dict]]) -> list[Markup]:
    """Loss and validation accuracy over the epochs, a line for each run; without a run that held images out, the loss
    alone."""

    def draw(key: str, name: str) -> list[Markup]:
        points = {run: [(e["epoch"], e[key]) for e in epochs if e[key] is not None] for run, epochs in runs.items()}
        series = [Series(run, places) for run, places in points.items() if places]
        return [chart(series, x="epoch", y=name)] if series else []

    return draw("loss", "loss, training images") + draw("validation_accuracy", "accuracy on validation images, %")


def frontier_chart(found: Sequence[Candidate]) -> Markup:
    """Validation accuracy over LUTs: the Pareto set joined by a line, the others as dots. Raises ValueError if no
    network records an accuracy."""

    def series(name: str, chosen: list[Candidate], line: bool) -> Series:
        points = [(candidate.luts, candidate.validation) for candidate in chosen]
        return Series(name, points, line, dots=True, labels=[candidate.network for candidate in chosen])

    judged = [candidate for candidate in found if candidate.validation is not None and candidate.luts]
    if not judged:
        raise ValueError("no network records its validation accuracy: there is nothing to draw")
    best = [candidate for candidate in judged if candidate.pareto]
    rest = [candidate for candidate in judged if not candidate.pareto]
    return chart(
        [series("Pareto set", best, True), series("others", rest, False)],
        x="LUTs of parallel adder graphs (estimated)",
        y="accuracy on validation images, %",
        log_x=True,
    )
