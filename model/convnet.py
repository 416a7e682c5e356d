"""A convolutional teacher: small, fast to train, and with another inductive bias than its students.

The shape follows K. Jordan, "94 % on CIFAR-10 in 3.29 seconds on a single GPU" (arXiv 2404.00498, 2024): a 2x2
convolution, then groups of two 3x3 convolutions with max pooling after the first of them, BatchNorm and GELU after
each, no residual path, and one linear map at the end. The whitening of the first convolution is left out.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional

from .config import ConvConfig
from .resmlp import PIXEL_SCALE

__all__ = ["ConvNet"]


class Convolution(nn.Module):
    """A convolution without bias. Its weight is kept as the matrix [out, in·k·k] that Muon orthogonalises.

    Parameters
    ----------
    channels, out_channels
        Channels of input and output.
    kernel
        Height and width of the filters, k.
    padding
        Zeros on each side. With padding, the first filters start as the identity of their channel.
    """

    def __init__(self, channels: int, out_channels: int, kernel: int, padding: int):
        super().__init__()
        self.kernel, self.padding = kernel, padding
        weight = nn.init.kaiming_uniform_(torch.empty(out_channels, channels * kernel * kernel))
        if out_channels >= channels and padding:
            with torch.no_grad():
                identity = nn.init.dirac_(torch.empty(out_channels, channels, kernel, kernel))
                weight[:channels] = identity.flatten(1)[:channels]
        self.linear_weight = nn.Parameter(weight)

    def forward(self, x: Tensor) -> Tensor:
        """Return [B, out, height, width] for [B, in, height, width]."""
        filters = self.linear_weight.unflatten(1, (x.shape[1], self.kernel, self.kernel))
        return functional.conv2d(x, filters, padding=self.padding)


class Group(nn.Module):
    """Two convolutions; the grid is halved after the first one."""

    def __init__(self, channels: int, out_channels: int):
        super().__init__()
        self.first = Convolution(channels, out_channels, 3, 1)
        self.norm1 = nn.BatchNorm2d(out_channels)
        self.second = Convolution(out_channels, out_channels, 3, 1)
        self.norm2 = nn.BatchNorm2d(out_channels)

    def forward(self, x: Tensor) -> Tensor:
        """Return [B, out, height/2, width/2] for [B, in, height, width]."""
        x = functional.gelu(self.norm1(functional.max_pool2d(self.first(x), 2)))
        return functional.gelu(self.norm2(self.second(x)))


class ConvNet(nn.Module):
    """The convolutional network of a `ConvConfig`."""

    def __init__(self, config: ConvConfig):
        super().__init__()
        self.config = config
        self.stem = Convolution(config.colours, config.stem, 2, 0)
        self.norm = nn.BatchNorm2d(config.stem)
        widths = (config.stem, *config.widths)
        self.groups = nn.ModuleList(Group(a, b) for a, b in zip(widths, config.widths, strict=False))
        self.head = nn.Linear(widths[-1], config.classes)

    def forward(self, images: Tensor) -> Tensor:
        """Return logits [B, classes] for images uint8 [B, height, width, colours]."""
        # A permuted view of [B, h, w, colours] is in torch's channels_last layout, the fast one for convolutions.
        x = ((images.float() - 128) * PIXEL_SCALE).permute(0, 3, 1, 2)  # [B, colours, h, w]
        x = functional.gelu(self.norm(self.stem(x)))  # [B, stem, h - 1, w - 1]
        for group in self.groups:
            x = group(x)
        # `max` instead of `amax`: compiled in bfloat16, the gradient of `amax` is NaN, because none of the float32
        # values that are computed again equals the rounded maximum (torch 2.11 and 2.13).
        return self.head(x.flatten(2).max(-1).values).float()
