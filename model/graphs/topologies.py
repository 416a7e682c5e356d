"""Well-known topologies as short configurations, which make their layers from a few numbers.

Sources:

- MLP-Mixer: I. Tolstikhin et al., "MLP-Mixer: An all-MLP Architecture for Vision" (arXiv 2105.01601, 2021);
- ResNet: K. He et al., "Deep Residual Learning for Image Recognition" (arXiv 1512.03385, 2015), with the default
  sizes of ResNet8 in C. Banbury et al., "MLPerf Tiny Benchmark" (arXiv 2106.07597, 2021), as for the next two;
- depthwise-separable network: Y. Zhang et al., "Hello Edge: Keyword Spotting on Microcontrollers" (arXiv 1711.07128,
  2017);
- autoencoder: the anomaly detector of MLPerf Tiny.

BatchNorm stands where it becomes part of a linear map or of a table. In the token mixing of a Mixer, where the
weights of all channels are the same, it stands in front, in place of LayerNorm, and the hidden width is the number of
tokens.
"""

from psahw.quoting import quote

from ..datasets.source import Task
from .config import (
    FUNCTIONS,
    Activation,
    Convolution,
    Flatten,
    Layers,
    Linear,
    MaxPool,
    MeanPool,
    Misfit,
    Mixing,
    Norm,
    Residual,
    Shaped,
)

__all__ = ["Autoencoder", "Convolutional", "DepthwiseSeparable", "Mixer", "Mlp", "ResNet"]


def _check(name: str, values: tuple[int, ...], high: int = 1 << 16) -> None:
    """Raise Misfit unless there are values, all of them positive."""
    if not values:
        raise Misfit(f"{name} must not be empty")
    for value in values:
        if not 1 <= value <= high:
            raise Misfit(f"{name} must be in [1, {high}], not {quote(value)}")


def same(size: tuple[int, int], stride: tuple[int, int], grid: tuple[int, int]) -> tuple[int, int, int, int]:
    """Return the padding with which windows make as many rows and columns as a grid has, divided by the stride.

    An odd row or column of it goes below or right, as with TensorFlow's padding "same".
    """
    padding: list[int] = []
    for length, step, count in zip(size, stride, grid, strict=True):
        whole = max((-(-count // step) - 1) * step + length - count, 0)
        padding += (whole // 2, whole - whole // 2)
    above, below, left, right = padding
    return above, below, left, right


class _Topology(Shaped, frozen=True, kw_only=True):
    """A topology whose neurons have a function.

    Parameters
    ----------
    activation
        One of `psahw.model.graphs.config.FUNCTIONS`.
    bits
        Bits of the activations behind that function, 2 to 8.
    segments, grid_size
        Parameters of a PSA, see `psahw.model.graphs.config.Activation`.
    """

    activation: str = "psa"
    bits: int = 8
    segments: int = 8
    grid_size: int = 64

    def act(self) -> Activation:
        """Return the function of the neurons."""
        if self.activation not in FUNCTIONS:
            raise Misfit(f"activation must be one of {', '.join(FUNCTIONS)}, not {quote(self.activation)}")
        return Activation(self.activation, self.bits, self.segments, self.grid_size)


class Mlp(_Topology, frozen=True, kw_only=True, tag="mlp"):
    """A multilayer perceptron: hidden layers with BatchNorm, and a linear output.

    Parameters
    ----------
    widths
        Neurons of the hidden layers.
    input_function
        Put a PSA at each input, as in the published networks with PSA.
    """

    widths: tuple[int, ...] = (64, 32)
    input_function: bool = False

    def layers(self) -> Layers:
        """Return the layers in data order."""
        _check("widths", self.widths)
        layers: Layers = (Flatten(),) if self.image != (1, 1) else ()
        if self.input_function:
            layers += (Activation("psa", self.bits, self.segments, self.grid_size, "identity"),)
        for width in self.widths:
            layers += (Linear(width), Norm(), self.act())
        return (*layers, Linear(self.classes))


class Autoencoder(Mlp, frozen=True, kw_only=True, tag="autoencoder"):
    """An MLP that is narrow in the middle, and gives as many values as it takes."""

    widths: tuple[int, ...] = (128, 8, 128)
    activation: str = "relu"
    task: Task = "values"


class Convolutional(_Topology, frozen=True, kw_only=True, tag="convolutional"):
    """Convolutions, each with a stride of 2 or max pooling of 2x2 behind it, and a linear output.

    Parameters
    ----------
    widths
        Channels of the convolutions.
    size
        Rows and columns of their windows. Signals, which are images of one row, have windows of one row.
    pooling
        Halve the grid by max pooling in place of strides.
    flatten
        Let the output see each position of the last grid, in place of the mean over them.
    """

    widths: tuple[int, ...] = (8, 16, 16)
    size: tuple[int, int] = (3, 3)
    pooling: bool = False
    flatten: bool = False

    def layers(self) -> Layers:
        """Return the layers in data order."""
        _check("widths", self.widths)
        _check("size", self.size, 1024)
        layers: Layers = ()
        grid, stride = self.image, (1, 1) if self.pooling else (2, 2)
        for width in self.widths:
            size = min(self.size[0], grid[0]), min(self.size[1], grid[1])
            layers += (Convolution(width, size, stride, same(size, stride, grid)), Norm(), self.act())
            if self.pooling:
                pool = min(grid[0], 2), min(grid[1], 2)
                layers += (MaxPool(pool, pool, (0, grid[0] % pool[0], 0, grid[1] % pool[1])),)
            grid = -(-grid[0] // 2), -(-grid[1] // 2)
        return (*layers, Flatten() if self.flatten else MeanPool(), Linear(self.classes))


class Mixer(_Topology, frozen=True, kw_only=True, tag="mixer"):
    """An MLP-Mixer: patches, blocks that mix tokens and then channels, and a linear output.

    Parameters
    ----------
    patch
        Side of a patch in pixels, which divides height and width.
    channels, hidden
        Channels of a token, and hidden neurons of the channel mixing.
    blocks
        Number of blocks.
    """

    patch: int = 4
    channels: int = 32
    hidden: int = 64
    blocks: int = 2

    def layers(self) -> Layers:
        """Return the layers in data order."""
        for name in ("patch", "channels", "hidden", "blocks"):
            _check(name, (getattr(self, name),))
        if self.image[0] % self.patch or self.image[1] % self.patch:
            raise Misfit(f"patch must divide the image of {self.image[0]} x {self.image[1]}, not {self.patch}")
        side = (self.patch, self.patch)
        tokens = Residual((Norm(), Mixing(), self.act(), Mixing()))
        channels = Residual((Norm(), Linear(self.hidden), Norm(), self.act(), Linear(self.channels)))
        blocks = (tokens, channels) * self.blocks
        return (Convolution(self.channels, side, side), *blocks, MeanPool(), Norm(), Linear(self.classes))


class ResNet(_Topology, frozen=True, kw_only=True, tag="resnet"):
    """A residual network of 3x3 convolutions, with a block per width, each but the first of which halves the grid.

    Parameters
    ----------
    widths
        Channels of the blocks. The first are those of the stem as well.
    """

    widths: tuple[int, ...] = (16, 32, 64)
    activation: str = "relu"

    def layers(self) -> Layers:
        """Return the layers in data order."""
        _check("widths", self.widths)
        grid, size = self.image, (3, 3)
        layers: Layers = (Convolution(self.widths[0], size, (1, 1), same(size, (1, 1), grid)), Norm(), self.act())
        before = self.widths[0]
        for number, width in enumerate(self.widths):
            stride = (2, 2) if number else (1, 1)
            first = Convolution(width, size, stride, same(size, stride, grid))
            grid = -(-grid[0] // stride[0]), -(-grid[1] // stride[1])
            second = Convolution(width, size, (1, 1), same(size, (1, 1), grid))
            branch = (first, Norm(), self.act(), second, Norm())
            is_same = stride == (1, 1) and before == width
            shortcut = () if is_same else (Convolution(width, (1, 1), stride), Norm())
            layers += (Residual(branch, shortcut), self.act())
            before = width
        return (*layers, MeanPool(), Linear(self.classes))


class DepthwiseSeparable(_Topology, frozen=True, kw_only=True, tag="depthwise_separable"):
    """A strided convolution, then blocks of a depthwise 3x3 convolution and a linear map of the channels.

    Parameters
    ----------
    channels
        Channels of all layers.
    blocks
        Number of blocks.
    size, stride
        Rows and columns of the first convolution's windows, and between them.
    """

    channels: int = 64
    blocks: int = 4
    size: tuple[int, int] = (10, 4)
    stride: tuple[int, int] = (2, 2)
    activation: str = "relu"

    def layers(self) -> Layers:
        """Return the layers in data order."""
        for name in ("channels", "blocks"):
            _check(name, (getattr(self, name),))
        stem = Convolution(self.channels, self.size, self.stride, same(self.size, self.stride, self.image))
        block = (Mixing(0, 3, True), Norm(), self.act(), Linear(self.channels), Norm(), self.act())
        return (stem, Norm(), self.act(), *(block * self.blocks), MeanPool(), Linear(self.classes))
