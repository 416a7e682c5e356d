"""What the tables of a quantised network must hold, evaluated in NumPy at all 256 codes.

In float64 and from the parameters alone, so that it is a second path beside `quant.py`: the published formula of PSA
at the points of its grid, straight lines between and beyond them; norms with their statistics; one code's worth from
the scales that a network file records.
"""

import math
from collections.abc import Mapping

import numpy as np
from torch import nn

from psahw.network.layers import Network

from .psa import EPS, GRID_RANGE, PSA
from .resmlp import ChannelNorm, ResMLP

__all__ = ["compare", "exact"]

TIE = 0.51  # from the exact value: a half may have been rounded the other way in float32
ROUNDING = 64 * float(np.finfo(np.float32).eps)  # of a function's argument and value in float32, relatively

_CODES = np.arange(-128, 128.0)


def _array(tensor) -> np.ndarray:
    return tensor.detach().cpu().double().numpy()


def _psa(function: PSA, x: np.ndarray) -> np.ndarray:
    """Of `x` (neurons, points)."""
    size = function.grid_size
    grid = np.linspace(-GRID_RANGE, GRID_RANGE, size)
    centre, width, value, gain, offset = (
        _array(p)[..., None]
        for p in (function.centre, function.width, function.value, function.gain, function.offset)
    )
    distance = (grid - centre) ** 2 / (width**2 + EPS)  # (neurons, segments, points of the grid)
    weight = np.exp(distance.min(1, keepdims=True) - distance)
    y = grid + gain * (weight * value).sum(1) / weight.sum(1) * grid + offset
    step = 2 * GRID_RANGE / (size - 1)
    piece = np.floor((x + GRID_RANGE) / step).astype(int).clip(0, size - 2)
    left, right = (np.take_along_axis(y, piece + k, 1) for k in (0, 1))
    return left + (right - left) * (x - grid[piece]) / step


def _function(act: nn.Module, x: np.ndarray) -> np.ndarray:
    if isinstance(act, PSA):
        return _psa(act, x)
    if isinstance(act, nn.ReLU):
        return np.maximum(x, 0)
    if isinstance(act, nn.GELU):
        return 0.5 * x * (1 + np.vectorize(math.erf)(x / math.sqrt(2)))
    return x


def _normed(norm: ChannelNorm, x: np.ndarray) -> np.ndarray:
    weight, bias, mean, var = (_array(p)[:, None] for p in (norm.weight, norm.bias, norm.mean, norm.var))
    return (x - mean) / np.sqrt(var + norm.eps) * weight + bias


def exact(model: ResMLP, scales: Mapping[str, list[float]]) -> dict[str, np.ndarray]:
    """Tables of the channel mixings by their names in the network file, (neurons, 256) in codes, before rounding and
    saturation. `scales` are the file's own; KeyError for one that it lacks."""
    return {name: y / unit for name, (_, y, unit) in _functions(model, scales).items()}


def _functions(model: ResMLP, scales: Mapping[str, list[float]]) -> dict[str, tuple[np.ndarray, ...]]:
    """Argument and value of each function at all codes, and what a code of the value is worth."""
    found = {}
    for s, stage in enumerate(model.stages):
        for b, block in enumerate(stage.blocks):
            layer, name = block.channel_mixing, f"stages.{s}.blocks.{b}.channel_mixing"

            def scale(place: str, name: str = name) -> np.ndarray:
                return np.array(scales[name + place])[:, None]

            if not isinstance(layer.act_in, nn.Identity):
                x = _normed(layer.norm, _CODES * scale(""))
                found[f"{name}.table_in"] = x, _function(layer.act_in, x), scale(".table_in")
            x = _CODES * scale(".linear1")
            found[f"{name}.table_hidden"] = x, _function(layer.act_hidden, x), scale(".table_hidden")
    return found


def compare(network: Network, model: ResMLP) -> tuple[int, list[str]]:
    """Entries of the network's tables at inputs and hidden neurons, and which of them are no rounding of the model's
    own functions: "NAME[neuron, code] is VALUE, not VALUE". A neuron that hardly varies has codes so fine that
    float32 cannot tell them apart; they may differ by that much.

    Raises ValueError unless the network records its scales and has the tables of such a model.
    """
    scales = network.metadata.get("scales")
    if not isinstance(scales, dict):
        raise ValueError(f"{network.name} does not say what its codes are worth")
    identity = np.arange(-128, 128)
    mixings = {f"{name}.channel_mixing": block.channel_mixing for name, _, block in network.blocks()}
    compared, different = 0, []
    for name, (x, y, unit) in _functions(model, scales).items():
        wanted = (y / unit).clip(-128, 127)
        mixing, _, place = name.rpartition(".")
        table = getattr(mixings[mixing], place)
        table = np.broadcast_to(identity, wanted.shape) if table is None else table.values
        if table.shape != wanted.shape:
            raise ValueError(f"{name} must have shape {wanted.shape}, not {table.shape}")
        compared += table.size
        allowed = TIE + ROUNDING * (np.abs(x) + np.abs(y)) / unit
        different += [
            f"{name}[{neuron}, {at - 128}] is {table[neuron, at]}, not {wanted[neuron, at]:.2f}"
            for neuron, at in np.argwhere(np.abs(wanted - table) > allowed)
        ]
    return compared, different
