"""Float models of other tools as float networks of psahw: operators on real numbers become layers with weights.

The float network computes what the model computes, except for float32. What the bytes of an image stand for, and
factors behind or in front of weights, become part of the weights.
"""

import math
from dataclasses import dataclass

import numpy as np
import torch

from psahw.errors import UserError
from psahw.importing import operators as ops
from psahw.importing.lowering import Line
from psahw.importing.paths import Paths
from psahw.importing.unsupported import Unsupported
from psahw.network.graph import MAX_DEPTH

from .. import finite
from ..datasets.source import Task
from ..resmlp import PIXEL_SCALE
from . import config
from .config import ZERO_BYTE, AnyLayer, GraphConfig
from .imported_path import Part, Path, Pending, named
from .network import GraphNet

__all__ = ["Imported", "from_operators"]

_LARGEST_KERNEL = 9  # of a mixing
_MOST_WEIGHTS = 1 << 24  # of a grouped convolution that becomes one with a single group
_FUNCTIONS = {math.inf: "relu", 6.0: "relu6"}  # by the greatest result


@dataclass(frozen=True, eq=False)
class Imported:
    """A float model of another tool.

    Parameters
    ----------
    network
        The float network, in evaluation mode.
    lines
        What became of each operator. ``exact`` says whether the float network computes the same.
    """

    network: GraphNet
    lines: tuple[Line, ...]


class _Walk:
    """The walk over a model, from its input to its output."""

    def __init__(self, model: ops.Model) -> None:
        self.model, self.shapes = model, ops.shapes(model)
        self.lines: list[Line] = []
        self.order: dict[int, np.ndarray] = {}  # of the channels of an input, by the operator's id
        self.paths = Paths(model)

    def say(self, operator: ops.Operator, note: str, layer: str | None = None, exact: bool = True) -> None:
        """Note what became of an operator."""
        layers = () if layer is None else (layer,)
        self.lines.append(Line(operator.name, type(operator).__name__, layers, note, exact))

    def series(self, tensor: str, stop: str, path: Path) -> None:
        """Add the layers from a tensor to another one to a path."""
        while tensor != stop:
            takers = self.paths.takers[tensor]
            if len(takers) == 1 and not isinstance(takers[0], ops.Add):
                self.step(takers[0], path)
                tensor = takers[0].output
            else:
                tensor = self.residual(tensor, path)
        path.settle()

    def residual(self, tensor: str, path: Path) -> str:
        """Add the residual connection that begins with a tensor, and return the tensor of its sum."""
        add = self.paths.meeting(tensor)
        takers = [each for each in self.paths.takers[tensor] if each is not add]
        if not isinstance(add, ops.Add) or len(set(add.inputs)) != 2:
            raise Unsupported([(tensor, "tensor", "several operators take it, and no sum ends what they begin")])
        path.settle()
        if path.depth == MAX_DEPTH:
            raise Unsupported([(add.name, "Add", f"residual connections more than {MAX_DEPTH} deep")])
        name = f"{path.name}{len(path.parts)}"
        ends: list[list[Part]] = []
        for end, word in zip(sorted(add.inputs, key=lambda end: end == tensor), ("branch", "shortcut"), strict=True):
            begins = [each for each in takers if self.paths.passes(each.output, end)]
            if len(begins) != (end != tensor):
                raise Unsupported([(add.name, "Add", "its summands are sums of the same tensor")])
            side = Path(f"{name}.{word}.", [], depth=path.depth + 1)
            if begins:
                takers.remove(begins[0])
                self.step(begins[0], side)
                self.series(begins[0].output, end, side)
            ends.append(side.parts)
        if takers:
            raise Unsupported([(add.name, "Add", "more than two series of operators lead to it")])
        branch, shortcut = ends
        tensors = named(branch, "branch.layers.") | named(shortcut, "shortcut.layers.")
        layers = (tuple(part.layer for part in parts) for parts in ends)
        self.say(add, "exact", path.add(config.Residual(*layers), **tensors))
        return add.output

    def step(self, operator: ops.Operator, path: Path) -> None:
        """Add the layer of an operator that has one input."""
        shape = self.shapes[operator.inputs[0]]
        match operator:
            case ops.Convolution():
                self.convolution(operator, path, shape)
            case ops.Affine(factor=factor, offset=offset):
                before = path.pending or Pending(np.ones(shape[2]), np.zeros(shape[2]))
                path.pending = before.then(self.reordered(operator, factor), self.reordered(operator, offset))
                self.say(operator, "part of the weights, or a norm")
            case ops.Flatten(channels_first=channels_first):
                self.flatten(operator, path, shape, channels_first)
            case ops.Clip(high=high):
                path.settle()
                self.say(operator, "exact", path.add(config.Activation(_FUNCTIONS[high])))
            case ops.MaxPool(size=size, stride=stride, padding=padding):
                path.settle()
                self.say(operator, "exact", path.add(config.MaxPool(size, stride, padding)))
            case ops.MeanPool():
                path.settle()
                self.say(operator, "exact", path.add(config.MeanPool()))
            case _:
                raise AssertionError(operator)  # see `_check`

    def flatten(self, operator: ops.Operator, path: Path, shape: ops.Shape, channels_first: bool) -> None:
        """Add a flattening; the next dense layer takes its channels in our order."""
        rows, columns, channels = shape
        if rows * columns == 1:
            self.say(operator, "changes nothing")
            return
        following = self.paths.takers[operator.output]
        if channels_first and channels > 1:
            ours = np.arange(rows * columns * channels).reshape(rows, columns, channels)
            order = np.moveaxis(ours, 2, 0).reshape(-1)  # where each of the model's channels is in ours
            while len(following) == 1 and isinstance(following[0], ops.Affine | ops.Clip):
                self.order[id(following[0])] = order
                following = self.paths.takers[following[0].output]
            if len(following) != 1 or not isinstance(following[0], ops.Convolution):
                raise Unsupported([(operator.name, "Flatten", "channels come first, and no dense layer follows")])
            self.order[id(following[0])] = order
        if path.sees_image and path.pending is not None:
            pending = Pending(*(np.tile(numbers, rows * columns) for numbers in path.pending))
            name = path.add(config.Flatten())
            path.pending = pending
        else:
            path.settle()
            name = path.add(config.Flatten())
        self.say(operator, "exact", name)

    def convolution(self, operator: ops.Convolution, path: Path, shape: ops.Shape) -> None:
        """Add a linear map of windows, or of the neighbours of each channel."""
        outputs = len(operator.weight)
        bias = np.zeros(outputs) if operator.bias is None else np.asarray(operator.bias, np.float64)
        weight, note = operator.real_weight, "its weights"
        if operator.groups > 1:
            ordered = id(operator) in self.order
            if not ordered and (kernel := self.local(operator, shape)) is not None:
                self.mixing(operator, path, weight, bias, kernel)
                return
            if weight.size * operator.groups > _MOST_WEIGHTS:
                reason = f"a grouped convolution with more than {_MOST_WEIGHTS:,} weights, with zeros between groups"
                raise Unsupported([(operator.name, "Convolution", reason)])
            weight, note = (
                ops.ungrouped(weight, operator.groups),
                "its weights, with zeros between those of its groups",
            )
        weight = self.reordered(operator, weight)
        padding_byte, exact, pending = ZERO_BYTE, True, path.pending
        if pending is not None and any(operator.padding) and not path.sees_image:
            path.settle()
            pending = None
        if pending is not None:
            if any(operator.padding):
                padding_byte, exact = _padding_byte(operator, pending)
                note = "its weights" if exact else "its padding holds the nearest common byte, not zeros"
            bias = bias + (weight * pending.offset).sum((1, 2, 3))
            weight = weight * pending.factor
            path.pending = None
        layer: AnyLayer = config.Convolution(outputs, operator.size, operator.stride, operator.padding, padding_byte)
        if operator.size == (1, 1) and operator.stride == (1, 1) and not any(operator.padding):
            layer = config.Linear(outputs)
        name = path.add(layer, linear_weight=weight.reshape(outputs, -1), bias=bias)
        self.say(operator, note, name, exact)

    def reordered(self, operator: ops.Operator, numbers: np.ndarray) -> np.ndarray:
        """Return numbers for each channel of an operator's input, along the last axis, in our order of channels."""
        order = self.order.get(id(operator))
        if order is None or np.size(numbers) == 1:
            return numbers
        ours = np.empty_like(numbers)
        ours[..., order] = numbers
        return ours

    def local(self, operator: ops.Convolution, shape: ops.Shape) -> int | None:
        """Return the side of the neighbourhoods that a depthwise convolution reads, or None if it is none."""
        above, _, left, _ = operator.padding
        rows, columns = operator.size
        reach = max(above, rows - 1 - above, left, columns - 1 - left)
        down, across = operator.stride
        grid = -(-shape[0] // down), -(-shape[1] // across)
        is_depthwise = operator.groups == shape[2] == len(operator.weight)
        is_local = self.shapes[operator.output][:2] == grid and 2 * reach + 1 <= _LARGEST_KERNEL
        return 2 * reach + 1 if is_depthwise and is_local else None

    def mixing(
        self, operator: ops.Convolution, path: Path, weight: np.ndarray, bias: np.ndarray, kernel: int
    ) -> None:
        """Add a depthwise convolution. With a stride, all positions are computed, and most of them left out."""
        path.settle()
        entries = np.zeros((len(weight), kernel, kernel))
        above, left = kernel // 2 - operator.padding[0], kernel // 2 - operator.padding[2]
        rows, columns = operator.size
        entries[:, above : above + rows, left : left + columns] = weight[..., 0]
        name = path.add(
            config.Mixing(0, kernel, True), weight=entries.reshape(len(weight), 1, -1), bias=bias[:, None]
        )
        if operator.stride != (1, 1):
            path.add(config.MaxPool((1, 1), operator.stride))
        self.say(operator, "its weights", name)


def _check(model: ops.Model) -> None:
    """Raise Unsupported with all operators of kinds that no float network has."""
    refused = []
    for operator in model.operators:
        kind = type(operator).__name__
        if isinstance(operator, ops.Clip) and (operator.low != 0 or operator.high not in _FUNCTIONS):
            bounds = f"{operator.low:g} and {operator.high:g}"
            reason = f"a float model may have the bounds 0 and infinity, or 0 and 6, but not {bounds}"
            refused.append((operator.name, kind, reason))
        elif isinstance(operator, ops.Quantise | ops.Bipolar | ops.MultiThreshold):
            refused.append((operator.name, kind, "the model is quantised already, and a float model must not be"))
    if refused:
        raise Unsupported(refused)


def _padding_byte(operator: ops.Convolution, pending: Pending) -> tuple[int, bool]:
    """Return the byte that stands for 0 in an image, and whether it is exactly 0 in all channels."""
    if (pending.factor == 0).any():
        raise Unsupported([(operator.name, "Convolution", "a channel of the input is multiplied by 0")])
    zeros = -pending.offset / pending.factor / PIXEL_SCALE + ZERO_BYTE
    byte = int(np.clip(np.rint(zeros.mean()), 0, 255))
    return byte, bool(np.abs(zeros - byte).max() < 1e-3)


def from_operators(model: ops.Model, offset: np.ndarray, step: np.ndarray, *, task: Task = "class") -> Imported:
    """Return the float network of a float model.

    Parameters
    ----------
    model
        The model. Its input has no quantiser, and it has none inside.
    offset, step
        float64 [channels of the input]: byte ``b`` of an image stands for ``offset + step·b``.
    task
        What the outputs mean.

    Raises
    ------
    Unsupported
        If operators cannot become layers.
    UserError
        If the layers do not make a network of psahw, or a weight is not finite.
    """
    _check(model)
    walk, path = _Walk(model), Path("layers.", [], sees_image=True)
    # A network sees (byte - 128)·PIXEL_SCALE.
    path.pending = Pending(step / PIXEL_SCALE, offset + step * ZERO_BYTE)
    walk.series(model.input.name, model.output, path)
    shape = model.input.shape
    series = tuple(part.layer for part in path.parts)
    classes = walk.shapes[model.output][2]
    graph = GraphConfig(image=shape[:2], colours=shape[2], classes=classes, task=task, series=series)
    try:
        graph.check(model.name)
    except UserError as error:
        raise UserError(f"{error}, in the float network that psahw makes of the model") from None
    network = GraphNet(graph)
    with np.errstate(over="ignore"):  # what becomes infinite is refused
        tensors = {
            name: torch.from_numpy(np.float32(each)) for name, each in named(path.parts, "series.layers.").items()
        }
    finite.require(f"the float network of {model.name}", tensors, error=UserError)
    network.load_state_dict(network.state_dict() | tensors)
    return Imported(network.eval(), tuple(walk.lines))
