"""The last layer of a network, whose sums no quantiser turns into codes."""

import math
from dataclasses import replace

import numpy as np

from ..architecture.codes import Codes
from ..architecture.ranges import dot_range, signed_bits
from ..network.graph import Named
from ..network.layers import Thresholds
from . import operators as ops
from .context import Context
from .requantise import Scaling, steps
from .unsupported import Unsupported
from .values import Coded, Sums, Value, rising

__all__ = ["finished"]


def finished(
    context: Context, layers: list[Named], value: Value, tensor: str, bipolar: ops.Operator | None, labels: bool
) -> tuple[list[Named], float, float]:
    """Return the layers of the whole network, and how its logits stand for the model's output.

    Parameters
    ----------
    context
        The model.
    layers
        The layers so far.
    value, tensor
        The output, or what the final quantiser takes, and its name.
    bipolar
        The final quantiser of an output of +1 and -1 that becomes labels, or None.
    labels
        Whether the signs of the outputs are labels.

    Raises
    ------
    Unsupported
        If a network cannot end with such a value.
    """
    if not context.model.operators:
        raise Unsupported([(tensor, "tensor", "it is the input and the output: nothing is computed")])
    end = next(operator for operator in reversed(context.model.operators) if operator.output == tensor)
    if isinstance(value, Coded) and not value.chain and layers:
        if value.order is not None:
            raise Unsupported([(end.name, type(end).__name__, "channels come first, and no dense layer follows")])
        if labels:
            return layers + _labels(context, value, tensor, bipolar), 1.0, 0.0
        return layers, value.grid.scale, -value.grid.scale * value.grid.zero
    if not isinstance(value, Sums):
        raise Unsupported([(end.name, type(end).__name__, "nothing is computed behind it")])
    sums = rising(end, value)
    if sums.chain:
        raise Unsupported([(end.name, type(end).__name__, "the output is clipped but not quantised")])
    least, greatest = dot_range(sums.weight, low=sums.low, high=sums.high)
    if labels:
        present = np.less if bipolar is None else np.less_equal
        reached = steps(
            lambda x: present(0, sums.factor[:, None] * x + sums.offset[:, None]).astype(int), least, greatest, 0, 1
        )
        bias = 1 - reached.reachable(reached.thresholds)[:, 0]
        codes = Codes(max(2, signed_bits(int((least + bias).min()), int((greatest + bias).max()))))
        made = sums.build(sums.weight, Scaling.sums(bias), codes)
        what = "above 0" if bipolar is None else "+1"
        context.say(bipolar or end, made, f"exact: the label is present where the output is {what}")
        return layers + made, 1.0, 0.0
    constant = ~sums.weight.any(1)  # whose factor may be any
    factor = float(sums.factor.max(where=~constant, initial=0)) or 1.0
    same = (sums.factor[~constant] == factor).all()
    tiny = constant | (sums.factor < factor / (1 << 16))  # a multiplier of 0 would also take the bias
    sums = replace(sums, weight=np.where(tiny[:, None], 0, sums.weight), factor=np.where(tiny, factor, sums.factor))
    least, greatest = np.where(tiny, 0, least), np.where(tiny, 0, greatest)
    shared = float(sums.offset[0]) if same and (sums.offset == sums.offset[0]).all() else 0.0
    bias = np.rint((sums.offset - shared) / sums.factor).astype(np.int64)
    error = float(np.abs((sums.offset - shared) / sums.factor - bias).max())
    low, high = int((least + bias).min()), int((greatest + bias).max())
    if same:
        made = sums.build(sums.weight, Scaling.sums(bias), Codes(max(2, signed_bits(low, high))))
        note = "exact" if error < 1e-6 else f"biases rounded by up to {error:.2g} of a sum's unit"
        context.say(end, made, note, error < 1e-6)
        return layers + made, factor, shared
    shift = max(0, 15 + signed_bits(low, high) - 24)
    multiplier = np.rint(sums.factor / factor * (1 << 15)).astype(np.int64)
    made = sums.build(sums.weight, Scaling(bias, np.full(len(multiplier), shift), multiplier), Codes(26))
    context.say(end, made, "factors of the outputs rounded to 16 bits, and biases to sums", False)
    return layers + made, factor / (1 << 15) * (1 << shift), 0.0


def _labels(context: Context, value: Coded, tensor: str, bipolar: ops.Operator | None) -> list[Named]:
    """Return the layer that compares codes with the code of 0, unless they are above 0 where labels are present."""
    zero = value.grid.zero
    least = math.floor(zero) + 1 if bipolar is None else math.ceil(zero)
    made = []
    if least != 1:
        thresholds = np.full((context.shapes[tensor][2], 1), least, np.int32)
        made = [Named(context.names("labels"), Thresholds(thresholds, 1, False, 0))]
    if bipolar is not None:
        context.say(bipolar, made, "exact: the label is present where the output is +1")
    return made
