"""Accuracy of a network on labelled images."""

from collections.abc import Callable
from typing import Any

import numpy as np

from . import reference
from .graph import Network

__all__ = ["evaluate", "score"]


def score(name: str, dataset: str, logits: np.ndarray, labels: np.ndarray) -> dict[str, Any]:
    """Return what ``psahw evaluate --json`` prints about logits.

    Parameters
    ----------
    name
        Name of the network.
    dataset
        Name of the images.
    logits
        Logits of shape (images, classes). The answer is the class with the greatest logit; of equal ones the first.
    labels
        The right classes, of shape (images,).

    Returns
    -------
    dict
        ``network``, ``dataset``, ``images``, ``correct``, ``accuracy`` in percent, and ``confusion``, in which
        ``confusion[i][j]`` counts the images of class i with answer j.
    """
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
) -> dict[str, Any]:
    """Return the `score` of the integer model.

    Parameters
    ----------
    network
        The network.
    images
        uint8 images of shape (images, height, width, colours).
    labels
        The right classes, of shape (images,).
    dataset
        Name of the images.
    progress
        Called with the number of images of each finished batch.
    """
    return score(network.name, dataset, reference.run(network, images, progress=progress), labels)
