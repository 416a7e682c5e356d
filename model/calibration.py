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
from .predict import images_at_once
from .quant_layers import HEAD_BITS, QuantizedStage
from .resmlp import PIXEL_SCALE

if TYPE_CHECKING:
    from .quant import QuantizedResMLP

__all__ = ["calibrate"]

QUANTILE = 0.9999
SMALLEST = 1e-6  # a value that is always smaller counts as this, so that no scale is 0
RESIDUAL_FACTORS = (0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0)  # of the scale that the quantile gives
RESIDUAL_EXPONENTS = (0.0, 0.5, 1.0)  # 0: one scale for all channels; 1: each channel's own scale
HALVING_GAIN = 0.9  # a halving must reduce the squared error of the logits to this share or less


class _Largest:
    """The largest magnitudes of each channel over all images, of which the least sets the channel's scale.

    Parameters
    ----------
    rows
        Values of a channel, over all images.
    """

    def __init__(self, rows: int):
        self.count = max(1, round((1 - QUANTILE) * rows))
        self.values: Tensor | None = None

    def add(self, x: Tensor) -> None:
        """Take in the values of some images, [..., C]."""
        rows = x.flatten(0, -2).abs()
        if self.values is not None:
            rows = torch.cat((self.values, rows))
        self.values = rows.topk(min(self.count, len(rows)), dim=0).values

    def scale(self) -> Tensor:
        """Return the scale per channel that maps the quantile of the magnitudes to code 127, [C]."""
        assert self.values is not None  # something was added
        return self.values[-1].clamp(min=SMALLEST) / 127


class _Statistics:
    """The magnitudes at all places of a float network, over several parts of the images.

    Parameters
    ----------
    images
        Number of all images.
    """

    def __init__(self, images: int):
        self.images = images
        self._places: dict[str, _Largest] = {}

    def add(self, place: str, x: Tensor) -> None:
        """Take in the activations [N, B, C] of some images."""
        if place not in self._places:
            self._places[place] = _Largest(len(x) * self.images)
        self._places[place].add(x)

    def add_stream(self, place: str, x: Tensor) -> None:
        """Take in the residual stream [N, B, C] of some images, by channel and for all channels together."""
        self.add(place, x)
        common = f"{place}.common"
        if common not in self._places:
            self._places[common] = _Largest(len(x) * x.shape[2] * self.images)
        self._places[common].add(x.reshape(-1, 1))

    def scale(self, place: str) -> Tensor:
        """Return the scale of each channel at a place, [C]."""
        return self._places[place].scale()

    def stream_scales(self, prefix: str) -> tuple[Tensor, Tensor]:
        """Return the scales that the residual stream of a stage needs: of each channel, [C], and one for all."""
        places = [place for place in self._places if place.startswith(prefix) and f"{place}.common" in self._places]
        channels = torch.stack([self.scale(place) for place in places]).amax(0)
        common = torch.stack([self.scale(f"{place}.common")[0] for place in places]).amax()
        return channels, common


def _observe(model: "QuantizedResMLP", images: Tensor, statistics: _Statistics) -> tuple[Tensor, Tensor]:
    """Compute what the float network does with images uint8 [B, h, w, colours], and take in its activations.

    Return the sums over the tokens [B, C] that are pooled, and the logits [B, classes].
    """
    x = model.embed(model.patches(images) * PIXEL_SCALE)
    for s, stage in enumerate(model.stages):
        if stage.merge is not None:
            x = stage.merge(x)
        statistics.add_stream(f"{s}/in", x)
        for b, (token_mixing, channel_mixing, *_) in enumerate(stage.blocks()):
            mixing = token_mixing.layer
            statistics.add(f"{s}/{b}/needed", mixing.norm(x))
            x = mixing(x)
            statistics.add_stream(f"{s}/{b}/between", x)
            perceptron = channel_mixing.layer
            z = perceptron.act_in(perceptron.norm(x))
            statistics.add(f"{s}/{b}/input", z)
            z = perceptron.norm_hidden(perceptron.linear1(z))
            statistics.add(f"{s}/{b}/linear1", z)
            z = perceptron.act_hidden(z)
            statistics.add(f"{s}/{b}/hidden", z)
            x = x + perceptron.linear2(z)
            statistics.add_stream(f"{s}/{b}/out", x)
    return x.sum(0), model.head(model.norm(x).mean(0))


def _set_scales(model: "QuantizedResMLP", statistics: _Statistics) -> list[tuple[Tensor, Tensor]]:
    """Set the scales of all places, and return what the residual stream of each stage needs (`stream_scales`)."""
    needed = []
    for s, stage in enumerate(model.stages):
        for b, (token_mixing, channel_mixing, *_) in enumerate(stage.blocks()):
            token_mixing.needed_scale.copy_(statistics.scale(f"{s}/{b}/needed"))
            channel_mixing.input_scale.copy_(statistics.scale(f"{s}/{b}/input"))
            channel_mixing.linear1_scale.copy_(statistics.scale(f"{s}/{b}/linear1"))
            channel_mixing.hidden_scale.copy_(statistics.scale(f"{s}/{b}/hidden"))
        needed.append(statistics.stream_scales(f"{s}/"))
        stage.residual_scale.copy_(needed[-1][0])
    return needed


def _calibrate_pool(model: "QuantizedResMLP", sums: Tensor) -> None:
    """Set the shift of the mean over tokens from the sums over tokens [B, C] of the last stage's float outputs."""
    codes = sums.abs() / model.stages[-1].scales()[-1]
    largest = _Largest(codes.numel())
    largest.add(codes.reshape(-1, 1))
    model.pool_shift.copy_(largest.scale()[0].log2().ceil().clamp(min=0))


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
        uint8 [B, height, width, colours]. Large images are taken in parts (`predict.images_at_once`).

    Raises
    ------
    UserError
        If the float network's logits are not finite.
    """
    model.eval()
    parts = images.split(images_at_once(model, len(images)))
    statistics = _Statistics(len(images))
    observed = [_observe(model, part, statistics) for part in parts]
    sums, logits = (torch.cat(values) for values in zip(*observed, strict=True))
    finite.require("the float model", {"logits of the calibration images": logits}, error=UserError)
    largest = logits.abs().max().clamp(min=SMALLEST)
    model.logit_scale.copy_(2 * largest / (1 << (HEAD_BITS - 1)))  # the largest takes half of the range
    needed = _set_scales(model, statistics)

    def error() -> float:
        _calibrate_pool(model, sums)
        return float((torch.cat([model(part) for part in parts]) - logits).square().mean())

    for stage, (channels, common) in zip(model.stages, needed, strict=True):
        _choose_scale(stage, channels, common, error)
        _choose_halvings(stage, error)
    _calibrate_pool(model, sums)
