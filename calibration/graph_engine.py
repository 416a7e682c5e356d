"""Measurements of adder graphs as stages, by Yosys.

`psahw.adder_graph.serial` and `psahw.planner.cost` are fitted to them.

python -m calibration.graph_engine                 measure the CASES that are missing, minutes each, and print all
python -m calibration.graph_engine --compare       print what was measured
"""

import argparse
import json
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from psahw import verilog
from psahw.adder_graph import solve
from psahw.adder_graph.parallel import DEPTHS
from psahw.adder_graph.serial import DIGITS
from psahw.gateware.graph_engine import GraphEngine
from psahw.network.file import load
from psahw.network.graph import Network
from psahw.network.layers import Linear
from psahw.synthesis import yosys

__all__ = ["CASES", "DATA", "LARGE", "SMALL", "Case", "engine", "key", "layer_of", "main", "rounded"]

DATA = Path(__file__).parent / "graph_engines.json"
NETWORK = "cifar10-psa"
SMALL, LARGE = "stages.0.blocks.0.channel_mixing.linear1", "stages.1.blocks.0.channel_mixing.linear1"


class Case(NamedTuple):
    """An adder graph to measure.

    Parameters
    ----------
    layer
        Name of the layer in the network.
    bits
        Bits of a weight.
    digit
        Bits per clock cycle, or None for a vector per clock cycle.
    lanes
        Lanes of the output.
    depth
        Most steps between two registers of a graph that takes a vector per clock cycle.
    """

    layer: str
    bits: int
    digit: int | None
    lanes: int
    depth: int = 1


CASES = (
    *(Case(SMALL, bits, digit, 4) for bits in (8, 5) for digit in (*DIGITS, None)),
    *(Case(SMALL, 5, None, 4, depth) for depth in DEPTHS[1:]),
    *(Case(SMALL, bits, 1, 1) for bits in (6, 4)),
    *(Case(LARGE, bits, digit, 4) for bits, digit in ((8, 1), (5, 1), (5, 2), (5, 4), (4, 1), (5, None))),
)


def layer_of(network: Network, name: str) -> Linear:
    """Return a linear layer of a network by its name."""
    layer = network.place(name).layer
    if not isinstance(layer, Linear):
        raise ValueError(f"name must be that of a linear layer, not {name!r}")
    return layer


def rounded(linear: Linear, bits: int, trained: int = 8) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return weight, bias and shift of a layer with fewer bits than the ``trained`` ones, shifted and rounded.

    They are as large as those of a layer that was trained with fewer bits, but not as good.
    """
    dropped = trained - bits
    half, limit = 1 << dropped >> 1, 1 << bits - 1
    weight, bias = ((x.astype(np.int64) + half) >> dropped for x in (linear.weight, linear.bias))
    return weight.clip(-limit, limit - 1), bias, np.maximum(linear.shift.astype(np.int64) - dropped, 0)


def engine(case: Case) -> GraphEngine:
    """Return the component of a case."""
    weight, bias, shift = rounded(layer_of(load(NETWORK), case.layer), case.bits)
    rows = {"bias": bias, "shift": shift}
    return GraphEngine(graph=solve(weight), **rows, digit=case.digit, o_lanes=case.lanes, depth=case.depth)


def measure(case: Case) -> dict[str, dict[str, int]]:
    """Return the cells in each module of a case's component."""
    with tempfile.TemporaryDirectory(prefix="psahw-") as directory:
        verilog.emit(engine(case), "engine", Path(directory))
        synthesis = yosys.synthesise(Path(directory), "psahw_engine", "xc7", source="engine.v")
    return {name.removeprefix("psahw_engine").lstrip("."): cells for name, cells in synthesis.modules.items()}


def key(case: Case) -> str:
    """Return the key of a case in the data."""
    engine = f"digit {case.digit}" if case.digit else "parallel"
    engine += f" with up to {case.depth} additions between registers" if case.depth > 1 else ""
    return f"{case.layer} at {case.bits} bits, {engine}, {case.lanes} lanes"


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--compare", action="store_true")
    options = parser.parse_args(arguments)
    data = json.loads(DATA.read_text()) if DATA.exists() else {}
    for case in CASES:
        if not options.compare and key(case) not in data:
            data[key(case)] = measure(case)
            DATA.write_text(json.dumps(data, indent=1) + "\n")
        for part, cells in data.get(key(case), {}).items():
            print(f"{key(case):80} {part:8} {yosys.resources_of(cells).to_dict()}", flush=True)


if __name__ == "__main__":
    main()
