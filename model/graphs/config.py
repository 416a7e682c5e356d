"""Configurations of networks of any topology: a series of layers, some of which have series inside.

A `GraphConfig` lists its layers one by one. The topologies in `topologies.py` are shorter configurations with the
same properties, which make such a list from a few numbers.
"""

import math
from collections.abc import Iterator
from typing import Any, TypeAlias

import msgspec

from psahw.architecture.geometry import SlidingWindow
from psahw.errors import UserError
from psahw.network.graph import MAX_CODES, MAX_DEPTH
from psahw.network.layers import MAX_SIZE
from psahw.quoting import quote

from ..config import GRID_SIZES, MAX_WEIGHTS
from ..datasets.source import Task

__all__ = [
    "FUNCTIONS", "ZERO_BYTE", "Activation", "Convolution", "Flatten", "GraphConfig", "Grid", "Layers", "Linear",
    "MaxPool", "MeanPool", "Misfit", "Mixing", "Norm", "Residual", "Shaped", "result", "visit",
]  # fmt: skip

FUNCTIONS = ("relu", "relu6", "gelu", "psa")
"""Functions of an `Activation`."""

Grid: TypeAlias = tuple[int, int, int]
"""Rows, columns and channels of an activation."""

MAX_CHANNELS = 1 << 16

ZERO_BYTE = 128
"""The byte of an image that is the number 0 in a network."""


class Misfit(Exception):
    """A layer does not fit its input, or has an impossible number. The message says why."""


def _check(name: str, value: int, low: int, high: int) -> None:
    if not low <= value <= high:
        raise Misfit(f"{name} must be in [{low}, {high}], not {quote(value)}")


def _check_pair(name: str, values: tuple[int, ...], low: int, high: int) -> None:
    for value in values:
        _check(name, value, low, high)


class _Layer(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="layer"):
    """A layer of a float network."""


def _windows(size: tuple[int, int], stride: tuple[int, int], padding: tuple[int, int, int, int]) -> None:
    _check_pair("size", size, 1, MAX_SIZE)
    _check_pair("stride", stride, 1, MAX_SIZE)
    _check_pair("padding", padding[:2], 0, size[0] - 1)
    _check_pair("padding", padding[2:], 0, size[1] - 1)


def _slid(shape: Grid, size: tuple[int, int], stride: tuple[int, int], padding: tuple[int, int, int, int]) -> Grid:
    """Return the grid of windows over a grid, with its channels."""
    _windows(size, stride, padding)
    try:
        height, width = SlidingWindow(*shape[:2], size, stride, padding).grid
    except ValueError as error:
        raise Misfit(str(error)) from None
    return height, width, shape[2]


class Convolution(_Layer, frozen=True, tag="convolution"):
    """A linear map of the windows that slide over the grid, the same for each.

    Parameters
    ----------
    channels
        Channels of the result.
    size, stride
        Rows and columns of a window, and between two windows.
    padding
        Rows above, rows below, columns left and columns right, filled with zeros.
    padding_byte
        The byte of an image that fills the padding, 0 to 255. The byte 128 is the zero of a network; only the first
        layer may have another one.
    """

    channels: int
    size: tuple[int, int] = (3, 3)
    stride: tuple[int, int] = (1, 1)
    padding: tuple[int, int, int, int] = (0, 0, 0, 0)
    padding_byte: int = ZERO_BYTE

    def output(self, shape: Grid) -> Grid:
        """Return the shape of the result."""
        _check("channels", self.channels, 1, MAX_CHANNELS)
        _check("padding_byte", self.padding_byte, 0, 255)
        return (*_slid(shape, self.size, self.stride, self.padding)[:2], self.channels)

    def terms(self, shape: Grid) -> int:
        """Return the number of products in a sum."""
        return math.prod(self.size) * shape[2]

    def weights(self, shape: Grid) -> int:
        """Return the number of weights."""
        return self.channels * self.terms(shape)

    def macs(self, shape: Grid) -> int:
        """Return the multiply-accumulates per image."""
        height, width, _ = self.output(shape)
        return height * width * self.weights(shape)


class Linear(_Layer, frozen=True, tag="linear"):
    """A linear map of the channels of each token.

    Parameters
    ----------
    channels
        Channels of the result.
    """

    channels: int

    def output(self, shape: Grid) -> Grid:
        """Return the shape of the result."""
        _check("channels", self.channels, 1, MAX_CHANNELS)
        return shape[0], shape[1], self.channels

    def terms(self, shape: Grid) -> int:
        """Return the number of products in a sum."""
        return shape[2]

    def weights(self, shape: Grid) -> int:
        """Return the number of weights."""
        return self.channels * shape[2]

    def macs(self, shape: Grid) -> int:
        """Return the multiply-accumulates per image."""
        return shape[0] * shape[1] * self.weights(shape)


class Mixing(_Layer, frozen=True, tag="mixing"):
    """A linear map over the tokens of each channel, with the same weights for all channels of a group.

    Parameters
    ----------
    groups
        Number of groups of channels; 0 makes each channel a group, which is depthwise.
    kernel
        Side of the neighbourhood that is mixed, an odd number up to 9; None mixes all tokens.
    shared
        Whether all positions have the same weights, as in a convolution. This needs a kernel.
    """

    groups: int = 1
    kernel: int | None = None
    shared: bool = False

    def output(self, shape: Grid) -> Grid:
        """Return the shape of the result."""
        _check("groups", self.groups, 0, shape[2])
        if self.groups and shape[2] % self.groups:
            raise Misfit(f"groups must divide the {shape[2]} channels, not {self.groups}")
        if self.kernel is not None and self.kernel not in (1, 3, 5, 7, 9):
            raise Misfit(f"kernel must be 1, 3, 5, 7, 9 or null, not {quote(self.kernel)}")
        if self.shared and self.kernel is None:
            raise Misfit("shared needs a kernel")
        return shape

    def terms(self, shape: Grid) -> int:
        """Return the number of products in a sum."""
        return shape[0] * shape[1] if self.kernel is None else self.kernel**2

    def weights(self, shape: Grid) -> int:
        """Return the number of weights, with those of a kernel that lie outside of the grid."""
        return (self.groups or shape[2]) * (1 if self.shared else shape[0] * shape[1]) * self.terms(shape)

    def macs(self, shape: Grid) -> int:
        """Return the multiply-accumulates per image, with those outside of the grid."""
        return math.prod(shape) * self.terms(shape)


class Norm(_Layer, frozen=True, tag="norm"):
    """BatchNorm of each channel. It becomes part of the layers around it, or a table."""

    def output(self, shape: Grid) -> Grid:
        """Return the shape of the result."""
        return shape


class Activation(_Layer, frozen=True, tag="activation"):
    """A function of each value.

    Parameters
    ----------
    function
        One of `FUNCTIONS`. "relu6" is ReLU up to 6. A PSA is a learned function, of its own for each channel.
    bits
        Bits of the quantised result, 2 to 8.
    segments
        Segments of a PSA.
    grid_size
        Points at which a PSA is evaluated, see `psahw.model.config.GRID_SIZES`.
    start
        The function near which a PSA starts: "gelu" or "identity".
    """

    function: str
    bits: int = 8
    segments: int = 8
    grid_size: int = 64
    start: str = "gelu"

    def output(self, shape: Grid) -> Grid:
        """Return the shape of the result."""
        if self.function not in FUNCTIONS:
            raise Misfit(f"function must be one of {', '.join(FUNCTIONS)}, not {quote(self.function)}")
        _check("bits", self.bits, 2, 8)
        _check("segments", self.segments, 1, 1 << 10)
        if self.grid_size not in GRID_SIZES:
            sizes = ", ".join(map(str, GRID_SIZES))
            raise Misfit(f"grid_size must be one of {sizes}, not {quote(self.grid_size)}")
        if self.start not in ("gelu", "identity"):
            raise Misfit(f"start must be gelu or identity, not {quote(self.start)}")
        return shape


class MaxPool(_Layer, frozen=True, tag="max_pool"):
    """The greatest value of each channel in windows that slide over the grid.

    Parameters
    ----------
    size, stride, padding
        As in `Convolution`. Padding never is the greatest.
    """

    size: tuple[int, int]
    stride: tuple[int, int]
    padding: tuple[int, int, int, int] = (0, 0, 0, 0)

    def output(self, shape: Grid) -> Grid:
        """Return the shape of the result."""
        return _slid(shape, self.size, self.stride, self.padding)


class MeanPool(_Layer, frozen=True, tag="mean_pool"):
    """The mean of each channel over all tokens."""

    def output(self, shape: Grid) -> Grid:
        """Return the shape of the result."""
        return 1, 1, shape[2]


class Flatten(_Layer, frozen=True, tag="flatten"):
    """All tokens, one after another in raster order, as the channels of a single token."""

    def output(self, shape: Grid) -> Grid:
        """Return the shape of the result."""
        return 1, 1, math.prod(shape)


class Residual(_Layer, frozen=True, tag="residual"):
    """The sum of what two series of layers make of the same input.

    Parameters
    ----------
    branch, shortcut
        The two series. An empty one passes its input on.
    """

    branch: tuple["AnyLayer", ...]
    shortcut: tuple["AnyLayer", ...] = ()


AnyLayer: TypeAlias = (
    Convolution | Linear | Mixing | Norm | Activation | MaxPool | MeanPool | Flatten | Residual
)  # fmt: skip
Layers: TypeAlias = tuple[AnyLayer, ...]


class Shaped(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, tag_field="kind"):
    """A configuration of this package: the fields that all of them have.

    Parameters
    ----------
    image
        Height and width of an image. A row of a table is an image of one pixel, a signal one of one row.
    classes
        Number of classes, values or labels.
    colours
        Colours of a pixel, or columns of a table.
    task
        "class", "values" or "labels", as in `psahw.model.datasets.dataset.Dataset`.
    """

    image: tuple[int, int]
    classes: int
    colours: int = 3
    task: Task = "class"

    def layers(self) -> Layers:
        """Return the layers in data order."""
        raise NotImplementedError

    def check(self, where: str) -> None:
        """Raise UserError, with a message that begins with `where`, unless the layers fit each other."""
        try:
            _check_pair("image", self.image, 1, MAX_SIZE)
            _check("colours", self.colours, 1, MAX_CHANNELS)
            _check("classes", self.classes, 1 if self.task != "class" else 2, MAX_CHANNELS)
            layers = self.layers()
        except Misfit as error:
            raise UserError(f"{where}: {error}") from None
        shape = _trace(layers, (*self.image, self.colours), where, 0)
        if shape != (1, 1, self.classes):
            given = " x ".join(map(str, shape))
            raise UserError(f"{where}: the last layer must give one token of {self.classes} channels, not {given}")
        for name, layer, _ in self.places():
            if isinstance(layer, Convolution) and layer.padding_byte != ZERO_BYTE and name != "layers.0":
                raise UserError(f"{where}: {name}: only the first layer may have a padding_byte")
        if not layers or not isinstance(layers[-1], Linear | Convolution):
            raise UserError(f"{where}: the last layer must be linear or a convolution")
        if (weights := self.weights()) > MAX_WEIGHTS:
            raise UserError(f"{where}: the network may have at most {MAX_WEIGHTS:,} weights, not {weights:,}")

    def places(self) -> Iterator[tuple[str, AnyLayer, Grid]]:
        """Yield every layer, with its name and the shape of its input."""
        yield from visit(self.layers(), (*self.image, self.colours), "layers.")

    def terms(self) -> dict[str, int]:
        """Return the number of products in a sum of each layer with weights."""
        return {name: layer.terms(shape) for name, layer, shape in self.places() if isinstance(layer, _WEIGHTED)}

    def macs(self) -> int:
        """Return the multiply-accumulates per image, with those that multiply padding."""
        return sum(layer.macs(shape) for _, layer, shape in self.places() if isinstance(layer, _WEIGHTED))

    def weights(self) -> int:
        """Return the number of weights."""
        return sum(layer.weights(shape) for _, layer, shape in self.places() if isinstance(layer, _WEIGHTED))

    def largest_activation(self) -> int:
        """Return the number of values that the largest activation of an image has, with windows written out."""
        sizes = [math.prod((*self.image, self.colours))]
        for _, layer, shape in self.places():
            if isinstance(layer, Convolution):
                height, width, _ = layer.output(shape)
                sizes.append(height * width * layer.terms(shape))
            if not isinstance(layer, Residual):
                sizes.append(math.prod(layer.output(shape)))
        return max(sizes)

    def to_dict(self) -> dict[str, Any]:
        """Return the fields as JSON."""
        data: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(self))  # lists in place of tuples
        return data


_WEIGHTED = (Convolution, Linear, Mixing)


class GraphConfig(Shaped, frozen=True, kw_only=True, tag="graph"):
    """A network as a list of layers.

    Parameters
    ----------
    series
        The layers in data order. The last one is a `Linear` or `Convolution` that gives one token.
    image, classes, colours, task
        See `Shaped`.
    """

    series: Layers

    def layers(self) -> Layers:
        """Return the layers in data order."""
        return self.series


def _trace(layers: Layers, shape: Grid, where: str, depth: int) -> Grid:
    """Return the shape that a series gives. Raises UserError for a layer that does not fit; `where` leads to it."""
    if depth > MAX_DEPTH:
        raise UserError(f"{where}: residual connections must be at most {MAX_DEPTH} deep")
    for index, layer in enumerate(layers):
        at = f"{where}, layer {index}"
        if isinstance(layer, Residual):
            branch = _trace(layer.branch, shape, f"{at}, branch", depth + 1)
            shortcut = _trace(layer.shortcut, shape, f"{at}, shortcut", depth + 1)
            if branch != shortcut:
                shapes = " and ".join(" x ".join(map(str, grid)) for grid in (branch, shortcut))
                raise UserError(f"{at}: branch and shortcut must give the same shape, not {shapes}")
            shape = branch
            continue
        try:
            shape = layer.output(shape)
            if math.prod(shape) > MAX_CODES or max(shape[:2]) > MAX_SIZE:
                raise Misfit(f"the result is too large: {' x '.join(map(str, shape))}")
        except Misfit as error:
            raise UserError(f"{at} ({type(layer).__name__}): {error}") from None
    return shape


def visit(layers: Layers, shape: Grid, within: str) -> Iterator[tuple[str, AnyLayer, Grid]]:
    """Yield every layer of a series that fits `shape`, with its name and its input; a residual before its paths."""
    for index, layer in enumerate(layers):
        name = f"{within}{index}"
        yield name, layer, shape
        if isinstance(layer, Residual):
            yield from visit(layer.branch, shape, f"{name}.branch.")
            yield from visit(layer.shortcut, shape, f"{name}.shortcut.")
        shape = result(layer, shape)


def result(layer: AnyLayer, shape: Grid) -> Grid:
    """Return the shape of what a layer that fits makes of an input."""
    if not isinstance(layer, Residual):
        return layer.output(shape)
    for inner in layer.branch:
        shape = result(inner, shape)
    return shape
