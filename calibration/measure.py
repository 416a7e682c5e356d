"""Measurements of every component of some accelerators, by Yosys, to which `psahw.planner.cost` is fitted.

python -m calibration.measure                every network in NETWORKS, a minute each
python -m calibration.measure xc7 local      one of them
python -m calibration.measure xc7 psa96      the published network in its Kintex budget, a quarter of an hour
"""

import dataclasses
import json
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from calibration.published import convert
from psahw import generate
from psahw.architecture import nodes
from psahw.architecture.device import DEVICES
from psahw.gateware.residual import BRANCH, BYPASS
from psahw.network.graph import Network
from psahw.network.random import StageShape, random_network
from psahw.network.resmlp import Patch
from psahw.planner import search
from psahw.planner.plan import Plan
from psahw.planner.rules import KINDS, Rules
from psahw.synthesis import yosys

__all__ = ["NETWORKS", "components", "main"]

DATA = Path(__file__).parent / "components.json"

TEN = {"logit_bits": 16, "classes": 10}
# Stages, other arguments of random_network, frames per second at 100 MHz, bytes per input beat.
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
    """Return a random network and its plan for a device without limits."""
    stages, arguments, fps, bus_bytes = NETWORKS[name]
    network = random_network(np.random.default_rng(0), name=name, stages=stages, **arguments)
    device = dataclasses.replace(DEVICES[DEVICES_BY_FAMILY[family]], lut=10**7, ff=10**7, dsp=10**5, bram36=10**5)
    return network, search.make(network, device, clock_hz=100e6, fps=fps, bus_bytes=bus_bytes)


def published() -> tuple[Network, Plan]:
    """Return psa96, which is read from $PSAHW_REFERENCE, and its plan."""
    network, _ = convert("psa96")
    budget = {"lut": 75_655, "dsp": 600, "bram36": 212}
    rules = Rules.parse(",".join(KINDS))
    return network, search.make(network, DEVICES["xc7k160t"], clock_hz=200e6, bus_bytes=4, budget=budget, rules=rules)


def components(plan: Plan, synthesis: yosys.Synthesis) -> list[dict[str, Any]]:
    """Return the parameters and the cells of each node of a plan, without the nodes inside of a Residual."""
    rows: list[dict[str, Any]] = []
    modules = generate.module_names(plan)
    for node in nodes.walk(plan.pipeline):
        module = modules[node.name]
        cells, fields = synthesis.cells(module), dataclasses.asdict(node)
        if isinstance(node, nodes.Residual):
            for part in (BRANCH, BYPASS):
                for cell, count in synthesis.cells(f"{module}.{part}").items():
                    cells[cell] -= count
            fields |= {"branch": [], "bypass": []}
        rows.append({"engine": type(node).__name__, **fields, "cells": {k: n for k, n in cells.items() if n}})
    counters = synthesis.cells(f"{generate.TOP}.counters")
    return [*rows, {"engine": "Counters", "stages": len(plan.pipeline), "cells": counters}]


def measure(network: Network, plan: Plan) -> list[dict[str, Any]]:
    """Return the parameters and the cells of each component of a planned network."""
    with tempfile.TemporaryDirectory(prefix="psahw-") as name:
        generate.write(network, plan, Path(name))
        return components(plan, yosys.synthesise(Path(name), generate.TOP, plan.device.family))


def main(names: Sequence[str], family: str = "xc7") -> None:
    """Measure the named networks, or all, and write the data after each."""
    data = json.loads(DATA.read_text()) if DATA.exists() else {}
    for name in names or NETWORKS:
        data.setdefault(family, {})[name] = measure(*(published() if name == "psa96" else make(name, family)))
        DATA.write_text(json.dumps(data, indent=1) + "\n")
        print(f"{family} {name}: {len(data[family][name])} components", flush=True)


if __name__ == "__main__":
    family, *names = sys.argv[1:] or ["xc7"]
    main(names, family)
