"""Compute in NumPy what the tables of a quantised network must hold at all 256 codes.

This is a path of its own beside `quant_layers.py`, in float64 and from the parameters alone. PSA is evaluated by its
published formula at the points of its grid, with straight lines between and beyond them; norms use their running
statistics; and the scales are those that the network file records.
"""

import math
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from torch import Tensor, nn

from psahw.architecture.codes import INT8
from psahw.network.graph import Network
from psahw.network.layers import Table

from .graphs.network import Function as Activation
from .graphs.quantised import QuantizedGraph
from .psa import EPS, GRID_RANGE, PSA
from .resmlp import ChannelNorm, ResMLP

__all__ = ["Function", "Functions", "compare", "exact", "functions", "graph_functions", "recorded_scales"]

TIE = 0.51  # largest difference in codes: float32 may round a value near a half the other way
ROUNDING = 64 * float(np.finfo(np.float32).eps)  # relative error of a function's argument and value in float32

_CODES = np.arange(-128, 128.0)


def _array(tensor: Tensor) -> np.ndarray:
    return tensor.detach().cpu().double().numpy()


def _psa(function: PSA, x: np.ndarray) -> np.ndarray:
    """Return the values of learned functions at `x` (neurons, points), in the same shape."""
    size = function.grid_size
    grid = np.linspace(-GRID_RANGE, GRID_RANGE, size)
    centre, width, value, gain, offset = (
        _array(p)[..., None]
        for p in (function.centre, function.width, function.value, function.gain, function.offset)
    )
    distance = (grid - centre) ** 2 / (width**2 + EPS)  # (neurons, segments, size)
    weight = np.exp(distance.min(1, keepdims=True) - distance)
    y = grid + gain * (weight * value).sum(1) / weight.sum(1) * grid + offset
    step = 2 * GRID_RANGE / (size - 1)
    piece = np.floor((x + GRID_RANGE) / step).astype(int).clip(0, size - 2)
    left, right = (np.take_along_axis(y, piece + k, 1) for k in (0, 1))
    return left + (right - left) * (x - grid[piece]) / step


def _function(act: nn.Module, x: np.ndarray) -> np.ndarray:
    """Return the values of an activation at `x` (neurons, points), in the same shape."""
    if isinstance(act, PSA):
        return _psa(act, x)
    if isinstance(act, nn.ReLU):
        return np.maximum(x, 0)
    if isinstance(act, nn.GELU):
        return 0.5 * x * (1 + np.vectorize(math.erf)(x / math.sqrt(2)))
    return x


def _normed(norm: ChannelNorm, x: np.ndarray) -> np.ndarray:
    """Apply a norm to `x` (channels, points)."""
    weight, bias, mean, var = (_array(p)[:, None] for p in (norm.weight, norm.bias, norm.mean, norm.var))
    return (x - mean) / np.sqrt(var + norm.eps) * weight + bias


def exact(model: ResMLP, scales: Mapping[str, list[float]]) -> dict[str, np.ndarray]:
    """Return the tables of the channel mixings by their names in the network file, before rounding and saturation.

    Parameters
    ----------
    model
        The float network.
    scales
        Those that the network file records, see `functions.scales`.

    Returns
    -------
    dict
        Arrays (neurons, 256), in codes.

    Raises
    ------
    KeyError
        If the scales of a place are missing.
    """
    return {name: y / unit for name, (_, y, unit) in functions(model, scales).items()}


class Function(NamedTuple):
    """The functions of one place at all codes."""

    x: np.ndarray  # (neurons, 256), arguments
    y: np.ndarray  # (neurons, 256), values
    unit: np.ndarray  # (neurons, 1), the value that one code of the output stands for


def functions(model: ResMLP, scales: Mapping[str, list[float]]) -> "Functions":
    """Return the functions of a ResMLP by the names of their tables, from the scales that its file records."""
    by_name = {}
    for block_name, block in model.named_blocks():
        layer, name = block.channel_mixing, f"{block_name}.channel_mixing"

        def scale(place: str, name: str = name) -> np.ndarray:
            return np.array(scales[name + place])[:, None]

        if not isinstance(layer.act_in, nn.Identity):
            x = _normed(layer.norm, _CODES * scale(""))
            by_name[f"{name}.table_in"] = Function(x, _function(layer.act_in, x), scale(".table_in"))
        x = _CODES * scale(".linear1")
        by_name[f"{name}.table_hidden"] = Function(x, _function(layer.act_hidden, x), scale(".table_hidden"))
    return by_name


Functions = Mapping[str, Function]
"""The functions of a network by the names of their tables."""


def graph_functions(model: QuantizedGraph, scales: Mapping[str, list[float]]) -> "Functions":
    """Return the functions of a network of any topology by the names of their tables.

    Parameters
    ----------
    model
        The quantised network, of which only the functions themselves are used.
    scales
        Those that the network file records.
    """
    by_name = {}
    for table in model.tables():
        codes = np.arange(table.before.low, table.before.high + 1.0)
        x = y = codes * np.array(scales[f"{table.name}.in"])[:, None]
        for module in table.functions:
            if isinstance(module, ChannelNorm):
                x = y = _normed(module, y)
            elif isinstance(module, Activation):
                y = _function(module.act, y)
        by_name[table.name] = Function(x, y, np.array(scales[table.name])[:, None])
    return by_name


def recorded_scales(network: Network) -> Mapping[str, list[float]]:
    """Return the scales that a network file records. Raises ValueError if there are none."""
    scales = network.metadata.get("scales")
    if not isinstance(scales, dict):
        raise ValueError(f"network {network.name!r} does not record the scales of its codes")
    return scales


def compare(network: Network, functions: "Functions") -> tuple[int, list[str]]:
    """Compare the tables of a network with the functions of its float network.

    A neuron that hardly varies has codes so fine that float32 cannot tell neighbouring ones apart; its entries may
    differ by as much.

    Parameters
    ----------
    network
        A quantised network.
    functions
        The functions by the names of their tables, from the parameters that the network was quantised from.

    Returns
    -------
    int
        Number of entries that were compared.
    list of str
        For each entry that is not a rounding of the function, "NAME[neuron, code] is VALUE, not VALUE".

    Raises
    ------
    ValueError
        If its tables have another shape.
    """
    identity = np.arange(-128, 128)
    tables = {place.name: place.layer for place in network.tables() if isinstance(place.layer, Table)}
    compared, different = 0, list[str]()
    for name, (x, y, unit) in functions.items():
        codes = tables[name].codes if name in tables else INT8
        expected = (y / unit).clip(codes.low, codes.high)
        values = tables[name].values if name in tables else np.broadcast_to(identity, expected.shape)
        if values.shape != expected.shape:
            raise ValueError(f"{name} must have shape {expected.shape}, not {values.shape}")
        compared += values.size
        allowed = TIE + ROUNDING * (np.abs(x) + np.abs(y)) / unit
        different += [
            f"{name}[{neuron}, {at - 128}] is {values[neuron, at]}, not {expected[neuron, at]:.2f}"
            for neuron, at in np.argwhere(np.abs(expected - values) > allowed)
        ]
    return compared, different
