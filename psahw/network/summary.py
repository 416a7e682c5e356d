"""The contents of a network: layers, weights, operations and tables, counted from its integers alone."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from ..adder_graph.estimate import layer_luts
from ..display import counted
from .activations import Activations
from .file import digest
from .graph import Network, Output, Place
from .layers import Linear, MaxPool, Table, TokenMixing, Windows

__all__ = ["accuracies", "adder_luts", "outputs", "summarise", "weight_bits"]

_TOTALS = ("weights", "weights_nonzero", "macs", "macs_nonzero", "adder_luts")


def weight_bits(weight: np.ndarray) -> int:
    """Return the width of the narrowest two's complement that holds every weight: 1 for zeros alone, at most 8."""
    low, high = min(int(weight.min()), -1), max(int(weight.max()), 0)
    return 1 + max((-low - 1).bit_length(), high.bit_length())


def _mixing_counts(layer: TokenMixing, shape: Activations) -> tuple[int, int, int]:
    """Return weights, multiply-accumulates per frame, and those of them whose weight is not zero.

    Weights outside the grid do not count. A shared weight counts once, but its operations count for every token.
    """
    nonzero, size = layer.weight != 0, shape.channels // layer.groups
    if layer.kernel is None:
        return layer.weight.size, shape.tokens**2 * shape.channels, int(nonzero.sum()) * size
    inside = layer.neighbours(shape.grid) >= 0
    reached = int(inside.sum())
    weights = layer.groups * (layer.weight.shape[2] if layer.shared else reached)
    return weights, reached * shape.channels, int((nonzero & inside).sum()) * size


def adder_luts(layer: Linear | TokenMixing, grid: tuple[int, int]) -> float:
    """Return the estimated LUTs of a layer as a parallel adder graph (`psahw.adder_graph.estimate`).

    The matrix of each group counts once, however many channels it serves. Token mixing with weights for each token is
    a matrix over all tokens; shared token mixing has one row.
    """
    free = isinstance(layer, TokenMixing) and layer.weight.shape[1] > 1
    return layer_luts(layer.weight, grid[0] * grid[1] if free else None)


def _layer_summary(place: Place[Linear | TokenMixing]) -> dict[str, Any]:
    """Return the entry of one layer with weights."""
    layer, grid, tokens = place.layer, place.output.grid, place.output.tokens
    entry: dict[str, Any] = {"name": place.name, "grid": list(grid)}
    if isinstance(layer, TokenMixing):
        weights, macs, macs_nonzero = _mixing_counts(layer, place.input)
        entry |= {"kind": "token mixing", "inputs": tokens, "outputs": tokens, "vectors": place.input.channels}
        kernel = None if layer.kernel is None else list(layer.kernel)
        entry |= {"groups": layer.groups, "kernel": kernel, "shared": layer.shared}
    else:
        nonzero = int(np.count_nonzero(layer.weight))
        weights, macs, macs_nonzero = layer.weight.size, layer.weight.size * tokens, nonzero * tokens
        entry |= {"kind": "linear", "inputs": layer.inputs, "outputs": layer.outputs, "vectors": tokens}
    return entry | {
        "weights": weights,
        "weights_nonzero": int(np.count_nonzero(layer.weight)),
        "weight_bits": weight_bits(layer.weight),
        "adder_luts": round(adder_luts(layer, grid)),
        "macs": macs,
        "macs_nonzero": macs_nonzero,
    }


def _functions(place: Place[Table]) -> dict[str, Any]:
    """Return the entry of one table: its functions, how many differ, and how many are the identity."""
    table = place.layer
    codes = place.input.codes
    return {
        "name": place.name,
        "functions": table.channels,
        "distinct": len(np.unique(table.values, axis=0)),
        "identity": int((table.values == np.arange(codes.low, codes.high + 1)).all(1).sum()),
    }


def _describe(place: Place) -> dict[str, Any]:
    """Return the entry of one layer of any kind: name, kind, any windows, and what comes in and goes out."""
    shapes = {
        side: {
            "grid": list(shape.grid),
            "channels": shape.channels,
            "codes": str(shape.codes),
            "range": [shape.low, shape.high],
        }
        for side, shape in (("input", place.input), ("output", place.output))
    }
    entry: dict[str, Any] = {"name": place.name, "kind": type(place.layer).__name__, **shapes}
    if isinstance(place.layer, Windows | MaxPool):
        entry |= {part: list(getattr(place.layer, part)) for part in ("size", "stride", "padding")}
    return entry


def accuracies(network: Network) -> dict[str, float]:
    """Return the accuracies that the metadata records, in percent, by name such as ``cifar10 test INT8``."""
    recorded = network.metadata.get("accuracy")
    if isinstance(recorded, int | float) and not isinstance(recorded, bool):
        recorded = {"int8": recorded}
    if not isinstance(recorded, dict):
        return {}
    return {
        str(name): value
        for name, value in recorded.items()
        if isinstance(value, int | float) and not isinstance(value, bool)
    }


def outputs(info: Mapping[str, Any]) -> str:
    """Return the number of outputs in a summary as text, such as "10 classes"."""
    return counted(len(info["classes"]), *Output(info["output"], ()).words)


def summarise(network: Network) -> dict[str, Any]:
    """Return everything that ``psahw info`` tells about a network, as plain JSON values.

    Returns
    -------
    dict
        Among others these counts, for the network and for each of its ``layers``:

        ``weights``
            Weights that a token can reach. Zeros outside the grid do not count, and a shared weight counts once.
        ``macs``
            Multiply-accumulates per frame with these weights.
        ``weights_nonzero``, ``macs_nonzero``
            The same without the weights that are zero.
        ``weight_bits``
            Width of the widest weight.
        ``adder_luts``
            Estimated LUTs as parallel adder graphs.

        ``layers`` are those with weights, ``functions`` the tables, and ``graph`` lists all layers with their kind
        and the shape, type and range of what comes into them and goes out. Those with windows have their ``size``,
        ``stride`` and ``padding``.

    Examples
    --------
    >>> from psahw.network.file import load
    >>> summarise(load("cifar10-psa-small"))["image"]
    [32, 32, 3]
    """
    layers = [_layer_summary(place) for place in network.linears()]
    functions = [_functions(place) for place in network.tables()]
    totals = {key: sum(layer[key] for layer in layers) for key in _TOTALS}
    return {
        "network": network.name,
        "digest": digest(network),
        "image": [*network.image, network.colours],
        "output": network.output.kind,
        "classes": list(network.classes),
        "graph": [_describe(place) for place in network.places],
        **totals,
        "weight_bits": max((layer["weight_bits"] for layer in layers), default=0),
        "logit_bits": network.logits.codes.bits,
        "tables": sum(entry["functions"] for entry in functions),
        "tables_distinct": sum(entry["distinct"] for entry in functions),
        "accuracy": accuracies(network),
        "layers": layers,
        "functions": functions,
        "metadata": network.metadata,
    }
