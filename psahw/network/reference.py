"""The integer model: the definition of what a network computes, bit for bit.

NumPy only, vectorised over images. Sums are taken in floating point where every partial sum is an integer that the
type holds exactly (float32 up to 2^24, float64 up to 2^53), because BLAS is an order of magnitude faster than NumPy's
integer products.

Memory is bounded. The images of a batch are as many as `CHUNK` allows, and a large image is computed in parts: of
tokens where each token is computed by itself, of channels where each channel is, and of the matrix of a token mixing.
What is held of a whole image is a few arrays of int8 codes, each of at most `psahw.network.layers.MAX_CODES`.
"""

from collections.abc import Callable, Iterator
from functools import partial

import numpy as np

from ..architecture.geometry import neighbour_reach
from .layers import ChannelMixing, Linear, Network, Patch, Table, TokenMixing, block_name, merge_name

__all__ = ["patches", "requantise", "rshift", "run"]

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


def requantise(value: np.ndarray, shift: np.ndarray | int, bits: int = 8) -> np.ndarray:
    """Return ``rshift(value, shift)`` saturated to ``bits`` bits, as int8 up to 8 bits and as int32 above."""
    limit = 1 << (bits - 1)
    result = np.clip(rshift(value, shift), -limit, limit - 1)
    return result.astype(np.int8 if bits <= 8 else np.int32)


def _exact_product(x: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Return ``x @ weight.T`` over the last axes, exact, as int32: `Linear` bounds the sum of each row."""
    magnitude = np.abs(weight).view(np.uint8)  # |-128| is 128 in uint8
    bound = 128 * int(magnitude.sum(-1, dtype=np.uint32).max(initial=0))
    dtype = np.float32 if bound < 1 << 24 else np.float64
    product = x.astype(dtype) @ np.swapaxes(weight, -1, -2).astype(dtype)
    return product.astype(np.int32)


def _linear(layer: Linear, x: np.ndarray) -> np.ndarray:
    """Return the outputs of a linear layer: (..., inputs) to (..., outputs)."""
    parts = [
        requantise(_exact_product(x, layer.weight[rows]) + layer.bias[rows], layer.shift[rows], layer.out_bits)
        for rows in _parts(layer.outputs, CHUNK // layer.inputs)
    ]
    return parts[0] if len(parts) == 1 else np.concatenate(parts, -1)


def _in_parts(function: Callable[[np.ndarray], np.ndarray], x: np.ndarray, values: int) -> np.ndarray:
    """Return ``function(x)`` for a function of every entry of axis 1 by itself, taken in parts of that axis.

    ``values`` is the largest number of values that the function has of one entry.
    """
    parts = [function(x[:, some]) for some in _parts(x.shape[1], CHUNK // (len(x) * values))]
    return parts[0] if len(parts) == 1 else np.concatenate(parts, 1)


def _table(table: Table | None, x: np.ndarray) -> np.ndarray:
    """Return int8 codes (..., channels) looked up in a table; None is the identity."""
    if table is None:
        return x
    index = x.astype(np.int32)
    index += 128 + 256 * np.arange(table.channels, dtype=np.int32)
    return table.values.reshape(-1).take(index)


def _add(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Return the sum of int8 codes, saturated to int8."""
    return np.clip(a.astype(np.int16) + b, -128, 127).astype(np.int8)


def _convolve(layer: TokenMixing, kernel: int, grid: tuple[int, int], x: np.ndarray) -> np.ndarray:
    """Return the tokens mixed by a shared kernel, entry by entry: int8 (B, N, C) to int8 (B, N, C)."""
    images, _, channels = x.shape
    height, width = grid
    weight, bias, shift = (
        part[:, 0].repeat(channels // layer.groups, axis=0) for part in (layer.weight, layer.bias, layer.shift)
    )
    margin = (kernel // 2,) * 2
    mixed = np.empty((images, height, width, channels), np.int8)
    for some in _parts(channels, CHUNK // (images * height * width)):
        part = x[..., some].reshape(images, height, width, -1)
        padded = np.pad(part, ((0, 0), margin, margin, (0, 0))).astype(np.int32)
        total = np.broadcast_to(bias[some], part.shape).copy()
        for i, entry in enumerate(weight[some].T.astype(np.int32)):
            dy, dx = divmod(i, kernel)
            total += padded[:, dy : dy + height, dx : dx + width] * entry
        mixed[..., some] = requantise(total, shift[some])
    return mixed.reshape(x.shape)


def _mix_tokens(layer: TokenMixing, grid: tuple[int, int], x: np.ndarray) -> np.ndarray:
    """Return the tokens after the linear map over them: int8 (B, N, C) to int8 (B, N, C)."""
    if layer.shared and layer.kernel is not None:
        return _convolve(layer, layer.kernel, grid, x)
    images, tokens, channels = x.shape
    size = channels // layer.groups
    by_group = np.ascontiguousarray(x.reshape(images, tokens, layer.groups, size).transpose(2, 0, 3, 1))
    vectors = by_group.reshape(layer.groups, images * size, tokens)
    mixed = np.empty_like(vectors)
    rows_at_once, terms = _band(layer, grid)
    for rows in _parts(tokens, rows_at_once):
        for groups in _parts(layer.groups, CHUNK // ((rows.stop - rows.start) * terms)):
            columns, weight = layer.band(grid, rows, groups)
            bias, shift = (part[groups, None, rows] for part in (layer.bias, layer.shift))
            for some in _parts(images * size, CHUNK // (len(weight) * max(weight.shape[1:]))):
                total = _exact_product(vectors[groups, some, columns], weight) + bias
                mixed[groups, some, rows] = requantise(total, shift)
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


def _windows(image_codes: np.ndarray, patch: Patch) -> np.ndarray:
    """Return a view of the windows of images: int8 (B, h, w, colours, size, size) for a grid of h x w tokens."""
    margin = ((0, 0), (patch.padding,) * 2, (patch.padding,) * 2, (0, 0))
    view = np.lib.stride_tricks.sliding_window_view(
        np.pad(image_codes, margin), (patch.size, patch.size), axis=(1, 2)
    )
    return view[:, :: patch.stride, :: patch.stride]


def _flat(windows: np.ndarray) -> np.ndarray:
    """Return windows (B, h, w, colours, size, size) as vectors (B, h·w, size²·colours)."""
    images, height, width, colours, size, _ = windows.shape
    return windows.transpose(0, 1, 2, 4, 5, 3).reshape(images, height * width, size**2 * colours)


def patches(image_codes: np.ndarray, patch: Patch) -> np.ndarray:
    """Return the windows of images as vectors: int8 (B, height, width, colours) to int8 (B, N, size²·colours)."""
    return _flat(_windows(image_codes, patch))


def _embed(network: Network, codes: np.ndarray, tap: _Tap) -> np.ndarray:
    """Return the tokens of images: int8 (B, height, width, colours) to int8 (B, N, C)."""
    windows, layer = _windows(codes, network.patch), network.embed
    images, height, width = windows.shape[:3]
    values = images * max(layer.inputs, layer.outputs)
    tokens = np.empty((images, height, width, layer.outputs), np.int8)
    for rows in _parts(height, CHUNK // (width * values)):
        for columns in _parts(width, CHUNK // ((rows.stop - rows.start) * values)):  # parts only of a single row
            part = tap("embed", _linear(layer, tap("patch", _flat(windows[:, rows, columns]))))
            tokens[:, rows, columns] = part.reshape(tokens[:, rows, columns].shape)
    return tokens.reshape(images, height * width, layer.outputs)


def _merge(x: np.ndarray, grid: tuple[int, int]) -> np.ndarray:
    """Return 2x2 neighbours side by side: (B, h·w, C) on a grid (h, w) to (B, h·w/4, 4C)."""
    images, _, channels = x.shape
    height, width = grid
    squares = x.reshape(images, height // 2, 2, width // 2, 2, channels).transpose(0, 1, 3, 2, 4, 5)
    return squares.reshape(images, height * width // 4, 4 * channels)


def _channel_mixing(layer: ChannelMixing, x: np.ndarray, name: str, tap: _Tap) -> np.ndarray:
    """Return the output of a channel mixing: int8 (B, N, C) to int8 (B, N, C)."""

    def mix(x: np.ndarray) -> np.ndarray:
        z = tap(f"{name}.table_in", _table(layer.table_in, x))
        z = tap(f"{name}.linear1", _linear(layer.linear1, z))
        z = tap(f"{name}.table_hidden", _table(layer.table_hidden, z))
        z = tap(f"{name}.linear2", _linear(layer.linear2, z))
        return tap(name, _add(_table(layer.table_residual, x), z))

    return _in_parts(mix, x, max(layer.linear1.inputs, layer.hidden))


def _token_mixing(layer: TokenMixing, grid: tuple[int, int], x: np.ndarray, name: str, tap: _Tap) -> np.ndarray:
    """Return the output of a token mixing: int8 (B, N, C) to int8 (B, N, C)."""

    def look_up(table: Table | None, x: np.ndarray) -> np.ndarray:
        return x if table is None else _in_parts(partial(_table, table), x, x.shape[2])

    z = tap(f"{name}.table_in", look_up(layer.table_in, x))
    z = tap(f"{name}.linear", _mix_tokens(layer, grid, z))
    z = tap(f"{name}.table_out", look_up(layer.table_out, z))
    return tap(name, _add(look_up(layer.table_residual, x), z))


def _run_batch(network: Network, images: np.ndarray, tap: _Tap) -> np.ndarray:
    """Return the logits, int32 (B, classes), of uint8 images (B, height, width, colours)."""
    colour = np.arange(network.colours, dtype=np.int32) * 256
    table = network.input_table.reshape(-1)
    codes = _in_parts(lambda rows: table.take(rows + colour), images, network.image[1] * network.colours)
    x = _embed(network, tap("input", codes), tap)
    grid = network.stages[0].grid
    for s, stage in enumerate(network.stages):
        if stage.merge is not None:
            values = max(stage.merge.inputs, stage.merge.outputs)
            x = tap(merge_name(s), _in_parts(partial(_linear, stage.merge), _merge(x, grid), values))
        grid = stage.grid
        for b, block in enumerate(stage.blocks):
            name = block_name(s, b)
            x = _token_mixing(block.token_mixing, grid, x, f"{name}.token_mixing", tap)
            x = _channel_mixing(block.channel_mixing, x, f"{name}.channel_mixing", tap)
    x = tap("pool", requantise(x.sum(1, dtype=np.int32), network.pool_shift))
    return tap("head", _linear(network.head, x).astype(np.int32))


def _images_at_once(network: Network) -> int:
    """Return how many images a batch has."""
    height, width = network.image
    tokens = network.patch.grid(network.image)
    largest = max(height * width * network.colours, tokens[0] * tokens[1] * network.embed.inputs)
    for stage in network.stages:
        if stage.merge is not None:
            largest = max(largest, stage.tokens * stage.merge.inputs)
        for block in stage.blocks:
            mixing = block.channel_mixing
            largest = max(largest, stage.tokens * max(mixing.linear1.inputs, mixing.hidden))
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
    """Return the logits of images, int32 of shape (images, classes).

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
