"""Choose the scales of a quantised network of any topology from what its float network computes on some images."""

import torch
from torch import Tensor

from psahw.errors import UserError

from .. import finite
from ..calibration import Largest
from ..predict import images_at_once
from ..resmlp import PIXEL_SCALE
from .operations import Mixing, Operation, Series, Sum, Table

__all__ = ["calibrate"]

ROOM = 0.8  # of a coarser scale of a residual connection that must be exceeded before it is taken


class _Observer:
    """Takes the largest magnitudes at the outputs of operations while the float network computes."""

    def __init__(self, images: int):
        self.images = images
        self.largest: dict[Operation, Largest] = {}

    def run(self, series: Series, x: Tensor) -> Tensor:
        """Return what a series makes of float inputs, and take in the magnitudes of each operation."""
        for operation in series:
            if isinstance(operation, Sum):
                paths = self.run(operation.shortcut, x), self.run(operation.branch, x)
                total = paths[0] + paths[1]
                x = total if operation.after.signed else total.relu()
            else:
                x = operation.observe(x)
            if operation not in self.largest:
                self.largest[operation] = Largest(self.images * x.shape[1] * x.shape[2])
            self.largest[operation].add(x)
        return x

    def finish(self) -> None:
        """Set the needed scale of each operation."""
        for operation, largest in self.largest.items():
            operation.needed.copy_(largest.magnitude() / operation.after.high)


@torch.no_grad()
def calibrate(series: Series, images: Tensor, task: str, model: torch.nn.Module) -> None:
    """Set all scales of a network.

    Parameters
    ----------
    series
        Its operations.
    images
        uint8 [n, height, width, colours].
    task
        What the outputs mean. Those of classes have a common scale, because they are compared.
    model
        The network, whose configuration says how many images are computed at once.

    Raises
    ------
    UserError
        If the float network's outputs are not finite.
    """
    observer = _Observer(len(images))
    outputs = [
        observer.run(series, (part.float() - 128) * PIXEL_SCALE)
        for part in images.split(images_at_once(model, len(images)))
    ]
    logits = torch.cat(outputs).flatten(1)
    finite.require("the float model", {"outputs of the calibration images": logits}, error=UserError)
    observer.finish()
    largest = logits.abs().amax(0).clamp(min=1e-6)
    if task == "class":
        largest = largest.amax().expand(len(largest))
    end = 2 * largest / series[len(series) - 1].after.high  # the largest takes half of the range
    _resolve(series, torch.full((images.shape[3],), PIXEL_SCALE), end)


def _resolve(series: Series, scale: Tensor, end: Tensor) -> Tensor:
    """Set the scales of a series from that of its input and, for the last operation, that of its output."""
    for index, operation in enumerate(series):
        operation.set_scale(scale)
        is_last = index + 1 == len(series)
        if isinstance(operation, Sum):
            _resolve_sum(operation, scale)
        elif isinstance(operation, Mixing) and operation.is_grouped and not is_last:
            ratio = operation.grouped(operation.needed / scale).amax(1, keepdim=True)
            operation.out_scale.copy_((operation.grouped(scale) * ratio).flatten())
        elif operation.is_free:
            following = None if is_last else series[index + 1]
            if isinstance(following, Mixing) and following.is_grouped:
                target = end if index + 2 == len(series) else torch.ones_like(operation.needed)
                ratio = following.grouped(operation.needed / target).amax(1, keepdim=True)
                operation.out_scale.copy_((following.grouped(target) * ratio).flatten())
            else:
                operation.out_scale.copy_(end if is_last else operation.needed)
        scale = operation.out_scale
    return scale


def _resolve_sum(operation: Sum, scale: Tensor) -> None:
    """Set the scales of a residual connection: what the sum and both paths need.

    If the input is passed on, the scale of the sum is that of the input times a power of two, so that a table that
    shifts, or none, joins them.
    """
    paths = operation.branch, operation.shortcut
    needed = operation.needed
    for path in paths:
        needed = torch.maximum(needed, path[len(path) - 1].needed)
    first = operation.shortcut[0]
    if isinstance(first, Table) and not len(first.functions) and len(operation.shortcut) == 1:
        needed = scale * torch.exp2(torch.log2(ROOM * needed / scale).ceil())
    operation.out_scale.copy_(needed)
    for path in paths:
        _resolve(path, scale, needed)
