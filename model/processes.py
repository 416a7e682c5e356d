"""Several processes that train one model, started by `torchrun`: each computes its slice of every batch."""

import atexit
import os

import torch
from torch import nn

__all__ = ["average_gradients", "mean_over_processes", "processes"]


def processes() -> tuple[int, int]:
    """Return the rank of this process and the number of processes.

    If `torchrun` started this process, the first call joins the process group, and the process takes the GPU of its
    local rank: from then on the device "cuda" is this one.
    """
    if "RANK" not in os.environ:
        return 0, 1
    if not torch.distributed.is_initialized():
        if torch.cuda.is_available():
            torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", 0)))
        torch.distributed.init_process_group("nccl" if torch.cuda.is_available() else "gloo")
        atexit.register(_leave)
    return torch.distributed.get_rank(), torch.distributed.get_world_size()


def _leave() -> None:
    if torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()


def mean_over_processes(value: float, world: int, device: str) -> float:
    """Return the mean of a number over all `world` processes."""
    if world == 1:
        return value
    tensor = torch.tensor(value, dtype=torch.float64, device=device)  # NCCL reduces on GPUs alone
    torch.distributed.all_reduce(tensor)
    return float(tensor) / world


def average_gradients(model: nn.Module, world: int) -> None:
    """Replace the gradients of a model by their means over all `world` processes.

    One all-reduce has all gradients: several small ones would each wait for the slowest process.
    """
    gradients = [p.grad for p in model.parameters() if p.grad is not None]
    flat = torch.cat([g.flatten() for g in gradients])
    torch.distributed.all_reduce(flat)
    flat /= world
    for gradient, part in zip(gradients, flat.split([g.numel() for g in gradients]), strict=True):
        gradient.copy_(part.view_as(gradient))
