"""The float network of a configuration. Activations are laid out as [B, rows, columns, channels]."""

import math
from collections.abc import Iterator

import torch
from torch import Tensor, nn
from torch.nn import functional

from ..kernels import mix_local
from ..module_list import ModuleList
from ..psa import PSA
from ..resmlp import PIXEL_SCALE, ChannelNorm
from . import config
from .config import AnyLayer, Grid, Layers, Shaped

__all__ = ["Convolution", "Function", "GraphNet", "MaxPool", "MeanPool", "Mixing", "Residual", "Series", "windows"]


def windows(
    x: Tensor, size: tuple[int, int], stride: tuple[int, int], padding: tuple[int, int, int, int], value: float = 0.0
) -> Tensor:
    """Return the windows that slide over a grid and its padding (im2col).

    Parameters
    ----------
    x
        [B, rows, columns, C].
    size, stride, padding
        See `psahw.network.layers.Windows`.
    value
        What fills the padding.

    Returns
    -------
    Tensor
        [B, rows, columns, size[0]·size[1]·C] for the grid of windows; values in the order row, column, channel.
    """
    above, below, left, right = padding
    padded = functional.pad(x, (0, 0, left, right, above, below), value=value)
    slid = padded.unfold(1, size[0], stride[0]).unfold(2, size[1], stride[1])  # [B, h, w, C, rows, columns]
    return slid.permute(0, 1, 2, 4, 5, 3).flatten(3)


class Convolution(nn.Module):
    """A linear map of sliding windows; with a window of one token, a linear map of the channels.

    Its weight is the matrix [out, size[0]·size[1]·in] that multiplies a window, see `windows`.

    Parameters
    ----------
    layer
        Its configuration.
    channels
        Channels of the input.

    Attributes
    ----------
    padding_code
        What fills the padding, in codes of an image.
    """

    def __init__(self, layer: config.Convolution, channels: int):
        super().__init__()
        self.size, self.stride, self.padding = layer.size, layer.stride, layer.padding
        self.padding_code = layer.padding_byte - config.ZERO_BYTE
        terms = math.prod(layer.size) * channels
        self.linear_weight = nn.Parameter(
            nn.init.kaiming_uniform_(torch.empty(layer.channels, terms), a=math.sqrt(5))
        )
        bound = 1 / math.sqrt(terms)
        self.bias = nn.Parameter(torch.empty(layer.channels).uniform_(-bound, bound))

    def forward(self, x: Tensor) -> Tensor:
        """Return [B, rows, columns, out] for [B, rows, columns, in]."""
        if self.size == (1, 1) and self.stride == (1, 1):
            return functional.linear(x, self.linear_weight, self.bias)
        above, below, left, right = self.padding
        value = self.padding_code * PIXEL_SCALE
        image = functional.pad(x, (0, 0, left, right, above, below), value=value).permute(0, 3, 1, 2)
        filters = self.linear_weight.unflatten(1, (*self.size, x.shape[3])).permute(0, 3, 1, 2)
        return functional.conv2d(image, filters, self.bias, self.stride).permute(0, 2, 3, 1)


class Mixing(nn.Module):
    """A linear map over the tokens of each channel.

    Parameters
    ----------
    layer
        Its configuration.
    shape
        Rows, columns and channels of the input.
    """

    def __init__(self, layer: config.Mixing, shape: Grid):
        super().__init__()
        height, width, channels = shape
        self.kernel, self.shared, self.grid = layer.kernel, layer.shared, (height, width)
        self.groups = layer.groups or channels
        rows = 1 if self.shared else height * width
        bound = 1 / math.sqrt(layer.terms(shape))
        self.bias = nn.Parameter(torch.zeros(self.groups, rows))
        if self.kernel is None:
            # One matrix per parameter, because Muon orthogonalises each parameter by itself.
            self.weights = nn.ParameterList(
                torch.empty(rows, rows).uniform_(-bound, bound) for _ in range(self.groups)
            )
        else:
            self.weight = nn.Parameter(torch.empty(self.groups, rows, self.kernel**2).uniform_(-bound, bound))

    def matrices(self) -> Tensor:
        """Return the weights: [G, N, N] if dense, else [G, N, k²], or [G, 1, k²] if shared."""
        return torch.stack(tuple(self.weights)) if self.kernel is None else self.weight

    def mix(self, x: Tensor, weight: Tensor) -> Tensor:
        """Return the sums [N, B, C] of tokens [N, B, C], weighted as `matrices` has it."""
        tokens, batch, channels = x.shape
        size = channels // self.groups
        if self.kernel is None:
            grouped = x.reshape(tokens, batch, self.groups, size)
            return torch.einsum("gnm,mbgc->nbgc", weight, grouped).reshape(x.shape)
        by_channel = weight.permute(1, 2, 0).repeat_interleave(size, dim=2)  # [N or 1, k², C]
        return mix_local(x, by_channel.expand(tokens, -1, -1), self.grid, self.kernel)

    def by_row(self, rows: Tensor, channels: int) -> Tensor:
        """Return numbers of rows [G, N or 1] as [N or 1, 1, C], for sums as `mix` returns them."""
        return rows.t().repeat_interleave(channels // self.groups, dim=1)[:, None]

    def forward(self, x: Tensor) -> Tensor:
        tokens = x.flatten(1, 2).transpose(0, 1)  # [N, B, C]
        mixed = self.mix(tokens, self.matrices()) + self.by_row(self.bias, x.shape[3])
        return mixed.to(x.dtype).transpose(0, 1).reshape(x.shape)


class Function(nn.Module):
    """A function of each value: ReLU, ReLU up to 6, GELU, or a PSA for each channel.

    Parameters
    ----------
    layer
        Its configuration.
    channels
        Channels of the input.
    """

    def __init__(self, layer: config.Activation, channels: int):
        super().__init__()
        self.bits = layer.bits
        self.act: nn.Module
        if layer.function == "psa":
            self.act = PSA(channels, layer.segments, init=layer.start, grid_size=layer.grid_size)
        else:
            self.act = {"relu": nn.ReLU, "relu6": nn.ReLU6, "gelu": nn.GELU}[layer.function]()

    @property
    def is_relu(self) -> bool:
        """True for ReLU and ReLU up to 6, which saturation computes."""
        return isinstance(self.act, nn.ReLU | nn.ReLU6)

    @property
    def limit(self) -> float:
        """The greatest result of a ReLU."""
        return 6.0 if isinstance(self.act, nn.ReLU6) else math.inf

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.act(x)
        return y


class MaxPool(nn.Module):
    """The greatest value of each channel in sliding windows."""

    def __init__(self, layer: config.MaxPool):
        super().__init__()
        self.size, self.stride, self.padding = layer.size, layer.stride, layer.padding

    def forward(self, x: Tensor) -> Tensor:
        above, below, left, right = self.padding
        padded = functional.pad(x, (0, 0, left, right, above, below), value=-torch.inf)
        # `max_pool2d` rather than `amax`, whose gradient is shared among equal values.
        return functional.max_pool2d(padded.permute(0, 3, 1, 2), self.size, self.stride).permute(0, 2, 3, 1)


class MeanPool(nn.Module):
    """The mean of each channel over all tokens."""

    def forward(self, x: Tensor) -> Tensor:
        return x.mean((1, 2), keepdim=True)


class Flatten(nn.Module):
    """All tokens as the channels of one."""

    def forward(self, x: Tensor) -> Tensor:
        return x.flatten(1)[:, None, None]


class Residual(nn.Module):
    """The sum of two series."""

    def __init__(self, layer: config.Residual, shape: Grid):
        super().__init__()
        self.branch, self.shortcut = Series(layer.branch, shape), Series(layer.shortcut, shape)

    def forward(self, x: Tensor) -> Tensor:
        total: Tensor = self.shortcut(x) + self.branch(x)
        return total


class Series(nn.Module):
    """Layers, one after another.

    Parameters
    ----------
    layers
        Their configurations.
    shape
        Rows, columns and channels of the input.
    """

    def __init__(self, layers: Layers, shape: Grid):
        super().__init__()
        self.layers: ModuleList[nn.Module] = ModuleList()
        for layer in layers:
            self.layers.append(_module(layer, shape))
            shape = config.result(layer, shape)

    def __iter__(self) -> Iterator[nn.Module]:
        return iter(self.layers)

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.layers:
            x = layer(x)
        return x


def _module(layer: AnyLayer, shape: Grid) -> nn.Module:
    """Return the module of a layer."""
    match layer:
        case config.Convolution():
            return Convolution(layer, shape[2])
        case config.Linear():
            return Convolution(config.Convolution(layer.channels, (1, 1)), shape[2])
        case config.Mixing():
            return Mixing(layer, shape)
        case config.Norm():
            return ChannelNorm(shape[2])
        case config.Activation():
            return Function(layer, shape[2])
        case config.MaxPool():
            return MaxPool(layer)
        case config.MeanPool():
            return MeanPool()
        case config.Flatten():
            return Flatten()
        case config.Residual():
            return Residual(layer, shape)


class GraphNet(nn.Module):
    """The network from uint8 images [B, height, width, colours] to outputs [B, classes].

    Outputs for the task "values" are in units of the standard deviation of the training targets, around their mean:
    see `set_targets`.

    Parameters
    ----------
    config
        Its configuration.
    """

    target_mean: Tensor
    target_deviation: Tensor

    def __init__(self, config: Shaped):
        super().__init__()
        self.config = config
        self.series = Series(config.layers(), (*config.image, config.colours))
        self.register_buffer("target_mean", torch.zeros(config.classes))
        self.register_buffer("target_deviation", torch.ones(config.classes))

    @property
    def head(self) -> nn.Module:
        """The last layer."""
        return self.series.layers[-1]

    def forward(self, images: Tensor) -> Tensor:
        x = (images.float() - 128) * PIXEL_SCALE
        return self.series(x).flatten(1).float()
