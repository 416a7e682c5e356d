"""The functions of a float network as curves: in float units, or in the codes of a network quantised from it."""

from collections.abc import Iterator, Mapping

import numpy as np
import torch
from torch import Tensor

from .psa import GRID_RANGE, PSA
from .quant import QuantizedResMLP
from .resmlp import ChannelMixing, ResMLP

__all__ = ["code_curves", "float_curves", "scales"]

Curves = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]
"""`x`, `y` (neurons, points) of the functions, and of the grid that training interpolates; no points without one."""


def scales(model: QuantizedResMLP) -> dict[str, list[float]]:
    """What one code of a place's output is worth, by the place's name: for each neuron or channel, of a channel
    mixing for the residual stream before it. For a network file's metadata; the integers need none of it."""
    found = {}
    for s, stage in enumerate(model.stages):
        stream = stage.scales()
        for b, (token, channel) in enumerate(zip(stage.token_mixing, stage.channel_mixing, strict=True)):
            name, between = f"stages.{s}.blocks.{b}", stream[2 * b + 1]
            found[f"{name}.token_mixing.table_in"] = token.input_scale(between)
            found[f"{name}.channel_mixing"] = between
            found[f"{name}.channel_mixing.table_in"] = channel.input_scale
            found[f"{name}.channel_mixing.linear1"] = channel.linear1_scale
            found[f"{name}.channel_mixing.table_hidden"] = channel.hidden_scale
    return {name: [float(f"{value:.9g}") for value in scale.tolist()] for name, scale in found.items()}


def _layers(model: ResMLP) -> Iterator[tuple[int, str, ChannelMixing]]:
    for s, stage in enumerate(model.stages):
        for b, block in enumerate(stage.blocks):
            yield s, f"stages.{s}.blocks.{b}.channel_mixing", block.channel_mixing


def _curves(act: torch.nn.Module, x: Tensor, scale: Tensor, offset: Tensor, unit: Tensor, exact: bool) -> Curves:
    """Of `act(x·scale + offset) / unit` at `x` [points, 1]; the grid's points lie where that argument meets them.
    A PSA is either the published formula or, not `exact`, what is trained and becomes a table: interpolated between
    the grid's points."""
    is_psa = isinstance(act, PSA)
    function = act.evaluate if exact and is_psa else act
    y = function(x * scale + offset) / unit
    x = x.expand_as(y)
    grid = torch.linspace(-GRID_RANGE, GRID_RANGE, act.grid_size if is_psa else 0)[:, None].expand(-1, y.shape[1])
    grid_y = function(grid) / unit
    return tuple(part.t().numpy() for part in (x, y, (grid - offset) / scale, grid_y))


@torch.no_grad()
def float_curves(model: ResMLP) -> dict[str, Curves]:
    """Over [-GRID_RANGE, GRID_RANGE] of each function's argument, by the place where its table will stand."""
    x = torch.linspace(-GRID_RANGE, GRID_RANGE, 257)[:, None]
    one, zero = torch.ones(()), torch.zeros(())
    found = {}
    for _, name, layer in _layers(model):
        channels, hidden = layer.linear1.in_features, layer.linear1.out_features
        for place, act, neurons in (("table_in", layer.act_in, channels), ("table_hidden", layer.act_hidden, hidden)):
            if not isinstance(act, torch.nn.Identity):
                found[f"{name}.{place}"] = _curves(act, x.expand(-1, neurons), one, zero, one, exact=True)
    return found


@torch.no_grad()
def code_curves(model: ResMLP, scales: Mapping[str, list[float]]) -> dict[str, Curves]:
    """Over all codes, in codes, with the `scales` of the quantised network, norms included as in its tables. Raises
    ValueError if they are not those of a network of this shape."""
    codes = torch.arange(-128.0, 128.0)[:, None]
    older = "stages.0" in scales  # a scale for the stream of a stage, and tables of the formula itself

    def scale(name: str, neurons: int) -> Tensor:
        values = scales.get(name)
        if not isinstance(values, list) or len(values) != neurons:
            raise ValueError(f"{name} has no scales of {neurons}")
        return torch.tensor(values)

    found = {}
    for s, name, layer in _layers(model):
        channels, hidden = layer.linear1.in_features, layer.linear1.out_features
        if not isinstance(layer.act_in, torch.nn.Identity):
            factor, offset = layer.norm.affine()
            unit = scale(f"{name}.table_in", channels)
            stream = scale(f"stages.{s}", 1) if older else scale(name, channels)
            found[f"{name}.table_in"] = _curves(layer.act_in, codes, stream * factor, offset, unit, older)
        inside, unit = scale(f"{name}.linear1", hidden), scale(f"{name}.table_hidden", hidden)
        found[f"{name}.table_hidden"] = _curves(layer.act_hidden, codes, inside, torch.zeros(()), unit, older)
    return found
