"""Inputs that arrive as one row of values, in place of a grid that the model flattens at once."""

from dataclasses import replace

import numpy as np

from ..errors import UserError
from .operators import Affine, Bipolar, Clip, Flatten, Model, MultiThreshold, Operator, Quantise

__all__ = ["flattened"]


def flattened(model: Model) -> Model:
    """Return a model whose input has one position, with all values of the model's grid in raster order.

    A circuit can then take them all in one clock cycle. Before the model flattens its input, it may only compute
    single numbers, the same for all channels.

    Raises
    ------
    UserError
        If the model does anything else first, or if it flattens channels in another order than raster order.
    """
    rows, columns, channels = model.input.shape
    if rows * columns == 1:
        return model
    for index, operator in enumerate(model.operators):
        if isinstance(operator, Flatten):
            if operator.channels_first and channels > 1:
                raise UserError(f"{model.name} flattens channel by channel, so that its input cannot be one row")
            after = model.operators[index + 1 :]
            renamed = [_with_input(each, operator.output, operator.inputs[0]) for each in after]
            shape = (1, 1, rows * columns * channels)
            return replace(
                model,
                input=replace(model.input, shape=shape),
                operators=(*model.operators[:index], *renamed),
            )
        if not _alike(operator):
            break
    raise UserError(f"{model.name} does not flatten its input of {rows} x {columns} x {channels} at once")


def _with_input(operator: Operator, old: str, new: str) -> Operator:
    """Return an operator that takes another tensor in place of one."""
    return replace(operator, inputs=tuple(new if name == old else name for name in operator.inputs))


def _alike(operator: Operator) -> bool:
    """Return whether an operator computes single numbers, the same for all channels."""
    match operator:
        case Affine(factor=factor, offset=offset):
            return np.size(factor) == np.size(offset) == 1
        case Quantise(quantiser=quantiser):
            return np.size(quantiser.scale) == 1
        case Bipolar(scale=scale):
            return np.size(scale) == 1
        case MultiThreshold(thresholds=thresholds):
            return len(thresholds) == 1
    return isinstance(operator, Clip)
