"""Accuracy of answers on labelled images."""

from collections.abc import Callable

import numpy as np

from . import reference
from .layers import Network

__all__ = ["evaluate", "score"]


def score(name: str, dataset: str, logits: np.ndarray, labels: np.ndarray) -> dict:
    """What ``psahw evaluate --json`` prints. ``confusion[i][j]`` counts images of class i taken for class j."""
    answers, classes = logits.argmax(1), logits.shape[1]
    confusion = np.zeros((classes, classes), int)
    np.add.at(confusion, (labels, answers), 1)
    correct = int((answers == labels).sum())
    return {
        "network": name,
        "dataset": dataset,
        "images": len(labels),
        "correct": correct,
        "accuracy": 100 * correct / len(labels),
        "confusion": confusion.tolist(),
    }


def evaluate(
    network: Network,
    images: np.ndarray,
    labels: np.ndarray,
    dataset: str,
    progress: Callable[[int], None] | None = None,
) -> dict:
    """`score` of the integer model."""
    return score(network.name, dataset, reference.run(network, images, progress=progress), labels)
