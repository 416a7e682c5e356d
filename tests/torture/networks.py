"""Random networks, planned and simulated: the circuit equals the integer model, and its cadence the prediction.

    python -m tests.torture.networks [--count N] [--first SEED] [--jobs N] [--json] [--record]
    python -m tests.torture.networks --seed SEED

A seed determines everything: the network's layers and sizes, device, bus, engines and foldings, the stalls and resets
of the simulation, and whether it has digit-serial adder graphs as loops in C++. Half of the networks are ResMLPs, the
others any graphs. A seed that fails is printed with the command that repeats it.
"""

import argparse
import json
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from psahw import generate
from psahw.architecture.device import DEVICES
from psahw.architecture.nodes import walk
from psahw.callbacks import counter
from psahw.cli.output import progress
from psahw.errors import CheckFailed, UserError
from psahw.network import reference
from psahw.network.graph import Network
from psahw.network.random import StageShape, random_graph, random_images, random_network
from psahw.network.resmlp import Patch
from psahw.planner import search
from psahw.planner.plan import Plan
from psahw.planner.rules import Rules
from psahw.records import Value
from psahw.records.capture import add_record
from psahw.sim import runner

__all__ = ["Outcome", "case", "check"]

ROOT = Path(__file__).resolve().parents[2]
MODULE = "tests.torture.networks"
FRAMES = 12  # images per simulation
CLOCK_HZ = 100e6
MOST_TOKENS = 40  # the adder graph of a dense token mixing would take minutes to solve
PERIODS = (1, 2, 3, 4, 5, 7, 8, 12, 16, 24, 32, 64, 128)  # clock cycles per token of the first stage
ATTEMPTS = 20  # at a plan: not every network can be built with every bus, engine and period
ENGINES = (
    "mac", "serial", "parallel:1", "parallel:2", "parallel:3",
    "serial:1", "serial:2", "serial:3", "serial:5", "serial:8", "mac,serial,parallel",
)  # fmt: skip


@dataclass(frozen=True)
class Outcome:
    """The result of one seed.

    Parameters
    ----------
    seed
        The seed.
    problems
        Differences from the model or the prediction, in words.
    components
        Number of components of each kind in the circuit.
    images
        Images that were simulated.
    cycles
        Clock cycles that were simulated.
    """

    seed: int
    problems: tuple[str, ...]
    components: dict[str, int]
    images: int = 0
    cycles: int = 0

    @property
    def command(self) -> str:
        """The command that repeats the seed."""
        return f"python -m {MODULE} --seed {self.seed}"


def _divisor(rng: np.random.Generator, number: int) -> int:
    """Return a random divisor of a number."""
    return int(rng.choice([d for d in range(1, number + 1) if number % d == 0]))


def _shape(rng: np.random.Generator) -> StageShape:
    """Return the shape of a random stage."""
    channels = int(rng.integers(1, 13))
    kernel = (None, 3, 5)[rng.integers(3)]
    return StageShape(
        channels=channels,
        hidden=int(rng.integers(1, 13)),
        blocks=int(rng.integers(1, 3)),
        groups=_divisor(rng, channels),
        kernel=kernel,
        shared=kernel is not None and bool(rng.integers(2)),
    )


def _resmlp(rng: np.random.Generator) -> Network:
    """Return a random ResMLP."""
    stages = tuple(_shape(rng) for _ in range(rng.integers(1, 3)))
    while True:  # some patches have no grid that is even and small enough
        size = int(rng.integers(1, 5))
        patch = Patch(size, int(rng.integers(1, size + 1)), int(rng.integers(0, size)))
        image = tuple(int(extent) for extent in rng.integers(size, 13, 2))
        grid = patch.grid(image)
        even = grid[0] % 2 == grid[1] % 2 == 0
        if grid[0] * grid[1] <= MOST_TOKENS and (even or len(stages) == 1):
            break
    return random_network(
        rng,
        image=image,
        colours=int(rng.integers(1, 5)),
        patch=patch,
        stages=stages,
        tables=float(rng.choice([0, 0.5, 1])),
        logit_bits=int(rng.choice([8, 12, 16, 24])),
        classes=int(rng.integers(2, 14)),
        extremes=bool(rng.integers(4) == 0),
    )


def _plan(rng: np.random.Generator, network: Network) -> Plan | None:
    """Return a random plan for a network, or None if the choices do not allow one."""
    row = network.image[1] * network.colours
    bus_bytes = _divisor(rng, row)
    layers = [place.name for place in network.linears()]
    rules = tuple(f"{layer}={rng.choice(ENGINES)}" for layer in layers if rng.integers(3) == 0)
    device = DEVICES[str(rng.choice(sorted(DEVICES)))]
    try:
        return search.make(
            network,
            device,
            clock_hz=CLOCK_HZ,
            bus_bytes=bus_bytes,
            rules=Rules.parse(str(rng.choice(ENGINES)), rules),
            period=int(rng.choice(PERIODS)),
            budget={"bram36": float(rng.choice([0, 4, 1000]))},
            utilisation=dict.fromkeys(("lut", "ff", "dsp", "bram36"), 1.0),
        )
    except (CheckFailed, UserError):
        return None


def case(seed: int) -> tuple[Network, Plan]:
    """Return the network and the plan of a seed."""
    rng = np.random.default_rng(seed)
    make = _resmlp if rng.integers(2) else random_graph
    while True:
        network = make(rng)
        for _ in range(ATTEMPTS):
            if (plan := _plan(rng, network)) is not None:
                return network, plan


def check(seed: int) -> Outcome:
    """Build the circuit of a seed, and simulate it back to back, and with stalls and resets."""
    network, plan = case(seed)
    components = dict(Counter(type(node).__name__ for node in walk(plan.pipeline)))
    images = random_images(np.random.default_rng(seed), network, FRAMES)
    expected = reference.run(network, images)
    problems, sent, cycles = [], 0, 0
    loops = bool(np.random.default_rng((seed, 1)).integers(4))
    try:
        with tempfile.TemporaryDirectory(prefix="psahw-torture-") as folder:
            generate.write(network, plan, Path(folder))
            design = runner.load_design(folder)
            for options in ({}, {"stalls": True, "resets": 2}, {"gap": (0, 2 * design.frame_interval)}):
                result = runner.simulate(design, images, expected, seed=seed, loops=loops, **options)
                problems += [f"{options or 'back to back'}: {problem}" for problem in runner.problems(result)]
                sent, cycles = sent + len(images), cycles + result["cycles"]
    except (RuntimeError, CheckFailed, UserError) as error:
        problems.append(str(error))
    return Outcome(seed, tuple(problems), components, sent, cycles)


def check_all(seeds: range, jobs: int) -> Iterator[Outcome]:
    """Yield the outcomes of seeds, several at a time, in the order in which they end."""
    with runner.surroundings(), ThreadPoolExecutor(jobs) as pool:
        futures = [pool.submit(check, seed) for seed in seeds]
        yield from (future.result() for future in as_completed(futures))


def _record(outcomes: list[Outcome], seconds: float, command: str) -> None:
    """Add the figures to the records."""
    values = [
        Value("networks", len(outcomes), "networks", "measured"),
        Value("images", sum(outcome.images for outcome in outcomes), "images", "measured"),
        Value("clock cycles", sum(outcome.cycles for outcome in outcomes), "cycles", "measured"),
        Value(
            "networks with a difference", sum(bool(outcome.problems) for outcome in outcomes), "networks", "measured"
        ),
        Value("time", round(seconds), "s", "measured"),
    ]
    add_record(
        ROOT / "results", "verification", "torture/networks", values, command=command,
        configuration="back to back, with stalls and resets, and with gaps between frames",
    )  # fmt: skip


def main(arguments: list[str]) -> int:
    """Check seeds, and return 0 if all of them pass, else 1."""
    parser = argparse.ArgumentParser(prog=f"python -m {MODULE}", description=__doc__.splitlines()[0])
    parser.add_argument("--count", type=int, default=200, help="number of seeds")
    parser.add_argument("--first", type=int, default=1, help="the first seed")
    parser.add_argument("--seed", type=int, help="only this seed")
    parser.add_argument("--jobs", type=int, default=1, help="seeds at once")
    parser.add_argument("--json", action="store_true", help="print all outcomes as JSON")
    parser.add_argument("--record", action="store_true", help="add the figures to results/verification.json")
    options = parser.parse_args(arguments)
    first, count = (options.first, options.count) if options.seed is None else (options.seed, 1)
    start, outcomes = time.monotonic(), []
    with progress("random networks") as report:
        advance = counter(report, count)
        for outcome in check_all(range(first, first + count), options.jobs):
            outcomes.append(outcome)
            advance(1)
            if outcome.problems:
                print(f"seed {outcome.seed}: {'; '.join(outcome.problems)}\n    {outcome.command}", file=sys.stderr)
    outcomes.sort(key=lambda outcome: outcome.seed)
    failed = [outcome for outcome in outcomes if outcome.problems]
    if options.json:
        print(json.dumps([asdict(outcome) for outcome in outcomes], indent=1))
    else:
        components = sum((Counter(outcome.components) for outcome in outcomes), Counter())
        counts = ", ".join(f"{name} {number:,}" for name, number in components.most_common())
        print(f"{len(outcomes)} networks, {len(failed)} with a difference; components: {counts}")
    if options.record:
        _record(outcomes, time.monotonic() - start, f"python -m {MODULE} {' '.join(arguments)}".strip())
    return bool(failed)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
