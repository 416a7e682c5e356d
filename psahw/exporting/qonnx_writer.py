"""Write a network in QONNX: float operators with the quantisers of FINN and hls4ml between them.

Every tensor holds integers as float32, and sums up to 2^24 are exact. Tensors have the layout (images, channels,
rows, columns), and those of a single token (images, channels).

==================  ====================================================================================
layer               in the file
==================  ====================================================================================
input table, Table  ``Add`` and ``Quant`` for ``clip(x + c)``, such as a ReLU; otherwise ``MultiThreshold``,
                    or the difference of two of them for functions that rise and fall
Windows + Linear    ``Conv`` with weights through ``Quant``, then the requantisation
Windows             ``Conv`` with weights of 0 and 1
Linear              ``Conv`` of 1x1 tokens, or ``MatMul`` for a single one, then the requantisation
TokenMixing         ``Conv`` of each channel by itself if shared, otherwise ``MatMul``; then the requantisation
MeanPool            ``ReduceSum``, then the requantisation
MaxPool, Flatten    ``MaxPool``; ``Transpose`` and ``Reshape``
Thresholds          ``MultiThreshold``
Residual            ``Add`` and ``Quant``
==================  ====================================================================================

A requantisation is ``Add`` of the bias, ``Mul`` with ``multiplier / 2^shift``, ``Add`` of 1/2 and
``offset / 2^shift``, and a ``Quant`` that rounds down. Where a product may reach 2^24 it is a ``MultiThreshold`` on
the sums, which has all of that in its thresholds.
"""

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from ..architecture.codes import Codes
from ..architecture.ranges import signed_bits
from ..errors import UserError
from ..network.activations import Activations
from ..network.graph import Named, Network, Place, Residual, Series
from ..network.layers import Flatten, Linear, MaxPool, MeanPool, Table, Thresholds, TokenMixing, Windows
from .builder import Builder

if TYPE_CHECKING:
    import onnx

__all__ = ["qonnx_model"]

OPSET = 13
"""The first opset with the axes of ``ReduceSum`` as an input; QONNX' own tools write 9 to 13."""

DOMAIN = "qonnx.custom_op.general"

MAX_THRESHOLDS = 1023
"""Most thresholds of a channel. Tables of FINN have up to 255."""

MAX_WEIGHTS = 1 << 26
"""Most weights of a matrix over all tokens, and of a kernel of windows without a linear layer."""

_EXACT = 1 << 24  # integers of at most this magnitude are exact in float32
_DESCRIPTION = "Quantised network with QONNX quantisers; image of 0 to 255 to integer logits"


class _Inexpressible(Exception):
    """A layer that cannot be written; the argument is the reason."""


class _Rows(NamedTuple):
    """The requantisation of sums: ``sat(rshift(multiplier·(sum + bias) + offset, shift))``.

    Parameters
    ----------
    bias, shift, multiplier, offset
        int64, one number for each row, of any shape.
    largest
        The greatest magnitude of a sum without its bias, of the same shape.
    codes
        Type of the outputs.
    """

    bias: np.ndarray
    shift: np.ndarray
    multiplier: np.ndarray
    offset: np.ndarray
    largest: np.ndarray
    codes: Codes

    @property
    def exact(self) -> bool:
        """True if products with the multiplier are exact in float32, also with what is added to them."""
        total = self.multiplier * (self.largest + np.abs(self.bias)) + np.abs(self.offset)
        half = np.left_shift(np.int64(1), np.maximum(self.shift, 1)) >> 1
        return bool((np.where(self.shift > 0, total, 2 * total) + half).max() <= _EXACT)

    def thresholds(self) -> np.ndarray:
        """Return the least sum that gives each code but the lowest: (rows, codes - 1), int64.

        Sums are integers in [-largest, largest], so that thresholds outside are replaced by the nearest one that is
        reached as often: always or never.
        """
        codes = np.arange(self.codes.low + 1, self.codes.high + 1)
        bias, shift, multiplier, offset, largest = (values.reshape(-1, 1) for values in self[:5])
        half = np.left_shift(np.int64(1), shift) >> 1
        needed = np.left_shift(codes, shift) - half - offset  # of multiplier·(sum + bias)
        reached = -(-needed // np.maximum(multiplier, 1)) - bias
        never = np.where(needed > 0, largest + 1, -largest)
        return np.clip(np.where(multiplier > 0, reached, never), -largest, largest + 1)


def _rows(layer: Linear | TokenMixing, shape: Activations, largest: np.ndarray) -> _Rows:
    """Return the requantisation of a layer. Raises _Inexpressible if its sums may exceed float32."""
    multiplier = np.ones_like(layer.bias) if layer.multiplier is None else layer.multiplier
    offset = np.zeros_like(layer.bias) if layer.offset is None else layer.offset
    bias, shift, multiplier, offset = (
        values.astype(np.int64) for values in (layer.bias, layer.shift, multiplier, offset)
    )
    rows = _Rows(bias, shift, multiplier, offset, largest, layer.codes)
    if (top := int((largest + np.abs(rows.bias)).max())) > _EXACT:
        raise _Inexpressible(f"sums up to {top} are not exact in float32, which QONNX computes with")
    if not rows.exact and layer.codes.bits > 8:
        raise _Inexpressible(f"products with the multiplier, in outputs of {layer.codes}, are not exact in float32")
    return rows


def _largest(weight: np.ndarray, shape: Activations) -> np.ndarray:
    """Return the greatest magnitude of the sums of each row, whose weights are along the last axis."""
    return np.abs(weight.astype(np.int64)).sum(-1) * max(-shape.low, shape.high)


def _lengths(shape: Activations) -> tuple[int, ...]:
    """Return the shape of a tensor without the images."""
    return (shape.channels,) if shape.tokens == 1 else (shape.channels, *shape.grid)


def _data_type(low: int, high: int) -> str:
    """Return QONNX' name of the narrowest type for integers in [low, high]."""
    return f"UINT{max(high.bit_length(), 1)}" if low >= 0 else f"INT{signed_bits(low, high)}"


def _range_codes(low: int, high: int) -> Codes | None:
    """Return the type whose codes are exactly those in [low, high], or None."""
    codes = Codes(signed_bits(low, high) if low < 0 else max(high.bit_length(), 1), low < 0)
    return codes if (codes.low, codes.high) == (low, high) else None


class _Writer:
    """Writes the layers of a network."""

    def __init__(self, network: Network, images: int) -> None:
        self._network = network
        self._images = images
        self._places = {place.name: place for place in network.places}
        self._builder = Builder()
        self._faults: list[str] = []

    def model(self) -> "onnx.ModelProto":
        """Return the whole model."""
        network, builder = self._network, self._builder
        first = self._places[network.layers[0].name].input
        image = builder.value("image", np.float32, (self._images, *_lengths(first)))
        builder.layer = "input"
        tokens = builder.constant("none", np.zeros(0, np.float32))
        try:
            tokens = self._quant("image", Codes(8, False), first, "Bytes")
            tokens = self._table(network.input_table, 0, tokens, first)
        except _Inexpressible as reason:
            self._faults.append(f"the input table: {reason}")
        tokens = self._series(network.layers, tokens)
        if self._faults:
            raise UserError(f"{network.name} cannot be written in QONNX: {'; '.join(self._faults)}")
        builder.layer = "output"
        builder.node("Identity", tokens, output="logits")
        logits = builder.value("logits", np.float32, (self._images, len(network.classes)))
        return builder.model(network, [image], [logits], {"": OPSET, DOMAIN: 1}, _DESCRIPTION)

    def _series(self, series: Series, x: str) -> str:
        """Write layers one behind another, and return what they make of a tensor."""
        waiting: Windows | None = None
        for index, (name, layer) in enumerate(series):
            following: Named | None = series[index + 1] if index + 1 < len(series) else None
            if isinstance(layer, Residual):
                paths = [self._series(path, x) for path in (layer.branch, layer.shortcut)]
                self._builder.layer = name
                output = self._places[name].output
                total = self._node("Add", *paths, shape=_lengths(output))
                x = self._shifted(layer, output, total) if layer.shift else self._quant(total, layer.codes, output)
                continue
            self._builder.layer = name
            if isinstance(layer, Windows) and following is not None and isinstance(following.layer, Linear):
                waiting = layer
                continue
            place = self._places[name]
            try:
                if waiting is not None and isinstance(layer, Linear):
                    x = self._convolution(waiting, layer, self._places[series[index - 1].name].input, place, x)
                else:
                    x = self._layer(place, x)
            except _Inexpressible as reason:
                self._faults.append(f"{name}: {reason}")
            waiting = None
        return x

    def _shifted(self, layer: Residual, output: Activations, total: str) -> str:
        """Write the requantisation of the sum of two paths, which have at most 24 bits."""
        one, largest = np.ones(1, np.int64), np.array([_EXACT])
        rows = _Rows(0 * one, np.array([layer.shift]), one, 0 * one, largest, layer.codes)
        return self._requantised(total, rows, (1,), _lengths(output))

    def _layer(self, place: Place, x: str) -> str:
        """Write a layer that is not a residual connection, nor windows in front of a linear layer."""
        builder, shape, output = self._builder, place.input, place.output
        match place.layer:
            case Linear() as layer:
                return self._linear(layer, place, x)
            case Table(values=values):
                return self._table(values, shape.codes.low, x, shape)
            case Thresholds() as layer:
                if max(-shape.low, shape.high) > _EXACT:
                    raise _Inexpressible(f"inputs of up to {shape.codes.bits} bits are not exact in float32")
                values = np.clip(layer.values.astype(np.int64), shape.low, shape.high + 1)
                return self._multi_threshold(x, values, layer.offset, _lengths(output))
            case Windows() as layer:
                return self._bare_windows(layer, place, x)
            case MaxPool() as layer:
                grid = self._reshaped(x, (shape.channels, *shape.grid), "Grid", _lengths(shape))
                greatest = self._node(
                    "MaxPool",
                    grid,
                    shape=(shape.channels, *output.grid),
                    kernel_shape=layer.size,
                    strides=layer.stride,
                    pads=_pads(layer.padding),
                )
                return self._reshaped(greatest, _lengths(output), "Codes", (shape.channels, *output.grid))
            case MeanPool() as layer:
                total = x
                if shape.tokens > 1:
                    axes = builder.constant("axes", np.array([2, 3]))
                    total = self._node("ReduceSum", x, axes, shape=_lengths(output), keepdims=0)
                return self._mean(layer, place, total)
            case Flatten():
                if shape.tokens == 1:
                    return x
                order = self._node("Transpose", x, shape=(*shape.grid, shape.channels), perm=[0, 2, 3, 1])
                return self._reshaped(order, _lengths(output), "Codes")
            case TokenMixing(shared=True) as layer:
                return self._mix_shared(layer, place, x)
            case TokenMixing() as layer:
                return self._mix_all(layer, place, x)
        raise TypeError(f"{place.name}: the layer must be one of psahw.network.layers, not {place.layer!r}")

    def _node(self, operator: str, *inputs: str, shape: tuple[int, ...], role: str = "", **attributes: Any) -> str:
        """Add a node whose output has a shape behind the images."""
        return self._builder.node(operator, *inputs, role=role, shape=(self._images, *shape), **attributes)

    def _constant(self, role: str, values: np.ndarray | float) -> str:
        """Add numbers that are exact in float32."""
        return self._builder.constant(role, np.asarray(values, np.float32))

    def _reshaped(self, x: str, lengths: tuple[int, ...], role: str, before: tuple[int, ...] | None = None) -> str:
        """Write another shape behind the images, unless the tensor has it already."""
        if lengths == before:
            return x
        size = self._builder.constant(f"{role.lower()}shape", np.array([0, *lengths]))
        return self._node("Reshape", x, size, role=role, shape=lengths)

    def _quantiser(self, x: str, codes: Codes, shape: tuple[int, ...], role: str) -> str:
        """Write a ``Quant`` of scale 1 that rounds down, with the shape of its output."""
        numbers = {"scale": 1.0, "zero": 0.0, "bits": float(codes.bits)}
        inputs = [self._constant(f"{role.lower()}{name}", number) for name, number in numbers.items()]
        options: dict[str, Any] = {"signed": int(codes.signed), "narrow": 0, "rounding_mode": "FLOOR"}
        return self._builder.node("Quant", x, *inputs, role=role, domain=DOMAIN, shape=shape, **options)

    def _quant(self, x: str, codes: Codes, shape: Activations, role: str = "Codes") -> str:
        """Write the saturation of activations."""
        return self._quantiser(x, codes, (self._images, *_lengths(shape)), role)

    def _weight(self, weight: np.ndarray) -> str:
        """Write weights through a ``Quant`` with the fewest bits that hold them."""
        bits = max(signed_bits(int(weight.min()), int(weight.max())), 2)
        return self._quantiser(self._constant("weight", weight), Codes(bits), weight.shape, "Weights")

    def _multi_threshold(
        self, x: str, values: np.ndarray, low: int, shape: tuple[int, ...], role: str = "Thresholds"
    ) -> str:
        """Write ``low`` plus the number of thresholds (channels, thresholds) that each input reaches."""
        return self._node(
            "MultiThreshold",
            x,
            self._constant(f"{role.lower()}values", values),
            role=role,
            shape=shape,
            domain=DOMAIN,
            out_dtype=_data_type(low, low + values.shape[1]),
            out_bias=float(low),
            out_scale=1.0,
            data_layout={1: "NC", 3: "NCHW"}[len(shape)],
        )

    def _table(self, values: np.ndarray, low: int, x: str, shape: Activations) -> str:
        """Write a table (channels, codes) whose first column belongs to the code ``low``."""
        table = values.astype(np.int64)
        lengths = _lengths(shape)
        least, most = int(table.min()), int(table.max())
        codes = _range_codes(least, most)
        if codes is not None and (offset := _offset(table, low)) is not None:
            moved = self._node("Add", x, self._constant("offset", _per_channel(offset, lengths)), shape=lengths)
            return self._quant(moved, codes, shape)
        base = int(table[:, 0].min())
        rises = np.diff(table, axis=1, prepend=base)
        up, down = (_steps(np.maximum(steps, 0), low) for steps in (rises, -rises))
        if max(up.shape[1], down.shape[1]) > MAX_THRESHOLDS:
            count = max(up.shape[1], down.shape[1])
            raise _Inexpressible(f"the function needs {count} thresholds, of which there may be {MAX_THRESHOLDS}")
        rising = self._multi_threshold(x, up, base, lengths, "Rising")
        if (rises >= 0).all():
            return rising
        falling = self._multi_threshold(x, down, 0, lengths, "Falling")
        return self._node("Sub", rising, falling, shape=lengths)

    def _requantised(self, total: str, rows: _Rows, lengths: tuple[int, ...], shape: tuple[int, ...]) -> str:
        """Write the outputs of sums. ``lengths`` are those of the rows, for broadcasting; ``shape`` is the sums'.

        Where this is not exact, the rows must be the channels.
        """
        if not rows.exact:
            return self._multi_threshold(total, rows.thresholds(), rows.codes.low, shape)
        bias, scale = rows.bias.reshape(lengths), (rows.multiplier / 2.0**rows.shift).reshape(lengths)
        if bias.any():
            total = self._node("Add", total, self._constant("bias", bias), role="Biased", shape=shape)
        added = (rows.offset / 2.0**rows.shift).reshape(lengths)
        if (scale != 1).any() or added.any():
            total = self._node("Mul", total, self._constant("scale", scale), role="Scaled", shape=shape)
            half = added + 0.5 if added.any() else 0.5
            total = self._node("Add", total, self._constant("half", half), role="Rounded", shape=shape)
        return self._quantiser(total, rows.codes, (self._images, *shape), "Codes")

    def _linear(self, layer: Linear, place: Place, x: str) -> str:
        """Write a linear layer of every token by itself."""
        if place.input.tokens > 1:
            return self._convolution(Windows((1, 1), (1, 1)), layer, place.input, place, x)
        rows = _rows(layer, place.input, _largest(layer.weight, place.input))
        lengths = _lengths(place.output)
        total = self._node("MatMul", x, self._weight(layer.weight.T), shape=lengths)
        return self._requantised(total, rows, lengths, lengths)

    def _convolution(self, windows: Windows, layer: Linear, before: Activations, place: Place, x: str) -> str:
        """Write a linear layer over windows."""
        rows = _rows(layer, place.input, _largest(layer.weight, place.input))
        kernel = layer.weight.reshape(layer.outputs, *windows.size, before.channels).transpose(0, 3, 1, 2)
        total = self._windowed(windows, before, kernel, x, place.output)
        lengths = _lengths(place.output)
        return self._requantised(total, rows, (layer.outputs, *(1,) * (len(lengths) - 1)), lengths)

    def _windowed(
        self, windows: Windows, before: Activations, kernel: np.ndarray, x: str, output: Activations
    ) -> str:
        """Write windows times a kernel (outputs, channels, rows, columns)."""
        grid = before.channels, *before.grid
        x = self._reshaped(x, grid, "Grid", _lengths(before))
        padding = windows.padding
        if any(padding) and windows.code != 0:
            above, below, left, right = padding
            pads = self._builder.constant("pads", np.array([0, 0, above, left, 0, 0, below, right]))
            padded = windows.padded(before)
            x = self._node("Pad", x, pads, self._constant("outside", windows.code), shape=(grid[0], *padded.grid))
            padding = (0, 0, 0, 0)
        shape = len(kernel), *output.grid
        options: dict[str, Any] = {"kernel_shape": windows.size, "strides": windows.stride, "pads": _pads(padding)}
        total = self._node("Conv", x, self._weight(kernel), shape=shape, **options)
        return self._reshaped(total, _lengths(output), "Sums", shape)

    def _bare_windows(self, windows: Windows, place: Place, x: str) -> str:
        """Write windows without a linear layer behind them: a kernel takes each code to a channel of its own."""
        channels, outputs = place.input.channels, place.output.channels
        if outputs**2 > MAX_WEIGHTS:
            raise _Inexpressible(
                f"windows of {outputs} codes without a linear layer need more than {MAX_WEIGHTS} weights"
            )
        kernel = np.eye(outputs, dtype=np.int8).reshape(outputs, *windows.size, channels).transpose(0, 3, 1, 2)
        return self._windowed(windows, place.input, kernel, x, place.output)

    def _mean(self, layer: MeanPool, place: Place, total: str) -> str:
        """Write the requantisation of sums over all tokens."""
        shape, lengths = place.input, _lengths(place.output)
        largest = np.array([shape.tokens * max(-shape.low, shape.high)])
        one = np.ones(1, np.int64)
        rows = _Rows(0 * one, layer.shift * one, layer.multiplier * one, layer.offset * one, largest, shape.codes)
        if largest[0] > _EXACT:
            raise _Inexpressible(f"sums up to {largest[0]} are not exact in float32, which QONNX computes with")
        return self._requantised(total, rows, (1,), lengths)

    def _mix_shared(self, layer: TokenMixing, place: Place, x: str) -> str:
        """Write a mixing with the same kernel for all tokens: a convolution of each channel by itself."""
        assert layer.kernel is not None
        shape, lengths = place.input, _lengths(place.output)
        channels = np.arange(shape.channels) // (shape.channels // layer.groups)
        rows = _rows(layer, shape, _largest(layer.weight, shape))
        rows = rows._replace(**{name: getattr(rows, name)[channels] for name in _Rows._fields[:5]})
        grid = shape.channels, *shape.grid
        x = self._reshaped(x, grid, "Grid", _lengths(shape))
        half = [length // 2 for length in layer.kernel]
        options: dict[str, Any] = {"group": shape.channels, "kernel_shape": layer.kernel, "pads": [*half, *half]}
        kernel = layer.weight[channels].reshape(shape.channels, 1, *layer.kernel)
        total = self._reshaped(
            self._node("Conv", x, self._weight(kernel), shape=grid, **options), lengths, "Sums", grid
        )
        return self._requantised(total, rows, (shape.channels, *(1,) * (len(lengths) - 1)), lengths)

    def _mix_all(self, layer: TokenMixing, place: Place, x: str) -> str:
        """Write a mixing with weights for each token: a product with a matrix over all tokens."""
        shape, groups = place.input, layer.groups
        if groups * shape.tokens**2 > MAX_WEIGHTS:
            raise _Inexpressible(f"a matrix over {shape.tokens} tokens has more than {MAX_WEIGHTS} weights")
        weight = layer.dense(shape.grid)
        rows = _rows(layer, shape, _largest(weight, shape))
        size, tokens = shape.channels // groups, shape.tokens
        by_token = (groups, size, tokens)
        parts = self._reshaped(x, by_token, "Groups")
        matrix = np.swapaxes(weight, 1, 2)
        total = self._node("MatMul", parts, self._weight(matrix[0] if groups == 1 else matrix), shape=by_token)
        if rows.exact:
            mixed = self._requantised(total, rows, (groups, 1, tokens), by_token)
            return self._reshaped(mixed, _lengths(place.output), "Mixed")
        turned = self._node("Transpose", total, shape=(groups, tokens, size), perm=[0, 1, 3, 2])
        channels = self._reshaped(turned, (groups * tokens, size, 1), "Rows")
        mixed = self._requantised(channels, rows, (), (groups * tokens, size, 1))
        split = self._reshaped(mixed, (groups, tokens, size), "Split")
        back = self._node("Transpose", split, role="Back", shape=by_token, perm=[0, 1, 3, 2])
        return self._reshaped(back, _lengths(place.output), "Mixed")


def _pads(padding: tuple[int, int, int, int]) -> list[int]:
    """Return padding in the order of ONNX: the beginnings of both axes, then their ends."""
    above, below, left, right = padding
    return [above, left, below, right]


def _per_channel(values: np.ndarray, lengths: tuple[int, ...]) -> np.ndarray:
    """Return a number for each channel in a shape that broadcasts over a tensor."""
    return values.reshape(-1, *(1,) * (len(lengths) - 1))


def _offset(table: np.ndarray, low: int) -> np.ndarray | None:
    """Return ``c`` for each channel if all functions are ``clip(x + c)`` between the table's ends, otherwise None."""
    least, most = table.min(), table.max()
    x = np.arange(table.shape[1]) + low
    inside = (table > least) & (table < most)
    if not inside.any(1).all():
        return None
    column = inside.argmax(1)
    offset: np.ndarray = np.take_along_axis(table, column[:, None], 1)[:, 0] - x[column]
    return offset if (np.clip(x + offset[:, None], least, most) == table).all() else None


def _steps(steps: np.ndarray, low: int) -> np.ndarray:
    """Return thresholds (channels, thresholds) from the heights of the steps at each code from ``low`` on.

    Channels with fewer thresholds than others have some that no code reaches.
    """
    codes = np.arange(low, low + steps.shape[1])
    width = max(int(steps.sum(1).max()), 1)
    unreached = low + steps.shape[1]
    return np.array([np.append(up := np.repeat(codes, row), [unreached] * (width - len(up))) for row in steps])


def qonnx_model(network: Network, *, images: int = 1) -> "onnx.ModelProto":
    """Return a model in QONNX, with which qonnx' executor computes the logits of a network.

    Its input ``image`` is float32 of shape (images, colours, rows, columns), or (images, colours) for a single
    position, and holds the bytes of the image, 0 to 255. Its output ``logits`` is float32 of shape (images, outputs)
    and holds the integers that the network gives; scale and offset of values are in the metadata, as in
    `psahw.exporting.onnx_writer.onnx_model`. The module's docstring says what becomes of each layer.

    Parameters
    ----------
    network
        The network.
    images
        Images at a time. FINN and hls4ml expect 1.

    Raises
    ------
    UserError
        If onnx is not installed, or if QONNX cannot express the network exactly. The message lists every such layer
        with the reason.

    Examples
    --------
    >>> from psahw.network.file import load
    >>> model = qonnx_model(load("mnist-psa"))  # doctest: +SKIP
    >>> sorted({node.op_type for node in model.graph.node if node.domain})  # doctest: +SKIP
    ['MultiThreshold', 'Quant']
    """
    return _Writer(network, images).model()
