"""The measured accuracy of a network: figures of each class, value or label, confusions, residuals, worst errors."""

from collections.abc import Mapping, Sequence
from typing import Any

from ..display import counted
from .chart import Series, chart
from .confusion import confusion_picture
from .elements import mark, table
from .markup import Markup, join, tag

__all__ = ["measured", "worst_errors"]

Result = Mapping[str, Any]

_MOST_ROWS = 40  # classes, values or labels in a table
_MOST_CELLS = 16  # values of a row


def measured(info: Result, evaluation: Result) -> Markup:
    """Return an evaluation in words and figures, with its confusion matrix or residuals.

    Parameters
    ----------
    info
        Summary of the network.
    evaluation
        What ``psahw evaluate --json`` prints, see `psahw.report.results.Evaluation`.
    """
    images = f"{counted(evaluation['images'], 'image')} of {evaluation['dataset']}"
    task = evaluation.get("task", "class")
    if task == "values":
        share = f"{100 * evaluation['r2']:.2f} %"
        text = f"R², the share of the variance that the integer model explains, is {share} for {images} "
        return join(tag("p", text, mark("measured")), _values(evaluation["values"]), _residuals(evaluation))
    correct, share = f"{evaluation['correct']:,}", f"{evaluation['accuracy']:.2f} %"
    if task == "labels":
        text = f"{share} of all labels are right, and all labels of {correct} of {images} "
        return join(tag("p", text, mark("measured")), _shares("label", evaluation.get("labels") or []))
    text = f"The integer model classifies {correct} of {images} correctly: {share} "
    parts = [_shares("class", evaluation.get("classes") or [])]
    if matrix := evaluation.get("confusion"):
        note = tag("p", "The rows are the true classes, the columns the answers.", class_="soft")
        parts.insert(0, tag("div", note, confusion_picture(matrix, info["classes"])))
    return join(tag("p", text, mark("measured")), tag("div", *parts, class_="beside"))


def _shares(word: str, outputs: Sequence[Result]) -> Markup | None:
    """Return precision and recall of each class or label, or of those with the lowest recall if there are many."""
    if not outputs:
        return None
    shown = _chosen(outputs, lambda one: 101 if one.get("recall") is None else one["recall"])
    rows = [[one["name"], one.get("images"), one.get("precision"), one.get("recall")] for one in shown]
    note = _omission(len(outputs), word, "recall is lowest")
    return tag("div", note, table([word, "images", "precision, %", "recall, %"], rows))


def _values(outputs: Sequence[Result]) -> Markup:
    """Return the errors of each value, or of those that are explained least if there are many."""
    shown = _chosen(outputs, lambda one: 2 if one.get("r2") is None else one["r2"])
    rows = [
        [one["name"], *(Markup("–" if one.get(key) is None else f"{one[key]:.4g}") for key in ("rmse", "mae", "r2"))]
        for one in shown
    ]
    return join(_omission(len(outputs), "value", "R² is lowest"), table(["value", "RMSE", "MAE", "R²"], rows))


def _chosen(outputs: Sequence[Result], key: Any) -> Sequence[Result]:
    """Return all outputs if a table has room for them, else those with the least key."""
    return outputs if len(outputs) <= _MOST_ROWS else sorted(outputs, key=key)[:_MOST_ROWS]


def _omission(count: int, word: str, which: str) -> Markup | None:
    """Return a note that a table does not have all outputs, or None if it has."""
    if count <= _MOST_ROWS:
        return None
    return tag("p", f"Of {counted(count, word, word + ('es' if word == 'class' else 's'))}, the {_MOST_ROWS} whose "
               f"{which}.", class_="soft")  # fmt: skip


def _residuals(evaluation: Result) -> Markup | None:
    """Return two charts for each value: predicted values, and their errors, over the right ones."""
    residuals = evaluation.get("residuals") or []
    if not residuals:
        return None
    count, images = len(evaluation["values"]), len(residuals[0]["right"])
    text = f"Predicted values, and how far they are from the right ones, for {counted(images, 'image')}."
    if count > len(residuals):
        text += f" Of {count:,} values, the {len(residuals)} with the largest errors are drawn."
    charts = [picture for one in residuals for picture in _charts(one)]
    return join(tag("h3", "Residuals"), tag("p", text, class_="soft"), tag("div", *charts, class_="places"))


def _charts(residuals: Result) -> list[Markup]:
    """Return the charts of one value."""
    name, right, predicted = residuals["name"], residuals["right"], residuals["predicted"]
    errors = [answer - truth for truth, answer in zip(right, predicted, strict=True)]
    low, high = min(right), max(right)

    def draw(y: str, values: Sequence[float], ends: tuple[float, float]) -> Markup:
        points = Series(name, list(zip(right, values, strict=True)), line=False, cloud=True)
        exact = Series("no error", [(low, ends[0]), (high, ends[1])])
        return tag("div", chart([points, exact], x="right", y=y))

    return [draw("predicted", predicted, (low, high)), draw("predicted - right", errors, (0, 0))]


def worst_errors(evaluation: Result) -> Markup | None:
    """Return the worst errors: pictures with captions, or rows; None if the evaluation has none."""
    errors = evaluation.get("worst") or []
    if not errors:
        return None
    heading = tag("h3", "Worst errors")
    parts = []
    if pictures := [error for error in errors if error.get("image")]:
        parts.append(tag("div", *map(_figure, pictures), class_="errors"))
    if rows := [error for error in errors if not error.get("image")]:
        cells = [
            [error["index"], *map(_answer, (error["right"], error["answer"])), _cells(error.get("row") or [])]
            for error in rows
        ]
        parts.append(table(["row", "right", "answer", "input"], cells))
    return join(heading, *parts)


def _figure(error: Result) -> Markup:
    """Return a picture with its number, the right answer and the one that was given."""
    right, answer = error["right"], error["answer"]
    if isinstance(right, str):
        answers = [f"right: {right}", f"answer: {answer}"]
    else:
        answers = [f"{name}: right {_number(right[name])}, answer {_number(answer.get(name))}" for name in right]
    image = tag("img", src=f"data:image/png;base64,{error['image']}", alt=f"image {error['index']}")
    lines = [f"image {error['index']:,}", *answers]
    return tag("figure", image, tag("figcaption", *(tag("div", line) for line in lines)))


def _answer(answer: str | Mapping[str, Any]) -> str:
    """Return names of classes as they are, and values and labels with their names."""
    if isinstance(answer, str):
        return answer
    return ", ".join(f"{name} {_number(value)}" for name, value in answer.items())


def _number(value: object) -> str:
    """Return a number or whether a label is given as short text."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "–" if value is None else f"{value:.5g}"


def _cells(row: Sequence[int] | Mapping[str, Any]) -> str:
    """Return the first values of a row as text."""
    if isinstance(row, Mapping):
        texts = [f"{name} {_number(value)}" for name, value in row.items()]
    else:
        texts = [str(value) for value in row]
    more = f", and {len(texts) - _MOST_CELLS} more" if len(texts) > _MOST_CELLS else ""
    return ", ".join(texts[:_MOST_CELLS]) + more
