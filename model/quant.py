"""A float ResMLP as an INT8 network whose forward pass equals `psahw.reference`, logit for logit.

Activations are integer codes held in float32. Every sum stays below 2^24 (checked), so float32 arithmetic is
exact and the order of summation does not matter. Rounding passes gradients straight through; tables pass
them by the slope of the unrounded function. What cannot be rounded away folds:

- a norm before token mixing, and each PSA with the norm before it, become tables;
- the norm at the hidden neurons folds into linear1, that before head or merging into their weights;
- a code's scale folds into the weights on both sides: input scales per column, output scales per row. Each row
  is then scaled by the largest power of two that keeps it in 8 bits, and its bias in the sum that float32 holds
  exactly; that power is the row's shift. A layer may have fewer bits, and weights that are pruned (`RowQuantizer`).

All residual additions of a stage share one scale, so the residual path needs no table.
"""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from psahw.errors import UserError

from .config import ModelConfig
from .kernels import lookup, mix_local
from .resmlp import PIXEL_SCALE, ChannelMixing, ChannelNorm, PatchMerging, ResMLP, TokenMixing, extract_patches

__all__ = ["Integers", "Layer", "QuantizedResMLP", "too_long"]

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


class _Requantise(torch.autograd.Function):
    """`saturate(floor((x + bias) / 2^shift + 1/2))`; the gradient is that of `(x + bias) / 2^shift`, zero where it
    saturates. One function, for as separate operations they and their gradients were half of a training step."""

    @staticmethod
    def forward(ctx, x, bias, factor, half, bits):  # factor = 2^-shift, half = 2^(shift - 1) or 0
        shifted = (x + (bias + half)).mul_(factor).floor_()
        limit = 1 << (bits - 1)
        codes = shifted.clamp(-limit, limit - 1)
        ctx.save_for_backward(factor, codes != shifted)
        ctx.bias_shape = bias.shape
        return codes

    @staticmethod
    def backward(ctx, gradient):
        factor, outside = ctx.saved_tensors
        gradient = gradient.masked_fill(outside, 0).mul_(factor)
        return gradient, gradient.sum_to_size(ctx.bias_shape), None, None, None


class _Saturate(torch.autograd.Function):
    """`clamp`, whose own gradient compares twice and selects."""

    @staticmethod
    def forward(ctx, x, limit):
        codes = x.clamp(-limit, limit - 1)
        ctx.save_for_backward(codes != x)
        return codes

    @staticmethod
    def backward(ctx, gradient):
        return gradient.masked_fill(ctx.saved_tensors[0], 0), None


def _saturate(x: Tensor, bits: int = 8) -> Tensor:
    return _Saturate.apply(x, 1 << (bits - 1))


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
        return _Requantise.apply(total, align(self.bias), align(factor), align(half), bits)


def too_long(config: ModelConfig) -> str | None:
    """Why a network of this shape has a sum that float32 does not hold exactly; None if it has none."""
    for name, terms in config.terms().items():
        if terms > MAX_TERMS:
            return f"{name} has {terms} inputs; at most {MAX_TERMS} can be quantised exactly in float32"
    return None


def _to_integers(weight: Tensor, bias: Tensor, bits: int = 8) -> Integers:
    """`weight` [..., rows, columns] and `bias` [..., rows] map input codes to output codes, as floats.

    A row's shift is the largest that both its weights and its bias have room for. At shift 0 only a bias far
    beyond what saturates is clipped. With fewer than 8 bits a larger shift clips the largest weights, and is
    taken where the sum of squared errors is less.
    """
    terms = weight.shape[-1]
    if terms > MAX_TERMS:
        raise ValueError(f"a linear map of {terms} inputs is not exact in float32")
    largest = weight.detach().abs().amax(-1).clamp(min=1e-9)
    bias_room = BIAS_LIMIT / bias.detach().abs().clamp(min=1e-9)
    room = torch.minimum(((1 << (bits - 1)) - 0.5) / largest, bias_room)
    shift = torch.log2(room).floor().clamp(0, MAX_SHIFT)
    if bits < 8:
        shift = _least_error(weight.detach(), shift, torch.log2(bias_room).floor().clamp(0, MAX_SHIFT), bits)
    factor = torch.exp2(shift)
    integer_weight = _saturate(_Round.apply(weight * factor[..., None]), bits)
    integer_bias = _Round.apply((bias * factor).clamp(-BIAS_LIMIT, BIAS_LIMIT))
    return Integers(integer_weight, integer_bias, shift)


def _least_error(weight: Tensor, shift: Tensor, limit: Tensor, bits: int) -> Tensor:
    """Of `shift` and the two above it, up to `limit`, the one whose codes are nearest to the row."""
    best, least = shift, torch.full_like(shift, torch.inf)
    for more in range(3):
        tried = torch.minimum(shift + more, torch.maximum(shift, limit))
        factor = torch.exp2(tried)[..., None]
        error = (_saturate((weight * factor).round(), bits) / factor - weight).square().sum(-1)
        best, least = torch.where(error < least, tried, best), torch.minimum(error, least)
    return best


class RowQuantizer(nn.Module):
    """How a layer's rows become integers: of `bits` [2, 8] each, and 0 where a weight is not `kept`."""

    def __init__(self):
        super().__init__()
        self.bits = 8
        self.register_buffer("kept", None)  # bool, in the shape of the weights; None: all

    def keep(self, weight: Tensor) -> Tensor:
        """The layer's own weights, before anything is folded: what is pruned is no part of a bias either."""
        return weight if self.kept is None else weight * self.kept

    def forward(self, weight: Tensor, bias: Tensor, mean: Tensor | None = None) -> Integers:
        """What rounding the weights does to inputs of this `mean`, in codes, is taken back by the bias."""
        integers = _to_integers(weight, bias, self.bits)
        if mean is None:
            return integers
        factor = torch.exp2(integers.shift)
        error = (integers.weight / factor[:, None] - weight) @ mean
        corrected = ((bias - error) * factor).clamp(-BIAS_LIMIT, BIAS_LIMIT)
        return integers._replace(bias=_Round.apply(corrected))


class Layer(NamedTuple):
    """A layer with weights: its quantiser and, as floats, what it quantises (weights first). `columns` is the length
    of a matrix row of which the weights are a part, None if they are the whole."""

    rows: RowQuantizer
    folded: Callable[[], tuple[Tensor, ...]]
    columns: int | None = None

    def integers(self) -> Integers:
        return self.rows(*self.folded())


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
        self.layer, self.rows = layer, RowQuantizer()
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
        return self.rows(*self.folded(residual_scale))

    def folded(self, residual_scale: Tensor) -> tuple[Tensor, Tensor]:
        weight = self.rows.keep(self.layer.matrices()) * (self.input_scale / residual_scale)[:, None, None]
        if self.layer.kernel is not None and not self.layer.shared:
            weight = weight * self._inside(weight)
        return weight, self.layer.bias / residual_scale

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
        self.rows1, self.rows2 = RowQuantizer(), RowQuantizer()
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
        return self.rows1(*self.folded1(residual_scale))

    def linear2(self, residual_scale: Tensor) -> Integers:
        return self.rows2(*self.folded2(residual_scale))

    def folded1(self, residual_scale: Tensor) -> tuple[Tensor, ...]:
        scale, offset = self.layer.norm_hidden.affine()
        weight = self.rows1.keep(self.layer.linear1.weight) * scale[:, None]
        rows = self.linear1_scale
        if self.has_table_in:
            return weight * self.input_scale / rows[:, None], offset / rows
        column_scale, column_offset = self.layer.norm.affine()
        offset = offset + weight @ column_offset
        mean = self.layer.norm.mean / residual_scale
        return weight * column_scale * residual_scale / rows[:, None], offset / rows, mean

    def folded2(self, residual_scale: Tensor) -> tuple[Tensor, Tensor]:
        weight = self.rows2.keep(self.layer.linear2.weight)
        return weight * self.hidden_scale / residual_scale, self.layer.linear2.bias / residual_scale

    def forward(self, x: Tensor, residual_scale: Tensor) -> Tensor:
        table = self.table_in(residual_scale)
        z = x if table is None else lookup(x, table)
        z = lookup(_linear(z, self.linear1(residual_scale)), self.table_hidden())
        return _saturate(x + _linear(z, self.linear2(residual_scale)))


class QuantizedStage(nn.Module):
    def __init__(self, stage: nn.Module):
        super().__init__()
        self.merge: PatchMerging | None = stage.merge
        self.merge_rows = RowQuantizer()
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
        return self.merge_rows(*self.merge_folded(input_scale))

    def merge_folded(self, input_scale: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        scale, offset = (part.repeat(4) for part in self.merge.norm.affine())
        weight = self.merge_rows.keep(self.merge.linear.weight)
        bias = self.merge.linear.bias + weight @ offset
        mean = self.merge.norm.mean.repeat(4) / input_scale
        return weight * scale * input_scale / self.residual_scale, bias / self.residual_scale, mean

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
        self.embed_rows, self.head_rows = RowQuantizer(), RowQuantizer()
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

    def layers(self) -> dict[str, Layer]:
        """Every layer that has weights by its name in the network file, in data order."""
        found = {"embed": Layer(self.embed_rows, self.embed_folded)}
        before = self.stages[0].residual_scale
        for s, stage in enumerate(self.stages):
            scale, (height, width) = stage.residual_scale, self.config.grids[s]
            if stage.merge is not None:
                found[f"stages.{s}.merge"] = Layer(stage.merge_rows, partial(stage.merge_folded, before))
            for b, (token, channel) in enumerate(zip(stage.token_mixing, stage.channel_mixing, strict=True)):
                name, columns = f"stages.{s}.blocks.{b}", None if token.layer.shared else height * width
                found[f"{name}.token_mixing"] = Layer(token.rows, partial(token.folded, scale), columns)
                found[f"{name}.channel_mixing.linear1"] = Layer(channel.rows1, partial(channel.folded1, scale))
                found[f"{name}.channel_mixing.linear2"] = Layer(channel.rows2, partial(channel.folded2, scale))
            before = scale
        return found | {"head": Layer(self.head_rows, self.head_folded)}

    def embed_integers(self) -> Integers:
        return self.embed_rows(*self.embed_folded())

    def embed_folded(self) -> tuple[Tensor, Tensor]:
        out = self.stages[0].residual_scale
        return self.embed_rows.keep(self.embed.weight) * (PIXEL_SCALE / out), self.embed.bias / out

    def head_integers(self) -> Integers:
        return self.head_rows(*self.head_folded())

    def head_folded(self) -> tuple[Tensor, Tensor, Tensor]:
        scale, offset = self.norm.affine()
        tokens = self.config.grids[-1][0] * self.config.grids[-1][1]
        pooled_scale = self.stages[-1].residual_scale * torch.exp2(self.pool_shift) / tokens
        weight = self.head_rows.keep(self.head.weight)
        bias = self.head.bias + weight @ offset
        mean = self.norm.mean / pooled_scale
        return weight * scale * (pooled_scale / self.logit_scale), bias / self.logit_scale, mean

    def codes(self, images: Tensor) -> Tensor:
        """The integer logits, held in float32."""
        x = _linear(self._patches(images), self.embed_integers())
        scale = self.stages[0].residual_scale
        for stage in self.stages:
            x = stage(x, scale)
            scale = stage.residual_scale
        half = torch.where(self.pool_shift > 0, torch.exp2(self.pool_shift - 1), torch.zeros_like(scale))
        none = torch.zeros_like(half)
        pooled = _Requantise.apply(x.sum(0), none, torch.exp2(-self.pool_shift), half, 8)
        return _linear(pooled, self.head_integers(), bits=HEAD_BITS)

    def forward(self, images: Tensor) -> Tensor:
        with torch.autocast(images.device.type, enabled=False):  # bfloat16 cannot hold the sums
            return self.codes(images) * self.logit_scale
