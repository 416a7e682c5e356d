"""Layers that compute the codes of sums: by a multiplier and a shift, or by thresholds."""

from dataclasses import replace

import numpy as np

from ..architecture.codes import Codes
from ..architecture.ranges import dot_range, signed_bits
from ..display import counted
from ..network.graph import Named
from ..network.layers import Thresholds, Windows
from . import operators as ops
from .context import Context
from .requantise import Fit, Scaling, fitted, steps
from .values import Coded, Sums, Target, chained, rising

__all__ = ["note", "quantised_sums"]

_FEW = 16  # codes, which thresholds compare exactly at little cost
_OFTEN = 0.01  # share of the sums that a multiplier may round otherwise


def quantised_sums(context: Context, operator: ops.Operator, sums: Sums, target: Target) -> tuple[list[Named], Coded]:
    """Return the layers that compute sums and their codes."""
    sums = rising(operator, sums)
    channels = len(sums.factor)
    least, greatest = dot_range(sums.weight, low=sums.low, high=sums.high)

    def code_of(total: np.ndarray) -> np.ndarray:
        return target.codes(chained(sums.chain, sums.factor[:, None] * total + sums.offset[:, None]))

    first, last = code_of(least[:, None]), code_of(greatest[:, None])
    constant = (first == last)[:, 0]
    if constant.any():  # such as a channel that is never active, whose factor may be any
        values = target.grid.values(first[:, 0])
        sums = replace(
            sums,
            weight=np.where(constant[:, None], 0, sums.weight),
            factor=np.where(constant, target.grid.scale, sums.factor),
            offset=np.where(constant, values, sums.offset),
        )
        least, greatest = np.where(constant, 0, least), np.where(constant, 0, greatest)
    low, high = int(first.min()), int(last.max())
    wanted = steps(code_of, least, greatest, low, high)
    grid = replace(target.grid, low=low, high=high)
    fit: Fit | None = None
    if target.straight and all(isinstance(each, ops.Clip) for each in sums.chain):
        fit = fitted(wanted, sums.factor / grid.scale, sums.offset / grid.scale + grid.zero)
    if fit is not None and _suits(fit, context, few=high - low < _FEW):
        layers = sums.build(sums.weight, fit.scaling, grid.codes)
        ends = np.concatenate([fit.scaling.codes(least), fit.scaling.codes(greatest)])
        layers += context.clip(operator.name, grid, ends, channels)
        context.say(operator, layers, note(fit), fit.share == 0)
        return layers, Coded(grid)
    sum_codes = Codes(max(2, signed_bits(int(least.min()), int(greatest.max()))))
    layers = sums.build(sums.weight, Scaling.sums(np.zeros(channels, np.int64)), sum_codes)
    values = wanted.reachable(wanted.thresholds).astype(np.int32)
    compared = Thresholds(values, grid.codes.bits, grid.codes.signed, low)
    if isinstance(layers[-1].layer, Windows):  # which take codes of at most 8 bits
        layers.insert(-1, Named(context.names(operator.name), compared))
    else:
        layers.append(Named(context.names(operator.name), compared))
    context.say(operator, layers, f"exact, by {counted(high - low, 'threshold')}")
    return layers, Coded(grid)


def _suits(fit: Fit, context: Context, few: bool) -> bool:
    """Return whether to take a fit in place of thresholds. Those of few codes are cheaper than a multiplier."""
    if fit.scaling.multiplier is not None and (few or context.thresholds):
        return False
    return fit.share == 0 or not (context.exact or few or fit.share > _OFTEN)


def note(fit: Fit) -> str:
    """Return what a requantisation rounds."""
    if fit.share == 0:
        return "exact"
    factors = f"factors rounded to 22 bits, by {1e6 * fit.error:.2g} ppm"
    what = "halves rounded up" if fit.scaling.multiplier is None else factors
    return f"{what}; {100 * fit.share:.2g} % of the possible sums give a neighbouring code"
