"""The integer model: the definition of what a network computes, bit for bit.

NumPy only, vectorised over images. Sums are taken in floating point where every partial sum is an integer that the
type holds exactly (float32 up to 2^24, float64 up to 2^53), because BLAS is an order of magnitude faster than NumPy's
integer products.

Memory is bounded. The images of a batch are as many as `CHUNK` allows, and a large image is computed in parts: of
tokens where each token is computed by itself, of channels where each channel is, and of the matrix of a token mixing.
What is held of a whole image is a few arrays of at most `psahw.network.graph.MAX_CODES` codes. A code takes one byte,
or two if it is an unsigned one of 8 bits, or up to four if it has more bits.
"""

import functools
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from ..architecture.codes import INT8, Codes
from ..architecture.geometry import neighbour_reach
from .activations import Activations
from .graph import Named, Network, Place, Residual, Series
from .layers import Flatten, Layer, Linear, MaxPool, MeanPool, Table, Thresholds, TokenMixing, Windows

__all__ = ["im2col", "requantise", "rshift", "run"]

BATCH = 25
"""Most images at a time. Their arrays stay in the cache if they are small."""

CHUNK = 4 << 20
"""Most numbers of an array of sums or of indices, which take 4 bytes each, unless a single token has more."""

_Tap = Callable[[str, np.ndarray], np.ndarray]
"""Is shown the output of a layer under its name, the tokens perhaps in several parts, and returns it."""


def _ignore(name: str, value: np.ndarray) -> np.ndarray:
    """Return a value; the tap if nobody wants to see it."""
    return value


def _parts(length: int, most: int) -> Iterator[slice]:
    """Yield slices of at most ``most`` items, but at least one, that cover a length."""
    step = max(1, most)
    for start in range(0, length, step):
        yield slice(start, min(start + step, length))


def rshift(value: np.ndarray, shift: np.ndarray | int) -> np.ndarray:
    """Return ``floor(value / 2^shift + 1/2)``: an arithmetic shift that rounds half up."""
    shift = np.asarray(shift, np.int32)
    half = np.where(shift > 0, np.left_shift(np.int32(1), np.maximum(shift, 1) - 1), np.int32(0))
    return (value + half) >> shift


def requantise(value: np.ndarray, shift: np.ndarray | int, codes: Codes = INT8) -> np.ndarray:
    """Return ``rshift(value, shift)`` saturated to a type of codes."""
    return codes.saturate(rshift(value, shift))


def _requantised(layer: Linear | TokenMixing, total: np.ndarray, rows: tuple[slice | int | None, ...]) -> np.ndarray:
    """Return the outputs of a layer from its sums. ``rows`` selects the bias and the shift of each sum."""
    total += layer.bias[rows]
    if layer.multiplier is not None:
        total = total.astype(np.int64) * layer.multiplier[rows]
    if layer.offset is not None:
        total += layer.offset[rows]
    return requantise(total, layer.shift[rows], layer.codes)


def _exact_product(x: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Return ``x @ weight.T`` over the last axes, exact, as int32: the graph bounds the sum of each row."""
    magnitude = np.abs(weight).view(np.uint8)  # |-128| is 128 in uint8
    largest = 128 if x.dtype == np.int8 else 255
    bound = largest * int(magnitude.sum(-1, dtype=np.uint32).max(initial=0))
    dtype = np.float32 if bound < 1 << 24 else np.float64
    factors: np.ndarray = np.swapaxes(weight, -1, -2).astype(dtype)
    if weight.ndim > 2:
        by_group: np.ndarray = x.astype(dtype)
        return (by_group @ factors).astype(np.int32)
    # As one product: for each image by itself, BLAS would start and stop its threads again and again.
    vectors: np.ndarray = x.reshape(-1, x.shape[-1]).astype(dtype)
    product = vectors @ factors
    return product.astype(np.int32).reshape(*x.shape[:-1], -1)


def _linear(layer: Linear, x: np.ndarray) -> np.ndarray:
    """Return the outputs of a linear layer: (..., inputs) to (..., outputs)."""
    parts = [
        _requantised(layer, _exact_product(x, layer.weight[rows]), (rows,))
        for rows in _parts(layer.outputs, CHUNK // layer.inputs)
    ]
    return parts[0] if len(parts) == 1 else np.concatenate(parts, -1)


def _in_parts(function: Callable[[np.ndarray], np.ndarray], x: np.ndarray, values: int) -> np.ndarray:
    """Return ``function(x)`` for a function of every entry of axis 1 by itself, taken in parts of that axis.

    ``values`` is the largest number of values that the function has of one entry.
    """
    parts = [function(x[:, some]) for some in _parts(x.shape[1], CHUNK // (len(x) * values))]
    return parts[0] if len(parts) == 1 else np.concatenate(parts, 1)


def _table(table: Table, codes: Codes, x: np.ndarray) -> np.ndarray:
    """Return codes (..., channels) of a type looked up in a table."""
    count = table.values.shape[1]
    index = x.astype(np.int32)
    index += count * np.arange(table.channels, dtype=np.int32) - codes.low
    return table.values.reshape(-1).take(index).astype(table.codes.dtype, copy=False)


def _thresholds(layer: Thresholds, x: np.ndarray) -> np.ndarray:
    """Return the numbers of thresholds that codes (..., channels) reach, with the offset added."""
    reached = np.empty(x.shape, layer.codes.dtype)
    for channel, values in enumerate(layer.values):
        reached[..., channel] = layer.offset + np.searchsorted(values, x[..., channel], side="right")
    return reached


def _convolve(layer: TokenMixing, kernel: tuple[int, int], grid: tuple[int, int], x: np.ndarray) -> np.ndarray:
    """Return the tokens mixed by a shared kernel, entry by entry: (B, N, C) to (B, N, C)."""
    images, _, channels = x.shape
    height, width = grid
    group = np.arange(channels) // (channels // layer.groups)
    margin = [(0, 0), *((length // 2,) * 2 for length in kernel), (0, 0)]
    mixed = np.empty((images, height, width, channels), layer.codes.dtype)
    margins = (height + kernel[0] - 1) * (width + kernel[1] - 1)
    for some in _parts(channels, CHUNK // (images * margins)):
        part = x[..., some].reshape(images, height, width, -1)
        padded = np.pad(part, margin).astype(np.int32)
        total = np.zeros(part.shape, np.int32)
        for i, entry in enumerate(layer.weight[group[some], 0].T.astype(np.int32)):
            dy, dx = divmod(i, kernel[1])
            total += padded[:, dy : dy + height, dx : dx + width] * entry
        mixed[..., some] = _requantised(layer, total, (group[some], 0))
    return mixed.reshape(x.shape)


def _mix_tokens(layer: TokenMixing, grid: tuple[int, int], x: np.ndarray) -> np.ndarray:
    """Return the tokens after the linear map over them: (B, N, C) to (B, N, C)."""
    if layer.shared and layer.kernel is not None:
        return _convolve(layer, layer.kernel, grid, x)
    images, tokens, channels = x.shape
    size = channels // layer.groups
    by_group = np.ascontiguousarray(x.reshape(images, tokens, layer.groups, size).transpose(2, 0, 3, 1))
    vectors = by_group.reshape(layer.groups, images * size, tokens)
    mixed = np.empty(vectors.shape, layer.codes.dtype)
    rows_at_once, terms = _band(layer, grid)
    for rows in _parts(tokens, rows_at_once):
        for groups in _parts(layer.groups, CHUNK // ((rows.stop - rows.start) * terms)):
            columns, weight = layer.band(grid, rows, groups)
            for some in _parts(images * size, CHUNK // (len(weight) * max(weight.shape[1:]))):
                total = _exact_product(vectors[groups, some, columns], weight)
                mixed[groups, some, rows] = _requantised(layer, total, (groups, None, rows))
    return mixed.reshape(layer.groups, images, size, tokens).transpose(1, 3, 0, 2).reshape(x.shape)


def _band(layer: TokenMixing, grid: tuple[int, int]) -> tuple[int, int]:
    """Return how many rows of the matrix over all tokens are taken at once, and how many of their columns are used.

    In a large grid, most of the matrix of a local mixing is zero. Then bands around its diagonal are taken, of as
    many rows as a token reaches.
    """
    tokens = grid[0] * grid[1]
    if layer.kernel is None:
        return CHUNK // tokens, tokens
    reach = neighbour_reach(grid, layer.kernel)
    rows = max(64, reach)
    return rows, min(tokens, rows + 2 * reach)


def _padded(layer: Windows, grid: tuple[int, int], x: np.ndarray) -> np.ndarray:
    """Return tokens (B, N, C) with the padding of windows around them: (B, rows, columns, C)."""
    above, below, left, right = layer.padding
    tokens = x.reshape(len(x), *grid, -1)
    if not any(layer.padding):
        return tokens
    return np.pad(tokens, ((0, 0), (above, below), (left, right), (0, 0)), constant_values=layer.code)


def _windows(layer: Windows, grid: tuple[int, int], x: np.ndarray) -> np.ndarray:
    """Return a view of the windows over tokens (B, N, C): (B, h, w, C, rows, columns) for a grid of h x w windows."""
    view = np.lib.stride_tricks.sliding_window_view(_padded(layer, grid, x), layer.size, axis=(1, 2))
    return view[:, :: layer.stride[0], :: layer.stride[1]]


def _flat(windows: np.ndarray) -> np.ndarray:
    """Return windows (B, h, w, C, rows, columns) as tokens (B, h·w, rows·columns·C)."""
    images, height, width, channels, rows, columns = windows.shape
    return windows.transpose(0, 1, 2, 4, 5, 3).reshape(images, height * width, rows * columns * channels)


def im2col(layer: Windows, grid: tuple[int, int], x: np.ndarray) -> np.ndarray:
    """Return the windows over a grid of tokens as tokens: (B, N, C) to (B, windows, rows·columns·C)."""
    return _flat(_windows(layer, grid, x))


def _max_pool(layer: MaxPool, shape: Activations, x: np.ndarray) -> np.ndarray:
    """Return the greatest code of each channel in windows over tokens (B, N, C), first along columns, then rows."""
    greatest = _padded(layer.windows(shape.codes), shape.grid, x)
    for axis, size, stride in zip((1, 2), layer.size, layer.stride, strict=True):
        view = np.lib.stride_tricks.sliding_window_view(greatest, size, axis=axis)
        view = view[(slice(None),) * axis + (slice(None, None, stride),)]
        greatest = functools.reduce(np.maximum, (view[..., place] for place in range(size)))
    return greatest.reshape(len(x), -1, shape.channels)


def _mean_pool(layer: MeanPool, codes: Codes, x: np.ndarray) -> np.ndarray:
    """Return the mean over the tokens (B, N, C), as one token."""
    total = x.sum(1, dtype=np.int32, keepdims=True)
    if layer.multiplier != 1:
        total = total.astype(np.int64) * layer.multiplier + layer.offset
    return requantise(total, layer.shift, codes)


def _apply(place: Place, x: np.ndarray) -> np.ndarray:
    """Return the output of a layer that is not a residual connection: (B, N, C) to (B, N', C')."""
    shape, layer = place.input, place.layer
    match layer:
        case Linear():
            return _linear(layer, x)
        case Table():
            return _table(layer, shape.codes, x)
        case Thresholds():
            return _thresholds(layer, x)
        case Flatten():
            return x.reshape(len(x), 1, -1)
        case MaxPool():
            return _max_pool(layer, shape, x)
        case MeanPool():
            return _mean_pool(layer, shape.codes, x)
        case TokenMixing():
            return _mix_tokens(layer, shape.grid, x)
    raise TypeError(f"{place.name}: the layer must be one of psahw.network.layers, not {layer!r}")


def _by_token(layer: Layer | Residual) -> bool:
    """Return whether a layer computes every token by itself."""
    if isinstance(layer, Residual):
        return all(_by_token(inner) for _, inner in (*layer.branch, *layer.shortcut))
    return isinstance(layer, Linear | Table | Thresholds)


@dataclass(frozen=True)
class _Run:
    """The computation of a batch of images.

    Layers that compute every token by itself are applied one after another to a part of the tokens, so that what is
    between them is never held whole. The windows in front of them are cut in parts, too.
    """

    places: dict[str, Place]
    tap: _Tap

    def series(self, series: Series, x: np.ndarray) -> np.ndarray:
        """Return what layers make of tokens (B, N, C)."""
        start = 0
        while start < len(series):
            first = series[start]
            stop = start + isinstance(first.layer, Windows)
            while stop < len(series) and _by_token(series[stop].layer):
                stop += 1
            if stop > start:
                x = self.parts(series[start:stop], x)
            else:
                stop = start + 1
                x = self.layer(first, x)
            start = stop
        return x

    def layer(self, named: Named, x: np.ndarray) -> np.ndarray:
        """Return what a layer makes of tokens (B, N, C)."""
        name, layer = named
        if not isinstance(layer, Residual):
            return self.tap(name, _apply(self.places[name], x))
        total = self.series(layer.branch, x).astype(np.int32) + self.series(layer.shortcut, x)
        return self.tap(name, layer.codes.saturate((total + ((1 << layer.shift) >> 1)) >> layer.shift))

    def layers(self, series: Series, x: np.ndarray) -> np.ndarray:
        """Return what layers make of tokens, one layer after another."""
        for named in series:
            x = self.layer(named, x)
        return x

    def parts(self, series: Series, x: np.ndarray) -> np.ndarray:
        """Return what layers that compute every token by itself, perhaps behind windows, make of tokens (B, N, C)."""
        values = len(x) * max(self.widths(series))
        (name, first), rest = series[0], series[1:]
        if not isinstance(first, Windows):
            parts = [self.layers(series, x[:, some]) for some in _parts(x.shape[1], CHUNK // values)]
            return parts[0] if len(parts) == 1 else np.concatenate(parts, 1)
        windows = _windows(first, self.places[name].input.grid, x)
        height, width = windows.shape[1:3]
        output = self.places[series[-1].name].output
        tokens = np.empty((len(x), height, width, output.channels), output.codes.dtype)
        for rows in _parts(height, CHUNK // (width * values)):
            for columns in _parts(width, CHUNK // ((rows.stop - rows.start) * values)):  # parts only of a single row
                part = self.layers(rest, self.tap(name, _flat(windows[:, rows, columns])))
                tokens[:, rows, columns] = part.reshape(tokens[:, rows, columns].shape)
        return tokens.reshape(len(x), height * width, output.channels)

    def widths(self, series: Series) -> Iterator[int]:
        """Yield how many codes a token has before and behind each layer."""
        for name, layer in series:
            place = self.places[name]
            if not isinstance(layer, Windows):
                yield place.input.channels
            yield place.output.channels
            if isinstance(layer, Residual):
                yield from self.widths((*layer.branch, *layer.shortcut))


def _run_batch(network: Network, images: np.ndarray, tap: _Tap) -> np.ndarray:
    """Return the outputs, int32 (B, outputs), of uint8 images (B, height, width, colours)."""
    colour = np.arange(network.colours, dtype=np.int32) * 256
    table = network.input_table.reshape(-1)
    codes = _in_parts(lambda rows: table.take(rows + colour), images, network.image[1] * network.colours)
    tokens = tap("input", codes).reshape(len(images), -1, network.colours)
    run = _Run({place.name: place for place in network.places}, tap)
    return run.series(network.layers, tokens)[:, 0].astype(np.int32)


def _images_at_once(network: Network) -> int:
    """Return how many images a batch has."""
    largest = network.image[0] * network.image[1] * network.colours
    for place in network.places:
        largest = max(largest, place.input.size, place.output.size)
        if isinstance(place.layer, Windows | MaxPool):
            largest = max(largest, place.layer.padded(place.input).size)
    return min(max(1, CHUNK // largest), BATCH)


class _Taps:
    """Collects the outputs of layers, which come in parts of tokens (axis 1) and in batches of images (axis 0)."""

    def __init__(self) -> None:
        self._batches: dict[str, list[np.ndarray]] = {}
        self._parts: dict[str, list[np.ndarray]] = {}

    def __call__(self, name: str, value: np.ndarray) -> np.ndarray:
        self._parts.setdefault(name, []).append(value)
        return value

    def end_batch(self) -> None:
        """Join the parts of a batch."""
        for name, parts in self._parts.items():
            whole = parts[0] if len(parts) == 1 else np.concatenate(parts, 1)
            self._batches.setdefault(name, []).append(whole)
        self._parts.clear()

    def outputs(self) -> dict[str, np.ndarray]:
        """Return the outputs of all images."""
        return {name: np.concatenate(batches) for name, batches in self._batches.items()}


def run(
    network: Network,
    images: np.ndarray,
    *,
    taps: dict[str, np.ndarray] | None = None,
    progress: Callable[[int], None] | None = None,
) -> np.ndarray:
    """Return the outputs of images, such as logits: int32 of shape (images, outputs).

    Parameters
    ----------
    network
        The network.
    images
        uint8 of shape (images, height, width, colours).
    taps
        A dictionary that is filled with the output of every layer under the layer's name, for comparison with other
        implementations. It takes as much memory as all these outputs.
    progress
        Called with the number of images of each finished batch.

    Raises
    ------
    TypeError
        If the images are not uint8.
    ValueError
        If they have another shape.

    Examples
    --------
    >>> from psahw.network import reference, samples
    >>> from psahw.network.file import load
    >>> images, labels = samples.load()
    >>> reference.run(load("cifar10-psa-small"), images[:2]).shape
    (2, 10)
    """
    expected = (*network.image, network.colours)
    if not isinstance(images, np.ndarray) or images.dtype != np.uint8:
        raise TypeError(f"images must be an array of uint8, not {getattr(images, 'dtype', type(images).__name__)}")
    if images.ndim != 4 or images.shape[1:] != expected:
        raise ValueError(f"images must have shape (any, {', '.join(map(str, expected))}), not {images.shape}")
    logits = np.empty((len(images), len(network.classes)), np.int32)
    collected = _Taps()
    batch = _images_at_once(network)
    for start in range(0, len(images), batch):
        some = images[start : start + batch]
        logits[start : start + len(some)] = _run_batch(network, some, _ignore if taps is None else collected)
        collected.end_batch()
        if progress is not None:
            progress(len(some))
    if taps is not None:
        taps.update(collected.outputs())
    return logits
