"""Logits and accuracy of a float model or a quantised one, in torch."""

from collections.abc import Callable

import numpy as np
import torch
from torch import nn

from psahw.callbacks import silent

__all__ = ["accuracy", "images_at_once", "predict", "top1"]

LARGEST = 1 << 27
"""Most values of an activation, of all images that are computed at once; each takes 4 bytes."""


def images_at_once(model: nn.Module, most: int) -> int:
    """Return how many images a model should compute at once, 1 to ``most``: fewer if their activations are large."""
    config = getattr(model, "config", None)
    return most if config is None else min(most, max(1, LARGEST // config.largest_activation()))


@torch.no_grad()
def predict(
    model: nn.Module, images: np.ndarray, *, batch: int = 500, progress: Callable[[int], None] = silent
) -> np.ndarray:
    """Return the logits of images, in evaluation mode and float32.

    Parameters
    ----------
    model
        The model, on any device.
    images
        uint8 [n, h, w, colours].
    batch
        Most images that are computed at once; see `images_at_once`.
    progress
        Called with the number of images of each batch.

    Returns
    -------
    numpy.ndarray
        float32 [n, classes].
    """
    training = model.training
    device = next(model.parameters()).device
    model.eval()
    batch = images_at_once(model, batch)
    logits = []
    for start in range(0, len(images), batch):
        part = torch.from_numpy(images[start : start + batch]).to(device)
        logits.append(model(part).cpu().numpy())
        progress(len(part))
    model.train(training)
    return np.concatenate(logits)


def top1(logits: np.ndarray, labels: np.ndarray) -> float:
    """Return the percentage of labels [n] that have the largest of their logits [n, classes]."""
    return 100 * float((logits.argmax(1) == labels).mean())


def accuracy(model: nn.Module, images: np.ndarray, labels: np.ndarray) -> float:
    """Return the top-1 accuracy in percent, in evaluation mode and float32."""
    return top1(predict(model, images), labels)
