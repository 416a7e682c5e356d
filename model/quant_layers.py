"""The layers of a quantised ResMLP: how scales and norms are folded into integers, and the exact forward pass.

Activations are integer codes held in float32, laid out as in `resmlp.py`: [N, B, C]. A scale says what one code is
worth in the units of the float network. Folding works as follows.

- The norm before a token mixing, and each PSA with the norm before it, become tables. A table holds the function that
  was trained: the interpolated grid, not the formula between its points.
- The norm at the hidden neurons is folded into linear1, and the norm before patch merging into its weights.
- Scales are folded into the weights on both sides: those of the inputs per column, those of the outputs per row.

The residual stream of a stage has a scale per channel. Its values grow from block to block; where that is worth it, a
sublayer halves the codes that it adds to (`rescale`). A token mixing has one weight for all channels of a group, so
the scales of its inputs are proportional to those of its outputs. Its bias is one per group as well, in codes of the
group's mean scale: if the group has several channels, each gets a bias in proportion to its own scale.
"""

from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor, nn

from psahw.architecture.geometry import neighbours

from .integers import Integers, Requantise, RowQuantizer, linear, saturate
from .kernels import lookup, mix_local
from .module_list import ModuleList
from .resmlp import ChannelMixing, PatchMerging, ResMLPStage, TokenMixing

__all__ = [
    "HEAD_BITS",
    "QuantizedBlock",
    "QuantizedChannelMixing",
    "QuantizedStage",
    "QuantizedTokenMixing",
    "rescale",
    "table_residual",
]

HEAD_BITS = 16  # of a logit


def _codes(like: Tensor) -> Tensor:
    """Return all 256 codes in order, [256, 1]."""
    return torch.arange(-128.0, 128.0, device=like.device)[:, None]


def rescale(x: Tensor, before: Tensor, after: Tensor) -> Tensor:
    """Return the codes `x` [..., C] of a residual stream at its next scale, rounded half up.

    The scale `after` [C] is that of `before` [C], or twice as coarse.
    """
    factor = before / after  # 1 or 1/2, that is 2^-shift
    half = 2 * (1 - factor)  # 0 or 1, which is `rounding_half(shift)`
    return Requantise.apply(x, torch.zeros_like(factor), factor, half, 8, True)


def table_residual(before: Tensor, after: Tensor) -> Tensor:
    """Return `rescale` of every code, as a table [256, C]."""
    return rescale(_codes(before).expand(-1, len(before)), before, after)


class QuantizedTokenMixing(nn.Module):
    """A token mixing in integers.

    Attributes
    ----------
    layer
        The float layer, whose parameters are trained on.
    rows
        Bits and pruning of the weights.
    needed_scale
        [C], the scale that the values after the norm need by themselves.
    inside
        [N, k²], 1 where an entry of a local mixing lies on the grid, else 0. It exists only for weights that are free
        for each position, and is not saved.
    """

    needed_scale: Tensor
    inside: Tensor

    def __init__(self, layer: TokenMixing):
        super().__init__()
        self.layer, self.rows = layer, RowQuantizer()
        self.register_buffer("needed_scale", torch.ones(len(layer.norm.weight)))
        if layer.kernel is not None and not layer.shared:
            inside = torch.from_numpy(neighbours(layer.grid, layer.kernel) >= 0)
            self.register_buffer("inside", inside.float(), persistent=False)

    def gain(self, after: Tensor) -> Tensor:
        """Return each group's ratio of input scale to output scale, [G], such that no channel of it saturates."""
        return (self.needed_scale / after).view(self.layer.groups, -1).amax(1)

    def input_scale(self, after: Tensor) -> Tensor:
        """Return the scale of the inputs, [C]."""
        return after * self.gain(after).repeat_interleave(len(after) // self.layer.groups)

    def table_in(self, before: Tensor, after: Tensor) -> Tensor:
        """Return the unrounded table of the norm, [256, C]."""
        scale, offset = self.layer.norm.affine()
        return saturate((_codes(scale) * before * scale + offset) / self.input_scale(after))

    def integers(self, after: Tensor) -> Integers:
        """Return the linear map in integers, for a residual stream that it leaves at scale `after`."""
        return self.rows(*self.folded(after))

    def folded(self, after: Tensor) -> tuple[Tensor, Tensor]:
        """Return weights [G, N or 1, N or k²] and biases [G, N or 1], from codes to codes."""
        weight = self.rows.masked(self.layer.matrices()) * self.gain(after)[:, None, None]
        if self.layer.kernel is not None and not self.layer.shared:
            weight = weight * self.inside
        return weight, self.layer.bias / after.view(self.layer.groups, -1).mean(1, keepdim=True)

    def forward(self, x: Tensor, before: Tensor, after: Tensor) -> Tensor:
        """Return the codes of the residual stream at scale `after`, from those at scale `before`."""
        z = lookup(x, self.table_in(before, after))
        integers = self.integers(after)
        tokens, batch, channels = z.shape
        size = channels // self.layer.groups
        if self.layer.kernel is None:
            grouped = z.reshape(tokens, batch, self.layer.groups, size)  # [N, B, G, C/G]
            total = torch.einsum("gnm,mbgc->nbgc", integers.weight, grouped).reshape(z.shape)
        else:
            per_channel = integers.weight.permute(1, 2, 0).repeat_interleave(size, dim=2)  # [N or 1, k², C]
            total = mix_local(z, per_channel.expand(tokens, -1, -1), self.layer.grid, self.layer.kernel)
        mixed = integers.requantise(
            total, lambda rows: rows.t().repeat_interleave(size, dim=1)[:, None]
        )  # rows: [G, N or 1] to [N or 1, 1, C]
        return saturate(rescale(x, before, after) + mixed)


class QuantizedChannelMixing(nn.Module):
    """A channel mixing in integers.

    Attributes
    ----------
    layer
        The float layer, whose parameters are trained on.
    rows1, rows2
        Bits and pruning of the weights of linear1 and linear2.
    has_table_in
        True if linear1 reads a table, false if it reads the residual stream.
    input_scale, linear1_scale, hidden_scale
        [C], [H] and [H]: scales of the inputs of linear1, of its outputs, and of the inputs of linear2.
    """

    input_scale: Tensor
    linear1_scale: Tensor
    hidden_scale: Tensor

    def __init__(self, layer: ChannelMixing):
        super().__init__()
        self.layer = layer
        self.rows1, self.rows2 = RowQuantizer(), RowQuantizer()
        self.has_table_in = not isinstance(layer.act_in, nn.Identity)
        self.register_buffer("input_scale", torch.ones(layer.linear1.in_features))
        self.register_buffer("linear1_scale", torch.ones(layer.linear1.out_features))
        self.register_buffer("hidden_scale", torch.ones(layer.linear1.out_features))

    def table_in(self, before: Tensor) -> Tensor | None:
        """Return the unrounded table of the norm and the PSA, [256, C], or None if there is no table."""
        if not self.has_table_in:
            return None
        scale, offset = self.layer.norm.affine()
        return saturate(self.layer.act_in(_codes(scale) * before * scale + offset) / self.input_scale)

    def table_hidden(self) -> Tensor:
        """Return the unrounded table of the hidden neurons, [256, H]."""
        x = _codes(self.linear1_scale) * self.linear1_scale
        return saturate(self.layer.act_hidden(x) / self.hidden_scale)

    def linear1(self, before: Tensor) -> Integers:
        """Return linear1 in integers, for a residual stream at scale `before`."""
        return self.rows1(*self.folded1(before))

    def linear2(self, after: Tensor) -> Integers:
        """Return linear2 in integers, for a residual stream that it leaves at scale `after`."""
        return self.rows2(*self.folded2(after))

    def folded1(self, before: Tensor) -> tuple[Tensor, ...]:
        """Return weights [H, C] and biases [H] of linear1, from codes to codes.

        Without a table the norm of the inputs is folded in as well, and the third element is the mean input [C] in
        codes.
        """
        scale, offset = self.layer.norm_hidden.affine()
        weight = self.rows1.masked(self.layer.linear1.weight) * scale[:, None]
        rows = self.linear1_scale
        if self.has_table_in:
            return weight * self.input_scale / rows[:, None], offset / rows
        column_scale, column_offset = self.layer.norm.affine()
        offset = offset + weight @ column_offset
        mean = self.layer.norm.mean / before
        return weight * column_scale * before / rows[:, None], offset / rows, mean

    def folded2(self, after: Tensor) -> tuple[Tensor, Tensor]:
        """Return weights [C, H] and biases [C] of linear2, from codes to codes."""
        weight = self.rows2.masked(self.layer.linear2.weight)
        return weight * self.hidden_scale / after[:, None], self.layer.linear2.bias / after

    def forward(self, x: Tensor, before: Tensor, after: Tensor) -> Tensor:
        """Return the codes of the residual stream at scale `after`, from those at scale `before`."""
        table = self.table_in(before)
        z = x if table is None else lookup(x, table)
        z = lookup(linear(z, self.linear1(before)), self.table_hidden())  # [N, B, H]
        return saturate(rescale(x, before, after) + linear(z, self.linear2(after)))


class QuantizedBlock(NamedTuple):
    """A block's sublayers, with the scales [C] of the residual stream before, between and after them."""

    token_mixing: QuantizedTokenMixing
    channel_mixing: QuantizedChannelMixing
    before: Tensor
    between: Tensor
    after: Tensor


class QuantizedStage(nn.Module):
    """A stage in integers.

    Attributes
    ----------
    residual_scale
        [C], the scale of the residual stream before the first block.
    halvings
        [2L], 1 for each of the sublayers that halves the codes of the stream, else 0.
    """

    merge: PatchMerging | None
    residual_scale: Tensor
    halvings: Tensor

    def __init__(self, stage: ResMLPStage, channels: int):
        super().__init__()
        self.merge = stage.merge
        self.merge_rows = RowQuantizer()
        self.token_mixing = ModuleList(QuantizedTokenMixing(b.token_mixing) for b in stage.blocks)
        self.channel_mixing = ModuleList(QuantizedChannelMixing(b.channel_mixing) for b in stage.blocks)
        self.register_buffer("residual_scale", torch.ones(channels))
        self.register_buffer("halvings", torch.zeros(2 * len(stage.blocks)))

    def scales(self) -> list[Tensor]:
        """Return the scale [C] of the residual stream before each sublayer and after the last one."""
        steps = torch.cat((torch.zeros_like(self.halvings[:1]), self.halvings.cumsum(0)))
        return [self.residual_scale * factor for factor in torch.exp2(steps)]

    def blocks(self) -> Iterator[QuantizedBlock]:
        """Yield the blocks in data order."""
        scales = self.scales()
        for b, (token_mixing, channel_mixing) in enumerate(zip(self.token_mixing, self.channel_mixing, strict=True)):
            before, between, after = scales[2 * b : 2 * b + 3]
            yield QuantizedBlock(token_mixing, channel_mixing, before, between, after)

    def sublayers(self) -> Iterator[tuple[nn.Module, Tensor, Tensor]]:
        """Yield the sublayers in data order, with the scales of the residual stream before and after each."""
        for block in self.blocks():
            yield block.token_mixing, block.before, block.between
            yield block.channel_mixing, block.between, block.after

    def merge_integers(self, input_scale: Tensor) -> Integers:
        """Return the patch merging in integers; see `merge_folded`."""
        return self.merge_rows(*self.merge_folded(input_scale))

    def merge_folded(self, input_scale: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return weights [C', 4C] and biases [C'] of the patch merging, and the mean input [4C], all in codes.

        `input_scale` [C] is the scale of the residual stream after the stage before.
        """
        assert self.merge is not None, "the first stage merges no patches"
        scale, offset = (part.repeat(4) for part in self.merge.norm.affine())  # [4C]
        weight = self.merge_rows.masked(self.merge.linear.weight)
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
