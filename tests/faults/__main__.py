"""Inject faults into every command, and print what is wrong afterwards.

    python -m tests.faults [--group GROUP] [--points N] [--sizes N] [--only NAME] [--jobs N] [--record]

Each command is killed at N moments spread over its run, by SIGTERM and SIGKILL in turn, runs on N disks that fill up
sooner or later, and gets every kind of wrong input file. The commands of a group take an hour or more; those of
"simulation" compile a simulator in each run. The exit status is 1 if anything is wrong. With --record and --only, the
record is that of the command, and otherwise that of the group.
"""

import argparse
import os
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

from psahw.errors import UserError
from psahw.records import Value
from psahw.records.capture import add_record

from .cases import CASES, GROUPS, Case, prepare
from .injection import Injection, can_mount

ROOT = Path(__file__).parents[2]
KINDS = ("kill", "full disk", "wrong input")


def faults(injection: Injection, points: int, sizes: int, mount: bool) -> Iterator[tuple[str, str, list[str]]]:
    """Inject all faults into a command; yield kind and description of each, and what is wrong afterwards."""
    for n in range(points):
        number, share, replace = (signal.SIGTERM, signal.SIGKILL)[n % 2], (n + 0.5) / points, n // 2 % 2 == 1
        description = f"{number.name} after {100 * share:.0f} % of its time, replace={replace}"
        yield "kill", description, injection.killed(number, share, replace)
    for n in range(sizes):
        share, replace = (n + 0.5) / sizes, n % 2 == 1
        description = f"room for {100 * share:.0f} % of its files, replace={replace}"
        yield "full disk", description, injection.full(share, replace, mount)
    for kind, lines in injection.wrong_inputs():
        yield "wrong input", kind, lines


def _run(case: Case, place: Path, materials: dict[str, Path], points: int, sizes: int) -> tuple[Counter, int]:
    """Inject all faults into a case, print what is wrong, and return the number of faults and of wrong results."""
    counts: Counter = Counter()
    wrong = 0
    start = time.monotonic()
    folder = place / case.name.replace(", ", "-").replace(" ", "-")
    injection = Injection(case, folder, materials)
    mount = can_mount(folder / "disk")
    reference = injection.reference
    print(f"{case.name}: {reference.seconds:.1f} s, {reference.size:,} bytes", file=sys.stderr, flush=True)
    for kind, description, lines in faults(injection, points, sizes, mount):
        counts[kind] += 1
        wrong += bool(lines)
        for line in lines:
            print(f"{case.name}: {kind}: {description}: {line}", flush=True)
    seconds = time.monotonic() - start
    shown = ", ".join(f"{counts[kind]} x {kind}" for kind in KINDS)
    print(f"{case.name}: {shown}: {wrong} wrong, {seconds:.0f} s", flush=True)
    return counts, wrong


def main(arguments: list[str]) -> int:
    """Run the command line, and return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description=__doc__.partition("\n")[0])
    parser.add_argument("--group", choices=GROUPS, help="only the commands of this group")
    parser.add_argument("--points", type=int, default=20, help="moments at which each command is killed (20)")
    parser.add_argument("--sizes", type=int, default=20, help="sizes of disks that fill up (20)")
    parser.add_argument("--only", action="append", choices=[case.name for case in CASES], help="only this command")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="commands at once")
    parser.add_argument("--record", action="store_true", help="add the figures to results/verification.json")
    options = parser.parse_args(arguments)
    names = {case.name for case in CASES} if options.group is None else set(GROUPS[options.group])
    cases = [case for case in CASES if case.name in (names if options.only is None else names & set(options.only))]
    counts: Counter = Counter()
    wrong = 0
    with tempfile.TemporaryDirectory(prefix="faults-") as name:
        materials = prepare(Path(name).resolve())
        run = partial(
            _run, place=Path(name).resolve() / "work", materials=materials, points=options.points, sizes=options.sizes
        )
        with ThreadPoolExecutor(options.jobs) as pool:
            for each, problems in pool.map(run, cases):
                counts += each
                wrong += problems
    print(f"{len(cases)} commands, {counts.total()} faults, {wrong} wrong")
    if options.record and not wrong:
        values = [Value("command lines", len(cases), "", "measured")]
        labels = {"kill": "kills", "full disk": "full disks", "wrong input": "wrong inputs"}
        values += [Value(labels[kind], counts[kind], "", "measured") for kind in KINDS]
        values += [Value("wrong results", wrong, "", "measured")]
        part = options.only[0].replace(", ", "-") if options.only and len(cases) == 1 else options.group
        name = f"faults/{part}".replace(" ", "-") if part else "faults"
        try:
            add_record(
                ROOT / "results", "verification", name, values,
                command=" ".join(["python -m tests.faults", *arguments]),
                configuration=f"{options.points} kills and {options.sizes} sizes of disks for each of: "
                + "; ".join(case.name for case in cases),
            )  # fmt: skip
        except UserError as error:
            print(error, file=sys.stderr)
            return 2
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
