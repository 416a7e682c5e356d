"""Choose the scales of a quantised network from what its float network computes on some images.

A scale maps the `QUANTILE` of the absolute values to code 127; larger values saturate. The residual streams need more
care, because an error there stays until the end. Their scales, and the sublayers at which their codes are halved, are
chosen by trying: the best choice is the one with the least squared error of the logits.
"""

import itertools
from collections.abc import Callable
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from psahw.errors import UserError

from . import finite
from .quant_layers import HEAD_BITS, QuantizedChannelMixing, QuantizedStage, QuantizedTokenMixing
from .resmlp import PIXEL_SCALE

if TYPE_CHECKING:
    from .quant import QuantizedResMLP

__all__ = ["calibrate"]

QUANTILE = 0.9999
SMALLEST = 1e-6  # a value that is always smaller counts as this, so that no scale is 0
RESIDUAL_FACTORS = (0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0)  # of the scale that the quantile gives
RESIDUAL_EXPONENTS = (0.0, 0.5, 1.0)  # 0: one scale for all channels; 1: each channel's own scale
HALVING_GAIN = 0.9  # a halving must reduce the squared error of the logits to this share or less


def _channel_scale(x: Tensor) -> Tensor:
    """Return the scale per channel that maps the quantile of |x| to code 127: [..., C] to [C]."""
    rows = x.flatten(0, -2).abs()
    count = max(1, round((1 - QUANTILE) * len(rows)))
    return rows.topk(count, dim=0).values[-1].clamp(min=SMALLEST) / 127


def _common_scale(x: Tensor) -> Tensor:
    """Return the scale that maps the quantile of all |x| to code 127, as a scalar."""
    return _channel_scale(x.reshape(-1, 1))[0]


def _calibrate_token_mixing(sublayer: QuantizedTokenMixing, x: Tensor) -> Tensor:
    """Set the scales from float activations [N, B, C], and return the float layer's output."""
    layer = sublayer.layer
    sublayer.needed_scale.copy_(_channel_scale(layer.norm(x)))
    return layer(x)


def _calibrate_channel_mixing(sublayer: QuantizedChannelMixing, x: Tensor) -> Tensor:
    """Set the scales from float activations [N, B, C], and return the float layer's output."""
    layer = sublayer.layer
    z = layer.act_in(layer.norm(x))
    sublayer.input_scale.copy_(_channel_scale(z))
    z = layer.norm_hidden(layer.linear1(z))
    sublayer.linear1_scale.copy_(_channel_scale(z))
    z = layer.act_hidden(z)
    sublayer.hidden_scale.copy_(_channel_scale(z))
    return x + layer.linear2(z)


def _calibrate_stage(stage: QuantizedStage, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Set the scales of a stage from its float inputs.

    Return its float outputs and the scales that its residual stream needs: of each channel, [C], and of all channels
    together, a scalar.
    """
    if stage.merge is not None:
        x = stage.merge(x)
    channels, common = _channel_scale(x), _common_scale(x)
    for block in stage.blocks():
        x = _calibrate_token_mixing(block.token_mixing, x)
        channels, common = torch.maximum(channels, _channel_scale(x)), torch.maximum(common, _common_scale(x))
        x = _calibrate_channel_mixing(block.channel_mixing, x)
        channels, common = torch.maximum(channels, _channel_scale(x)), torch.maximum(common, _common_scale(x))
    stage.residual_scale.copy_(channels)
    return x, channels, common


def _calibrate_pool(model: "QuantizedResMLP", x: Tensor) -> None:
    """Set the shift of the mean over tokens from the float outputs [N, B, C] of the last stage."""
    codes = x.sum(0).abs() / model.stages[-1].scales()[-1]
    model.pool_shift.copy_(_common_scale(codes).log2().ceil().clamp(min=0))


def _choose_scale(stage: QuantizedStage, channels: Tensor, common: Tensor, error: Callable[[], float]) -> None:
    """Choose the scale of a residual stream.

    A quantile does not tell what the saturation of a residual stream costs, so smaller scales are tried. Nor are the
    channels' own scales always best, because the inputs of the token mixing must follow them, so scales between these
    and the common one are tried as well.
    """
    scales: dict[float, Tensor] = {}
    for exponent, factor in itertools.product(RESIDUAL_EXPONENTS, RESIDUAL_FACTORS):
        scale = factor * common * (channels / common) ** exponent
        stage.residual_scale.copy_(scale)
        scales[error()] = scale
    stage.residual_scale.copy_(scales[min(scales)])


def _choose_halvings(stage: QuantizedStage, error: Callable[[], float]) -> None:
    """Choose the sublayers that halve the codes of the residual stream, so that codes are finer before them.

    Each sublayer is tried in turn, starting with the last.
    """
    least = error()
    for index in reversed(range(len(stage.halvings))):
        stage.halvings[index] = 1
        stage.residual_scale /= 2
        if (halved := error()) <= HALVING_GAIN * least:
            least = halved
        else:
            stage.halvings[index] = 0
            stage.residual_scale *= 2


@torch.no_grad()
def calibrate(model: "QuantizedResMLP", images: Tensor) -> None:
    """Set all scales of a network.

    Parameters
    ----------
    model
        The network, whose scales are still 1; it is put into evaluation mode.
    images
        uint8 [B, height, width, 3].

    Raises
    ------
    UserError
        If the float network's logits are not finite.
    """
    model.eval()
    x = model.embed(model.patches(images) * PIXEL_SCALE)
    needed = []
    for stage in model.stages:
        x, *scales = _calibrate_stage(stage, x)
        needed.append(scales)
    logits = model.head(model.norm(x).mean(0))
    finite.require("the float model", {"logits of the calibration images": logits}, error=UserError)
    largest = logits.abs().max().clamp(min=SMALLEST)
    model.logit_scale.copy_(2 * largest / (1 << (HEAD_BITS - 1)))  # the largest takes half of the range
    _calibrate_pool(model, x)

    def error() -> float:
        _calibrate_pool(model, x)
        return float((model(images) - logits).square().mean())

    for stage, (channels, common) in zip(model.stages, needed, strict=True):
        _choose_scale(stage, channels, common, error)
        _choose_halvings(stage, error)
    _calibrate_pool(model, x)
