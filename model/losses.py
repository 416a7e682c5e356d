"""What is minimised: cross entropy against target probabilities, and distillation on top of it."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

__all__ = ["Distillation", "cross_entropy", "mean_answer", "smooth_targets"]


def smooth_targets(labels: Tensor, classes: int, smoothing: float) -> Tensor:
    """Probabilities [B, classes] of labels [B]."""
    return functional.one_hot(labels, classes) * (1 - smoothing) + smoothing / classes


def cross_entropy(logits: Tensor, targets: Tensor) -> Tensor:
    """Mean over the batch; `logits` and probabilities `targets` [B, classes]."""
    return -(targets * functional.log_softmax(logits, dim=-1)).sum(-1).mean()


def mean_answer(logits: Sequence[Tensor]) -> Tensor:
    """Logarithm of the mean of the distributions that several teachers' logits [B, classes] stand for: logits again,
    and of one teacher its own distribution."""
    answers = torch.stack([functional.log_softmax(each.float(), dim=-1) for each in logits])
    return answers.logsumexp(0) - math.log(len(logits))


class Distillation:
    """`alpha` of the teacher's softened distribution, 1 - `alpha` of the labels (G. Hinton et al., 2015).

    The soft part is a Kullback-Leibler divergence at `temperature`, times its square, so that its gradient
    keeps its size.
    """

    def __init__(self, alpha: float, temperature: float):
        self.alpha, self.temperature = alpha, temperature

    def __call__(self, logits: Tensor, targets: Tensor, teacher_logits: Tensor) -> Tensor:
        student = functional.log_softmax(logits / self.temperature, dim=-1)
        teacher = functional.log_softmax(teacher_logits.float() / self.temperature, dim=-1)
        soft = (torch.exp(teacher) * (teacher - student)).sum(-1).mean() * self.temperature**2
        return self.alpha * soft + (1 - self.alpha) * cross_entropy(logits, targets)
