"""A convolutional teacher: small, fast to train, with another inductive bias than its students.

The shape follows K. Jordan, "94 % on CIFAR-10 in 3.29 seconds on a single GPU" (arXiv 2404.00498, 2024): a 2x2
convolution, then groups of two 3x3 convolutions of which the first is followed by max pooling, BatchNorm and GELU
after every one, no residual path, one linear map at the end. Not taken over: the whitening of the first convolution.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional

from .config import ConvConfig
from .resmlp import PIXEL_SCALE

__all__ = ["ConvNet"]


class Convolution(nn.Module):
    """Without bias. Its weight is kept as the matrix [out, in·k·k] that Muon orthogonalises."""

    def __init__(self, channels: int, out_channels: int, kernel: int, padding: int):
        super().__init__()
        self.kernel, self.padding = kernel, padding
        weight = nn.init.kaiming_uniform_(torch.empty(out_channels, channels * kernel * kernel))
        if out_channels >= channels and padding:  # the first filters pass their channel on
            with torch.no_grad():
                identity = nn.init.dirac_(torch.empty(out_channels, channels, kernel, kernel))
                weight[:channels] = identity.flatten(1)[:channels]
        self.linear_weight = nn.Parameter(weight)

    def forward(self, x: Tensor) -> Tensor:
        filters = self.linear_weight.unflatten(1, (x.shape[1], self.kernel, self.kernel))
        return functional.conv2d(x, filters, padding=self.padding)


class Group(nn.Module):
    """Two convolutions; the grid is halved after the first."""

    def __init__(self, channels: int, out_channels: int):
        super().__init__()
        self.first = Convolution(channels, out_channels, 3, 1)
        self.norm1 = nn.BatchNorm2d(out_channels)
        self.second = Convolution(out_channels, out_channels, 3, 1)
        self.norm2 = nn.BatchNorm2d(out_channels)

    def forward(self, x: Tensor) -> Tensor:
        x = functional.gelu(self.norm1(functional.max_pool2d(self.first(x), 2)))
        return functional.gelu(self.norm2(self.second(x)))


class ConvNet(nn.Module):
    """uint8 images [B, height, width, 3] to logits [B, classes]."""

    def __init__(self, config: ConvConfig):
        super().__init__()
        self.config = config
        self.stem = Convolution(3, config.stem, 2, 0)
        self.norm = nn.BatchNorm2d(config.stem)
        widths = (config.stem, *config.widths)
        self.groups = nn.ModuleList(Group(a, b) for a, b in zip(widths, config.widths, strict=False))
        self.head = nn.Linear(widths[-1], config.classes)

    def forward(self, images: Tensor) -> Tensor:
        # A permuted view of [B, h, w, 3] is in torch's channels_last layout, the fast one for convolutions.
        x = ((images.float() - 128) * PIXEL_SCALE).permute(0, 3, 1, 2)
        x = functional.gelu(self.norm(self.stem(x)))
        for group in self.groups:
            x = group(x)
        # Not amax: compiled in bfloat16 its gradient is NaN, since none of the float32 values that are computed anew
        # equals the rounded maximum (torch 2.11 and 2.13).
        return self.head(x.flatten(2).max(-1).values).float()
