"""Scores of a network on labelled images, for each of its tasks."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from . import reference
from .graph import Network, Output
from .mistakes import Raw, mistakes

__all__ = ["evaluate", "explained", "predictions", "score"]


def predictions(output: Output, codes: np.ndarray) -> np.ndarray:
    """Return what outputs stand for.

    Parameters
    ----------
    output
        Their meaning.
    codes
        Integers of shape (images, outputs).

    Returns
    -------
    numpy.ndarray
        Class numbers (images,); real numbers (images, outputs) for values; or booleans (images, outputs) for labels.
    """
    if output.kind == "class":
        classes: np.ndarray = codes.argmax(1)
        return classes
    if output.kind == "labels":
        return codes > 0
    return codes * np.array(output.scale) + np.array(output.offset)


def explained(values: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Return the share of the variance that predictions explain (R²) for each output, at most 1.

    It is the coefficient of determination, 1 - sum (right - value)² / sum (right - mean)². Where the right values do
    not vary, it is 1 if all predictions are right, and otherwise 0.

    Parameters
    ----------
    values, right
        Predicted and right values, of shape (images, outputs).
    """
    right = right.astype(np.float64)
    error = ((right - values) ** 2).sum(0)
    total = ((right - right.mean(0)) ** 2).sum(0)
    constant = total == 0
    share: np.ndarray = np.where(constant, error == 0, 1 - error / np.where(constant, 1, total))
    return share


def score(
    name: str,
    dataset: str,
    answers: np.ndarray,
    right: np.ndarray,
    names: Sequence[str],
    kind: str = "class",
) -> dict[str, Any]:
    """Return what ``psahw evaluate --json`` prints.

    Parameters
    ----------
    name
        Name of the network.
    dataset
        Name of the images.
    answers
        What the network says, see `predictions`.
    right
        The right classes (images,), values (images, outputs) or labels (images, outputs).
    names
        Names of the classes, values or labels.
    kind
        ``"class"``, ``"values"`` or ``"labels"``.

    Returns
    -------
    dict
        ``network``, ``dataset``, ``task``, ``images`` and:

        - for classes ``correct``, ``accuracy`` in percent, ``confusion``, in which ``confusion[i][j]`` counts the
          images of class i with answer j, and ``classes`` with ``images``, ``precision`` and ``recall`` of each;
        - for labels ``correct``, the images of which all labels are right, ``accuracy``, the labels that are right in
          percent, and ``labels`` with ``images``, ``precision`` and ``recall`` of each;
        - for values ``r2``, the mean of their `explained` variance, and ``values`` with ``rmse``, the root of the
          mean squared error, ``mae``, the mean absolute error, and ``r2`` of each.

        Precision and recall are in percent, or None where nothing is there to count.
    """
    common = {"network": name, "dataset": dataset, "task": kind, "images": len(right)}
    if kind == "values":
        return common | _score_values(answers, right, names)
    if kind == "labels":
        return common | _score_labels(answers, right, names)
    return common | _score_classes(answers, right, names)


def _percent(part: int, whole: int) -> float | None:
    """Return a share in percent, or None of nothing."""
    return 100 * part / whole if whole else None


def _score_classes(answers: np.ndarray, right: np.ndarray, names: Sequence[str]) -> dict[str, Any]:
    confusion = np.zeros((len(names), len(names)), int)
    np.add.at(confusion, (right, answers), 1)
    correct = int((answers == right).sum())
    classes = [
        {
            "name": each,
            "images": int(confusion[index].sum()),
            "precision": _percent(int(confusion[index, index]), int(confusion[:, index].sum())),
            "recall": _percent(int(confusion[index, index]), int(confusion[index].sum())),
        }
        for index, each in enumerate(names)
    ]
    return {
        "correct": correct,
        "accuracy": 100 * correct / len(right),
        "confusion": confusion.tolist(),
        "classes": classes,
    }


def _score_labels(answers: np.ndarray, right: np.ndarray, names: Sequence[str]) -> dict[str, Any]:
    right = right.astype(bool)
    labels = []
    for index, name in enumerate(names):
        both = int((answers[:, index] & right[:, index]).sum())
        labels.append(
            {
                "name": name,
                "images": int(right[:, index].sum()),
                "precision": _percent(both, int(answers[:, index].sum())),
                "recall": _percent(both, int(right[:, index].sum())),
            }
        )
    return {
        "correct": int((answers == right).all(1).sum()),
        "accuracy": 100 * float((answers == right).mean()),
        "labels": labels,
    }


def _score_values(answers: np.ndarray, right: np.ndarray, names: Sequence[str]) -> dict[str, Any]:
    error = answers - right.astype(np.float64)
    share = explained(answers, right)
    values = [
        {
            "name": name,
            "rmse": float(np.sqrt((error[:, index] ** 2).mean())),
            "mae": float(np.abs(error[:, index]).mean()),
            "r2": float(share[index]),
        }
        for index, name in enumerate(names)
    ]
    return {"r2": float(share.mean()), "values": values}


def evaluate(
    network: Network,
    images: np.ndarray,
    labels: np.ndarray,
    dataset: str,
    progress: Callable[[int], None] | None = None,
    raw: Raw | None = None,
) -> dict[str, Any]:
    """Return the `score` of the integer model with its worst errors, see `psahw.network.mistakes.mistakes`.

    Parameters
    ----------
    network
        The network.
    images
        uint8 images of shape (images, height, width, colours).
    labels
        The right classes, values or labels, as for `score`.
    dataset
        Name of the images.
    progress
        Called with the number of images of each finished batch.
    raw
        How bytes become the values of a table's columns, if the images are rows of a table.
    """
    codes = reference.run(network, images, progress=progress)
    output = network.output
    answers = predictions(output, codes)
    scored = score(network.name, dataset, answers, labels, output.names, output.kind)
    return scored | mistakes(output, codes, answers, images, labels, raw)
