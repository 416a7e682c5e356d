"""A float ResMLP as an INT8 network, whose forward pass equals `psahw.network.reference`, logit for logit.

Activations are integer codes held in float32 (`integers.py`). Tables pass gradients by the slope of the function
before rounding, so that the network can be fine-tuned. `quant_layers.py` says how norms and scales are folded into
integers, and `calibration.py` how the scales are chosen. The norm before the head is folded into the head's weights.
"""

from collections.abc import Callable, Iterator
from functools import partial
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from psahw.errors import UserError
from psahw.network.resmlp import block_name, linear_names

from . import finite
from .calibration import calibrate
from .config import ModelConfig
from .integers import MAX_TERMS, Integers, Requantise, RowQuantizer, linear, rounding_half
from .module_list import ModuleList
from .quant_layers import HEAD_BITS, QuantizedBlock, QuantizedStage
from .resmlp import PIXEL_SCALE, ChannelNorm, ResMLP, extract_patches

__all__ = ["Layer", "QuantizedResMLP", "why_inexact"]

PARTS = ("weight in codes", "bias in codes", "mean input in codes")  # of what `Layer.folded` returns


def why_inexact(config: ModelConfig) -> str | None:
    """Return why a network of this shape cannot be quantised exactly in float32, or None if it can."""
    for name, terms in config.terms().items():
        if terms > MAX_TERMS:
            return f"{name} must have at most {MAX_TERMS} inputs to be quantised exactly in float32, not {terms}"
    return None


class Layer(NamedTuple):
    """A layer with weights.

    Attributes
    ----------
    rows
        Its quantiser.
    folded
        Returns what the quantiser is applied to: weights, biases and, for some layers, the mean input.
    columns
        Length of the matrix row of which a row of weights is a part, or None if it is the whole row.
    """

    rows: RowQuantizer
    folded: Callable[[], tuple[Tensor, ...]]
    columns: int | None = None

    def integers(self) -> Integers:
        """Return the layer in integers."""
        return self.rows(*self.folded())


class QuantizedResMLP(nn.Module):
    """The INT8 network from uint8 images [B, height, width, colours] to logits [B, classes] in float units.

    The norms always use their running statistics, in training mode too.

    Parameters
    ----------
    model
        The float network. Its modules become part of this one, and its parameters are trained on.
    images
        uint8 [n, height, width, colours], from which the scales are chosen.

    Raises
    ------
    UserError
        If a sum of the network is too long to be exact in float32, or if the float model or what it computes from the
        images holds a number that no model may hold.
    """

    pool_shift: Tensor
    logit_scale: Tensor

    def __init__(self, model: ResMLP, images: np.ndarray):
        super().__init__()
        if reason := why_inexact(model.config):
            raise UserError(reason)
        self.config = model.config
        self.embed, self.norm, self.head = model.embed, model.norm, model.head
        self.embed_rows, self.head_rows = RowQuantizer(), RowQuantizer()
        channels = [stage.channels for stage in model.config.stages]
        self.stages = ModuleList(map(QuantizedStage, model.stages, channels))
        self.register_buffer("pool_shift", torch.zeros(()))
        self.register_buffer("logit_scale", torch.ones(()))
        self._freeze_norms()
        finite.require("the float model", model.state_dict(), error=UserError)
        calibrate(self, torch.from_numpy(images))
        self.check()

    def _freeze_norms(self) -> None:
        for module in self.modules():
            if isinstance(module, ChannelNorm):
                module.eval()

    @property
    def output_scale(self) -> Tensor:
        """The value of a code of an output, []."""
        return self.logit_scale

    def train(self, mode: bool = True) -> "QuantizedResMLP":
        """Set training or evaluation mode, but leave the norms in evaluation mode."""
        super().train(mode)
        self._freeze_norms()
        return self

    @torch.no_grad()
    def check(self) -> None:
        """Raise UserError if a scale, or a weight or bias in codes, is a number that no model may hold.

        That is possible with float parameters that are good by themselves, where their products overflow.
        """
        tensors = {name: tensor for name, tensor in self.named_buffers() if "scale" in name or "shift" in name}
        for name, layer in self.layers().items():
            tensors |= {f"{name}.{part}": tensor for part, tensor in zip(PARTS, layer.folded(), strict=False)}
        finite.require("the quantised model", tensors, error=UserError)

    def patches(self, images: Tensor) -> Tensor:
        """Return the codes of the patches: uint8 [B, height, width, colours] to [N, B, size·size·colours]."""
        config = self.config
        return extract_patches(images.float() - 128, config.patch_size, config.patch_stride, config.patch_padding)

    def named_blocks(self) -> Iterator[tuple[str, QuantizedBlock]]:
        """Yield each block in data order, with its name in a network file: "stages.S.blocks.B"."""
        for s, stage in enumerate(self.stages):
            for b, block in enumerate(stage.blocks()):
                yield block_name(s, b), block

    def layers(self) -> dict[str, Layer]:
        """Return every layer with weights by its name in a network file, in data order."""
        layers = [Layer(self.embed_rows, self.embed_folded)]
        for s, (stage, (height, width)) in enumerate(zip(self.stages, self.config.grids, strict=True)):
            if stage.merge is not None:
                folded = partial(stage.merge_folded, self.stages[s - 1].scales()[-1])
                layers.append(Layer(stage.merge_rows, folded))
            for token, channel, _, between, after in stage.blocks():
                columns = None if token.layer.shared else height * width
                layers.append(Layer(token.rows, partial(token.folded, between), columns))
                layers.append(Layer(channel.rows1, partial(channel.folded1, between)))
                layers.append(Layer(channel.rows2, partial(channel.folded2, after)))
        layers.append(Layer(self.head_rows, self.head_folded))
        names = linear_names([len(stage.token_mixing) for stage in self.stages])
        return dict(zip(names, layers, strict=True))

    def embed_integers(self) -> Integers:
        """Return the patch embedding in integers."""
        return self.embed_rows(*self.embed_folded())

    def embed_folded(self) -> tuple[Tensor, Tensor]:
        """Return weights [C, size·size·colours] and biases [C] of the patch embedding, from codes to codes."""
        out = self.stages[0].residual_scale
        return self.embed_rows.masked(self.embed.weight) * (PIXEL_SCALE / out)[:, None], self.embed.bias / out

    def head_integers(self) -> Integers:
        """Return the head in integers."""
        return self.head_rows(*self.head_folded())

    def head_folded(self) -> tuple[Tensor, Tensor, Tensor]:
        """Return weights [classes, C] and biases [classes] of the head, and the mean input [C], all in codes."""
        scale, offset = self.norm.affine()
        tokens = self.config.grids[-1][0] * self.config.grids[-1][1]
        pooled_scale = self.stages[-1].scales()[-1] * torch.exp2(self.pool_shift) / tokens
        weight = self.head_rows.masked(self.head.weight)
        bias = self.head.bias + weight @ offset
        mean = self.norm.mean / pooled_scale
        return weight * scale * (pooled_scale / self.logit_scale), bias / self.logit_scale, mean

    def codes(self, images: Tensor) -> Tensor:
        """Return the integer logits, held in float32: uint8 [B, height, width, colours] to [B, classes]."""
        x = linear(self.patches(images), self.embed_integers())
        scale = self.stages[0].residual_scale
        for stage in self.stages:
            x = stage(x, scale)
            scale = stage.scales()[-1]
        half = rounding_half(self.pool_shift)
        pooled = Requantise.apply(x.sum(0), torch.zeros_like(half), torch.exp2(-self.pool_shift), half, 8, True)
        return linear(pooled, self.head_integers(), bits=HEAD_BITS)

    def forward(self, images: Tensor) -> Tensor:
        with torch.autocast(images.device.type, enabled=False):  # bfloat16 cannot hold the sums
            return self.codes(images) * self.logit_scale
