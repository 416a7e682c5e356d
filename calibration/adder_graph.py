"""Adder graphs of trained layers: what da4ml takes and finds, the estimate, and what Yosys makes of the circuit.

python -m calibration.adder_graph                     the block of 48 outputs and 64 inputs, at 8, 6, 5 and 4 bits
python -m calibration.adder_graph whole 8             all outputs and inputs, at 8 bits
python -m calibration.adder_graph block 8 --depth 2   two additions between registers
python -m calibration.adder_graph --time              seconds and adders for blocks of rows; no synthesis

The layer is the first linear of the first channel mixing of --network, cifar10-psa unless given. Weights at
fewer bits are those at 8, shifted and rounded, with their biases and shifts: as large as a network trained for them,
and not as good.
"""

import argparse
import os
import tempfile
import time
from pathlib import Path

import numpy as np

from psahw import verilog
from psahw.adder_graph import solve
from psahw.adder_graph.parallel import adder_graph_cost, pipeline
from psahw.gateware.adder_graph import AdderGraph
from psahw.network import file as networkfile
from psahw.synthesis import yosys

__all__ = ["layer", "main", "synthesised"]

SHAPES = {"block": (48, 64), "whole": (None, None)}
TIMED_ROWS = (None, 48, 24, 12, 6)


def layer(network: str, shape: str, bits: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(weight, bias, shift); ``bits`` at most 8."""
    linear = networkfile.load(network).stages[0].blocks[0].channel_mixing.linear1
    outputs, inputs = SHAPES[shape]
    weight, bias, shift = linear.weight[:outputs, :inputs], linear.bias[:outputs], linear.shift[:outputs]
    dropped = 8 - bits
    half, limit = 1 << dropped >> 1, 1 << bits - 1
    weight, bias = ((x.astype(np.int64) + half) >> dropped for x in (weight, bias))
    return weight.clip(-limit, limit - 1), bias, np.maximum(shift.astype(np.int64) - dropped, 0)


def synthesised(component, top: str = "adder_graph") -> yosys.Resources:
    with tempfile.TemporaryDirectory(prefix="psahw-") as name:
        verilog.emit(component, top, Path(name))
        found = yosys.synthesise(Path(name), f"psahw_{top}", "xc7", source=f"{top}.v")
    return yosys.resources_of(found.cells())


def _timed(network: str) -> None:
    for shape in SHAPES:
        weight, _, _ = layer(network, shape, 8)
        for rows in TIMED_ROWS:
            with tempfile.TemporaryDirectory(prefix="psahw-") as cache:
                os.environ["PSAHW_CACHE"] = cache
                start = time.process_time()
                graph = solve(weight, block_rows=rows, workers=1)
                seconds = time.process_time() - start
            made = pipeline(graph, bias=np.zeros(len(weight), int), shift=np.zeros(len(weight), int), out_bits=24)
            print(f"{shape:6} rows {rows or 'all':>4}  {seconds:6.1f} s  {made.adder_bits} adder bits", flush=True)


def main(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("shape", nargs="?", choices=SHAPES, default="block")
    parser.add_argument("bits", nargs="*", type=int, default=[8, 6, 5, 4])
    parser.add_argument("--depth", type=int, default=1)
    parser.add_argument("--block-rows", type=int)
    parser.add_argument("--time", action="store_true")
    parser.add_argument("--network", default="cifar10-psa", metavar="NAME|FILE")
    chosen = parser.parse_args(arguments)
    if chosen.time:
        return _timed(chosen.network)
    for bits in chosen.bits:
        weight, bias, shift = layer(chosen.network, chosen.shape, bits)
        graph = solve(weight, block_rows=chosen.block_rows)
        made = pipeline(graph, bias=bias, shift=shift, depth=chosen.depth)
        cost = adder_graph_cost(made)
        found = synthesised(AdderGraph(graph=graph, bias=bias, shift=shift, depth=chosen.depth))
        ratios = f"est. {cost.lut} {cost.lut / found.lut:.2f}   ff {found.ff} est. {cost.ff} {cost.ff / found.ff:.2f}"
        size = f"{len(graph.adders)} adders, {made.adder_bits} bits, latency {cost.latency}"
        print(f"{chosen.shape} {bits} bits: {size}   lut {found.lut} {ratios}", flush=True)


if __name__ == "__main__":
    main()
