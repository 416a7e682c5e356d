"""A float ResMLP as an INT8 network whose forward pass equals `psahw.reference`, logit for logit.

Activations are integer codes held in float32. Every sum stays below 2^24 (checked), so float32 arithmetic is
exact and the order of summation does not matter. Rounding passes gradients straight through; tables pass
them by the slope of the unrounded function. What cannot be rounded away folds:

- a norm before token mixing, and each PSA with the norm before it, become tables;
- the norm at the hidden neurons folds into linear1, that before head or merging into their weights;
- a code's scale folds into the weights on both sides: input scales per column, output scales per row. Each row
  is then scaled by the largest power of two that keeps it in 8 bits, and its bias in the sum that float32 holds
  exactly; that power is the row's shift.

All residual additions of a stage share one scale, so the residual path needs no table.
"""

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from psahw.errors import UserError

from .config import ModelConfig
from .kernels import lookup, mix_local
from .resmlp import PIXEL_SCALE, ChannelMixing, ChannelNorm, PatchMerging, ResMLP, TokenMixing, extract_patches

__all__ = ["Integers", "QuantizedResMLP", "too_long"]

MAX_SHIFT = 20
BIAS_LIMIT = 1 << 22
EXACT = 1 << 24  # integers below it are exact in float32
HEAD_BITS = 16
QUANTILE = 0.9999  # of the absolute values of a calibration: what lies beyond saturates
MAX_TERMS = (EXACT - BIAS_LIMIT - (1 << MAX_SHIFT) - 1) // (128 * 128)  # of one row's sum, all at -128 · -128
RESIDUAL_FACTORS = (0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0)


class _Round(torch.autograd.Function):
    """To the nearest integer; the gradient passes straight through."""

    @staticmethod
    def forward(ctx, x):
        return x.round()

    @staticmethod
    def backward(ctx, gradient):
        return gradient


class _ShiftRight(torch.autograd.Function):
    """`floor(x / 2^shift + 1/2)`; the gradient is that of `x / 2^shift`."""

    @staticmethod
    def forward(ctx, x, factor, half):  # factor = 2^-shift, half = 2^(shift - 1) or 0
        ctx.save_for_backward(factor)
        return ((x + half) * factor).floor()

    @staticmethod
    def backward(ctx, gradient):
        (factor,) = ctx.saved_tensors
        return gradient * factor, None, None


def _saturate(x: Tensor, bits: int = 8) -> Tensor:
    limit = 1 << (bits - 1)
    return x.clamp(-limit, limit - 1)


class Integers(NamedTuple):
    """A linear map as integers held in float32: `sat(rshift(weight·x + bias, shift))`, rows in front of the
    last axis of `weight`."""

    weight: Tensor
    bias: Tensor
    shift: Tensor

    def requantise(self, total: Tensor, align=lambda rows: rows, bits: int = 8) -> Tensor:
        """`total` is weight·x; `align` broadcasts a value per row against it."""
        half = torch.where(self.shift > 0, torch.exp2(self.shift - 1), torch.zeros_like(self.shift))
        factor = torch.exp2(-self.shift)
        return _saturate(_ShiftRight.apply(total + align(self.bias), align(factor), align(half)), bits)


def too_long(config: ModelConfig) -> str | None:
    """Why a network of this shape has a sum that float32 does not hold exactly; None if it has none."""
    for name, terms in config.terms().items():
        if terms > MAX_TERMS:
            return f"{name} has {terms} inputs; at most {MAX_TERMS} can be quantised exactly in float32"
    return None


def _to_integers(weight: Tensor, bias: Tensor) -> Integers:
    """`weight` [..., rows, columns] and `bias` [..., rows] map input codes to output codes, as floats.

    A row's shift is the largest that both its weights and its bias have room for. At shift 0 only a bias far
    beyond what saturates is clipped.
    """
    terms = weight.shape[-1]
    if terms > MAX_TERMS:
        raise ValueError(f"a linear map of {terms} inputs is not exact in float32")
    largest = weight.detach().abs().amax(-1).clamp(min=1e-9)
    room = torch.minimum(127.5 / largest, BIAS_LIMIT / bias.detach().abs().clamp(min=1e-9))
    shift = torch.log2(room).floor().clamp(0, MAX_SHIFT)
    factor = torch.exp2(shift)
    integer_weight = _saturate(_Round.apply(weight * factor[..., None]))
    integer_bias = _Round.apply((bias * factor).clamp(-BIAS_LIMIT, BIAS_LIMIT))
    return Integers(integer_weight, integer_bias, shift)


def _linear(x: Tensor, integers: Integers, bits: int = 8) -> Tensor:
    return integers.requantise(x @ integers.weight.t(), bits=bits)


def _codes(like: Tensor) -> Tensor:
    """All 256 codes, [256, 1]."""
    return torch.arange(-128.0, 128.0, device=like.device)[:, None]


def _range(x: Tensor) -> Tensor:
    """Scale per channel (last axis) that maps the quantile of |x| to code 127."""
    rows = x.flatten(0, -2).abs()
    keep = max(1, round((1 - QUANTILE) * len(rows)))
    return rows.topk(keep, dim=0).values[-1].clamp(min=1e-6) / 127


class QuantizedTokenMixing(nn.Module):
    def __init__(self, layer: TokenMixing):
        super().__init__()
        self.layer = layer
        self.register_buffer("input_scale", torch.ones(layer.groups))

    def calibrate(self, x: Tensor) -> Tensor:
        """Sets the scales from float activations [N, B, C] and returns the float layer's output."""
        per_channel = _range(self.layer.norm(x))
        self.input_scale.copy_(per_channel.view(self.layer.groups, -1).amax(1))
        return self.layer(x)

    def table_in(self, residual_scale: Tensor) -> Tensor:
        """[256, C], unrounded: the norm, into one scale per group."""
        scale, offset = self.layer.norm.affine()
        out = self.input_scale.repeat_interleave(len(scale) // self.layer.groups)
        return _saturate((_codes(scale) * residual_scale * scale + offset) / out)

    def integers(self, residual_scale: Tensor) -> Integers:
        weight = self.layer.matrices() * (self.input_scale / residual_scale)[:, None, None]
        if self.layer.kernel is not None and not self.layer.shared:
            weight = weight * self._inside(weight)
        return _to_integers(weight, self.layer.bias / residual_scale)

    def _inside(self, weight: Tensor) -> Tensor:
        """1 where an entry of a local mixing lies on the grid, [N, kernel^2]."""
        (height, width), kernel = self.layer.grid, self.layer.kernel
        token, entry = torch.arange(height * width)[:, None], torch.arange(kernel**2)
        row = token // width + entry // kernel - kernel // 2
        column = token % width + entry % kernel - kernel // 2
        return ((row >= 0) & (row < height) & (column >= 0) & (column < width)).to(weight)

    def forward(self, x: Tensor, residual_scale: Tensor) -> Tensor:
        z = lookup(x, self.table_in(residual_scale))
        integers = self.integers(residual_scale)
        tokens, batch, channels = z.shape
        size = channels // self.layer.groups
        if self.layer.kernel is None:
            grouped = z.reshape(tokens, batch, self.layer.groups, size)
            total = torch.einsum("gnm,mbgc->nbgc", integers.weight, grouped).reshape(z.shape)
        else:
            per_channel = integers.weight.permute(1, 2, 0).repeat_interleave(size, dim=2)
            total = mix_local(z, per_channel.expand(tokens, -1, -1), self.layer.grid, self.layer.kernel)
        mixed = integers.requantise(
            total, lambda rows: rows.t().repeat_interleave(size, dim=1)[:, None]
        )  # rows [G, N or 1] to [N or 1, 1, C]
        return _saturate(x + mixed)


class QuantizedChannelMixing(nn.Module):
    def __init__(self, layer: ChannelMixing):
        super().__init__()
        self.layer = layer
        self.has_table_in = not isinstance(layer.act_in, nn.Identity)
        self.register_buffer("input_scale", torch.ones(layer.linear1.in_features))
        self.register_buffer("linear1_scale", torch.ones(layer.linear1.out_features))
        self.register_buffer("hidden_scale", torch.ones(layer.linear1.out_features))

    def calibrate(self, x: Tensor) -> Tensor:
        layer = self.layer
        z = layer.act_in(layer.norm(x))
        self.input_scale.copy_(_range(z))
        z = layer.norm_hidden(layer.linear1(z))
        self.linear1_scale.copy_(_range(z))
        z = layer.act_hidden(z)
        self.hidden_scale.copy_(_range(z))
        return x + layer.linear2(z)

    def table_in(self, residual_scale: Tensor) -> Tensor | None:
        """[256, C], unrounded: the norm and PSA; None where linear1 reads the residual stream."""
        if not self.has_table_in:
            return None
        scale, offset = self.layer.norm.affine()
        values = self.layer.act_in.evaluate(_codes(scale) * residual_scale * scale + offset)
        return _saturate(values / self.input_scale)

    def table_hidden(self) -> Tensor:
        """[256, H], unrounded."""
        x = _codes(self.linear1_scale) * self.linear1_scale
        act = self.layer.act_hidden
        values = act.evaluate(x) if hasattr(act, "evaluate") else act(x)
        return _saturate(values / self.hidden_scale)

    def linear1(self, residual_scale: Tensor) -> Integers:
        scale, offset = self.layer.norm_hidden.affine()
        weight = self.layer.linear1.weight * scale[:, None]
        if self.has_table_in:
            columns = self.input_scale
        else:
            column_scale, column_offset = self.layer.norm.affine()
            offset = offset + weight @ column_offset
            columns = column_scale * residual_scale
        rows = self.linear1_scale
        return _to_integers(weight * columns / rows[:, None], offset / rows)

    def linear2(self, residual_scale: Tensor) -> Integers:
        linear = self.layer.linear2
        return _to_integers(linear.weight * self.hidden_scale / residual_scale, linear.bias / residual_scale)

    def forward(self, x: Tensor, residual_scale: Tensor) -> Tensor:
        table = self.table_in(residual_scale)
        z = x if table is None else lookup(x, table)
        z = lookup(_linear(z, self.linear1(residual_scale)), self.table_hidden())
        return _saturate(x + _linear(z, self.linear2(residual_scale)))


class QuantizedStage(nn.Module):
    def __init__(self, stage: nn.Module):
        super().__init__()
        self.merge: PatchMerging | None = stage.merge
        self.token_mixing = nn.ModuleList(QuantizedTokenMixing(b.token_mixing) for b in stage.blocks)
        self.channel_mixing = nn.ModuleList(QuantizedChannelMixing(b.channel_mixing) for b in stage.blocks)
        self.register_buffer("residual_scale", torch.ones(()))

    def calibrate(self, x: Tensor) -> Tensor:
        if self.merge is not None:
            x = self.merge(x)
        largest = _range(x.reshape(-1, 1))
        for token_mixing, channel_mixing in zip(self.token_mixing, self.channel_mixing, strict=True):
            for sublayer in (token_mixing, channel_mixing):
                x = sublayer.calibrate(x)
                largest = torch.maximum(largest, _range(x.reshape(-1, 1)))
        self.residual_scale.copy_(largest[0])
        return x

    def merge_integers(self, input_scale: Tensor) -> Integers:
        scale, offset = (part.repeat(4) for part in self.merge.norm.affine())
        linear = self.merge.linear
        bias = linear.bias + linear.weight @ offset
        return _to_integers(linear.weight * scale * input_scale / self.residual_scale, bias / self.residual_scale)

    def forward(self, x: Tensor, input_scale: Tensor) -> Tensor:
        if self.merge is not None:
            x = _linear(self.merge.gather(x), self.merge_integers(input_scale))
        for token_mixing, channel_mixing in zip(self.token_mixing, self.channel_mixing, strict=True):
            x = channel_mixing(token_mixing(x, self.residual_scale), self.residual_scale)
        return x


class QuantizedResMLP(nn.Module):
    """Takes over `model` (its parameters are trained on) and the scales that `images` uint8 [n, h, w, 3] ask
    for. The norms use their running statistics, in training too. Returns logits in float units."""

    def __init__(self, model: ResMLP, images: np.ndarray):
        """Raises UserError for a model with sums too long to be exact."""
        super().__init__()
        if reason := too_long(model.config):
            raise UserError(reason)
        self.config = model.config
        self.embed, self.norm, self.head = model.embed, model.norm, model.head
        self.stages = nn.ModuleList(QuantizedStage(stage) for stage in model.stages)
        self.register_buffer("pool_shift", torch.zeros(()))
        self.register_buffer("logit_scale", torch.ones(()))
        self._freeze_norms()
        self._calibrate(torch.from_numpy(images))

    def _freeze_norms(self) -> None:
        for module in self.modules():
            if isinstance(module, ChannelNorm):
                module.eval()

    def train(self, mode: bool = True) -> "QuantizedResMLP":
        super().train(mode)
        self._freeze_norms()
        return self

    @torch.no_grad()
    def _calibrate(self, images: Tensor) -> None:
        self.eval()
        x = self.embed(self._patches(images) * PIXEL_SCALE)
        for stage in self.stages:
            x = stage.calibrate(x)
        logits = self.head(self.norm(x).mean(0))
        self.logit_scale.copy_(2 * logits.abs().max() / (1 << (HEAD_BITS - 1)))
        self._calibrate_pool(x)
        # A quantile is no judge of what saturation of the residual stream costs: try smaller scales.
        for stage in self.stages:
            full, errors = stage.residual_scale.clone(), []
            for factor in RESIDUAL_FACTORS:
                stage.residual_scale.copy_(full * factor)
                self._calibrate_pool(x)
                errors.append(float((self(images) - logits).square().mean()))
            stage.residual_scale.copy_(full * RESIDUAL_FACTORS[int(np.argmin(errors))])
        self._calibrate_pool(x)

    def _calibrate_pool(self, x: Tensor) -> None:
        codes = x.sum(0).abs() / self.stages[-1].residual_scale
        self.pool_shift.copy_((_range(codes.reshape(-1, 1))[0]).log2().ceil().clamp(min=0))

    def _patches(self, images: Tensor) -> Tensor:
        config = self.config
        return extract_patches(images.float() - 128, config.patch_size, config.patch_stride, config.patch_padding)

    def embed_integers(self) -> Integers:
        out = self.stages[0].residual_scale
        return _to_integers(self.embed.weight * (PIXEL_SCALE / out), self.embed.bias / out)

    def head_integers(self) -> Integers:
        scale, offset = self.norm.affine()
        tokens = self.config.grids[-1][0] * self.config.grids[-1][1]
        pooled_scale = self.stages[-1].residual_scale * torch.exp2(self.pool_shift) / tokens
        bias = self.head.bias + self.head.weight @ offset
        return _to_integers(self.head.weight * scale * (pooled_scale / self.logit_scale), bias / self.logit_scale)

    def codes(self, images: Tensor) -> Tensor:
        """The integer logits, held in float32."""
        x = _linear(self._patches(images), self.embed_integers())
        scale = self.stages[0].residual_scale
        for stage in self.stages:
            x = stage(x, scale)
            scale = stage.residual_scale
        half = torch.where(self.pool_shift > 0, torch.exp2(self.pool_shift - 1), torch.zeros_like(scale))
        pooled = _saturate(_ShiftRight.apply(x.sum(0), torch.exp2(-self.pool_shift), half))
        return _linear(pooled, self.head_integers(), bits=HEAD_BITS)

    def forward(self, images: Tensor) -> Tensor:
        with torch.autocast(images.device.type, enabled=False):  # bfloat16 cannot hold the sums
            return self.codes(images) * self.logit_scale
