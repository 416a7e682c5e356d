"""A float ResMLP as an INT8 network whose forward pass equals `psahw.network.reference`, logit for logit.

Activations are integer codes held in float32 (`integers.py`); tables pass gradients by the slope of the unrounded
function. What cannot be rounded away folds:

- a norm before token mixing, and each PSA with the norm before it, become tables, of the function that was trained:
  the interpolated grid, not the formula between its points;
- the norm at the hidden neurons folds into linear1, that before head or merging into their weights;
- a code's scale folds into the weights on both sides: input scales per column, output scales per row. Each row
  is then scaled by the largest power of two that keeps it in 8 bits, and its bias in the sum that float32 holds
  exactly; that power is the row's shift. A layer may have fewer bits, and weights that are pruned (`RowQuantizer`).

The residual stream of a stage has a scale per channel. It grows from block to block; where that is worth it, a
sublayer halves the codes that it adds to (`table_residual`). A token mixing has one weight for all channels of a
group, whose inputs therefore have scales in the same proportion as its outputs. A group's bias is in codes of the
mean scale: each of several channels gets a bias in proportion to its own.
"""

import itertools
from collections.abc import Callable, Iterator
from functools import partial
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from psahw.architecture.geometry import neighbours
from psahw.errors import UserError
from psahw.network.layers import linear_names

from .config import ModelConfig
from .integers import MAX_TERMS, Integers, Requantise, RowQuantizer, linear, saturate
from .kernels import lookup, mix_local
from .resmlp import PIXEL_SCALE, ChannelMixing, ChannelNorm, PatchMerging, ResMLP, TokenMixing, extract_patches

__all__ = ["HEAD_BITS", "Layer", "QuantizedResMLP", "carried", "table_residual", "too_long"]

HEAD_BITS = 16
QUANTILE = 0.9999  # of the absolute values of a calibration: what lies beyond saturates
RESIDUAL_FACTORS = (0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0)
RESIDUAL_EXPONENTS = (0.0, 0.5, 1.0)
HALVING_GAIN = 0.9  # of the squared error of the logits remains, at most, where a halving of the stream is worth it


def too_long(config: ModelConfig) -> str | None:
    """Why a network of this shape has a sum that float32 does not hold exactly; None if it has none."""
    for name, terms in config.terms().items():
        if terms > MAX_TERMS:
            return f"{name} has {terms} inputs; at most {MAX_TERMS} can be quantised exactly in float32"
    return None


class Layer(NamedTuple):
    """A layer with weights: its quantiser and, as floats, what it quantises (weights first). `columns` is the length
    of a matrix row of which the weights are a part, None if they are the whole."""

    rows: RowQuantizer
    folded: Callable[[], tuple[Tensor, ...]]
    columns: int | None = None

    def integers(self) -> Integers:
        return self.rows(*self.folded())


def _codes(like: Tensor) -> Tensor:
    """All 256 codes, [256, 1]."""
    return torch.arange(-128.0, 128.0, device=like.device)[:, None]


def _range(x: Tensor) -> Tensor:
    """Scale per channel (last axis) that maps the quantile of |x| to code 127."""
    rows = x.flatten(0, -2).abs()
    keep = max(1, round((1 - QUANTILE) * len(rows)))
    return rows.topk(keep, dim=0).values[-1].clamp(min=1e-6) / 127


def carried(x: Tensor, before: Tensor, after: Tensor) -> Tensor:
    """Codes of a residual stream on its next scale, the same or twice as coarse, halves up as `rshift` rounds."""
    factor = before / after
    return Requantise.apply(x, torch.zeros_like(factor), factor, 2 * (1 - factor), 8)


def table_residual(before: Tensor, after: Tensor) -> Tensor:
    """[256, C], what `carried` makes of each code."""
    return carried(_codes(before).expand(-1, len(before)), before, after)


class QuantizedTokenMixing(nn.Module):
    def __init__(self, layer: TokenMixing):
        super().__init__()
        self.layer, self.rows = layer, RowQuantizer()
        self.register_buffer("needed_scale", torch.ones(len(layer.norm.weight)))
        if layer.kernel is not None and not layer.shared:
            inside = torch.from_numpy(neighbours(layer.grid, layer.kernel) >= 0)  # [N, kernel^2]: 0 outside the grid
            self.register_buffer("inside", inside.float(), persistent=False)

    def calibrate(self, x: Tensor) -> Tensor:
        """Sets the scales from float activations [N, B, C] and returns the float layer's output."""
        self.needed_scale.copy_(_range(self.layer.norm(x)))
        return self.layer(x)

    def gain(self, after: Tensor) -> Tensor:
        """[G]: an input's scale, divided by that of its channel of the output. No channel saturates."""
        return (self.needed_scale / after).view(self.layer.groups, -1).amax(1)

    def input_scale(self, after: Tensor) -> Tensor:
        """[C]: what a code of an input is worth."""
        return after * self.gain(after).repeat_interleave(len(after) // self.layer.groups)

    def table_in(self, before: Tensor, after: Tensor) -> Tensor:
        """[256, C], unrounded: the norm."""
        scale, offset = self.layer.norm.affine()
        return saturate((_codes(scale) * before * scale + offset) / self.input_scale(after))

    def integers(self, after: Tensor) -> Integers:
        return self.rows(*self.folded(after))

    def folded(self, after: Tensor) -> tuple[Tensor, Tensor]:
        weight = self.rows.keep(self.layer.matrices()) * self.gain(after)[:, None, None]
        if self.layer.kernel is not None and not self.layer.shared:
            weight = weight * self.inside
        return weight, self.layer.bias / after.view(self.layer.groups, -1).mean(1, keepdim=True)

    def forward(self, x: Tensor, before: Tensor, after: Tensor) -> Tensor:
        z = lookup(x, self.table_in(before, after))
        integers = self.integers(after)
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
        return saturate(carried(x, before, after) + mixed)


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

    def table_in(self, before: Tensor) -> Tensor | None:
        """[256, C], unrounded: the norm and PSA; None where linear1 reads the residual stream."""
        if not self.has_table_in:
            return None
        scale, offset = self.layer.norm.affine()
        return saturate(self.layer.act_in(_codes(scale) * before * scale + offset) / self.input_scale)

    def table_hidden(self) -> Tensor:
        """[256, H], unrounded."""
        x = _codes(self.linear1_scale) * self.linear1_scale
        return saturate(self.layer.act_hidden(x) / self.hidden_scale)

    def linear1(self, before: Tensor) -> Integers:
        return self.rows1(*self.folded1(before))

    def linear2(self, after: Tensor) -> Integers:
        return self.rows2(*self.folded2(after))

    def folded1(self, before: Tensor) -> tuple[Tensor, ...]:
        scale, offset = self.layer.norm_hidden.affine()
        weight = self.rows1.keep(self.layer.linear1.weight) * scale[:, None]
        rows = self.linear1_scale
        if self.has_table_in:
            return weight * self.input_scale / rows[:, None], offset / rows
        column_scale, column_offset = self.layer.norm.affine()
        offset = offset + weight @ column_offset
        mean = self.layer.norm.mean / before
        return weight * column_scale * before / rows[:, None], offset / rows, mean

    def folded2(self, after: Tensor) -> tuple[Tensor, Tensor]:
        weight = self.rows2.keep(self.layer.linear2.weight)
        return weight * self.hidden_scale / after[:, None], self.layer.linear2.bias / after

    def forward(self, x: Tensor, before: Tensor, after: Tensor) -> Tensor:
        table = self.table_in(before)
        z = x if table is None else lookup(x, table)
        z = lookup(linear(z, self.linear1(before)), self.table_hidden())
        return saturate(carried(x, before, after) + linear(z, self.linear2(after)))


class QuantizedStage(nn.Module):
    def __init__(self, stage: nn.Module, channels: int):
        super().__init__()
        self.merge: PatchMerging | None = stage.merge
        self.merge_rows = RowQuantizer()
        self.token_mixing = nn.ModuleList(QuantizedTokenMixing(b.token_mixing) for b in stage.blocks)
        self.channel_mixing = nn.ModuleList(QuantizedChannelMixing(b.channel_mixing) for b in stage.blocks)
        self.register_buffer("residual_scale", torch.ones(channels))  # of what comes into the first block
        self.register_buffer("halvings", torch.zeros(2 * len(stage.blocks)))  # by each sublayer, 0 or 1

    def scales(self) -> list[Tensor]:
        """[C] of the residual stream before each sublayer and after the last."""
        steps = torch.cat((torch.zeros_like(self.halvings[:1]), self.halvings.cumsum(0)))
        return [self.residual_scale * factor for factor in torch.exp2(steps)]

    def sublayers(self) -> Iterator[tuple[nn.Module, Tensor, Tensor]]:
        """Token mixing and channel mixing in turn, with the residual stream's scales before and after."""
        alternating = itertools.chain(*zip(self.token_mixing, self.channel_mixing, strict=True))
        scales = self.scales()
        return zip(alternating, scales, scales[1:], strict=False)

    def calibrate(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Also returns the scales [C] and [] that the residual stream needs: of each channel, and of all as one."""
        if self.merge is not None:
            x = self.merge(x)
        own, common = _range(x), _range(x.reshape(-1, 1))
        for sublayer, _, _ in self.sublayers():
            x = sublayer.calibrate(x)
            own = torch.maximum(own, _range(x))
            common = torch.maximum(common, _range(x.reshape(-1, 1)))
        self.residual_scale.copy_(own)
        return x, own, common[0]

    def merge_integers(self, input_scale: Tensor) -> Integers:
        return self.merge_rows(*self.merge_folded(input_scale))

    def merge_folded(self, input_scale: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        scale, offset = (part.repeat(4) for part in self.merge.norm.affine())
        weight = self.merge_rows.keep(self.merge.linear.weight)
        bias = self.merge.linear.bias + weight @ offset
        input_scale = input_scale.repeat(4)
        mean = self.merge.norm.mean.repeat(4) / input_scale
        return weight * scale * input_scale / self.residual_scale[:, None], bias / self.residual_scale, mean

    def forward(self, x: Tensor, input_scale: Tensor) -> Tensor:
        if self.merge is not None:
            x = linear(self.merge.gather(x), self.merge_integers(input_scale))
        for sublayer, before, after in self.sublayers():
            x = sublayer(x, before, after)
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
        channels = [stage.channels for stage in model.config.stages]
        self.stages = nn.ModuleList(map(QuantizedStage, model.stages, channels))
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
        needed = []
        for stage in self.stages:
            x, *scales = stage.calibrate(x)
            needed.append(scales)
        logits = self.head(self.norm(x).mean(0))
        self.logit_scale.copy_(2 * logits.abs().max() / (1 << (HEAD_BITS - 1)))
        self._calibrate_pool(x)

        def error() -> float:
            self._calibrate_pool(x)
            return float((self(images) - logits).square().mean())

        for stage, (own, common) in zip(self.stages, needed, strict=True):
            self._choose_scale(stage, own, common, error)
            self._choose_halvings(stage, error)
        self._calibrate_pool(x)

    @staticmethod
    def _choose_scale(stage: QuantizedStage, own: Tensor, common: Tensor, error: Callable[[], float]) -> None:
        """A quantile is no judge of what saturation of the residual stream costs: smaller scales are tried. Nor are
        the channels' own scales always best, for token mixing's inputs must follow them: some towards the common."""
        tried = {}
        for exponent, factor in itertools.product(RESIDUAL_EXPONENTS, RESIDUAL_FACTORS):
            scale = factor * common * (own / common) ** exponent
            stage.residual_scale.copy_(scale)
            tried[error()] = scale
        stage.residual_scale.copy_(tried[min(tried)])

    @staticmethod
    def _choose_halvings(stage: QuantizedStage, error: Callable[[], float]) -> None:
        """Finer codes up to a sublayer, which halves them: tried for each, the last first."""
        least = error()
        for index in reversed(range(len(stage.halvings))):
            stage.halvings[index] = 1
            stage.residual_scale /= 2
            if (found := error()) <= HALVING_GAIN * least:
                least = found
            else:
                stage.halvings[index] = 0
                stage.residual_scale *= 2

    def _calibrate_pool(self, x: Tensor) -> None:
        codes = x.sum(0).abs() / self.stages[-1].scales()[-1]
        self.pool_shift.copy_((_range(codes.reshape(-1, 1))[0]).log2().ceil().clamp(min=0))

    def _patches(self, images: Tensor) -> Tensor:
        config = self.config
        return extract_patches(images.float() - 128, config.patch_size, config.patch_stride, config.patch_padding)

    def layers(self) -> dict[str, Layer]:
        """Every layer that has weights by its name in the network file, in data order."""
        layers = [Layer(self.embed_rows, self.embed_folded)]
        for s, stage in enumerate(self.stages):
            scales, (height, width) = stage.scales(), self.config.grids[s]
            if stage.merge is not None:
                folded = partial(stage.merge_folded, self.stages[s - 1].scales()[-1])
                layers.append(Layer(stage.merge_rows, folded))
            for b, (token, channel) in enumerate(zip(stage.token_mixing, stage.channel_mixing, strict=True)):
                columns = None if token.layer.shared else height * width
                _, between, after = scales[2 * b : 2 * b + 3]
                layers.append(Layer(token.rows, partial(token.folded, between), columns))
                layers.append(Layer(channel.rows1, partial(channel.folded1, between)))
                layers.append(Layer(channel.rows2, partial(channel.folded2, after)))
        layers.append(Layer(self.head_rows, self.head_folded))
        names = linear_names([len(stage.token_mixing) for stage in self.stages])
        return dict(zip(names, layers, strict=True))

    def embed_integers(self) -> Integers:
        return self.embed_rows(*self.embed_folded())

    def embed_folded(self) -> tuple[Tensor, Tensor]:
        out = self.stages[0].residual_scale
        return self.embed_rows.keep(self.embed.weight) * (PIXEL_SCALE / out)[:, None], self.embed.bias / out

    def head_integers(self) -> Integers:
        return self.head_rows(*self.head_folded())

    def head_folded(self) -> tuple[Tensor, Tensor, Tensor]:
        scale, offset = self.norm.affine()
        tokens = self.config.grids[-1][0] * self.config.grids[-1][1]
        pooled_scale = self.stages[-1].scales()[-1] * torch.exp2(self.pool_shift) / tokens
        weight = self.head_rows.keep(self.head.weight)
        bias = self.head.bias + weight @ offset
        mean = self.norm.mean / pooled_scale
        return weight * scale * (pooled_scale / self.logit_scale), bias / self.logit_scale, mean

    def codes(self, images: Tensor) -> Tensor:
        """The integer logits, held in float32."""
        x = linear(self._patches(images), self.embed_integers())
        scale = self.stages[0].residual_scale
        for stage in self.stages:
            x = stage(x, scale)
            scale = stage.scales()[-1]
        half = torch.where(self.pool_shift > 0, torch.exp2(self.pool_shift - 1), torch.zeros_like(self.pool_shift))
        none = torch.zeros_like(half)
        pooled = Requantise.apply(x.sum(0), none, torch.exp2(-self.pool_shift), half, 8)
        return linear(pooled, self.head_integers(), bits=HEAD_BITS)

    def forward(self, images: Tensor) -> Tensor:
        with torch.autocast(images.device.type, enabled=False):  # bfloat16 cannot hold the sums
            return self.codes(images) * self.logit_scale
