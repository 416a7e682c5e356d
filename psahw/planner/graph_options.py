"""Cadence and cost of layers as adder graphs, digit-serial and parallel, cached by content."""

import hashlib
import json
from collections.abc import Callable
from importlib import metadata
from typing import NamedTuple

import numpy as np

from .. import cache
from ..adder_graph import Graph, shipped, solve_all
from ..adder_graph.encoding import encode
from ..adder_graph.parallel import DEPTHS, adder_graph_cost, pipeline
from ..adder_graph.serial import DIGITS, digit_serial, digit_serial_cost
from ..adder_graph.solver import digest
from ..architecture.codes import INT8, Codes
from ..network.graph import Network
from ..network.layers import Linear, TokenMixing

__all__ = ["Coded", "GraphOption", "calculate", "graph_layers", "graph_options", "input_ranges", "shipped_name"]

_FORMAT = 4  # of the cached and shipped files; to be increased when schedules or costs change


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
    additions
        Most steps between two registers: additions, and saturations. A digit-serial graph has one.
    """

    digit: int | None
    interval: int
    latency: int
    lut: int
    ff: int
    additions: int = 1


class Coded(NamedTuple):
    """A layer and the type of its inputs."""

    layer: Linear
    codes: Codes

    @property
    def ranges(self) -> list[tuple[int, int]] | None:
        """The range of each input, as `psahw.adder_graph.solve` takes it."""
        return input_ranges(self.layer.weight, self.codes)


def input_ranges(weight: np.ndarray, codes: Codes) -> list[tuple[int, int]] | None:
    """Return the range of each input of a matrix (outputs, inputs) in a type; None for int8, the usual one."""
    return None if codes == INT8 else [(codes.low, codes.high)] * weight.shape[1]


def graph_layers(network: Network) -> dict[str, Coded]:
    """Return the layers that an adder graph can compute, by the name of their component.

    These are the linear layers and the dense token mixings with one matrix for all channels, if no row has a
    multiplier.
    """
    layers = {}
    for place in network.linears():
        layer = place.layer
        if layer.multiplier is not None:
            continue
        if isinstance(layer, Linear):
            layers[place.name] = Coded(layer, place.input.codes)
        elif isinstance(layer, TokenMixing) and layer.kernel is None and layer.groups == 1:
            layers[place.name] = Coded(_as_linear(layer), place.input.codes)
    return layers


def _as_linear(mixing: TokenMixing) -> Linear:
    """Return the only matrix of a token mixing as a linear layer."""
    return Linear(mixing.weight[0], mixing.bias[0], mixing.shift[0], mixing.out_bits, mixing.out_signed)


def calculate(graph: Graph, layer: Linear) -> list[GraphOption]:
    """Return the options for a layer, from the graph of its matrix."""
    out_bits = layer.codes.signed_bits
    options = []
    for depth in DEPTHS:
        pipelined = pipeline(graph, bias=layer.bias, shift=layer.shift, out_bits=out_bits, depth=depth)
        cost = adder_graph_cost(pipelined)
        options.append(GraphOption(None, 1, cost.latency, cost.lut, cost.ff, depth))
    for digit in DIGITS:
        scheduled = digit_serial(graph, digit=digit, bias=layer.bias, shift=layer.shift, out_bits=out_bits)
        cost = digit_serial_cost(scheduled)
        options.append(GraphOption(digit, scheduled.period, cost.latency, cost.lut, cost.ff))
    return options


def _name(source: bytes, layer: Linear) -> str:
    """Return the name of a file with the options for a layer; ``source`` is what its graph is known by."""
    rows = [layer.bias.tolist(), layer.shift.tolist(), layer.codes.signed_bits]
    return f"{hashlib.sha256(json.dumps([_FORMAT, *rows]).encode() + source).hexdigest()}.options"


def shipped_name(coded: Coded) -> str:
    """Return the name under which the options of a layer ship, if they do (`psahw.adder_graph.shipped`).

    Raises PackageNotFoundError if da4ml is not installed.
    """
    return _name(digest(coded.layer.weight, coded.ranges).encode(), coded.layer)


def _shipped(coded: Coded) -> bytes | None:
    """Return the file with the options for a layer that ships, or None."""
    try:
        return shipped.read(shipped_name(coded))
    except metadata.PackageNotFoundError:  # of da4ml
        return None


def _read(content: bytes) -> list[GraphOption]:
    """Return the options in a file."""
    return [GraphOption(*option) for option in json.loads(content)]


def _cached(graph: Graph, layer: Linear) -> list[GraphOption]:
    """Return the options for a layer, from the cache if they are there."""
    path = cache.place("adder_graphs") / _name(metadata.version("psahw").encode() + encode(graph), layer)
    if (cached := cache.read(path)) is not None:
        return _read(cached)
    options = calculate(graph, layer)
    cache.write(path, json.dumps(options).encode())
    return options


def graph_options(
    layers: dict[str, Coded],
    *,
    workers: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> dict[str, tuple[GraphOption, ...]]:
    """Return the adder graphs that can compute each layer, by name.

    Graphs that neither ship nor are in the cache are solved, with ``workers`` and ``progress`` as in
    `psahw.adder_graph.solve_all`. Raises ImportError if that needs da4ml and it is not installed.
    """
    contents = {name: _shipped(coded) for name, coded in layers.items()}
    others = {name: coded for name, coded in layers.items() if contents[name] is None}
    matrices = [(coded.layer.weight, coded.ranges) for coded in others.values()]
    graphs = solve_all(matrices, workers=workers, progress=progress)
    solved = dict(zip(others, graphs, strict=True))
    return {
        name: tuple(_cached(solved[name], coded.layer) if content is None else _read(content))
        for (name, coded), content in zip(layers.items(), contents.values(), strict=True)
    }
