"""What is in a network: layers, weights, operations and tables, counted from its integers alone."""

import numpy as np

from ..adder_graph.estimate import layer_luts
from .file import digest
from .layers import Linear, Network, TokenMixing

__all__ = ["accuracies", "adder_luts", "summarise", "weight_bits"]

_TOTALS = ("weights", "weights_nonzero", "macs", "macs_nonzero", "adder_luts")


def weight_bits(weight: np.ndarray) -> int:
    """The narrowest two's complement that holds every weight: 1 for zeros alone, at most 8."""
    low, high = min(int(weight.min()), -1), max(int(weight.max()), 0)
    return 1 + max((-low - 1).bit_length(), high.bit_length())


def _mixing_counts(layer: TokenMixing, grid, channels):
    """(weights that a token can reach, a shared kernel's once; operations a frame, those that are not with zero)."""
    used, size = layer.weight != 0, channels // layer.groups
    if layer.kernel is None:
        return layer.weight.size, layer.tokens**2 * channels, int(used.sum()) * size
    inside = layer.neighbours(grid) >= 0
    reached = int(inside.sum())
    weights = layer.groups * (layer.kernel**2 if layer.shared else reached)
    return weights, reached * channels, int((used & inside).sum()) * size


def adder_luts(layer: Linear | TokenMixing, grid: tuple[int, int]) -> float:
    """Estimated LUTs of the layer as a parallel adder graph (`psahw.adder_graph.estimate`): of each group's matrix once,
    whatever the number of channels that it serves. A kernel free per position is the matrix over all tokens; a
    shared one has one row."""
    free = isinstance(layer, TokenMixing) and layer.weight.shape[1] > 1
    return layer_luts(layer.weight, grid[0] * grid[1] if free else None)


def _layer(name, layer, grid, channels) -> dict:
    used = int(np.count_nonzero(layer.weight))
    entry = {"name": name, "grid": list(grid)}
    if isinstance(layer, TokenMixing):
        weights, macs, macs_nonzero = _mixing_counts(layer, grid, channels)
        tokens = grid[0] * grid[1]
        entry |= {"kind": "token mixing", "inputs": tokens, "outputs": tokens, "vectors": channels}
        entry |= {"groups": layer.groups, "kernel": layer.kernel, "shared": layer.shared}
    else:
        vectors = grid[0] * grid[1]
        weights, macs, macs_nonzero = layer.weight.size, layer.weight.size * vectors, used * vectors
        entry |= {"kind": "linear", "inputs": layer.inputs, "outputs": layer.outputs, "vectors": vectors}
    bits = weight_bits(layer.weight)
    entry |= {"weights": weights, "weights_nonzero": used, "weight_bits": bits}
    entry |= {"adder_luts": round(adder_luts(layer, grid))}
    return entry | {"macs": macs, "macs_nonzero": macs_nonzero}


def _functions(name, table) -> dict:
    values, identity = table.values, np.arange(-128, 128, dtype=np.int8)
    return {
        "name": name,
        "functions": table.channels,
        "distinct": len(np.unique(values, axis=0)),
        "identity": int((values == identity).all(1).sum()),
    }


def accuracies(network: Network) -> dict[str, float]:
    """What the metadata says of accuracy, in percent, by name (`int8`, `float`, `teacher`, ...)."""
    given = network.metadata.get("accuracy")
    if isinstance(given, int | float) and not isinstance(given, bool):
        given = {"int8": given}
    if not isinstance(given, dict):
        return {}
    return {str(k): v for k, v in given.items() if isinstance(v, int | float) and not isinstance(v, bool)}


def summarise(network: Network) -> dict:
    """Everything that ``psahw info`` tells, as plain JSON values.

    ``weights`` counts the entries that a token can reach, ``macs`` the multiply-accumulates of a frame over
    them: the zero weights outside a local neighbourhood count in neither. Zeros inside do; a shared kernel counts
    once in ``weights``.
    ``weights_nonzero`` and ``macs_nonzero`` leave those out too. ``adder_luts`` is an estimate.
    """
    layers, channels = [], network.embed.outputs
    for name, layer, grid in network.linears():
        layers.append(_layer(name, layer, grid, channels))
        if isinstance(layer, Linear):  # a token mixing has as many channels as the linear layer before it has outputs
            channels = layer.outputs
    functions = [_functions(name, table) for name, table, _ in network.tables()]
    stages = []
    for stage in network.stages:
        channels = stage.merge.outputs if stage.merge is not None else network.embed.outputs
        stages.append(
            {
                "grid": list(stage.grid),
                "tokens": stage.tokens,
                "channels": channels,
                "blocks": len(stage.blocks),
                "hidden": [block.channel_mixing.hidden for block in stage.blocks],
                "groups": [block.token_mixing.groups for block in stage.blocks],
                "kernels": [block.token_mixing.kernel for block in stage.blocks],
                "shared": [block.token_mixing.shared for block in stage.blocks],
            }
        )
    totals = {k: sum(layer[k] for layer in layers) for k in _TOTALS}
    return {
        "network": network.name,
        "digest": digest(network),
        "image": [*network.image, network.colours],
        "patch": {k: getattr(network.patch, k) for k in ("size", "stride", "padding")},
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
