"""Write the integer model of a network in standard ONNX operators.

Between layers, codes are int32 of shape (images, tokens, channels). Every operator is exact in any order of its sums:

- ``MatMul``, ``Add``, ``Mul`` and ``ReduceSum`` on int32, because `psahw.network.layers` bounds every sum of products
  below 2^30. ``MatMulInteger`` would take int8, but on x86 processors without VNNI onnxruntime computes it with
  instructions that saturate at 16 bits.
- ``Div``, which truncates, shifts numbers that are not negative: ``sat(rshift(t, s))`` is
  ``low + min(max(t + half - low·2^s, 0) / 2^s, high - low)``, where ``half`` is ``floor(2^s / 2)``, because what is
  below 0 would saturate at ``low``. This takes int64 where int32 might not hold the dividend, which is below 2^62.
- Windows and neighbourhoods are gathered from the tokens and one more token, which holds the code outside the grid.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from ..architecture.codes import Codes
from ..network.graph import Network, Output, Place, Residual, Series
from ..network.layers import Flatten, Linear, MaxPool, MeanPool, Table, Thresholds, TokenMixing, Windows
from ..network.reference import im2col
from .builder import Builder

if TYPE_CHECKING:
    import onnx

__all__ = ["onnx_model"]

OPSET = 18
"""The first opset whose ``ReduceMax`` takes its axes as an input, as ``ReduceSum`` has done since 13."""

_SUM_BITS = 30  # of the magnitude of a sum of products with its bias
_DESCRIPTION = "Integers of a quantised network; uint8 image to int32 logits"


class _Writer:
    """Writes the layers of a network."""

    def __init__(self, network: Network) -> None:
        self._network = network
        self._places = {place.name: place for place in network.places}
        self._builder = Builder()

    def model(self) -> "onnx.ModelProto":
        """Return the whole model."""
        network, builder = self._network, self._builder
        image = builder.value("image", np.uint8, ("images", *network.image, network.colours))
        tokens = self._series(network.layers, self._input())
        builder.layer = "output"
        count = len(network.classes)
        builder.node("Reshape", tokens, builder.constant("shape", np.array([0, count])), output="logits")
        outputs = [builder.value("logits", np.int32, ("images", count)), *self._answers(network.output)]
        return builder.model(network, [image], outputs, {"": OPSET}, _DESCRIPTION)

    def _input(self) -> str:
        """Write the table of the input, and return its tokens."""
        network, builder = self._network, self._builder
        builder.layer = "input"
        wide = builder.node("Cast", "image", to=_type(np.int32))
        shape = builder.constant("shape", np.array([0, np.prod(network.image), network.colours]))
        return self._lookup(network.input_table, 0, builder.node("Reshape", wide, shape))

    def _answers(self, output: Output) -> list:
        """Write what the logits mean, and return the descriptions of these outputs."""
        builder, count = self._builder, len(output.names)
        if output.kind == "class":  # select_last_index is 0: the first of several greatest
            builder.node("ArgMax", "logits", output="class", axis=1, keepdims=0, select_last_index=0)
            return [builder.value("class", np.int64, ("images",))]
        if output.kind == "labels":
            builder.node("Greater", "logits", builder.constant("zero", np.int32(0)), output="labels")
            return [builder.value("labels", np.bool_, ("images", count))]
        numbers = builder.node("Cast", "logits", to=_type(np.float64))
        scaled = builder.node("Mul", numbers, builder.constant("scale", np.array(output.scale, np.float64)))
        builder.node("Add", scaled, builder.constant("offset", np.array(output.offset, np.float64)), output="values")
        return [builder.value("values", np.float64, ("images", count))]

    def _series(self, series: Series, tokens: str) -> str:
        """Write layers one behind another, and return what they make of tokens."""
        for name, layer in series:
            if isinstance(layer, Residual):
                paths = [self._series(path, tokens) for path in (layer.branch, layer.shortcut)]
                self._builder.layer = name
                tokens = self._sum(layer, *paths)
            else:
                self._builder.layer = name
                tokens = self._layer(self._places[name], tokens)
        return tokens

    def _layer(self, place: Place, x: str) -> str:
        """Write a layer that is not a residual connection."""
        builder, shape = self._builder, place.input
        match place.layer:
            case Linear() as layer:
                total = builder.node("MatMul", x, self._wide("weight", layer.weight.T))
                return self._requantised(total, layer.codes, layer.bias, layer.shift, layer.multiplier, layer.offset)
            case Table(values=values):
                return self._lookup(values, shape.codes.low, x)
            case Thresholds() as layer:
                return self._thresholds(layer, x)
            case Windows() as layer:
                windows = self._gather(x, _windows(layer, shape.grid), layer.code)
                size = builder.constant("size", np.array([0, place.output.tokens, place.output.channels]))
                return builder.node("Reshape", windows, size)
            case MaxPool() as layer:
                index = _windows(layer.windows(shape.codes), shape.grid)
                windows = self._gather(x, index, shape.codes.low)
                return builder.node("ReduceMax", windows, builder.constant("axes", np.array([2])), keepdims=0)
            case MeanPool() as layer:
                total = builder.node("ReduceSum", x, builder.constant("axes", np.array([1])))
                multiplier = None if layer.multiplier == 1 else np.array(layer.multiplier)
                offset = np.array(layer.offset)
                return self._requantised(total, shape.codes, np.array(0), np.array(layer.shift), multiplier, offset)
            case Flatten():
                return builder.node("Reshape", x, builder.constant("size", np.array([0, 1, shape.size])))
            case TokenMixing(kernel=None) as layer:
                return self._mix_all(layer, place, x)
            case TokenMixing() as layer:
                return self._mix_neighbours(layer, place, x)
        raise TypeError(f"{place.name}: the layer must be one of psahw.network.layers, not {place.layer!r}")

    def _wide(self, role: str, values: np.ndarray) -> str:
        """Write a constant of 8 bits, and return it as int32. A runtime converts it once."""
        return self._builder.node("Cast", self._builder.constant(role, values), role=f"{role}s", to=_type(np.int32))

    def _lookup(self, values: np.ndarray, low: int, x: str) -> str:
        """Write a table (channels, codes) whose first column belongs to the code ``low``."""
        builder = self._builder
        first = np.arange(len(values), dtype=np.int32) * values.shape[1] - low
        index = builder.node("Add", x, builder.constant("first", first.astype(np.int32)))
        return builder.node("Gather", self._wide("value", values.reshape(-1)), index)

    def _thresholds(self, layer: Thresholds, x: str) -> str:
        """Write the number of thresholds that codes reach, with the offset added."""
        builder, axis = self._builder, self._builder.constant("axes", np.array([3]))
        column = builder.node("Unsqueeze", x, axis)
        reached = builder.node("GreaterOrEqual", column, builder.constant("thresholds", layer.values))
        count = builder.node("ReduceSum", builder.node("Cast", reached, to=_type(np.int32)), axis, keepdims=0)
        return builder.node("Add", count, builder.constant("offset", np.int32(layer.offset)))

    def _gather(self, x: str, index: np.ndarray, outside: int) -> str:
        """Write tokens (images, tokens, channels) gathered to (images, \\*index.shape, channels).

        The index -1 stands for a token whose codes are all ``outside``.
        """
        builder = self._builder
        if index.min() < 0:
            pads = builder.constant("pads", np.array([0, 0, 0, 0, 1, 0]))
            x = builder.node("Pad", x, pads, builder.constant("outside", np.int32(outside)))
        return builder.node("Gather", x, builder.constant("index", index.astype(np.int32)), axis=1)

    def _grouped(self, x: str, lengths: tuple[int, ...], order: list[int] | None) -> str:
        """Write codes with their channels in groups: (images, \\*lengths), and then transposed."""
        builder = self._builder
        parts = builder.node("Reshape", x, builder.constant("groups", np.array([0, *lengths])), role="Grouped")
        return parts if order is None else builder.node("Transpose", parts, perm=order)

    def _mix_all(self, layer: TokenMixing, place: Place, x: str) -> str:
        """Write a dense token mixing: a matrix product for each group of channels."""
        builder, (tokens, channels) = self._builder, (place.input.tokens, place.input.channels)
        parts = self._grouped(x, (tokens, layer.groups, channels // layer.groups), [0, 2, 1, 3])
        total = builder.node("MatMul", self._wide("weight", layer.weight), parts)
        mixed = self._requantised(total, layer.codes, *_rows(layer, lambda rows: rows[..., None]))
        back = builder.node("Transpose", mixed, role="Back", perm=[0, 2, 1, 3])
        return builder.node("Reshape", back, builder.constant("size", np.array([0, tokens, channels])))

    def _mix_neighbours(self, layer: TokenMixing, place: Place, x: str) -> str:
        """Write a local token mixing: products with the tokens of each neighbourhood, and their sum."""
        builder, (tokens, channels) = self._builder, (place.input.tokens, place.input.channels)
        index = layer.neighbours(place.input.grid)
        around = self._gather(x, index, 0)
        parts = self._grouped(around, (tokens, index.shape[1], layer.groups, channels // layer.groups), None)
        weight = layer.weight.transpose(1, 2, 0)[..., None]  # tokens or 1, entries, groups, 1
        products = builder.node("Mul", parts, self._wide("weight", weight))
        total = builder.node("ReduceSum", products, builder.constant("axes", np.array([2])), keepdims=0)
        mixed = self._requantised(total, layer.codes, *_rows(layer, lambda rows: rows.T[..., None]))
        return builder.node("Reshape", mixed, builder.constant("size", np.array([0, tokens, channels])))

    def _requantised(
        self, total: str, codes: Codes, bias: np.ndarray, shift: np.ndarray, multiplier: np.ndarray | None = None,
        offset: np.ndarray | None = None,
    ) -> str:  # fmt: skip
        """Write ``sat(rshift(multiplier·(total + bias) + offset, shift))``, see the module."""
        builder = self._builder
        divisor = np.left_shift(np.int64(1), shift.astype(np.int64))
        factor = np.int64(1) if multiplier is None else multiplier.astype(np.int64)
        added = divisor // 2 - codes.low * divisor + (0 if offset is None else offset.astype(np.int64))
        largest = (int(np.max(factor)) << _SUM_BITS) + int(np.abs(added).max())
        dtype = np.int32 if largest < 1 << 31 else np.int64
        if dtype is np.int64:
            total = builder.node("Cast", total, role="Wide", to=_type(np.int64))
        if multiplier is not None:
            total = builder.node("Mul", total, builder.constant("multiplier", factor.astype(dtype)), role="Scaled")
        added = factor * bias.astype(np.int64) + added
        total = builder.node("Add", total, builder.constant("bias", added.astype(dtype)), role="Biased")
        total = builder.node("Max", total, builder.constant("zero", np.zeros((), dtype)))
        total = builder.node("Div", total, builder.constant("divisor", divisor.astype(dtype)))
        total = builder.node("Min", total, builder.constant("high", np.array(codes.high - codes.low, dtype)))
        if dtype is np.int64:
            total = builder.node("Cast", total, role="Narrow", to=_type(np.int32))
        return builder.node("Add", total, builder.constant("low", np.int32(codes.low)), role="Codes")

    def _sum(self, layer: Residual, branch: str, shortcut: str) -> str:
        """Write the sum of two paths, shifted and saturated."""
        builder = self._builder
        if layer.shift:
            total = builder.node("Add", branch, shortcut)
            return self._requantised(total, layer.codes, np.array(0), np.array(layer.shift))
        limits = [builder.constant(role, np.int32(getattr(layer.codes, role))) for role in ("low", "high")]
        return builder.node("Clip", builder.node("Add", branch, shortcut), *limits)


def _type(dtype: type[np.generic]) -> int:
    """Return ONNX' number of a type."""
    from onnx import helper

    return int(helper.np_dtype_to_tensor_dtype(np.dtype(dtype)))


def _rows(
    layer: TokenMixing, shaped: Callable[[np.ndarray], np.ndarray]
) -> tuple[np.ndarray, np.ndarray, np.ndarray | None, np.ndarray | None]:
    """Return bias, shift, multiplier and offset of a token mixing, each in a shape that broadcasts over its sums."""
    multiplier, offset = (None if rows is None else shaped(rows) for rows in (layer.multiplier, layer.offset))
    return shaped(layer.bias), shaped(layer.shift), multiplier, offset


def _windows(layer: Windows, grid: tuple[int, int]) -> np.ndarray:
    """Return the token at each place of each window, (windows, places), and -1 outside the grid."""
    padding = Windows(layer.size, layer.stride, layer.padding, -1)
    tokens = np.arange(grid[0] * grid[1], dtype=np.int32).reshape(1, -1, 1)
    return im2col(padding, grid, tokens)[0]


def onnx_model(network: Network) -> "onnx.ModelProto":
    """Return a model in standard operators that computes exactly the integers of a network.

    Its input ``image`` is uint8 of shape (images, rows, columns, colours), for any number of images, and its output
    ``logits`` is int32 of shape (images, outputs). A second output depends on the kind of the network's outputs:
    ``class``, int64 of shape (images,), is the first of the greatest logits; ``values``, float64, and ``labels``,
    bool, are of shape (images, outputs). The codes behind a layer ``a.b`` are the last tensor whose name begins with
    ``a_b_``.

    The metadata of the model has the network's ``name`` and ``digest``, the kind of its ``output``, and as JSON lists
    the names of the ``classes``, ``values`` or ``labels``, and ``scale`` and ``offset`` of values.

    Parameters
    ----------
    network
        The network.

    Raises
    ------
    UserError
        If onnx is not installed.

    Examples
    --------
    >>> from psahw.network.file import load
    >>> model = onnx_model(load("mnist-psa"))  # doctest: +SKIP
    >>> [output.name for output in model.graph.output]  # doctest: +SKIP
    ['logits', 'class']
    """
    return _Writer(network).model()
