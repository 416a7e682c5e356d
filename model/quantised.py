"""The kinds of quantised networks, and what is done with either."""

from typing import Any, TypeAlias

import numpy as np

from psahw.network.graph import Network

from . import export, functions, tables
from .bits import layer_names as resmlp_layers
from .graphs import export as graph_export
from .graphs.network import GraphNet
from .graphs.quantised import QuantizedGraph
from .quant import QuantizedResMLP
from .resmlp import ResMLP

__all__ = ["Quantized", "layer_names", "quantise", "scales", "tables_compared", "to_network"]

Quantized: TypeAlias = QuantizedResMLP | QuantizedGraph
"""A quantised network in torch."""


def quantise(model: ResMLP | GraphNet, images: np.ndarray) -> Quantized:
    """Return the quantised network of a float one, with scales that suit images uint8 [n, height, width, colours].

    Raises UserError if the float network cannot be quantised.
    """
    return QuantizedGraph(model, images) if isinstance(model, GraphNet) else QuantizedResMLP(model, images)


def layer_names(model: ResMLP | GraphNet) -> list[str]:
    """Return the names of the layers with weights, in data order."""
    return list(model.config.terms()) if isinstance(model, GraphNet) else resmlp_layers(model.config)


def to_network(model: Quantized, name: str, names: tuple[str, ...], metadata: dict[str, Any]) -> Network:
    """Return the network file's form of a quantised network on the CPU, with the names of its outputs."""
    if isinstance(model, QuantizedGraph):
        return graph_export.to_network(model, name, names, metadata)
    return export.to_network(model, name, names, metadata)


def scales(model: Quantized) -> dict[str, list[float]]:
    """Return what one code is worth at each place of a network, for the metadata of its file.

    For a `QuantizedGraph`, these are the inputs ("NAME.in") and outputs ("NAME") of each table by its name.
    """
    if not isinstance(model, QuantizedGraph):
        return functions.scales(model)
    by_name = {}
    for table in model.tables():
        by_name[f"{table.name}.in"] = functions.listed(table.in_scale)
        by_name[table.name] = functions.listed(table.out_scale)
    return by_name


def tables_compared(network: Network, quantized: Quantized, model: ResMLP | GraphNet) -> tuple[int, list[str]]:
    """Compare the tables of a network with the functions of its float network, see `tables.compare`."""
    recorded = tables.recorded_scales(network)
    if isinstance(quantized, QuantizedGraph):
        return tables.compare(network, tables.graph_functions(quantized, recorded))
    assert isinstance(model, ResMLP)  # as `quantise` has it
    return tables.compare(network, tables.functions(model, recorded))
