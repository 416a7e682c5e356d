"""What a layer would be as an adder graph: cadence and cost at every digit and as a pipeline, cached by content."""

import hashlib
import json
from collections.abc import Callable
from importlib import metadata
from typing import NamedTuple

import numpy as np

from ..adder_graph import Graph, solve_all
from ..adder_graph.parallel import adder_graph_cost, pipeline
from ..adder_graph.serial import DIGITS, digit_serial, digit_serial_cost
from ..files import cache_directory, write_cached
from ..network.layers import Linear, Network, TokenMixing

__all__ = ["GraphOption", "graph_layers", "graph_options"]

_FORMAT = 1  # of the cached files: another one when schedules or costs change


class GraphOption(NamedTuple):
    """``digit`` bits a clock, or None: a vector a clock. Cycles from vector to vector and from input to output;
    LUTs and flip-flops on the 7 series, estimated."""

    digit: int | None
    interval: int
    latency: int
    lut: int
    ff: int


def graph_layers(network: Network) -> dict[str, Linear]:
    """The linear maps that one constant matrix does, by the name of their stage: all but token mixings with groups or
    a kernel."""
    layers = {}
    for entry in network.linears():
        layer = entry.layer
        if isinstance(layer, Linear):
            layers[entry.component] = layer
        elif layer.kernel is None and layer.groups == 1:
            layers[entry.component] = _as_linear(layer)
    return layers


def _as_linear(mixing: TokenMixing) -> Linear:
    return Linear(mixing.weight[0], mixing.bias[0], mixing.shift[0])


def _calculated(graph: Graph, layer: Linear) -> list[GraphOption]:
    rows = {"bias": layer.bias, "shift": layer.shift, "out_bits": layer.out_bits}
    cost = adder_graph_cost(pipeline(graph, **rows))
    found = [GraphOption(None, 1, cost.latency, cost.lut, cost.ff)]
    for digit in DIGITS:
        made = digit_serial(graph, digit=digit, **rows)
        cost = digit_serial_cost(made)
        found.append(GraphOption(digit, made.period, cost.latency, cost.lut, cost.ff))
    return found


def _cached(graph: Graph, layer: Linear) -> list[GraphOption]:
    header = {"format": _FORMAT, "psahw": metadata.version("psahw"), "out_bits": layer.out_bits}
    content = json.dumps([header, graph.to_dict(), layer.bias.tolist(), layer.shift.tolist()]).encode()
    path = cache_directory() / "adder_graphs" / f"{hashlib.sha256(content).hexdigest()}.options.json"
    try:
        return [GraphOption(*option) for option in json.loads(path.read_bytes())]
    except (OSError, ValueError, TypeError):
        found = _calculated(graph, layer)
        write_cached(path, json.dumps(found))
        return found


def graph_options(
    layers: dict[str, Linear],
    *,
    workers: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> dict[str, tuple[GraphOption, ...]]:
    """For each layer what it would be as an adder graph. Solves what is not in the cache, as
    `psahw.adder_graph.solve_all` says; raises ImportError without da4ml."""
    matrices = [(np.asarray(layer.weight), None) for layer in layers.values()]
    graphs = solve_all(matrices, workers=workers, progress=progress)
    return {name: tuple(_cached(graph, layer)) for (name, layer), graph in zip(layers.items(), graphs, strict=True)}
