"""What Yosys makes of adder graphs as stages, layer by layer: what `psahw.adder_graph.serial` and `psahw.planner.cost` are fitted
to, and the table of ``docs/hardware.md``.

python -m calibration.graph_engine                 every case in CASES, half a minute to several each
python -m calibration.graph_engine --compare       estimates beside what was measured
"""

import argparse
import json
import tempfile
from pathlib import Path

import numpy as np

from psahw import verilog
from psahw.adder_graph import solve
from psahw.gateware.graph_engine import GraphEngine
from psahw.network import file as networkfile
from psahw.network.layers import Linear, Network
from psahw.synthesis import yosys

__all__ = ["CASES", "DATA", "engine", "layer", "main", "named", "rounded"]

DATA = Path(__file__).parent / "graph_engines.json"
NETWORK = "cifar10-psa"
SMALL, LARGE = "stages.0.blocks.0.channel_mixing.linear1", "stages.1.blocks.0.channel_mixing.linear1"

# (layer, bits of a weight, digit or None, lanes out)
CASES = (
    *((SMALL, bits, digit, 4) for bits in (8, 5) for digit in (1, 2, 4, 8, None)),
    *((SMALL, bits, 1, 1) for bits in (6, 4)),
    *((LARGE, bits, digit, 4) for bits, digit in ((8, 1), (5, 1), (5, 2), (5, 4), (4, 1), (5, None))),
)


def named(network: Network, name: str):
    """A layer by its place: attributes and indices, with dots."""
    found = network
    for part in name.split("."):
        found = found[int(part)] if part.isdecimal() else getattr(found, part)
    return found


def layer(name: str, network: str = NETWORK) -> Linear:
    return named(networkfile.load(networkfile.find(network)), name)


def rounded(linear: Linear, bits: int, trained: int = 8) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(weight, bias, shift) at fewer bits than it was ``trained`` with: those that it has, shifted and rounded; as
    large as a layer that was trained for them, and not as good."""
    dropped = trained - bits
    half, limit = 1 << dropped >> 1, 1 << bits - 1
    weight, bias = ((x.astype(np.int64) + half) >> dropped for x in (linear.weight, linear.bias))
    return weight.clip(-limit, limit - 1), bias, np.maximum(linear.shift.astype(np.int64) - dropped, 0)


def engine(name: str, bits: int, digit: int | None, lanes: int) -> GraphEngine:
    weight, bias, shift = rounded(layer(name), bits)
    return GraphEngine(graph=solve(weight), bias=bias, shift=shift, digit=digit, o_lanes=lanes)


def measure(case) -> dict:
    with tempfile.TemporaryDirectory(prefix="psahw-") as directory:
        verilog.emit(engine(*case), "engine", Path(directory))
        found = yosys.synthesise(Path(directory), "psahw_engine", "xc7", source="engine.v")
    return {name.removeprefix("psahw_engine").lstrip("."): cells for name, cells in found.modules.items()}


def key(case) -> str:
    name, bits, digit, lanes = case
    return f"{name} at {bits} bits, {f'digit {digit}' if digit else 'parallel'}, {lanes} lanes"


def main(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--compare", action="store_true")
    chosen = parser.parse_args(arguments)
    data = json.loads(DATA.read_text()) if DATA.exists() else {}
    for case in CASES:
        if not chosen.compare and key(case) not in data:
            data[key(case)] = measure(case)
            DATA.write_text(json.dumps(data, indent=1) + "\n")
        for part, cells in data.get(key(case), {}).items():
            print(f"{key(case):80} {part:8} {yosys.resources_of(cells).to_dict()}", flush=True)


if __name__ == "__main__":
    main()
