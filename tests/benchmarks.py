"""Benchmarks of what a user waits for: the first plan and the first simulation of the networks that ship.

    python -m tests.benchmarks plan [NETWORK ...] [--record]
    python -m tests.benchmarks simulate [NETWORK ...] [--record]
    python -m tests.benchmarks long [NETWORK ...] [--against PSAHW] [--images N] [--record]

Every command runs alone, on two processors, and with a cache that is empty but for CIFAR-10. The first two must keep
within a limit. The last one simulates many images, in turn with another version of psahw, whose program is
``--against``.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from psahw import cache
from psahw.errors import UserError
from psahw.network import file as network_file
from psahw.records import Value
from psahw.records.capture import add_record

__all__ = ["LIMITS", "Measurement", "measure"]

ROOT = Path(__file__).resolve().parents[1]
PROCESSORS = 2
LIMITS = {"plan": 15, "simulate": 180}
"""Seconds of wall time for the first plan, and for the first simulation with its default options."""

UNSOLVED = "cifar10-psa-max"  # its adder graphs do not ship
OPTIONS = ("--board", "marble", "--json")
BEFORE = "before the adder graphs shipped, the first plan took 80 to 200 s of processor time"


class Measurement(NamedTuple):
    """Wall time and processor time of a command and all its children, in seconds, and what it printed."""

    wall: float
    user: float
    result: dict


def _two_processors() -> None:
    """Restrict this process, and all that it starts, to `PROCESSORS` processors."""
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:PROCESSORS])


def measure(command: Sequence[str]) -> Measurement:
    """Run a command that prints JSON, with an almost empty cache, and return what it took.

    Raises
    ------
    UserError
        If the command fails.
    """
    with tempfile.TemporaryDirectory(prefix="psahw-benchmark-") as folder:
        if (dataset := cache.place("cifar10.safetensors")).exists():
            (Path(folder) / dataset.name).symlink_to(dataset)
        before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
        run = subprocess.run(
            command,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=os.environ | {"PSAHW_CACHE": folder},
            preexec_fn=_two_processors,
            check=False,
        )
        wall, after = time.monotonic() - start, resource.getrusage(resource.RUSAGE_CHILDREN)
    if run.returncode:
        raise UserError(f"{' '.join(command)} ended with status {run.returncode}")
    return Measurement(round(wall, 1), round(after.ru_utime - before.ru_utime, 1), json.loads(run.stdout))


def _first(network: str, options: argparse.Namespace) -> tuple[dict[str, tuple[float, str]], bool]:
    """Measure the first plan or simulation of a network. Return figures, and whether it keeps within its limit."""
    taken = measure([*options.psahw, options.kind, network, *OPTIONS])
    print(f"{options.kind} {network}: {taken.wall} s, {taken.user} s of processor time", flush=True)
    figures = {network: (taken.wall, "s"), f"{network}, processor time": (taken.user, "s")}
    return figures, taken.wall <= LIMITS[options.kind]


def _many_images(network: str, program: Sequence[str], images: int) -> Measurement:
    """Simulate many images, print the times, and return them."""
    taken = measure([*program, "simulate", network, *OPTIONS, "--images", str(images)])
    result = taken.result
    print(
        f"{program[0]}: {network}, {taken.wall} s, {taken.user} s of processor time, {result['cycles']} cycles, "
        f"{60 * images / taken.wall:.1f} images per minute",
        flush=True,
    )
    if result["mismatched_logits"]:
        raise UserError(f"{network}: {result['mismatched_logits']} logits are wrong")
    return taken


def _long(network: str, options: argparse.Namespace) -> tuple[dict[str, tuple[float, str]], bool]:
    """Simulate many images, in turn with the older version. Return the figures of the quicker run of each."""
    programs = {"": options.psahw} | ({"older version, ": [options.against]} if options.against else {})
    runs: dict[str, list[Measurement]] = {label: [] for label in programs}
    for _ in range(options.rounds):
        for label in sorted(programs, reverse=True):
            runs[label].append(_many_images(network, programs[label], options.images))
    figures: dict[str, tuple[float, str]] = {}
    for label in programs:
        best = min(runs[label])
        figures[f"{label}{network}"] = (best.wall, "s")
        figures[f"{label}{network}, processor time"] = (best.user, "s")
        figures[f"{label}{network}, rate"] = (round(60 * options.images / best.wall, 1), "images/min")
    return figures, True


def _record(figures: dict[str, tuple[float, str]], options: argparse.Namespace) -> None:
    """Record the figures, which are pairs of a value and a unit, by what they are."""
    extra, where, note = "", "on Marble, empty cache, two processors", BEFORE
    if options.kind == "long":
        extra = f" --images {options.images}" + (" --against PSAHW" if options.against else "")
        where = f"{options.images} images {where}, plan and build included"
        note = f"the older version is {options.older}" if options.against else ""
    networks = " ".join(["", *options.networks])
    add_record(
        ROOT / "results",
        "time",
        f"{options.kind}/first" if options.kind in LIMITS else f"simulate/{options.images}-images",
        [Value(what, value, unit, "measured") for what, (value, unit) in figures.items()],
        command=f"python -m tests.benchmarks {options.kind}{networks}{extra}",
        subject="psahw plan" if options.kind == "plan" else "psahw simulate",
        configuration=where,
        note=note,
    )


def main(arguments: list[str]) -> int:
    """Run a benchmark, and return 0 if all commands keep within their limits, otherwise 1."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks", description=__doc__.partition("\n")[0])
    parser.add_argument("kind", choices=("plan", "simulate", "long"))
    parser.add_argument("networks", nargs="*", metavar="NETWORK", help="by default all whose adder graphs ship")
    parser.add_argument("--images", type=int, default=200, metavar="N", help="images of `long`")
    parser.add_argument("--against", metavar="PSAHW", help="the program of another version, for `long`")
    parser.add_argument("--rounds", type=int, default=1, metavar="N", help="how often `long` runs each version")
    parser.add_argument("--older", default="another version", help="what that version is, for the record")
    parser.add_argument("--record", action="store_true", help="write the figures to results/")
    options = parser.parse_args(arguments)
    options.psahw = [sys.executable, "-m", "psahw"]
    networks = options.networks or [name for name in network_file.shipped() if name != UNSOLVED]
    benchmark = _long if options.kind == "long" else _first
    figures: dict[str, tuple[float, str]] = {}
    within = True
    try:
        for network in networks:
            more, kept = benchmark(network, options)
            figures |= more
            within &= kept
        if options.record:
            _record(figures, options)
    except UserError as error:
        print(error, file=sys.stderr)
        return 2
    return 0 if within else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
