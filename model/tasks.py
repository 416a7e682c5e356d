"""Targets, losses and scores of each task.

- Classes: probabilities of the classes; cross-entropy; accuracy.
- Labels: the probability of each; binary cross-entropy; the share of labels that are right.
- Values: values in units of their standard deviation, around their mean; mean squared error; explained variance (R²).
"""

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from psahw.network.evaluation import explained

from .datasets.dataset import Dataset
from .datasets.source import Task
from .graphs.network import GraphNet
from .losses import cross_entropy, smooth_targets
from .predict import predict

__all__ = ["answers", "in_units", "loss_of", "make_targets", "model_score", "score", "set_targets"]


def set_targets(model: nn.Module, dataset: Dataset, indices: np.ndarray) -> None:
    """Let a model for values give them in units of the deviation of the targets of the images `indices`.

    Parameters
    ----------
    model
        The model, which is changed in place if it is a `GraphNet` for values.
    dataset
        The data set.
    indices
        The training images.
    """
    if isinstance(model, GraphNet) and dataset.task == "values":
        targets = dataset.train_labels[indices].astype(np.float64)
        deviation = targets.std(0)
        model.target_mean.copy_(torch.from_numpy(targets.mean(0)))
        model.target_deviation.copy_(torch.from_numpy(np.where(deviation > 0, deviation, 1)))


def make_targets(labels: np.ndarray, task: Task, classes: int, smoothing: float, model: nn.Module) -> Tensor:
    """Return what a model learns from labels, float32 [n, classes].

    Parameters
    ----------
    labels
        As in `Dataset`.
    task
        What they are.
    classes
        Number of classes, values or labels.
    smoothing
        Probability that is spread over all classes, or by half to each side of a label.
    model
        The model, whose mean and deviation count for values.
    """
    tensor = torch.from_numpy(labels)
    if task == "class":
        return smooth_targets(tensor.long(), classes, smoothing)
    if task == "labels":
        return tensor.float() * (1 - smoothing) + smoothing / 2
    mean, deviation = model.get_buffer("target_mean").cpu(), model.get_buffer("target_deviation").cpu()
    return (tensor - mean) / deviation


def loss_of(task: Task) -> Callable[[Tensor, Tensor], Tensor]:
    """Return the loss of outputs [B, classes] against targets [B, classes]."""
    if task == "class":
        return cross_entropy
    return functional.binary_cross_entropy_with_logits if task == "labels" else functional.mse_loss


def score(outputs: np.ndarray, labels: np.ndarray, task: Task, model: nn.Module) -> float:
    """Return the score of outputs [n, classes] in percent; see the module.

    For values, outputs are those of the model, in units of the deviation.
    """
    if task == "class":
        return 100 * float((outputs.argmax(1) == labels).mean())
    if task == "labels":
        return 100 * float(((outputs > 0) == labels.astype(bool)).mean())
    return 100 * float(explained(in_units(outputs, model), labels).mean())


def in_units(outputs: np.ndarray, model: nn.Module) -> np.ndarray:
    """Return the values [n, classes] that a model's outputs stand for."""
    mean, deviation = (model.get_buffer(name).cpu().double().numpy() for name in ("target_mean", "target_deviation"))
    return outputs * deviation + mean


def answers(outputs: np.ndarray, task: Task, model: nn.Module) -> np.ndarray:
    """Return what a model's outputs [n, classes] say, as `psahw.network.evaluation.predictions` does."""
    if task == "class":
        classes: np.ndarray = outputs.argmax(1)
        return classes
    return outputs > 0 if task == "labels" else in_units(outputs, model)


def model_score(model: nn.Module, images: np.ndarray, labels: np.ndarray, task: Task) -> float:
    """Return the score of a model in percent, in evaluation mode and float32."""
    return score(predict(model, images), labels, task, model)
