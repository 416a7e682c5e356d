"""Losses: cross-entropy against target probabilities, and distillation."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

__all__ = ["Distillation", "cross_entropy", "mean_answer", "smooth_targets"]


def smooth_targets(labels: Tensor, classes: int, smoothing: float) -> Tensor:
    """Return the target probabilities [B, classes] of labels [B], with label smoothing."""
    return functional.one_hot(labels, classes) * (1 - smoothing) + smoothing / classes


def cross_entropy(logits: Tensor, targets: Tensor) -> Tensor:
    """Return the mean cross-entropy of logits [B, classes] against probabilities [B, classes]."""
    return -(targets * functional.log_softmax(logits, dim=-1)).sum(-1).mean()


def mean_answer(logits: Sequence[Tensor]) -> Tensor:
    """Return the logarithm [B, classes] of the mean of several teachers' distributions, given by their logits.

    It can serve as logits. With one teacher it stands for that teacher's own distribution.
    """
    answers = torch.stack([functional.log_softmax(answer.float(), dim=-1) for answer in logits])
    return answers.logsumexp(0) - math.log(len(logits))


class Distillation:
    """Distillation loss: the teacher's softened distribution and the labels (G. Hinton et al., 2015).

    The soft part is a Kullback-Leibler divergence at a temperature, multiplied by the square of the temperature so
    that its gradient keeps its size.

    Parameters
    ----------
    alpha
        Weight of the soft part, 0 to 1; the labels have the rest.
    temperature
        By which the logits of both are divided; above 0.
    """

    def __init__(self, alpha: float, temperature: float):
        self.alpha, self.temperature = alpha, temperature

    def __call__(self, logits: Tensor, targets: Tensor, teacher_logits: Tensor) -> Tensor:
        """Return the loss of a student's logits, with the target probabilities and a teacher's logits.

        All three are [B, classes].
        """
        student = functional.log_softmax(logits / self.temperature, dim=-1)
        teacher = functional.log_softmax(teacher_logits.float() / self.temperature, dim=-1)
        soft = (torch.exp(teacher) * (teacher - student)).sum(-1).mean() * self.temperature**2
        return self.alpha * soft + (1 - self.alpha) * cross_entropy(logits, targets)
