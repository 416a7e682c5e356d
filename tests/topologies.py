"""Well-known topologies as graphs of random integers, in their published sizes or smaller."""

from collections.abc import Callable
from itertools import pairwise

import numpy as np

from psahw.network.graph import Named, Network, Output, Residual, Series
from psahw.network.layers import MeanPool, Table, TokenMixing, Windows
from psahw.network.random import random_linear, random_table

__all__ = ["TOPOLOGIES", "autoencoder", "depthwise_separable", "mixer", "mlp", "resnet8"]


class _Layers:
    """Makes named layers with random numbers."""

    def __init__(self, seed: int):
        self.rng = np.random.default_rng(seed)

    def linear(self, name: str, inputs: int, outputs: int, *, relu: bool = False, out_bits: int = 8) -> Series:
        """Return a linear layer, perhaps with a ReLU behind it."""
        layer = Named(name, random_linear(self.rng, outputs, inputs, out_bits=out_bits))
        return (layer, *self.relu(f"{name}.relu", outputs)) if relu else (layer,)

    def relu(self, name: str, channels: int) -> Series:
        """Return a ReLU as a table."""
        values = np.maximum(np.arange(-128, 128), 0).astype(np.int8)
        return (Named(name, Table(np.tile(values, (channels, 1)))),)

    def convolution(
        self,
        name: str,
        inputs: int,
        outputs: int,
        size: tuple[int, int] = (3, 3),
        stride: int = 1,
        padding: tuple[int, int, int, int] = (1, 1, 1, 1),
        *,
        relu: bool = False,
    ) -> Series:
        """Return windows and a linear layer."""
        windows = Named(f"{name}.windows", Windows(size, (stride, stride), padding))
        return (windows, *self.linear(name, size[0] * size[1] * inputs, outputs, relu=relu))

    def mixing(self, name: str, weight: np.ndarray, kernel: tuple[int, int] | None = None) -> Named:
        """Return a token mixing; with a kernel, all tokens share it."""
        spread = np.sqrt((weight.astype(np.float64) ** 2).sum(-1)).clip(1)
        shift = np.round(np.log2(spread) + 1).astype(np.uint8)
        bias = self.rng.integers(-99, 100, shift.shape).astype(np.int32)
        return Named(name, TokenMixing(weight, bias, shift, kernel, kernel is not None))

    def weights(self, *shape: int) -> np.ndarray:
        """Return random weights."""
        return np.clip(np.round(self.rng.normal(0, 40, shape)), -128, 127).astype(np.int8)


def _network(name: str, image: tuple[int, int], colours: int, layers: Series, outputs: int) -> Network:
    """Return a network that takes bytes as codes from -128 on, and gives a class."""
    table = np.tile(np.arange(-128, 128, dtype=np.int8), (colours, 1))
    return Network(name, image, table, layers, Output("class", tuple(f"class {n}" for n in range(outputs))))


def mlp(scale: int = 1) -> Network:
    """Return an MLP for 16 inputs and 5 classes, as for jet tagging, with 64, 32 and 32 hidden neurons."""
    make, sizes = _Layers(1), (16, 64 // scale, 32 // scale, 32 // scale)
    layers: Series = ()
    for number, (inputs, outputs) in enumerate(pairwise(sizes)):
        layers += make.linear(f"hidden{number}", inputs, outputs, relu=True)
    return _network("mlp", (1, 1), 16, (*layers, *make.linear("head", sizes[-1], 5, out_bits=16)), 5)


def autoencoder(scale: int = 1) -> Network:
    """Return MLPerf Tiny's anomaly detector without its deepest repetitions: 640, 128, 8, 128 and 640 neurons."""
    make, outer, inner = _Layers(2), 640 // scale, 128 // scale
    layers = (
        *make.linear("encoder", outer, inner, relu=True),
        *make.linear("code", inner, 8, relu=True),
        *make.linear("decoder", 8, inner, relu=True),
        *make.linear("output", inner, outer),
    )
    table = np.tile(np.arange(-128, 128, dtype=np.int8), (outer, 1))
    ones, zeros = (1.0,) * outer, (0.0,) * outer
    output = Output("values", tuple(f"bin {n}" for n in range(outer)), ones, zeros)
    return Network("autoencoder", (1, 1), table, layers, output)


def mixer(scale: int = 1) -> Network:
    """Return an MLP-Mixer of two blocks for 16x16 pixels, with 4x4 patches and 32 channels."""
    make, tokens, channels, hidden = _Layers(3), 16, 32 // scale, 64 // scale
    layers = make.convolution("embed", 3, channels, (4, 4), 4, (0, 0, 0, 0))
    for block in range(2):
        name = f"blocks.{block}"
        mixing = (
            make.mixing(f"{name}.tokens.linear1", make.weights(1, tokens, tokens)),
            Named(f"{name}.tokens.table", random_table(make.rng, channels)),
            make.mixing(f"{name}.tokens.linear2", make.weights(1, tokens, tokens)),
        )
        mlp = (
            *make.linear(f"{name}.channels.linear1", channels, hidden),
            Named(f"{name}.channels.table", random_table(make.rng, hidden)),
            *make.linear(f"{name}.channels.linear2", hidden, channels),
        )
        layers += (Named(f"{name}.tokens", Residual(mixing)), Named(f"{name}.channels", Residual(mlp)))
    layers += (Named("pool", MeanPool(3)), *make.linear("head", channels, 10, out_bits=16))
    return _network("mixer", (16, 16), 3, layers, 10)


def resnet8(scale: int = 1) -> Network:
    """Return MLPerf Tiny's ResNet8 for 32x32 pixels: three residual blocks of 16, 32 and 64 channels."""
    make, side, width = _Layers(4), 32 // scale, 16 // scale
    layers = make.convolution("stem", 3, width, relu=True)
    inputs = width
    for number in range(3):
        name, outputs, stride = f"block{number}", width << number, 2 if number else 1
        # TensorFlow's "same": with a stride of 2 and an even side, only the far sides are padded.
        padding = (0, 1, 0, 1) if stride == 2 else (1, 1, 1, 1)
        branch = (
            *make.convolution(f"{name}.conv1", inputs, outputs, stride=stride, padding=padding, relu=True),
            *make.convolution(f"{name}.conv2", outputs, outputs),
        )
        shortcut: Series = ()
        if stride == 2:
            shortcut = make.convolution(f"{name}.shortcut", inputs, outputs, (1, 1), 2, (0, 0, 0, 0))
        layers += (Named(name, Residual(branch, shortcut)), *make.relu(f"{name}.relu", outputs))
        inputs = outputs
    layers += (Named("pool", MeanPool(max((side // 4) ** 2, 2).bit_length() - 2)),)
    return _network("resnet8", (side, side), 3, (*layers, *make.linear("head", inputs, 10, out_bits=16)), 10)


def depthwise_separable(scale: int = 1) -> Network:
    """Return MLPerf Tiny's keyword spotter for 49x10 inputs: a convolution and four depthwise-separable blocks."""
    make, channels, blocks = _Layers(5), 64 // scale, max(4 // scale, 1)
    layers = make.convolution("stem", 1, channels, (10, 4), 2, (4, 5, 1, 1), relu=True)
    for block in range(blocks):
        name = f"blocks.{block}"
        layers += (
            make.mixing(f"{name}.depthwise", make.weights(channels, 1, 9), (3, 3)),
            *make.relu(f"{name}.relu", channels),
            *make.linear(f"{name}.pointwise", channels, channels, relu=True),
        )
    layers += (Named("pool", MeanPool(5)), *make.linear("head", channels, 12, out_bits=16))
    return _network("depthwise_separable", (49, 10), 1, layers, 12)


TOPOLOGIES: dict[str, Callable[..., Network]] = {
    "mlp": mlp,
    "autoencoder": autoencoder,
    "mixer": mixer,
    "resnet8": resnet8,
    "depthwise_separable": depthwise_separable,
}
"""Functions that return a network by its name. ``scale`` divides its sizes."""
