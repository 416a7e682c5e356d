"""Accuracy of the integer model on labelled images."""

from collections.abc import Callable

import numpy as np

from . import reference
from .network import Network

__all__ = ["evaluate"]


def evaluate(
    network: Network,
    images: np.ndarray,
    labels: np.ndarray,
    dataset: str,
    progress: Callable[[int], None] | None = None,
) -> dict:
    """What ``psahw evaluate --json`` prints. ``confusion[i][j]`` counts images of class i taken for class j."""
    answers = reference.run(network, images, progress=progress).argmax(1)
    confusion = np.zeros((len(network.classes),) * 2, int)
    np.add.at(confusion, (labels, answers), 1)
    correct = int((answers == labels).sum())
    return {
        "network": network.name,
        "dataset": dataset,
        "images": len(images),
        "correct": correct,
        "accuracy": 100 * correct / len(images),
        "confusion": confusion.tolist(),
    }
