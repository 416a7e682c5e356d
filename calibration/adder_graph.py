"""Adder graphs of trained layers: da4ml's answers and times, estimates, and what Yosys makes of the circuits.

python -m calibration.adder_graph                     the block of 48 outputs and 64 inputs, at 8, 6, 5 and 4 bits
python -m calibration.adder_graph whole 8             all outputs and inputs, at 8 bits
python -m calibration.adder_graph block 8 --depth 2   two additions between registers
python -m calibration.adder_graph --time              seconds and adder bits for blocks of rows, without synthesis

The layer is the first linear layer of the first channel mixing of --network, which is cifar10-psa by default. Weights
with fewer bits are the trained ones, shifted and rounded, with their biases and shifts: they are as large as those of
a network that was trained with fewer bits, but not as good.
"""

import argparse
import os
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from amaranth.lib import wiring

from calibration.graph_engine import SMALL, layer_of, rounded
from psahw import verilog
from psahw.adder_graph import solve
from psahw.adder_graph.parallel import adder_graph_cost, pipeline
from psahw.architecture.device import Resources
from psahw.gateware.adder_graph import AdderGraph
from psahw.network.file import load
from psahw.network.layers import Linear
from psahw.synthesis import yosys

__all__ = ["layer", "main", "synthesised"]

SHAPES = {"block": (48, 64), "whole": (None, None)}
"""Outputs and inputs of the layer that are taken; None takes all."""

TIMED_ROWS = (None, 48, 24, 12, 6)


def layer(network: str, shape: str, bits: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return weight, bias and shift of the layer in one of `SHAPES`, with weights of at most 8 bits."""
    linear = layer_of(load(network), SMALL)
    outputs, inputs = SHAPES[shape]
    part = Linear(linear.weight[:outputs, :inputs], linear.bias[:outputs], linear.shift[:outputs])
    return rounded(part, bits)


def synthesised(component: wiring.Component, top: str = "adder_graph") -> Resources:
    """Return the resources of a component on the 7 series, from Yosys."""
    with tempfile.TemporaryDirectory(prefix="psahw-") as name:
        verilog.emit(component, top, Path(name))
        synthesis = yosys.synthesise(Path(name), f"psahw_{top}", "xc7", source=f"{top}.v")
    return yosys.resources_of(synthesis.cells())


def _print_times(network: str) -> None:
    """Print the time that da4ml takes for each shape in blocks of rows, and the adder bits of the graph."""
    for shape in SHAPES:
        weight, _, _ = layer(network, shape, 8)
        zeros = np.zeros(len(weight), int)
        for rows in TIMED_ROWS:
            with tempfile.TemporaryDirectory(prefix="psahw-") as cache:
                os.environ["PSAHW_CACHE"] = cache
                start = time.process_time()
                graph = solve(weight, block_rows=rows, workers=1)
                seconds = time.process_time() - start
            bits = pipeline(graph, bias=zeros, shift=zeros, out_bits=24).adder_bits
            print(f"{shape:6} rows {rows or 'all':>4}  {seconds:6.1f} s  {bits} adder bits", flush=True)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("shape", nargs="?", choices=SHAPES, default="block")
    parser.add_argument("bits", nargs="*", type=int, default=[8, 6, 5, 4])
    parser.add_argument("--depth", type=int, default=1)
    parser.add_argument("--block-rows", type=int)
    parser.add_argument("--time", action="store_true")
    parser.add_argument("--network", default="cifar10-psa", metavar="NAME|FILE")
    options = parser.parse_args(arguments)
    if options.time:
        _print_times(options.network)
        return
    for bits in options.bits:
        weight, bias, shift = layer(options.network, options.shape, bits)
        graph = solve(weight, block_rows=options.block_rows)
        pipelined = pipeline(graph, bias=bias, shift=shift, depth=options.depth)
        cost = adder_graph_cost(pipelined)
        measured = synthesised(AdderGraph(graph=graph, bias=bias, shift=shift, depth=options.depth))
        size = f"{len(graph.adders)} adders, {pipelined.adder_bits} bits, latency {cost.latency}"
        luts = f"lut {measured.lut} est. {cost.lut} {cost.lut / measured.lut:.2f}"
        ffs = f"ff {measured.ff} est. {cost.ff} {cost.ff / measured.ff:.2f}"
        print(f"{options.shape} {bits} bits: {size}   {luts}   {ffs}", flush=True)


if __name__ == "__main__":
    main()
