"""Means over all positions, in the codes of the quantiser behind them."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from ..network.graph import Named
from ..network.layers import MeanPool
from . import operators as ops
from .context import Context
from .quantised_sums import note
from .requantise import fitted_mean, steps
from .unsupported import Unsupported
from .values import Coded, Grid, Value, chained, target_of

__all__ = ["mean_pool"]


def mean_pool(
    context: Context, operator: ops.MeanPool, coded: Coded, shape: ops.Shape
) -> tuple[list[Named], Value, str]:
    """Return the mean over all positions, with the quantiser behind it if our codes can hold its codes."""
    grid, (clips, quantiser) = coded.grid, context.ending(operator.output)
    if quantiser is not None:
        # In units of the input's scale, so that halves are exact if the output has the same scale.
        number = quantiser.quantiser
        units = replace(quantiser, quantiser=replace(number, scale=number.scale / grid.scale))
        bounds = [replace(each, low=each.low / grid.scale, high=each.high / grid.scale) for each in clips]
        codes, given = target_of(units, shape[2]).codes, target_of(quantiser, shape[2]).grid
        pooled = _mean(context, operator, coded, shape, given, lambda mean: codes(chained(bounds, mean - grid.zero)))
        if pooled is not None:
            layers, after, what, exact = pooled
            context.absorb((*clips, quantiser), operator)
            context.say(operator, layers, what, exact)
            return layers, after, quantiser.output
    pooled = _mean(context, operator, coded, shape, grid, lambda mean: np.floor(mean + 0.5).astype(np.int64))
    if pooled is None:
        raise Unsupported([(operator.name, "MeanPool", "a mean over too many positions")])
    layers, after, what, exact = pooled
    if shape[:2] != (1, 1):  # the model's means are between the codes
        what, exact = "means rounded to codes of the input", False
    context.say(operator, layers, what, exact)
    return layers, after, operator.output


def _mean(
    context: Context, operator: ops.MeanPool, coded: Coded, shape: ops.Shape, given: Grid,
    code_of: Callable[[np.ndarray], np.ndarray],
) -> tuple[list[Named], Coded, str, bool] | None:  # fmt: skip
    """Return the mean on another grid, moved into the input's type of codes, what is rounded, and whether nothing is.

    Return None if it does not fit.

    ``code_of`` maps means of the input's codes to codes of the other grid.
    """
    grid, count = coded.grid, shape[0] * shape[1]
    least, greatest = np.array([count * grid.low]), np.array([count * grid.high])
    low, high = (int(code_of(end[:, None] / count)[0, 0]) for end in (least, greatest))
    room = grid.codes.low - low, grid.codes.high - high
    if room[0] > room[1]:
        return None
    ratio = grid.scale / given.scale
    offset = given.zero - grid.zero * ratio
    moved = int(np.clip(round(-offset), *room))
    wanted = steps(lambda x: code_of(x / count) + moved, least, greatest, low + moved, high + moved)
    fit = fitted_mean(wanted, ratio / count, offset + moved)
    if fit is None:
        return None
    scaling, name = fit.scaling, context.names(operator.name)
    numbers = [1 if scaling.multiplier is None else int(scaling.multiplier[0])]
    numbers.append(0 if scaling.offset is None else int(scaling.offset[0]))
    layers = [Named(name, MeanPool(int(scaling.shift[0]), *numbers))]
    ends = np.concatenate([scaling.codes(least), scaling.codes(greatest)])
    after = Grid(given.scale, given.zero + moved, grid.codes, low + moved, high + moved)
    layers += context.clip(name, after, ends, shape[2])
    return layers, Coded(after, coded.order), note(fit), fit.share == 0
