"""Optimisers and learning rates: Muon on the matrices with AdamW on the rest, or AdamW on all."""

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn

from .config import TrainConfig

__all__ = ["Average", "learning_rate", "make_optimizers"]


def make_optimizers(model: nn.Module, config: TrainConfig) -> list[torch.optim.Optimizer]:
    """Muon takes what is a matrix product over features: embedding, merging, both linears of the channel
    mixing, dense token mixing. PSA's parameters are matrices by shape only (neurons x segments), and the head
    is better left to AdamW (K. Jordan et al., "Muon", 2024). Each group remembers its peak learning rate.

    Those products alone decay. Muon's steps have a fixed size, so that the larger a matrix grows, the less a step
    turns it; and what a norm follows, as it does each hidden layer and the residual stream as a whole, does not need
    the size. A quantised network's norms stand still: there decay shrinks the function itself.
    """
    matrices, rest = [], []
    for name, parameter in model.named_parameters():
        is_product = "linear" in name or "embed" in name or ".weights." in name
        (matrices if parameter.ndim == 2 and is_product else rest).append(parameter)
    optimizers: list[torch.optim.Optimizer] = []
    alone = [{"params": rest, "weight_decay": 0.0}] if rest else []
    if matrices and config.optimizer == "muon":
        optimizers.append(
            torch.optim.Muon(matrices, lr=config.muon_lr, momentum=config.momentum, weight_decay=config.weight_decay)
        )
    elif matrices:
        alone.append({"params": matrices, "weight_decay": config.weight_decay})
    if alone:
        optimizers.append(torch.optim.AdamW(alone, lr=config.adamw_lr, betas=config.betas, fused=True))
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            group["peak_lr"] = group["lr"]
    return optimizers


def learning_rate(config: TrainConfig, total: int) -> Callable[[int], float]:
    """The factor on the peak learning rate at step 0..total-1."""
    warmup = max(1, round(config.warmup * total))

    def factor(step: int) -> float:
        if config.schedule == "onecycle":  # rises by a half cosine from 1/25, falls by one to zero
            if step < warmup:
                return 1 / 25 + (1 - 1 / 25) * (1 - math.cos(math.pi * step / warmup)) / 2
        elif step < warmup:
            return (step + 1) / warmup
        left = (total - step) / max(1, total - warmup)
        return left if config.schedule == "linear" else (1 - math.cos(math.pi * left)) / 2

    return factor


class Average:
    """Exponential moving average of a model's parameters and buffers; masks and counters are taken as they are.

    The decay rises from zero with the number of steps, so that the first steps are soon forgotten.
    """

    def __init__(self, model: nn.Module, decay: float):
        self.decay, self.steps = decay, 0
        self.tensors: dict[str, Tensor] = {k: v.detach().clone() for k, v in model.state_dict().items()}

    @torch.no_grad()
    def update(self, model: nn.Module) -> None:
        self.steps += 1
        weight = 1 - min(self.decay, self.steps / (self.steps + 10))
        for name, tensor in model.state_dict().items():
            if tensor.is_floating_point():
                self.tensors[name].lerp_(tensor, weight)
            else:
                self.tensors[name].copy_(tensor)
