"""ResMLP with learned 1-D functions, in the shape that the hardware builds.

Sources:

- H. Touvron et al., "ResMLP: Feedforward networks for image classification with data-efficient training"
  (arXiv 2105.03404, 2021);
- PSA, the learned functions: see `psa.py`.

What differs from Touvron's network: tokens are mixed in groups of channels, optionally only within a k x k
neighbourhood; stages are joined by patch merging; and BatchNorm stands where it can be folded into other layers:
before each token mixing (into a table), before each channel mixing (into a table or the first linear layer), at the
hidden neurons (into the first linear layer), and before patch merging and head (into their linear layers).

Activations are laid out as [N, B, C]: tokens in raster order, images of the batch, channels. The channel mixing is
then one matrix product over all tokens, and the token mixing reads whole rows of channels.
"""

from collections.abc import Iterator

import torch
from torch import Tensor, nn
from torch.distributed.nn.functional import all_reduce
from torch.nn import functional

from psahw.network.resmlp import block_name

from .config import ModelConfig, StageConfig
from .kernels import mix_local
from .module_list import ModuleList
from .psa import PSA

__all__ = [
    "PIXEL_SCALE",
    "Block",
    "ChannelMixing",
    "ChannelNorm",
    "PatchMerging",
    "ResMLP",
    "ResMLPStage",
    "TokenMixing",
    "extract_patches",
]

# The network sees (pixel - 128) / 64. In hardware the code pixel - 128 costs one inverter for each pixel.
PIXEL_SCALE = 1 / 64


class ChannelNorm(nn.Module):
    """BatchNorm over all axes but the last, which holds the channels.

    It replaces `nn.BatchNorm1d`, whose decomposition under `torch.compile` on a CPU (Welford's algorithm over the
    outer axis) takes several times as long as two plain sums. The running variance is the biased one.

    Parameters
    ----------
    channels
        Length of the last axis.
    momentum
        Share of a batch's statistics in the new running statistics.
    eps
        Number added to the variance.
    """

    mean: Tensor
    var: Tensor

    def __init__(self, channels: int, momentum: float = 0.1, eps: float = 1e-5):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))
        self.register_buffer("mean", torch.zeros(channels))
        self.register_buffer("var", torch.ones(channels))
        self.momentum, self.eps = momentum, eps

    def affine(self) -> tuple[Tensor, Tensor]:
        """Return the scale [C] and the offset [C] that the norm applies in evaluation mode."""
        scale = self.weight * torch.rsqrt(self.var + self.eps)
        return scale, self.bias - self.mean * scale

    def forward(self, x: Tensor) -> Tensor:
        if not self.training:
            scale, offset = self.affine()
            return (x.float() * scale + offset).to(x.dtype)
        rows = x.flatten(0, -2).float()  # [N·B, C]
        mean, square = rows.mean(0), (rows * rows).mean(0)
        if torch.distributed.is_initialized():
            both = torch.cat((mean, square))  # [2C]
            both = all_reduce(both) / torch.distributed.get_world_size()
            mean, square = both.chunk(2)
        var = (square - mean * mean).clamp(min=0)
        with torch.no_grad():
            self.mean.lerp_(mean, self.momentum)
            self.var.lerp_(var, self.momentum)
        scale = self.weight * torch.rsqrt(var + self.eps)
        return (x.float() * scale + (self.bias - mean * scale)).to(x.dtype)


class TokenMixing(nn.Module):
    """The cross-patch sublayer `x + A·norm(x) + bias`.

    Each of the G groups of channels has a matrix `A` of its own. It is either dense over the N tokens, or local: then
    each token reads its k x k neighbours, with weights that are free for each position or shared by all positions.
    `A` and the bias start at zero, so the sublayer starts as the identity.

    Parameters
    ----------
    stage
        Channels, groups, kernel and sharing.
    grid
        Rows and columns of tokens.
    """

    def __init__(self, stage: StageConfig, grid: tuple[int, int]):
        super().__init__()
        tokens = grid[0] * grid[1]
        self.groups, self.kernel, self.shared, self.grid = stage.groups, stage.kernel, stage.shared, grid
        self.norm = ChannelNorm(stage.channels)
        rows = 1 if self.shared else tokens
        self.bias = nn.Parameter(torch.zeros(stage.groups, rows))
        if self.kernel is None:
            # One matrix per parameter, because Muon orthogonalises each parameter by itself.
            self.weights = nn.ParameterList(torch.zeros(tokens, tokens) for _ in range(stage.groups))
        else:
            self.weight = nn.Parameter(torch.zeros(stage.groups, rows, self.kernel**2))

    def matrices(self) -> Tensor:
        """Return the weights: [G, N, N] if dense, else [G, N, k²], or [G, 1, k²] if shared."""
        return torch.stack(tuple(self.weights)) if self.kernel is None else self.weight

    def mix(self, z: Tensor) -> Tensor:
        """Apply the linear map without its bias: [N, B, C] to [N, B, C]."""
        tokens, batch, channels = z.shape
        size = channels // self.groups
        if self.kernel is not None:
            per_channel = self.weight.permute(1, 2, 0).repeat_interleave(size, dim=2)  # [N or 1, k², C]
            return mix_local(z, per_channel.expand(tokens, -1, -1), self.grid, self.kernel)
        if self.groups == 1:
            return (self.weights[0] @ z.reshape(tokens, -1)).reshape(z.shape)  # [N, N] @ [N, B·C]
        grouped = z.reshape(tokens, batch, self.groups, size)  # [N, B, G, C/G]
        return torch.einsum("gnm,mbgc->nbgc", self.matrices(), grouped).reshape(z.shape)

    def forward(self, x: Tensor) -> Tensor:
        mixed = self.mix(self.norm(x))
        size = x.shape[2] // self.groups
        bias = self.bias.t().repeat_interleave(size, dim=1)[:, None]  # [N or 1, 1, C]
        return x + (mixed + bias).to(x.dtype)


class ChannelMixing(nn.Module):
    """The cross-channel sublayer `x + W2·f_hidden(norm(W1·f_in(norm(x)))) + bias`, the same for every token.

    `W2` and the bias start at zero, so the sublayer starts as the identity.

    Parameters
    ----------
    stage
        Channels and hidden neurons.
    activation
        One of `config.ACTIVATIONS`: which functions stand at the input and at the hidden neurons.
    segments, grid_size
        Parameters of `PSA`.
    """

    def __init__(self, stage: StageConfig, activation: str, segments: int, grid_size: int):
        super().__init__()
        channels, hidden = stage.channels, stage.hidden
        self.norm = ChannelNorm(channels)
        self.act_in = PSA(channels, segments, grid_size=grid_size) if activation == "psa_both" else nn.Identity()
        self.linear1 = nn.Linear(channels, hidden, bias=False)
        self.norm_hidden = ChannelNorm(hidden)
        self.act_hidden: nn.Module
        if activation == "gelu":
            self.act_hidden = nn.GELU()
        elif activation == "relu":
            self.act_hidden = nn.ReLU()
        else:
            self.act_hidden = PSA(hidden, segments, init="gelu", grid_size=grid_size)
        self.linear2 = nn.Linear(hidden, channels)
        nn.init.zeros_(self.linear2.weight)
        nn.init.zeros_(self.linear2.bias)

    def forward(self, x: Tensor) -> Tensor:
        hidden = self.norm_hidden(self.linear1(self.act_in(self.norm(x))))  # [N, B, H]
        return x + self.linear2(self.act_hidden(hidden)).to(x.dtype)


class Block(nn.Module):
    """A token mixing followed by a channel mixing."""

    def __init__(self, stage: StageConfig, grid: tuple[int, int], activation: str, segments: int, grid_size: int):
        super().__init__()
        self.token_mixing = TokenMixing(stage, grid)
        self.channel_mixing = ChannelMixing(stage, activation, segments, grid_size)

    def forward(self, x: Tensor) -> Tensor:
        return self.channel_mixing(self.token_mixing(x))


class PatchMerging(nn.Module):
    """A linear map from 2x2 neighbouring tokens, after a norm, to one token.

    The idea is that of Z. Liu et al., "Swin Transformer" (arXiv 2103.14030, 2021).

    Parameters
    ----------
    channels, out_channels
        Channels of a token before and after.
    grid
        Rows and columns of tokens before merging; both must be even.
    """

    def __init__(self, channels: int, out_channels: int, grid: tuple[int, int]):
        super().__init__()
        self.grid = grid
        self.norm = ChannelNorm(channels)
        self.linear = nn.Linear(4 * channels, out_channels)

    def gather(self, x: Tensor) -> Tensor:
        """Concatenate the channels of tokens (0, 0), (0, 1), (1, 0) and (1, 1): [h·w, B, C] to [h·w/4, B, 4C]."""
        (height, width), (_, batch, channels) = self.grid, x.shape
        x = x.reshape(height // 2, 2, width // 2, 2, batch, channels)
        x = x.permute(0, 2, 4, 1, 3, 5)  # [h/2, w/2, B, 2, 2, C]
        return x.reshape(height * width // 4, batch, 4 * channels)

    def forward(self, x: Tensor) -> Tensor:
        return self.linear(self.gather(self.norm(x)))


class ResMLPStage(nn.Module):
    """Blocks on one grid of tokens, after the patch merging that makes the grid; the first stage has none.

    Parameters
    ----------
    config
        The whole network's configuration.
    index
        Position of this stage in it.
    """

    merge: PatchMerging | None

    def __init__(self, config: ModelConfig, index: int):
        super().__init__()
        stage, grid = config.stages[index], config.grids[index]
        self.merge = None
        if index:
            before = config.stages[index - 1].channels
            self.merge = PatchMerging(before, stage.channels, config.grids[index - 1])
        self.blocks = ModuleList(
            Block(stage, grid, config.activation, config.segments, config.grid_size) for _ in range(stage.blocks)
        )

    def forward(self, x: Tensor) -> Tensor:
        if self.merge is not None:
            x = self.merge(x)
        for block in self.blocks:
            x = block(x)
        return x


def extract_patches(codes: Tensor, size: int, stride: int, padding: int) -> Tensor:
    """Return the sliding windows of images as tokens: [B, height, width, colours] to [N, B, size·size·colours].

    Parameters
    ----------
    codes
        Images, with the value 0 for mid grey.
    size, stride
        Side of a window and distance between two windows, in pixels.
    padding
        Width of the border of zeros around the image, in pixels.

    Returns
    -------
    Tensor
        The windows in raster order, their values in (row, column, colour) order.
    """
    padded = functional.pad(codes, (0, 0, padding, padding, padding, padding))
    windows = padded.unfold(1, size, stride).unfold(2, size, stride)  # [B, h, w, colours, size, size]
    height, width = windows.shape[1:3]
    windows = windows.permute(1, 2, 0, 4, 5, 3)  # [h, w, B, size, size, colours]
    return windows.reshape(height * width, len(codes), -1)


class ResMLP(nn.Module):
    """The network from uint8 images [B, height, width, colours] to logits [B, classes].

    Parameters
    ----------
    config
        Shape of the network.
    """

    def __init__(self, config: ModelConfig):
        super().__init__()
        self.config = config
        channels = config.stages[0].channels
        self.embed = nn.Linear(config.colours * config.patch_size**2, channels)
        self.stages = ModuleList(ResMLPStage(config, s) for s in range(len(config.stages)))
        self.norm = ChannelNorm(config.stages[-1].channels)
        self.head = nn.Linear(config.stages[-1].channels, config.classes)

    def named_blocks(self) -> Iterator[tuple[str, Block]]:
        """Yield each block in data order, with its name in a network file: "stages.S.blocks.B"."""
        for s, stage in enumerate(self.stages):
            for b, block in enumerate(stage.blocks):
                yield block_name(s, b), block

    def forward(self, images: Tensor) -> Tensor:
        config = self.config
        codes = (images.float() - 128) * PIXEL_SCALE
        x = extract_patches(codes, config.patch_size, config.patch_stride, config.patch_padding)
        x = self.embed(x)  # [N, B, C]
        for stage in self.stages:
            x = stage(x)
        return self.head(self.norm(x).float().mean(0)).float()  # mean over tokens: [B, C]
