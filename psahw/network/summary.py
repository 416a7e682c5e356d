"""What is in a network: layers, weights, operations and tables, counted from its integers alone."""

from collections.abc import Iterator

import numpy as np

from ..adder_graph.estimate import layer_luts
from .file import digest
from .layers import Linear, Network, Table, TokenMixing

__all__ = ["accuracies", "adder_luts", "linear_layers", "summarise", "table_layers", "weight_bits"]

_TOTALS = ("weights", "weights_nonzero", "macs", "macs_nonzero", "adder_luts")


def weight_bits(weight: np.ndarray) -> int:
    """The narrowest two's complement that holds every weight: 1 for zeros alone, at most 8."""
    low, high = min(int(weight.min()), -1), max(int(weight.max()), 0)
    return 1 + max((-low - 1).bit_length(), high.bit_length())


def linear_layers(network: Network) -> Iterator[tuple[str, Linear | TokenMixing, tuple[int, int]]]:
    """Every layer that has weights, with its name and the grid it works on, in data order."""
    yield "embed", network.embed, network.stages[0].grid
    for s, stage in enumerate(network.stages):
        if stage.merge is not None:
            yield f"stages.{s}.merge", stage.merge, stage.grid
        for b, block in enumerate(stage.blocks):
            name = f"stages.{s}.blocks.{b}"
            yield f"{name}.token_mixing", block.token_mixing, stage.grid
            yield f"{name}.channel_mixing.linear1", block.channel_mixing.linear1, stage.grid
            yield f"{name}.channel_mixing.linear2", block.channel_mixing.linear2, stage.grid
    yield "head", network.head, (1, 1)


def table_layers(network: Network) -> Iterator[tuple[str, Table]]:
    """Every place with tables, in data order; the table of pixel codes is not among them."""
    for name, _, block in network.blocks():
        for sublayer, places in (
            (block.token_mixing, ("table_in", "table_out", "table_residual")),
            (block.channel_mixing, ("table_in", "table_hidden", "table_residual")),
        ):
            kind = "token_mixing" if sublayer is block.token_mixing else "channel_mixing"
            for place in places:
                if (table := getattr(sublayer, place)) is not None:
                    yield f"{name}.{kind}.{place}", table


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
    for name, layer, grid in linear_layers(network):
        if name.endswith(".merge"):
            channels = layer.outputs
        layers.append(_layer(name, layer, grid, channels))
    functions = [_functions(name, table) for name, table in table_layers(network)]
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
