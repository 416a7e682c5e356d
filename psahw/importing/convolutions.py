"""Sums of convolutions, and the layers that compute them: windows with a linear layer, or a token mixing."""

from collections.abc import Callable

import numpy as np

from ..network.graph import Named
from ..network.layers import Linear, TokenMixing, Windows
from . import operators as ops
from .context import Context
from .unsupported import Unsupported
from .values import Coded, Grid, Sums

__all__ = ["convolution"]


def convolution(context: Context, operator: ops.Convolution, coded: Coded, shape: ops.Shape) -> Sums:
    """Return the sums of a convolution."""
    if operator.weight.dtype != np.int8:
        reason = "its weights are not integers of 8 bits"
        raise Unsupported([(operator.name, "Convolution", reason)])
    grid, weight, groups = coded.grid, operator.weight.astype(np.int64), operator.groups
    if coded.order is not None:
        weight, groups = ops.ungrouped(weight, groups), 1
        ours = np.empty_like(weight)
        ours[..., coded.order] = weight
        weight = ours
    name = context.names(operator.name)
    outputs = len(weight)
    factor = np.broadcast_to(operator.scale, outputs) * grid.scale
    bias = np.zeros(outputs) if operator.bias is None else operator.bias
    padded = any(operator.padding)
    if padded and not (float(grid.zero).is_integer() and grid.codes.low <= grid.zero <= grid.codes.high):
        reason = f"padding, where no code stands for 0 (the zero point is {grid.zero:g})"
        raise Unsupported([(operator.name, "Convolution", reason)])
    low, high = grid.low, grid.high
    if padded:
        low, high = min(low, int(grid.zero)), max(high, int(grid.zero))
    offset = bias - factor * grid.zero * weight.sum((1, 2, 3))
    if groups > 1:
        local = _local(context, operator, name, weight, grid, shape)
        if local is not None:
            flat = weight.reshape(outputs, -1)
            return Sums(name, flat, factor, offset, min(low, 0), max(high, 0), local)
        weight = ops.ungrouped(weight, groups)
    windows: list[Named] = []
    if operator.size != (1, 1) or operator.stride != (1, 1) or padded:
        code = int(grid.zero) if padded else 0
        layer = Windows(operator.size, operator.stride, operator.padding, code)
        windows = [Named(context.names(name, ".windows"), layer)]

    def build(weight, scaling, codes):
        types = {"out_bits": codes.bits, "out_signed": codes.signed}
        return [*windows, Named(name, Linear(weight.astype(np.int8), **scaling.arrays(), **types))]

    return Sums(name, weight.reshape(outputs, -1), factor, offset, low, high, build)


def _local(
    context: Context, operator: ops.Convolution, name: str, weight: np.ndarray, grid: Grid, shape: ops.Shape
) -> Callable[..., list[Named]] | None:
    """Return what builds a depthwise convolution as a token mixing, or None if it cannot be one.

    With a stride, all positions are computed, and windows of one position leave most of them out.
    """
    above, _, left, _ = operator.padding
    (rows, columns), (down, across) = operator.size, operator.stride
    if operator.groups != shape[2] or len(weight) != shape[2] or (any(operator.padding) and grid.zero != 0):
        return None
    reach = max(above, rows - 1 - above), max(left, columns - 1 - left)
    kernel = 2 * reach[0] + 1, 2 * reach[1] + 1
    output = context.shapes[operator.output]
    if max(kernel) > 15 or output[:2] != (-(-shape[0] // down), -(-shape[1] // across)):
        return None
    if not any(operator.padding) and kernel != (1, 1):
        return None

    def build(flat, scaling, codes):
        entries = np.zeros((len(flat), *kernel), np.int8)
        top, start = reach[0] - above, reach[1] - left
        entries[:, top : top + rows, start : start + columns] = flat.reshape(-1, rows, columns)
        types = {"out_bits": codes.bits, "out_signed": codes.signed}
        parts = scaling.arrays((-1, 1))
        mixing = TokenMixing(entries.reshape(len(flat), 1, -1), **parts, kernel=kernel, shared=True, **types)
        layers = [Named(name, mixing)]
        if (down, across) != (1, 1):
            layers.append(Named(context.names(name, ".every"), Windows((1, 1), (down, across))))
        return layers

    return build
