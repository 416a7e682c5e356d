"""ResMLP with learned 1-D functions, in the shape that the hardware builds.

H. Touvron et al., "ResMLP: Feedforward networks for image classification with data-efficient training"
(2021), with PSA (see `psa.py`), token mixing in groups, local if wanted, stages with patch merging, and
BatchNorm where it folds away: before every token mixing (into a table), before every channel mixing (into a
table or the first linear), at the hidden neurons (into the first linear), before merging and head.

Activations are laid out as (token, batch, channel): the channel mixing is then one matrix product over all
tokens, and the token mixing reads whole rows of channels.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional

from .config import ModelConfig, StageConfig
from .kernels import mix_local
from .psa import PSA

__all__ = ["PIXEL_SCALE", "ChannelMixing", "ChannelNorm", "ResMLP", "TokenMixing", "extract_patches"]

PIXEL_SCALE = 1 / 64  # an image's values are (pixel - 128) / 64: the int8 code costs the hardware one inverter


class ChannelNorm(nn.Module):
    """BatchNorm over all axes but the last. Not `nn.BatchNorm1d`: its decomposition under `torch.compile`
    on a CPU (Welford over the outer axis) takes several times as long as two plain sums."""

    def __init__(self, channels: int, momentum: float = 0.1, eps: float = 1e-5):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))
        self.register_buffer("mean", torch.zeros(channels))
        self.register_buffer("var", torch.ones(channels))
        self.momentum, self.eps = momentum, eps

    def affine(self) -> tuple[Tensor, Tensor]:
        """(scale, offset) [C] of the norm in evaluation."""
        scale = self.weight * torch.rsqrt(self.var + self.eps)
        return scale, self.bias - self.mean * scale

    def forward(self, x: Tensor) -> Tensor:
        if not self.training:
            scale, offset = self.affine()
            return (x.float() * scale + offset).to(x.dtype)
        rows = x.flatten(0, -2).float()
        mean, square = rows.mean(0), (rows * rows).mean(0)
        if torch.distributed.is_initialized():
            both = torch.cat((mean, square))
            both = torch.distributed.nn.functional.all_reduce(both) / torch.distributed.get_world_size()
            mean, square = both.chunk(2)
        var = (square - mean * mean).clamp(min=0)
        with torch.no_grad():
            self.mean.lerp_(mean, self.momentum)
            self.var.lerp_(var, self.momentum)
        scale = self.weight * torch.rsqrt(var + self.eps)
        return (x.float() * scale + (self.bias - mean * scale)).to(x.dtype)


class TokenMixing(nn.Module):
    """`x + A·norm(x)`: each group of channels has its own `A`, dense or k x k-local, its kernel free per position
    or shared. `A` starts at zero."""

    def __init__(self, stage: StageConfig, grid: tuple[int, int]):
        super().__init__()
        tokens = grid[0] * grid[1]
        self.groups, self.kernel, self.shared, self.grid = stage.groups, stage.kernel, stage.shared, grid
        self.norm = ChannelNorm(stage.channels)
        rows = 1 if self.shared else tokens
        self.bias = nn.Parameter(torch.zeros(stage.groups, rows))
        if self.kernel is None:
            # One matrix per parameter: Muon orthogonalises each by itself.
            self.weights = nn.ParameterList(torch.zeros(tokens, tokens) for _ in range(stage.groups))
        else:
            self.weight = nn.Parameter(torch.zeros(stage.groups, rows, self.kernel**2))

    def matrices(self) -> Tensor:
        """[G, N, N] if dense, else [G, N or 1 (shared), kernel^2]."""
        return torch.stack(tuple(self.weights)) if self.kernel is None else self.weight

    def mix(self, z: Tensor) -> Tensor:
        """The linear map without its bias: [N, B, C] to [N, B, C]."""
        tokens, batch, channels = z.shape
        size = channels // self.groups
        if self.kernel is not None:
            per_channel = self.weight.permute(1, 2, 0).repeat_interleave(size, dim=2)  # [N or 1, k*k, C]
            return mix_local(z, per_channel.expand(tokens, -1, -1), self.grid, self.kernel)
        if self.groups == 1:
            return (self.weights[0] @ z.reshape(tokens, -1)).reshape(z.shape)
        grouped = z.reshape(tokens, batch, self.groups, size)
        return torch.einsum("gnm,mbgc->nbgc", self.matrices(), grouped).reshape(z.shape)

    def forward(self, x: Tensor) -> Tensor:
        mixed = self.mix(self.norm(x))
        size = x.shape[2] // self.groups
        bias = self.bias.t().repeat_interleave(size, dim=1)[:, None]  # [N or 1, 1, C]
        return x + (mixed + bias).to(x.dtype)


class ChannelMixing(nn.Module):
    """`x + W2·f_h(norm(W1·f_in(norm(x))))`, the same for every token. `W2` starts at zero."""

    def __init__(self, stage: StageConfig, activation: str, segments: int, grid_size: int):
        super().__init__()
        channels, hidden = stage.channels, stage.hidden
        self.norm = ChannelNorm(channels)
        self.act_in = PSA(channels, segments, grid_size=grid_size) if activation == "psa_both" else nn.Identity()
        self.linear1 = nn.Linear(channels, hidden, bias=False)
        self.norm_hidden = ChannelNorm(hidden)
        self.act_hidden = {
            "gelu": nn.GELU,
            "relu": nn.ReLU,
        }.get(activation, lambda: PSA(hidden, segments, init="gelu", grid_size=grid_size))()
        self.linear2 = nn.Linear(hidden, channels)
        nn.init.zeros_(self.linear2.weight)
        nn.init.zeros_(self.linear2.bias)

    def forward(self, x: Tensor) -> Tensor:
        hidden = self.norm_hidden(self.linear1(self.act_in(self.norm(x))))
        return x + self.linear2(self.act_hidden(hidden)).to(x.dtype)


class Block(nn.Module):
    def __init__(self, stage: StageConfig, grid: tuple[int, int], activation: str, segments: int, grid_size: int):
        super().__init__()
        self.token_mixing = TokenMixing(stage, grid)
        self.channel_mixing = ChannelMixing(stage, activation, segments, grid_size)

    def forward(self, x: Tensor) -> Tensor:
        return self.channel_mixing(self.token_mixing(x))


class PatchMerging(nn.Module):
    """2x2 neighbouring tokens become one: a linear map of their normed values, 4C to C'."""

    def __init__(self, channels: int, out_channels: int, grid: tuple[int, int]):
        super().__init__()
        self.grid = grid  # before merging
        self.norm = ChannelNorm(channels)
        self.linear = nn.Linear(4 * channels, out_channels)

    def gather(self, x: Tensor) -> Tensor:
        """[h·w, B, C] to [h·w/4, B, 4C]: tokens (0,0), (0,1), (1,0), (1,1), each with its channels."""
        (height, width), (_, batch, channels) = self.grid, x.shape
        x = x.reshape(height // 2, 2, width // 2, 2, batch, channels).permute(0, 2, 4, 1, 3, 5)
        return x.reshape(height * width // 4, batch, 4 * channels)

    def forward(self, x: Tensor) -> Tensor:
        return self.linear(self.gather(self.norm(x)))


class Stage(nn.Module):
    def __init__(self, config: ModelConfig, index: int):
        super().__init__()
        stage, grid = config.stages[index], config.grids[index]
        self.merge = None
        if index:
            before = config.stages[index - 1].channels
            self.merge = PatchMerging(before, stage.channels, config.grids[index - 1])
        self.blocks = nn.ModuleList(
            Block(stage, grid, config.activation, config.segments, config.grid_size) for _ in range(stage.blocks)
        )

    def forward(self, x: Tensor) -> Tensor:
        if self.merge is not None:
            x = self.merge(x)
        for block in self.blocks:
            x = block(x)
        return x


def extract_patches(codes: Tensor, size: int, stride: int, padding: int) -> Tensor:
    """Windows of [B, height, width, 3] images as tokens [N, B, size·size·3], values in (row, column, colour)
    order, with `padding` zeros around the image."""
    padded = functional.pad(codes, (0, 0, padding, padding, padding, padding))
    windows = padded.unfold(1, size, stride).unfold(2, size, stride)  # [B, h, w, 3, size, size]
    height, width = windows.shape[1:3]
    return windows.permute(1, 2, 0, 4, 5, 3).reshape(height * width, len(codes), -1)


class ResMLP(nn.Module):
    """uint8 images [B, height, width, 3] to logits [B, classes]."""

    def __init__(self, config: ModelConfig):
        super().__init__()
        self.config = config
        channels = config.stages[0].channels
        self.embed = nn.Linear(3 * config.patch_size**2, channels)
        self.stages = nn.ModuleList(Stage(config, s) for s in range(len(config.stages)))
        self.norm = ChannelNorm(config.stages[-1].channels)
        self.head = nn.Linear(config.stages[-1].channels, config.classes)

    def forward(self, images: Tensor) -> Tensor:
        config = self.config
        codes = (images.float() - 128) * PIXEL_SCALE
        x = self.embed(extract_patches(codes, config.patch_size, config.patch_stride, config.patch_padding))
        for stage in self.stages:
            x = stage(x)
        return self.head(self.norm(x).float().mean(0)).float()
