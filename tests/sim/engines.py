"""Designs that contain only a few components, such as one engine, for simulation with the harness.

An image is a vector of int8, and the logits are the components' results. A stage is a pair: components by name, and a
function that does the same to vectors in NumPy. `design` connects stages in a chain.
"""

import json
from pathlib import Path

import numpy as np

from psahw import verilog
from psahw.adder_graph import solve
from psahw.architecture.codes import INT8
from psahw.architecture.packing import OPERAND_BITS
from psahw.gateware.argmax import Argmax
from psahw.gateware.chain import Chain
from psahw.gateware.graph_engine import GraphEngine
from psahw.gateware.local_mixing import LocalMixing
from psahw.gateware.mac_array import MacArray
from psahw.gateware.stream import Gather, Queue, vector_signature
from psahw.gateware.table import TableRom

__all__ = ["design", "graph", "local", "mac", "queues", "table", "vectors"]


def _layer(rng, outputs, inputs):
    """Return random weights, biases and shifts of a linear layer, and its function."""
    weight = rng.integers(-128, 128, (outputs, inputs))
    bias, shift = rng.integers(-(1 << 13), 1 << 13, outputs), rng.integers(6, 10, outputs)

    def linear(x):
        return ((x @ weight.T + bias + (1 << shift >> 1)) >> shift).clip(-128, 127)

    return weight, bias, shift, linear


def table(rng, channels, lanes, style="block", bank_words=None):
    """Return a stage with a random table per channel."""
    values = rng.integers(-128, 128, (channels, 256)).astype(np.int8)
    part = TableRom(values=values, lanes=lanes, style=style, bank_words=bank_words)
    return {f"table_{style}": part}, lambda x: values[np.arange(channels), x + 128].astype(np.int64)


def graph(rng, outputs, inputs, digit, i_lanes=1):
    """Return a stage with an adder graph of ``digit`` bits per clock cycle, or of whole vectors if it is None."""
    weight, bias, shift, linear = _layer(rng, outputs, inputs)
    engine = GraphEngine(graph=solve(weight, workers=1), bias=bias, shift=shift, digit=digit, o_lanes=1)
    return {f"gather_{digit}": Gather(lanes=i_lanes, ratio=inputs // i_lanes), f"graph_{digit}": engine}, linear


def queues(rng, outputs, inputs):
    """Return a stage with an adder graph behind two queues in block RAM, one of elements and one of vectors."""
    parts, linear = graph(rng, outputs, inputs, None)
    gather, engine = parts.values()
    narrow, wide = (
        Queue(shape=vector_signature(lanes).members["payload"].shape, depth=depth, style="block")
        for lanes, depth in ((1, 700), (inputs, 60))
    )
    return {"narrow": narrow, "gather": gather, "wide": wide, "graph": engine}, linear


def mac(rng, outputs, inputs, rows, columns, pairs, multiplier="DSP48E1", style="block"):
    """Return a stage with a MAC array in which ``pairs`` multipliers compute two products each."""
    weight, bias, shift, linear = _layer(rng, outputs, inputs)
    engine = MacArray(
        weight=weight.astype(np.int8)[None],
        bias=bias.astype(np.int32)[None],
        shift=shift.astype(np.uint8)[None],
        rows=rows,
        columns=columns,
        o_lanes=1,
        depth=2 * inputs // columns,
        vectors=1,
        weight_style=style,
        operand_bits=OPERAND_BITS[multiplier] if pairs else None,
        multiplier=multiplier,
    )
    assert len(engine.pairs) == pairs
    gather = {f"gather_{style}": Gather(lanes=1, ratio=columns)} if columns > 1 else {}
    return {**gather, f"mac_{style}": engine}, linear


def local(rng, side, shared):
    """Return a stage that mixes each of ``side x side`` tokens of one channel with its neighbours.

    Each token has its own weights. If ``shared``, all have the same ones, and neighbours outside the grid count as 0.
    """
    tokens = side * side
    row, column = np.divmod(np.arange(tokens), side)
    near = (abs(row[:, None] - row) <= 1) & (abs(column[:, None] - column) <= 1)
    weight = rng.integers(-128, 128, (1, 1 if shared else tokens, 9)).astype(np.int8)
    matrix = np.zeros((tokens, tokens), np.int64)
    for n, k in np.argwhere(near):
        matrix[n, k] = weight[0, 0 if shared else n, (row[k] - row[n] + 1) * 3 + column[k] - column[n] + 1]
    if not shared:
        for n, e in np.ndindex(tokens, 9):
            if not (0 <= row[n] + e // 3 - 1 < side and 0 <= column[n] + e % 3 - 1 < side):
                weight[0, n, e] = 0
    bias = rng.integers(-(1 << 13), 1 << 13, weight.shape[1])
    shift = rng.integers(6, 10, weight.shape[1])
    mixing = LocalMixing(
        weight=weight, bias=bias.astype(np.int32)[None], shift=shift.astype(np.uint8)[None],
        kernel=3, grid=(side, side), channels=1, lanes=1, multiplier="DSP48E1", shared=shared,
    )  # fmt: skip
    return {f"local_{shared}": mixing}, lambda x: ((x @ matrix.T + bias + (1 << shift >> 1)) >> shift).clip(-128, 127)


def design(directory: Path, stages, *, inputs: int, lanes: int, outputs: int) -> Path:
    """Write a chain of stages as a design into a directory, and return the directory.

    The last stage must have one lane. The manifest's frame interval and latency are not those of the circuit.
    """
    parts = {name: part for components, _ in stages for name, part in components.items()}
    chain = Chain(parts={**parts, "argmax": Argmax(classes=outputs, codes=INT8)})
    directory.mkdir(exist_ok=True)
    verilog.emit(chain, "accelerator", directory)
    manifest = {
        "network": "engines",
        "digest": "0" * 64,
        "top": "psahw_accelerator",
        "image": [1, inputs],
        "colours": 1,
        "bus_bytes": lanes,
        "classes": outputs,
        "logit_bits": 8,
        "frame_interval": 100,
        "latency": 100,
    }
    (directory / "manifest.json").write_text(json.dumps(manifest))
    return directory


def vectors(rng, stages, inputs: int, count: int):
    """Return random images, which include the smallest and the largest vector, and the logits of the stages."""
    x = rng.integers(-128, 128, (count, inputs))
    x[0], x[1] = -128, 127
    images = x.astype(np.int8).view(np.uint8).reshape(count, 1, inputs, 1)
    for _, function in stages:
        x = function(x)
    return images, x
