"""Cadence and cost of layers as adder graphs, digit-serial and parallel, cached by content."""

import hashlib
import json
from collections.abc import Callable
from importlib import metadata
from typing import NamedTuple

import numpy as np

from .. import cache
from ..adder_graph import Graph, solve_all
from ..adder_graph.parallel import adder_graph_cost, pipeline
from ..adder_graph.serial import DIGITS, digit_serial, digit_serial_cost
from ..network.layers import Linear, Network, TokenMixing

__all__ = ["GraphOption", "graph_layers", "graph_options"]

_FORMAT = 1  # of the cached files; to be increased when schedules or costs change


class GraphOption(NamedTuple):
    """An adder graph that can compute a layer.

    Parameters
    ----------
    digit
        Bits per clock cycle, or None for a vector per clock cycle.
    interval, latency
        Clock cycles from vector to vector, and from input to output.
    lut, ff
        Estimated LUTs and flip-flops on the 7 series.
    """

    digit: int | None
    interval: int
    latency: int
    lut: int
    ff: int


def graph_layers(network: Network) -> dict[str, Linear]:
    """Return the layers that an adder graph can compute, by the name of their component.

    These are the linear layers and the dense token mixings with one matrix for all channels.
    """
    layers = {}
    for entry in network.linears():
        layer = entry.layer
        if isinstance(layer, Linear):
            layers[entry.component] = layer
        elif layer.kernel is None and layer.groups == 1:
            layers[entry.component] = _as_linear(layer)
    return layers


def _as_linear(mixing: TokenMixing) -> Linear:
    """Return the only matrix of a token mixing as a linear layer."""
    return Linear(mixing.weight[0], mixing.bias[0], mixing.shift[0])


def _calculated(graph: Graph, layer: Linear) -> list[GraphOption]:
    """Return the options for a layer, from the graph of its matrix."""
    pipelined = pipeline(graph, bias=layer.bias, shift=layer.shift, out_bits=layer.out_bits)
    cost = adder_graph_cost(pipelined)
    options = [GraphOption(None, 1, cost.latency, cost.lut, cost.ff)]
    for digit in DIGITS:
        scheduled = digit_serial(graph, digit=digit, bias=layer.bias, shift=layer.shift, out_bits=layer.out_bits)
        cost = digit_serial_cost(scheduled)
        options.append(GraphOption(digit, scheduled.period, cost.latency, cost.lut, cost.ff))
    return options


def _cached(graph: Graph, layer: Linear) -> list[GraphOption]:
    """Return the options for a layer, from the cache if they are there."""
    header = {"format": _FORMAT, "psahw": metadata.version("psahw"), "out_bits": layer.out_bits}
    content = json.dumps([header, graph.to_dict(), layer.bias.tolist(), layer.shift.tolist()]).encode()
    path = cache.place("adder_graphs") / f"{hashlib.sha256(content).hexdigest()}.options"
    if (cached := cache.read(path)) is not None:
        return [GraphOption(*option) for option in json.loads(cached)]
    options = _calculated(graph, layer)
    cache.write(path, json.dumps(options).encode())
    return options


def graph_options(
    layers: dict[str, Linear],
    *,
    workers: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> dict[str, tuple[GraphOption, ...]]:
    """Return the adder graphs that can compute each layer, by name.

    Graphs that are not in the cache are solved, with ``workers`` and ``progress`` as in
    `psahw.adder_graph.solve_all`. Raises ImportError if that needs da4ml and it is not installed.
    """
    matrices = [(np.asarray(layer.weight), None) for layer in layers.values()]
    graphs = solve_all(matrices, workers=workers, progress=progress)
    return {name: tuple(_cached(graph, layer)) for (name, layer), graph in zip(layers.items(), graphs, strict=True)}
