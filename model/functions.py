"""The learned functions of a float network as curves, in float units or in the codes of a quantised network."""

from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from .graphs.compiling import compile_network
from .graphs.network import Function, GraphNet
from .graphs.operations import Table
from .psa import GRID_RANGE, PSA
from .quant import QuantizedResMLP
from .resmlp import ChannelNorm, ResMLP

__all__ = ["Curves", "code_curves", "float_curves", "listed", "scales"]


class Curves(NamedTuple):
    """The functions of one place of a network, one per neuron.

    Attributes
    ----------
    x, y
        (neurons, points): arguments and values.
    grid_x, grid_y
        (neurons, size): arguments and values at the grid that training interpolates; size is 0 for a function without
        a grid.
    """

    x: np.ndarray
    y: np.ndarray
    grid_x: np.ndarray
    grid_y: np.ndarray


def scales(model: QuantizedResMLP) -> dict[str, list[float]]:
    """Return what one code is worth at each place of a network, for the metadata of its file.

    The integers need none of this.

    Returns
    -------
    dict
        For each table and each linear1, by its name in the network file, the scale of each of its outputs. The name
        of a channel mixing itself stands for the residual stream that it reads.
    """
    by_name = {}
    for name, (token_mixing, channel_mixing, _, between, _) in model.named_blocks():
        by_name[f"{name}.token_mixing.table_in"] = token_mixing.input_scale(between)
        by_name[f"{name}.channel_mixing"] = between
        by_name[f"{name}.channel_mixing.table_in"] = channel_mixing.input_scale
        by_name[f"{name}.channel_mixing.linear1"] = channel_mixing.linear1_scale
        by_name[f"{name}.channel_mixing.table_hidden"] = channel_mixing.hidden_scale
    return {name: listed(scale) for name, scale in by_name.items()}


def listed(scale: Tensor) -> list[float]:
    """Return scales [C] as numbers of nine digits, which are enough for float32."""
    return [float(f"{value:.9g}") for value in scale.tolist()]


def _curves(act: torch.nn.Module, x: Tensor, scale: Tensor, offset: Tensor, unit: Tensor, exact: bool) -> Curves:
    """Return the curves of `act(x·scale + offset) / unit` at `x` [points, neurons or 1].

    The grid is that of `act`, or of the first of several. Its points lie where the argument meets them. A PSA is
    evaluated by its published formula if `exact`, else as it is trained and becomes a table: interpolated between
    the grid's points.
    """
    function: Callable[[Tensor], Tensor] = act.evaluate if exact and isinstance(act, PSA) else act
    y = function(x * scale + offset) / unit
    x = x.expand_as(y)
    first = act[0] if isinstance(act, torch.nn.Sequential) and len(act) else act
    size = first.grid_size if isinstance(first, PSA) else 0
    grid = torch.linspace(-GRID_RANGE, GRID_RANGE, size)[:, None].expand(-1, y.shape[1])  # [size, neurons]
    grid_y = function(grid) / unit
    return Curves(*(part.t().numpy() for part in (x, y, (grid - offset) / scale, grid_y)))


def _graph_tables(model: GraphNet) -> list[tuple[Table, list[torch.nn.Module]]]:
    """Return each table of a network of any topology, and the norms and functions that it holds, in data order."""
    operations = [operation for item in compile_network(model) for operation in item.operations()]
    tables = [operation for operation in operations if isinstance(operation, Table)]
    parts = [
        (table, [part.act if isinstance(part, Function) else part for part in table.functions]) for table in tables
    ]
    return [(table, functions) for table, functions in parts if functions]


@torch.no_grad()
def float_curves(model: ResMLP | GraphNet) -> dict[str, Curves]:
    """Return the curves over [-GRID_RANGE, GRID_RANGE] of each function's argument, by the name of its table."""
    x = torch.linspace(-GRID_RANGE, GRID_RANGE, 257)[:, None]
    one, zero = torch.ones(()), torch.zeros(())
    curves = {}
    if isinstance(model, GraphNet):
        for table, functions in _graph_tables(model):
            if acts := [part for part in functions if not isinstance(part, ChannelNorm)]:
                curves[table.name] = _curves(acts[0], x.expand(-1, table.channels), one, zero, one, exact=True)
        return curves
    for name, block in model.named_blocks():
        layer = block.channel_mixing
        channels, hidden = layer.linear1.in_features, layer.linear1.out_features
        for place, act, neurons in (("table_in", layer.act_in, channels), ("table_hidden", layer.act_hidden, hidden)):
            if not isinstance(act, torch.nn.Identity):
                values = _curves(act, x.expand(-1, neurons), one, zero, one, exact=True)
                curves[f"{name}.channel_mixing.{place}"] = values
    return curves


@torch.no_grad()
def code_curves(model: ResMLP | GraphNet, scales: Mapping[str, list[float]]) -> dict[str, Curves]:
    """Return the curves over all codes, in codes, with the norms included as in a network's tables.

    Parameters
    ----------
    model
        The float network.
    scales
        Those of the network that was quantised from it, as its file records them.

    Raises
    ------
    ValueError
        If the scales are not those of a network of this shape.
    """
    if isinstance(model, GraphNet):
        return {table.name: _graph_curves(table, functions, scales) for table, functions in _graph_tables(model)}
    codes = torch.arange(-128.0, 128.0)[:, None]
    older = "stages.0" in scales  # one scale for the stream of a whole stage, and tables of the formula itself

    def scale(name: str, neurons: int) -> Tensor:
        return _scale(scales, name, neurons)

    curves = {}
    for block_name, block in model.named_blocks():
        name, layer = f"{block_name}.channel_mixing", block.channel_mixing
        channels, hidden = layer.linear1.in_features, layer.linear1.out_features
        if not isinstance(layer.act_in, torch.nn.Identity):
            factor, offset = layer.norm.affine()
            unit = scale(f"{name}.table_in", channels)
            stream = scale(block_name.partition(".blocks.")[0], 1) if older else scale(name, channels)
            curves[f"{name}.table_in"] = _curves(layer.act_in, codes, stream * factor, offset, unit, older)
        inside, unit = scale(f"{name}.linear1", hidden), scale(f"{name}.table_hidden", hidden)
        curves[f"{name}.table_hidden"] = _curves(layer.act_hidden, codes, inside, torch.zeros(()), unit, older)
    return curves


def _graph_curves(table: Table, functions: list[torch.nn.Module], scales: Mapping[str, list[float]]) -> Curves:
    """Return the curves of a table's norms and functions over all codes that come in, in codes."""
    inside = _scale(scales, f"{table.name}.in", table.channels)
    unit = _scale(scales, table.name, table.channels)
    x = torch.arange(float(table.before.low), table.before.high + 1)[:, None].expand(-1, table.channels)
    gain, offset = inside, torch.zeros(table.channels)
    rest = functions
    while rest and isinstance(norm := rest[0], ChannelNorm):  # in front of the function, it moves the function's grid
        factor, more = norm.affine()
        gain, offset = gain * factor, offset * factor + more
        rest = rest[1:]
    return _curves(torch.nn.Sequential(*rest), x, gain, offset, unit, exact=False)


def _scale(scales: Mapping[str, list[float]], name: str, neurons: int) -> Tensor:
    """Return recorded scales [neurons]. Raises ValueError if they are not that many numbers."""
    values = scales.get(name)
    numbers = [value for value in values if isinstance(value, int | float)] if isinstance(values, list) else []
    if len(numbers) != neurons:
        raise ValueError(f"{name} must have {neurons} scales, not {len(numbers)}")
    return torch.tensor(numbers)
