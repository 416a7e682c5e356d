"""The walk over a model: it follows the data, and makes layers of one operator after another."""

from dataclasses import replace

import numpy as np

from ..network.graph import Named
from ..network.layers import Flatten, MaxPool, Table
from . import operators as ops
from .context import Context
from .convolutions import convolution
from .input_format import evenly_coded, quantised_bytes
from .means import mean_pool
from .quantised_sums import quantised_sums
from .residuals import join, residual
from .unsupported import Unsupported
from .values import Bytes, Coded, Grid, Target, Value, chained, target_of

__all__ = ["Walk"]

_ELEMENTWISE = (ops.Affine, ops.Clip, ops.Quantise, ops.Bipolar, ops.MultiThreshold)
_QUANTISERS = (ops.Quantise, ops.Bipolar, ops.MultiThreshold)


class Walk(Context):
    """The walk over a model.

    Attributes
    ----------
    input_codes
        The code of each byte of the input, as the input table has them: int64 of shape (channels, 256).
    tensors
        For each tensor that codes of the network stand for: the layer, and its grid.
    """

    def __init__(self, model: ops.Model, exact: bool, thresholds: bool) -> None:
        super().__init__(model, exact, thresholds)
        self.tensors: dict[str, tuple[str, Grid]] = {}

    def series(self, tensor: str, value: Value, stop: str) -> tuple[list[Named], Value]:
        """Return the layers from a tensor to another one, and what that one is."""
        layers: list[Named] = []
        while tensor != stop:
            takers = self.takers[tensor]
            if len(takers) == 1 and not isinstance(takers[0], ops.Add):
                (operator,) = takers
                made, value, tensor = self.step(operator, value, self.shapes[tensor])
            elif takers:
                add = join(self, tensor)
                made, value, tensor = residual(self, add, tensor, self.coded(add, value), self.path)
            else:
                raise Unsupported([(tensor, "tensor", "nothing takes it, and it is not the output")])
            layers += made
            if isinstance(value, Coded) and not value.chain and value.order is None and layers:
                self.tensors[tensor] = layers[-1].name, value.grid
        return layers, value

    def step(self, operator: ops.Operator, value: Value, shape: ops.Shape) -> tuple[list[Named], Value, str]:
        """Return the layers of an operator and perhaps of some behind it, their output, and the tensor that it is."""
        if isinstance(operator, _ELEMENTWISE):
            return *self.elementwise(operator, value, shape), operator.output
        coded = self.coded(operator, value)
        layers: list[Named] = []
        after: Value = coded
        tensor = operator.output
        match operator:
            case ops.Convolution():
                after = convolution(self, operator, coded, shape)
            case ops.MaxPool():
                layers = [Named(self.names(operator.name), MaxPool(operator.size, operator.stride, operator.padding))]
                self.say(operator, layers, "exact")
            case ops.MeanPool():
                layers, after, tensor = mean_pool(self, operator, coded, shape)
            case ops.Flatten():
                layers, after = self.flatten(operator, coded, shape)
            case _:
                raise AssertionError(operator)
        return layers, after, tensor

    def coded(self, operator: ops.Operator, value: Value) -> Coded:
        """Return a value as codes. Raises Unsupported if no quantiser says which."""
        if isinstance(value, Coded) and not value.chain:
            return value
        if isinstance(value, Bytes) and (even := evenly_coded(value)) is not None:
            self.input_codes, grid = even
            return Coded(grid)
        kind = type(operator).__name__
        raise Unsupported([(operator.name, kind, "its input is not quantised: no quantiser stands in front of it")])

    def elementwise(self, operator: ops.Operator, value: Value, shape: ops.Shape) -> tuple[list[Named], Value]:
        """Return the layers that end with a quantiser, or the value with one more operator behind it."""
        if not isinstance(operator, _QUANTISERS):
            self.say(operator, [], "part of what follows")
            if isinstance(value, Bytes):
                return [], Bytes(chained((operator,), value.values))
            return [], replace(value, chain=(*value.chain, operator))
        target = target_of(operator, shape[2])
        if isinstance(value, Bytes):
            self.say(operator, [], "part of the input table: exact")
            self.input_codes, grid = quantised_bytes(value, target)
            return [], Coded(grid)
        if isinstance(value, Coded):
            return self.table(operator, value, target, shape)
        return quantised_sums(self, operator, value, target)

    def table(
        self, operator: ops.Operator, value: Coded, target: Target, shape: ops.Shape
    ) -> tuple[list[Named], Value]:
        """Return the table that maps codes to codes, or nothing if they are the same."""
        codes = np.arange(value.grid.codes.low, value.grid.codes.high + 1)
        reals = np.broadcast_to(value.grid.values(codes), (shape[2], len(codes)))
        ours = target.codes(chained(value.chain, reals))  # in the model's order of the channels
        if value.order is not None:
            ours = ours[np.argsort(value.order)]
        used = slice(value.grid.low - codes[0], value.grid.high - codes[0] + 1)
        if value.grid.codes == target.grid.codes and (ours[:, used] == codes[used]).all():
            self.say(operator, [], "changes nothing")
            return [], Coded(target.grid, value.order)
        values = ours.astype(np.int8 if target.grid.codes.signed else np.uint8)
        layers = [Named(self.names(operator.name), Table(values, target.grid.codes.bits))]
        self.say(operator, layers, "exact")
        return layers, Coded(target.grid, value.order)

    def flatten(self, operator: ops.Flatten, coded: Coded, shape: ops.Shape) -> tuple[list[Named], Value]:
        """Return the positions behind each other, and remember the order of the channels."""
        rows, columns, channels = shape
        if rows * columns == 1:
            self.say(operator, [], "changes nothing")
            return [], coded
        ours = np.arange(rows * columns * channels).reshape(rows, columns, channels)
        order = np.moveaxis(ours, 2, 0).reshape(-1) if operator.channels_first and channels > 1 else None
        layers = [Named(self.names(operator.name), Flatten())]
        self.say(operator, layers, "exact")
        return layers, Coded(coded.grid, order)

    def path(self, tensor: str, coded: Coded, end: str) -> tuple[list[Named], Value]:
        """Return the layers from a tensor, by that one of its takers from which another tensor comes."""
        for operator in self.takers[tensor]:
            if isinstance(operator, ops.Add):
                continue
            behind = {operator.output}
            for each in self.model.operators:
                if behind & set(each.inputs):
                    behind.add(each.output)
            if end in behind:
                made, value, reached = self.step(operator, coded, self.shapes[tensor])
                layers, value = self.series(reached, value, end)
                return made + layers, value
        raise Unsupported([(end, "tensor", "it does not come from where the residual connection begins")])
