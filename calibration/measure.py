"""Synthesises accelerators and writes what Yosys makes of each of their components: what `psahw.planner.cost` is fitted to.

python -m calibration.measure                every network in NETWORKS, a minute each
python -m calibration.measure xc7 local      one of them
python -m calibration.measure xc7 psa96      the published network in its Kintex budget, a quarter of an hour
"""

import dataclasses
import json
import sys
import tempfile
from pathlib import Path

import numpy as np

from calibration.published import convert
from psahw import generate
from psahw.architecture import nodes
from psahw.architecture.device import DEVICES
from psahw.network.layers import Network, Patch
from psahw.network.random import StageShape, random_network
from psahw.planner import search
from psahw.planner.plan import Plan
from psahw.planner.rules import KINDS, Rules
from psahw.synthesis import yosys

__all__ = ["NETWORKS", "components", "main"]

DATA = Path(__file__).parent / "components.json"

TEN = {"logit_bits": 16, "classes": 10}
# (stages, other arguments of random_network, frames a second at 100 MHz or None for the most, bytes a cycle)
NETWORKS = {
    "cifar": (
        (StageShape(96, 96, groups=8, kernel=3),),
        {"image": (32, 32), "patch": Patch(6, 4, 1), **TEN},
        9_765,
        4,
    ),
    "dense": ((StageShape(16, 12),), {}, 400_000, 4),
    "slow": ((StageShape(24, 32, groups=2), StageShape(32, 40)), {}, 100_000, 4),
    "groups": ((StageShape(32, 24, groups=2),), {"image": (16, 16), "logit_bits": 16}, 20_000, 4),
    "local": ((StageShape(16, 16, groups=4, kernel=3, blocks=2),), {"image": (16, 16)}, 30_000, 4),
    "overlapping": (
        (StageShape(24, 24, groups=3, kernel=3),),
        {"image": (32, 32), "patch": Patch(6, 4, 1)},
        10_000,
        4,
    ),
    "fast": ((StageShape(16, 8, kernel=3), StageShape(24, 8, groups=2)), {"image": (16, 16)}, 400_000, 12),
    "bare": ((StageShape(24, 24, kernel=3),), {"image": (16, 16), "tables": False, "colours": 1}, 20_000, 1),
    "wide": ((StageShape(96, 48, groups=8, kernel=3),), {"image": (32, 32), **TEN}, 9_000, 4),
    "depthwise": (
        (StageShape(24, 16, 1, 24, 3, True), StageShape(32, 16, 1, 4, 3, True)),
        {"image": (32, 32)},
        60_000,
        4,
    ),
    "packed": ((StageShape(32, 24),), {"image": (16, 16), **TEN}, 80_000, 4),
    "tokens": ((StageShape(48, 48, groups=4),), {"image": (32, 32), **TEN}, 12_000, 4),
}
DEVICES_BY_FAMILY = {"xc7": "xc7k325t", "xcup": "xcu250", "ecp5": "lfe5u-85f"}


def make(name: str, family: str) -> tuple[Network, Plan]:
    stages, arguments, fps, bus_bytes = NETWORKS[name]
    network = random_network(np.random.default_rng(0), name=name, stages=stages, **arguments)
    device = dataclasses.replace(DEVICES[DEVICES_BY_FAMILY[family]], lut=10**7, ff=10**7, dsp=10**5, bram36=10**5)
    return network, search.make(network, device, clock_hz=100e6, fps=fps, bus_bytes=bus_bytes)


def published() -> tuple[Network, Plan]:
    """psa96, which is read from $PSAHW_REFERENCE."""
    network, _ = convert("psa96")
    budget = {"lut": 75_655, "dsp": 600, "bram36": 212}
    rules = Rules.parse(",".join(KINDS))
    return network, search.make(network, DEVICES["xc7k160t"], clock_hz=200e6, bus_bytes=4, budget=budget, rules=rules)


def components(made: Plan, found: yosys.Synthesis) -> list[dict]:
    """For each node of a plan: its parameters and what Yosys made of it, without what a Residual holds."""
    rows = []

    def visit(pipeline, prefix, within):
        for node in pipeline:
            path = f"{prefix}.{node.name.removeprefix(within).replace('.', '_')}"
            cells = found.cells(path)
            fields = dataclasses.asdict(node)
            if isinstance(node, nodes.Residual):
                for part, inside in (("branch", node.branch), ("bypass", node.bypass)):
                    visit(inside, f"{path}.{part}", f"{node.name}.")
                    for cell, count in found.cells(f"{path}.{part}").items():
                        cells[cell] -= count
                    fields[part] = []
            rows.append({"engine": type(node).__name__, **fields, "cells": {k: n for k, n in cells.items() if n}})

    visit(made.pipeline, f"{generate.TOP}.chain", "")
    rows.append(
        {"engine": "Counters", "stages": len(made.pipeline), "cells": found.cells(f"{generate.TOP}.counters")}
    )
    return rows


def measure(network: Network, made: Plan) -> list[dict]:
    with tempfile.TemporaryDirectory(prefix="psahw-") as name:
        generate.write(network, made, Path(name))
        return components(made, yosys.synthesise(Path(name), generate.TOP, made.device.family))


def main(names, family="xc7"):
    data = json.loads(DATA.read_text()) if DATA.exists() else {}
    for name in names or NETWORKS:
        data.setdefault(family, {})[name] = measure(*(published() if name == "psa96" else make(name, family)))
        text = json.dumps(data, indent=1)
        DATA.write_text(text + "\n")
        print(f"{family} {name}: {len(data[family][name])} components", flush=True)


if __name__ == "__main__":
    family, *names = sys.argv[1:] or ["xc7"]
    main(names, family)
