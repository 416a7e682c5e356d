"""Choose the scales of a quantised network of any topology from what its float network computes on some images.

The scale of a channel is the one, among a few, with the least squared error of rounding and saturation together, so
that a few outliers do not take the resolution from all other values.
"""

import torch
from torch import Tensor

from psahw.architecture.codes import Codes
from psahw.errors import UserError

from .. import finite
from ..predict import images_at_once
from ..resmlp import PIXEL_SCALE
from .operations import Mixing, Operation, Series, Sum, Table, Weighted

__all__ = ["calibrate"]

ROOM = 0.8  # of a coarser scale of a residual connection that must be exceeded before it is taken


FACTORS = (1.0, 0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3)
"""Scales that are tried, relative to the one at which no value saturates."""

LARGEST_WEIGHT = 127
"""Largest weight of a row in codes. Where outputs would be so fine that it is exceeded, they become coarser."""

ROWS = 8192
"""Most tokens, over all images, of which the values of a channel are kept."""

SMALLEST = 1e-6
"""Largest magnitude of a channel that is always smaller, so that no scale is 0."""


def _thinned(rows: Tensor) -> Tensor:
    """Return at most `ROWS` of some rows, evenly spaced."""
    return rows[torch.linspace(0, len(rows) - 1, ROWS).long()] if len(rows) > ROWS else rows


def _best_scale(rows: Tensor, codes: Codes) -> Tensor:
    """Return the scale [C] with the least squared error for values [n, C] in codes of a type."""
    whole = rows.abs().amax(0).clamp(min=SMALLEST) / codes.high
    best, least = whole, torch.full_like(whole, torch.inf)
    for factor in FACTORS:
        scale = whole * factor
        error = ((rows / scale).round().clamp(codes.low, codes.high) * scale - rows).square().mean(0)
        best, least = torch.where(error < least, scale, best), torch.minimum(error, least)
    return best


class _Observer:
    """Takes values at the outputs of operations while the float network computes."""

    def __init__(self) -> None:
        self.values: dict[Operation, Tensor] = {}

    def run(self, series: Series, x: Tensor) -> Tensor:
        """Return what a series makes of float inputs, and take in the outputs of each operation."""
        for operation in series:
            if isinstance(operation, Sum):
                paths = self.run(operation.shortcut, x), self.run(operation.branch, x)
                total = paths[0] + paths[1]
                x = total if operation.after.signed else total.relu()
            else:
                x = operation.observe(x)
            rows = _thinned(x.flatten(0, -2))
            before = self.values.get(operation)
            self.values[operation] = rows if before is None else _thinned(torch.cat((before, rows)))
        return x

    def finish(self) -> None:
        """Set the needed scale of each operation."""
        for operation, rows in self.values.items():
            operation.needed.copy_(_best_scale(rows, operation.after))


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
    observer = _Observer()
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
    last = series[len(series) - 1]
    end = 2 * largest / last.after.high  # the largest takes half of the range
    _resolve(series, torch.full((images.shape[3],), PIXEL_SCALE), end)
    if isinstance(last, Weighted):  # as every network ends
        excess = (last.folded()[0].abs().amax(-1) / LARGEST_WEIGHT).clamp(min=1)
        last.out_scale.mul_(excess.amax() if task == "class" else excess)


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
    shifts, or none, joins them. If a path ends in a grouped mixing, the channels of each group have one scale.
    """
    paths = operation.branch, operation.shortcut
    needed = operation.needed
    for path in paths:
        needed = torch.maximum(needed, path[len(path) - 1].needed)
    first = operation.shortcut[0]
    if isinstance(first, Table) and not len(first.functions) and len(operation.shortcut) == 1:
        needed = scale * torch.exp2(torch.log2(ROOM * needed / scale).ceil())
    for path in paths:
        last = path[len(path) - 1]
        if isinstance(last, Mixing) and last.is_grouped:
            # The channels of a group have the same bias, which is a number of codes.
            widest = last.grouped(needed).amax(1, keepdim=True)
            needed = widest.expand_as(last.grouped(needed)).flatten()
    operation.out_scale.copy_(needed)
    for path in paths:
        _resolve(path, scale, needed)
