"""Well-known topologies in their published sizes or smaller, built and quantised as a user would, and simulated.

    python -m tests.topologies [NAME ...] [--images N] [--engines LIST] [--json] [--record]

The weights are random, and the norms have seen random images. Each network goes through the circuit back to back and
with random stalls. Its logits must be those of the integer model, and interval and latency those of the prediction.
"""

import argparse
import json
import sys
import tempfile
import time
from collections import Counter
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch

from psahw import boards, generate
from psahw.architecture.nodes import walk
from psahw.model.graphs.config import Shaped
from psahw.model.graphs.export import to_network
from psahw.model.graphs.network import GraphNet
from psahw.model.graphs.quantised import QuantizedGraph
from psahw.model.graphs.topologies import Autoencoder, DepthwiseSeparable, Mixer, Mlp, ResNet
from psahw.network import reference
from psahw.network.graph import Network
from psahw.planner import search
from psahw.planner.plan import Plan
from psahw.planner.rules import Rules
from psahw.records import Value
from psahw.records.capture import add_record
from psahw.sim import runner

__all__ = ["FULL", "SMALL", "Outcome", "check", "images_for", "network_of", "quantised", "trained"]

ROOT = Path(__file__).resolve().parents[1]
BOARD = boards.get("alveo-u250")

FULL: dict[str, tuple[Shaped, float, tuple[str, ...]]] = {
    "mlp": (Mlp(image=(1, 1), colours=16, classes=5, widths=(64, 32, 32)), 1e6, ()),
    "mixer": (Mixer(image=(16, 16), classes=10), 20_000, ()),
    # Solving graphs for the large matrices takes hours, so that these layers are MAC arrays.
    "resnet8": (ResNet(image=(32, 32), classes=10), 20_000, ("layers.5.branch.3=mac", "layers.7.branch.*=mac")),
    "depthwise-separable": (DepthwiseSeparable(image=(49, 10), colours=1, classes=12), 20_000, ()),
    "autoencoder": (
        Autoencoder(image=(1, 1), colours=640, classes=640), 100_000, ("layers.0=mac", "layers.9=mac")
    ),
}  # fmt: skip
"""Configurations in their published sizes, frames per second, and engines of layers, by name."""

SMALL: dict[str, Shaped] = {
    "mlp": Mlp(image=(1, 1), colours=8, classes=3, widths=(9, 5)),
    "mixer": Mixer(image=(8, 4), classes=3, patch=2, channels=6, hidden=5, blocks=1),
    "resnet8": ResNet(image=(6, 5), classes=3, widths=(2, 3)),
    "depthwise-separable": DepthwiseSeparable(image=(11, 5), colours=1, classes=3, channels=5, blocks=2, size=(4, 3)),
    "autoencoder": Autoencoder(image=(1, 1), colours=12, classes=12, widths=(6, 2, 6)),
}
"""Small configurations of the same topologies."""


@dataclass(frozen=True)
class Outcome:
    """The result of a topology.

    Parameters
    ----------
    name, engines
        The topology, and the engines that were allowed.
    weights
        Number of weights.
    components
        Number of components of each kind in the circuit.
    frame_interval, latency
        In clock cycles, as predicted.
    images
        Images in each of the two simulations.
    problems
        Differences from the integer model or the prediction, in words.
    seconds
        Time of everything.
    """

    name: str
    engines: str
    weights: int
    components: dict[str, int]
    frame_interval: int
    latency: int
    images: int
    problems: tuple[str, ...]
    seconds: float


def images_for(shape: Shaped, count: int = 24, seed: int = 0) -> np.ndarray:
    """Return images that differ in brightness and contrast, so that their means differ, too."""
    rng = np.random.default_rng(seed)
    low, high = np.sort(rng.integers(0, 256, (2, count, 1, 1, shape.colours)), axis=0)
    return rng.integers(low, high + 1, (count, *shape.image, shape.colours)).astype(np.uint8)


def trained(shape: Shaped, seed: int = 0) -> GraphNet:
    """Return a float network whose norms have seen images, with functions that are not those it started with."""
    torch.manual_seed(seed)
    model = GraphNet(shape)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
        for batch in range(20):
            model(torch.from_numpy(images_for(shape, seed=batch)))
    return model.eval()


def quantised(shape: Shaped) -> QuantizedGraph:
    """Return a quantised network."""
    return QuantizedGraph(trained(shape), images_for(shape))


def network_of(shape: Shaped, name: str) -> Network:
    """Return the network file's form of a quantised network."""
    return to_network(quantised(shape), name, tuple(f"c{number}" for number in range(shape.classes)))


def plan(network: Network, engines: str, layers: tuple[str, ...], fps: float | None) -> Plan:
    """Return a plan for an Alveo U250."""
    return search.make(
        network,
        BOARD.device,
        clock_hz=BOARD.clock_hz,
        bus_bytes=search.widest_bus(network, BOARD.bus_bytes),
        rules=Rules.parse(engines, layers),
        fps=fps,
    )


def check(
    name: str, shape: Shaped, engines: str, layers: tuple[str, ...], fps: float | None, images: int, folder: Path
) -> Outcome:
    """Quantise, plan and simulate a topology, back to back and with stalls, in an empty folder."""
    start = time.monotonic()
    network = network_of(shape, name)
    planned = plan(network, engines, layers, fps)
    generate.write(network, planned, folder)
    design = runner.load_design(folder)
    inputs = images_for(shape, images, seed=99)
    expected = reference.run(network, inputs)
    problems = [] if len(np.unique(expected)) > 10 else ["the logits are all the same"]
    for options in ({}, {"stalls": True}):
        result = runner.simulate(design, inputs, expected, seed=1, **options)
        problems += runner.problems(result)
        if result["images"] != images:
            problems.append(f"{result['images']} of {images} images were simulated")
    components = dict(Counter(type(node).__name__ for node in walk(planned.pipeline)))
    return Outcome(
        name, engines, shape.weights(), components, design.frame_interval, design.latency, images, tuple(problems),
        round(time.monotonic() - start, 1),
    )  # fmt: skip


def _record(outcomes: list[Outcome], command: str) -> None:
    """Add the figures to the records."""
    values = []
    for outcome in outcomes:
        what = f"{outcome.name}, {outcome.engines}"
        values += [
            Value(f"{what}: weights", outcome.weights, "weights", "measured"),
            Value(f"{what}: adder graphs", outcome.components.get("GraphEngine", 0), "components", "measured"),
            Value(f"{what}: wrong or unpredicted", len(outcome.problems), "problems", "measured"),
            Value(f"{what}: frame interval", outcome.frame_interval, "cycles", "measured"),
            Value(f"{what}: latency", outcome.latency, "cycles", "measured"),
        ]
    add_record(
        ROOT / "results", "verification", "topologies", values, command=command,
        configuration=f"{outcomes[0].images} images each, back to back and with stalls, on Alveo U250",
    )  # fmt: skip


def main() -> int:
    """Check topologies in their published sizes; return 1 if one of them has a problem."""
    parser = argparse.ArgumentParser(prog="python -m tests.topologies", description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(FULL)}; all by default")
    parser.add_argument("--images", type=int, default=100, help="per simulation (default: 100)")
    parser.add_argument("--engines", action="append", help="such as mac; by default mac, and then serial,parallel")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--record", action="store_true", help="add the figures to results/")
    arguments = parser.parse_args()
    if unknown := set(arguments.names) - set(FULL):
        parser.error(f"unknown: {', '.join(sorted(unknown))}")
    outcomes = []
    for name in arguments.names or FULL:
        shape, fps, layers = FULL[name]
        for engines in arguments.engines or ["mac", "serial,parallel"]:
            rules = () if engines == "mac" else layers
            with tempfile.TemporaryDirectory(prefix="psahw-topology-") as folder:
                outcome = check(name, shape, engines, rules, fps, arguments.images, Path(folder))
            outcomes.append(outcome)
            print(
                f"{name}, {engines}: {'; '.join(outcome.problems) or 'exact'} ({outcome.seconds:.0f} s)",
                file=sys.stderr,
            )
    if arguments.json:
        print(json.dumps([asdict(outcome) for outcome in outcomes], indent=2))
    if arguments.record:
        _record(outcomes, f"python -m tests.topologies {' '.join(sys.argv[1:])}".strip())
    return any(outcome.problems for outcome in outcomes)


if __name__ == "__main__":
    sys.exit(main())
