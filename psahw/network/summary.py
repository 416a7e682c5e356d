"""The contents of a network: layers, weights, operations and tables, counted from its integers alone."""

from typing import Any

import numpy as np

from ..adder_graph.estimate import layer_luts
from .file import digest
from .layers import Linear, Network, Table, TokenMixing

__all__ = ["accuracies", "adder_luts", "summarise", "weight_bits"]

_TOTALS = ("weights", "weights_nonzero", "macs", "macs_nonzero", "adder_luts")


def weight_bits(weight: np.ndarray) -> int:
    """Return the width of the narrowest two's complement that holds every weight: 1 for zeros alone, at most 8."""
    low, high = min(int(weight.min()), -1), max(int(weight.max()), 0)
    return 1 + max((-low - 1).bit_length(), high.bit_length())


def _mixing_counts(layer: TokenMixing, grid: tuple[int, int], channels: int) -> tuple[int, int, int]:
    """Return weights, multiply-accumulates per frame, and those of them whose weight is not zero.

    Weights outside the grid do not count. A shared weight counts once, but its operations count for every token.
    """
    nonzero, size = layer.weight != 0, channels // layer.groups
    if layer.kernel is None:
        tokens = grid[0] * grid[1]
        return layer.weight.size, tokens**2 * channels, int(nonzero.sum()) * size
    inside = layer.neighbours(grid) >= 0
    reached = int(inside.sum())
    weights = layer.groups * (layer.kernel**2 if layer.shared else reached)
    return weights, reached * channels, int((nonzero & inside).sum()) * size


def adder_luts(layer: Linear | TokenMixing, grid: tuple[int, int]) -> float:
    """Return the estimated LUTs of a layer as a parallel adder graph (`psahw.adder_graph.estimate`).

    The matrix of each group counts once, however many channels it serves. Token mixing with weights for each token is
    a matrix over all tokens; shared token mixing has one row.
    """
    free = isinstance(layer, TokenMixing) and layer.weight.shape[1] > 1
    return layer_luts(layer.weight, grid[0] * grid[1] if free else None)


def _layer_summary(name: str, layer: Linear | TokenMixing, grid: tuple[int, int], channels: int) -> dict[str, Any]:
    """Return the entry of one layer; ``channels`` is how many a token has that comes into the layer."""
    nonzero, tokens = int(np.count_nonzero(layer.weight)), grid[0] * grid[1]
    entry: dict[str, Any] = {"name": name, "grid": list(grid)}
    if isinstance(layer, TokenMixing):
        weights, macs, macs_nonzero = _mixing_counts(layer, grid, channels)
        entry |= {"kind": "token mixing", "inputs": tokens, "outputs": tokens, "vectors": channels}
        entry |= {"groups": layer.groups, "kernel": layer.kernel, "shared": layer.shared}
    else:
        weights, macs, macs_nonzero = layer.weight.size, layer.weight.size * tokens, nonzero * tokens
        entry |= {"kind": "linear", "inputs": layer.inputs, "outputs": layer.outputs, "vectors": tokens}
    return entry | {
        "weights": weights,
        "weights_nonzero": nonzero,
        "weight_bits": weight_bits(layer.weight),
        "adder_luts": round(adder_luts(layer, grid)),
        "macs": macs,
        "macs_nonzero": macs_nonzero,
    }


def _functions(name: str, table: Table) -> dict[str, Any]:
    """Return the entry of one table: its functions, how many differ, and how many are the identity."""
    values, identity = table.values, np.arange(-128, 128, dtype=np.int8)
    return {
        "name": name,
        "functions": table.channels,
        "distinct": len(np.unique(values, axis=0)),
        "identity": int((values == identity).all(1).sum()),
    }


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

    Examples
    --------
    >>> from psahw.network.file import load
    >>> summarise(load("cifar10-psa-small"))["image"]
    [32, 32, 3]
    """
    layers: list[dict[str, Any]] = []
    channels = network.embed.outputs
    for name, layer, grid in network.linears():
        layers.append(_layer_summary(name, layer, grid, channels))
        if isinstance(layer, Linear):  # a token mixing has as many channels as the linear layer before it has outputs
            channels = layer.outputs
    functions = [_functions(name, table) for name, table, _ in network.tables()]
    stages = []
    for stage in network.stages:
        stages.append(
            {
                "grid": list(stage.grid),
                "tokens": stage.tokens,
                "channels": (network.embed if stage.merge is None else stage.merge).outputs,
                "blocks": len(stage.blocks),
                "hidden": [block.channel_mixing.hidden for block in stage.blocks],
                "groups": [block.token_mixing.groups for block in stage.blocks],
                "kernels": [block.token_mixing.kernel for block in stage.blocks],
                "shared": [block.token_mixing.shared for block in stage.blocks],
            }
        )
    totals = {key: sum(layer[key] for layer in layers) for key in _TOTALS}
    return {
        "network": network.name,
        "digest": digest(network),
        "image": [*network.image, network.colours],
        "patch": {key: getattr(network.patch, key) for key in ("size", "stride", "padding")},
        "classes": list(network.classes),
        "stages": stages,
        **totals,
        "weight_bits": max(layer["weight_bits"] for layer in layers),
        "logit_bits": network.head.out_bits,
        "tables": sum(entry["functions"] for entry in functions),
        "tables_distinct": sum(entry["distinct"] for entry in functions),
        "accuracy": accuracies(network),
        "layers": layers,
        "functions": functions,
        "metadata": network.metadata,
    }
