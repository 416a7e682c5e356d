"""Training steps: from the images of a step to its loss, in C, compiled by torch, or in plain torch."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from . import fused
from .config import TrainConfig
from .losses import Distillation, mean_answer
from .resmlp import ResMLP
from .transfer import block_loss

__all__ = ["Step", "make_block_step", "make_step"]

Step = Callable[[Tensor, Tensor, Tensor | None, int], Tensor]
"""Takes images uint8 [B, h, w, colours], target probabilities [B, classes], stored answers of teachers as logits
[B, classes] or None, and the number of the step in the run; returns the loss."""


def make_step(
    model: nn.Module,
    teachers: Sequence[nn.Module],
    config: TrainConfig,
    device: str,
    in_c: bool,
    label_loss: Callable[[Tensor, Tensor], Tensor],
) -> Step:
    """Return the step that trains on labels, and on the answers of teachers if there are any.

    Parameters
    ----------
    model
        The model that is trained.
    teachers
        Models that answer in each step, in place of stored answers.
    config
        The settings; `alpha`, `temperature`, `bf16` and `compile` count.
    device
        "cpu" or "cuda".
    in_c
        Use the step in C (`fused.forward`), which is not compiled by torch.
    label_loss
        The loss of outputs against targets, where teachers have no part in it.
    """
    distillation = Distillation(config.alpha, config.temperature)

    def loss_of(logits: Tensor, targets: Tensor, answers: Tensor | None) -> Tensor:
        if answers is None:
            return label_loss(logits, targets)
        return distillation(logits, targets, answers)

    def student_loss(images: Tensor, targets: Tensor, answers: Tensor | None) -> Tensor:
        with torch.autocast(device, torch.bfloat16, enabled=config.bf16):
            logits = model(images)
        return loss_of(logits, targets, answers)

    def ask_teachers(images: Tensor) -> Tensor:
        with torch.autocast(device, torch.bfloat16, enabled=config.bf16):
            return mean_answer([teacher(images) for teacher in teachers])

    if config.compile and teachers:
        ask_teachers = torch.compile(ask_teachers)
    if config.compile and not in_c:
        student_loss = torch.compile(student_loss)

    def step(images: Tensor, targets: Tensor, answers: Tensor | None, number: int) -> Tensor:
        if teachers:
            with torch.no_grad():
                answers = ask_teachers(images)
        if in_c:
            assert isinstance(model, ResMLP)  # as `fused.usable` requires
            return loss_of(fused.forward(model, images, number), targets, answers)
        return student_loss(images, targets, answers)

    return step


def make_block_step(model: ResMLP, teacher: ResMLP, config: TrainConfig, device: str) -> Step:
    """Return the step in which each block of a student learns what its teacher's block does (`block_loss`)."""

    def loss(images: Tensor) -> Tensor:
        with torch.autocast(device, torch.bfloat16, enabled=config.bf16):
            return block_loss(teacher, model, images)

    if config.compile:
        loss = torch.compile(loss)
    return lambda images, targets, answers, number: loss(images)
