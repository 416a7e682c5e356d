"""The integer model: the definition of what a network computes, bit for bit.

NumPy only, vectorised over images. Sums are taken in floating point where every partial sum is an integer that the
type holds exactly (float32 up to 2^24, float64 up to 2^53), because BLAS is an order of magnitude faster than NumPy's
integer products.
"""

from collections.abc import Callable

import numpy as np

from .layers import ChannelMixing, Linear, Network, Patch, Table, TokenMixing, block_name, merge_name

__all__ = ["patches", "requantise", "rshift", "run"]

BATCH = 100  # images at a time: the working set stays in the cache

_Tap = Callable[[str, np.ndarray], np.ndarray]  # is shown each layer's output under the layer's name, and returns it


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
    bound = 128 * np.abs(weight.astype(np.int64)).sum(-1).max(initial=0)
    dtype = np.float32 if bound < 1 << 24 else np.float64
    product = x.astype(dtype) @ np.swapaxes(weight, -1, -2).astype(dtype)
    return product.astype(np.int32)


def _linear(layer: Linear, x: np.ndarray) -> np.ndarray:
    """Return the outputs of a linear layer: (..., inputs) to (..., outputs)."""
    return requantise(_exact_product(x, layer.weight) + layer.bias, layer.shift, layer.out_bits)


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
    padded = np.pad(x.reshape(images, height, width, channels), ((0, 0), margin, margin, (0, 0))).astype(np.int32)
    total = np.broadcast_to(bias, (images, height, width, channels)).copy()
    for i, entry in enumerate(weight.T.astype(np.int32)):
        dy, dx = divmod(i, kernel)
        total += padded[:, dy : dy + height, dx : dx + width] * entry
    return requantise(total, shift).reshape(x.shape)


def _mix_tokens(layer: TokenMixing, grid: tuple[int, int], x: np.ndarray) -> np.ndarray:
    """Return the tokens after the linear map over them: int8 (B, N, C) to int8 (B, N, C)."""
    if layer.shared and layer.kernel is not None:
        return _convolve(layer, layer.kernel, grid, x)
    images, tokens, channels = x.shape
    size = channels // layer.groups
    by_group = np.ascontiguousarray(x.reshape(images, tokens, layer.groups, size).transpose(2, 0, 3, 1))
    rows = by_group.reshape(layer.groups, images * size, tokens)
    total = _exact_product(rows, layer.dense(grid)) + layer.bias[:, None]
    mixed = requantise(total, layer.shift[:, None])
    return mixed.reshape(layer.groups, images, size, tokens).transpose(1, 3, 0, 2).reshape(x.shape)


def patches(image_codes: np.ndarray, patch: Patch) -> np.ndarray:
    """Return the windows of images as vectors: int8 (B, height, width, colours) to int8 (B, N, size²·colours)."""
    margin = ((0, 0), (patch.padding,) * 2, (patch.padding,) * 2, (0, 0))
    view = np.lib.stride_tricks.sliding_window_view(
        np.pad(image_codes, margin), (patch.size, patch.size), axis=(1, 2)
    )[:, :: patch.stride, :: patch.stride]
    images, height, width, colours = view.shape[:4]
    windows = view.transpose(0, 1, 2, 4, 5, 3)
    return windows.reshape(images, height * width, patch.size**2 * colours)


def _merge(x: np.ndarray, grid: tuple[int, int]) -> np.ndarray:
    """Return 2x2 neighbours side by side: (B, h·w, C) on a grid (h, w) to (B, h·w/4, 4C)."""
    images, _, channels = x.shape
    height, width = grid
    squares = x.reshape(images, height // 2, 2, width // 2, 2, channels).transpose(0, 1, 3, 2, 4, 5)
    return squares.reshape(images, height * width // 4, 4 * channels)


def _channel_mixing(layer: ChannelMixing, x: np.ndarray, name: str, tap: _Tap) -> np.ndarray:
    """Return the output of a channel mixing: int8 (B, N, C) to int8 (B, N, C)."""
    z = tap(f"{name}.table_in", _table(layer.table_in, x))
    z = tap(f"{name}.linear1", _linear(layer.linear1, z))
    z = tap(f"{name}.table_hidden", _table(layer.table_hidden, z))
    z = tap(f"{name}.linear2", _linear(layer.linear2, z))
    return tap(name, _add(_table(layer.table_residual, x), z))


def _token_mixing(layer: TokenMixing, grid: tuple[int, int], x: np.ndarray, name: str, tap: _Tap) -> np.ndarray:
    """Return the output of a token mixing: int8 (B, N, C) to int8 (B, N, C)."""
    z = tap(f"{name}.table_in", _table(layer.table_in, x))
    z = tap(f"{name}.linear", _mix_tokens(layer, grid, z))
    z = tap(f"{name}.table_out", _table(layer.table_out, z))
    return tap(name, _add(_table(layer.table_residual, x), z))


def _run_batch(network: Network, images: np.ndarray, tap: _Tap) -> np.ndarray:
    """Return the logits, int32 (B, classes), of uint8 images (B, height, width, colours)."""
    colour = np.arange(network.colours, dtype=np.int32) * 256
    codes = network.input_table.reshape(-1).take(images + colour)
    windows = tap("patch", patches(tap("input", codes), network.patch))
    x = tap("embed", _linear(network.embed, windows))
    grid = network.stages[0].grid
    for s, stage in enumerate(network.stages):
        if stage.merge is not None:
            x = tap(merge_name(s), _linear(stage.merge, _merge(x, grid)))
        grid = stage.grid
        for b, block in enumerate(stage.blocks):
            name = block_name(s, b)
            x = _token_mixing(block.token_mixing, grid, x, f"{name}.token_mixing", tap)
            x = _channel_mixing(block.channel_mixing, x, f"{name}.channel_mixing", tap)
    x = tap("pool", requantise(x.sum(1, dtype=np.int32), network.pool_shift))
    return tap("head", _linear(network.head, x).astype(np.int32))


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
        implementations.
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
    collected: dict[str, list[np.ndarray]] = {}

    def tap(name: str, value: np.ndarray) -> np.ndarray:
        if taps is not None:
            collected.setdefault(name, []).append(value)
        return value

    for start in range(0, len(images), BATCH):
        batch = images[start : start + BATCH]
        logits[start : start + len(batch)] = _run_batch(network, batch, tap)
        if progress is not None:
            progress(len(batch))
    if taps is not None:
        taps.update({name: np.concatenate(parts) for name, parts in collected.items()})
    return logits
