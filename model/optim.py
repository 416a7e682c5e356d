"""Optimisers and learning rates: Muon for the matrices with AdamW for the rest, or AdamW for everything."""

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn

from .config import TrainConfig

__all__ = ["Average", "learning_rate", "make_optimizers"]


def make_optimizers(model: nn.Module, config: TrainConfig) -> list[torch.optim.Optimizer]:
    """Return the optimisers of a model. Each parameter group remembers its peak learning rate as "peak_lr".

    Muon trains the matrices that multiply features: embedding, merging, both linear layers of the channel mixing, and
    dense token mixing. The parameters of PSA are matrices only by their shape (neurons x segments), and the head is
    better left to AdamW (K. Jordan et al., "Muon", 2024).

    Only those matrices decay. Muon's steps have a fixed size, so the larger a matrix grows, the less a step turns it.
    A matrix does not need its size if a norm follows, as it does after every hidden layer and after the residual
    stream as a whole. In a quantised network the norms are frozen, so decay would shrink the function itself.
    """
    matrices: list[nn.Parameter] = []
    rest: list[nn.Parameter] = []
    last = getattr(model, "head", None)
    head = set(last.parameters()) if isinstance(last, nn.Module) else set()
    for name, parameter in model.named_parameters():
        is_product = "linear" in name or "embed" in name or ".weights." in name
        (matrices if parameter.ndim == 2 and is_product and parameter not in head else rest).append(parameter)
    optimizers: list[torch.optim.Optimizer] = []
    groups = [{"params": rest, "weight_decay": 0.0}] if rest else []  # of AdamW
    if matrices and config.optimizer == "muon":
        optimizers.append(
            torch.optim.Muon(matrices, lr=config.muon_lr, momentum=config.momentum, weight_decay=config.weight_decay)
        )
    elif matrices:
        groups.append({"params": matrices, "weight_decay": config.weight_decay})
    if groups:
        optimizers.append(torch.optim.AdamW(groups, lr=config.adamw_lr, betas=config.betas, fused=True))
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            group["peak_lr"] = group["lr"]
    return optimizers


def learning_rate(config: TrainConfig, total: int) -> Callable[[int], float]:
    """Return the schedule: a function from the step, 0 to `total` - 1, to the factor on the peak learning rates."""
    warmup = max(1, round(config.warmup * total))

    def factor(step: int) -> float:
        if config.schedule == "onecycle":  # rises from 1/25 along half a cosine, and falls to zero along another
            if step < warmup:
                return 1 / 25 + (1 - 1 / 25) * (1 - math.cos(math.pi * step / warmup)) / 2
        elif step < warmup:
            return (step + 1) / warmup
        left = (total - step) / max(1, total - warmup)
        return left if config.schedule == "linear" else (1 - math.cos(math.pi * left)) / 2

    return factor


class Average:
    """Exponential moving average of the parameters and buffers of a model.

    Integer buffers and masks are not averaged but copied. The decay rises from zero with the number of steps, so that
    the average soon forgets the first ones.

    Parameters
    ----------
    model
        The model; the average starts with its current state.
    decay
        Final decay per step, 0 to below 1.

    Attributes
    ----------
    tensors
        The averaged state, by the names of `model.state_dict()`.
    steps
        Number of updates.
    """

    def __init__(self, model: nn.Module, decay: float):
        self.decay, self.steps = decay, 0
        self.tensors: dict[str, Tensor] = {k: v.detach().clone() for k, v in model.state_dict().items()}

    @torch.no_grad()
    def update(self, model: nn.Module) -> None:
        """Take in the state of the model after a step."""
        self.steps += 1
        weight = 1 - min(self.decay, self.steps / (self.steps + 10))
        for name, tensor in model.state_dict().items():
            if tensor.is_floating_point():
                self.tensors[name].lerp_(tensor, weight)
            else:
                self.tensors[name].copy_(tensor)
