"""Put faults into the sources, one at a time, and count those that no test notices.

    python -m tests.mutation [--group GROUP] [--module PATH] [--sample N] [--seed S] [--record]

Results are kept in ``build/mutation/``, and a run that was interrupted continues there. A mutant counts as killed if
a test fails or takes five times as long as with the right source. ``tests/mutation/equivalent.json`` lists mutants
that no test can notice, with the reason for each.
"""

import argparse
import hashlib
import json
import random
import sys
from collections import Counter
from pathlib import Path

from psahw.callbacks import counter
from psahw.cli.output import progress
from psahw.records import Value
from psahw.records.capture import add_record

from .mutants import Mutant, mutant, places
from .targets import GROUPS, TARGETS, Target
from .trees import ROOT, SURVIVED, Tree, preload

FOLDER = ROOT / "build" / "mutation"
EQUIVALENT = Path(__file__).with_name("equivalent.json")
SLOWER = 5  # times as long as the right source: a mutant that does not end counts as killed
GRACE = 20.0  # additional seconds, because the machine may be busy


def chosen(target: Target, sample: int | None, seed: int) -> list[Mutant]:
    """Return the mutants of a module, or a random sample of them."""
    source = (ROOT / target.module).read_text()
    positions = places(source)
    if sample is not None and sample < len(positions):
        positions = sorted(random.Random(f"{seed} {target.module}").sample(positions, sample))
    return [mutant(source, *position) for position in positions]


def _key(target: Target, one: Mutant) -> str:
    """Return a hash of a mutant and the tests' names: what its result in the log belongs to."""
    return hashlib.sha256(f"{target.module} {target.tests} {one.source}".encode()).hexdigest()[:20]


def _log(path: Path) -> dict[str, str]:
    """Return the outcomes in a log by key."""
    if not path.exists():
        return {}
    lines = [line.split() for line in path.read_text().splitlines()]
    return {line[0]: line[1] for line in lines if len(line) == 2}


def run_target(target: Target, mutants: list[Mutant], log: Path) -> list[Mutant]:
    """Test mutants of a module, except those with an outcome in the log, and return those that survive.

    Raises RuntimeError if the tests fail with the right source.
    """
    outcomes = _log(log)
    pending = [one for one in mutants if _key(target, one) not in outcomes]
    if pending:
        tree = Tree(FOLDER / "tree" / target.group)
        status, seconds = tree.run(target, None, 1800)
        if status != SURVIVED:
            raise RuntimeError(f"{target.module}: its tests fail without a mutation, with status {status}")
        with progress(target.module) as report, open(log, "a") as file:
            advance = counter(report, len(pending))
            for one in pending:
                status, _ = tree.run(target, one.source, SLOWER * seconds + GRACE)
                outcome = "survived" if status == SURVIVED else "killed"
                outcomes[_key(target, one)] = outcome
                print(_key(target, one), outcome, file=file, flush=True)
                advance(1)
    return [one for one in mutants if outcomes[_key(target, one)] == "survived"]


def _reasons() -> dict[tuple[str, str, str], str]:
    """Return the reasons why mutants cannot be noticed, by module and the two lines."""
    entries = json.loads(EQUIVALENT.read_text())
    return {(entry["module"], entry["before"], entry["after"]): entry["reason"] for entry in entries}


def main(arguments: list[str]) -> int:
    """Run the mutants, and return 0 if fewer than 5 % of those in each group survive without a reason, else 1."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.mutation", description="Count faults that no test notices."
    )
    parser.add_argument("--group", action="append", choices=GROUPS, help="only modules of this group")
    parser.add_argument("--module", action="append", help="only this module")
    parser.add_argument("--sample", type=int, help="mutants per module, chosen at random; by default all")
    parser.add_argument("--seed", type=int, default=1, help="seed of the choice")
    parser.add_argument("--record", action="store_true", help="add the scores to results/verification.json")
    options = parser.parse_args(arguments)
    targets = [
        target
        for target in TARGETS
        if target.group in (options.group or GROUPS) and target.module in (options.module or [target.module])
    ]
    preload()
    FOLDER.mkdir(parents=True, exist_ok=True)
    reasons = _reasons()
    tested, survivors, explained = Counter(), Counter(), Counter()
    for target in targets:
        mutants = chosen(target, options.sample, options.seed)
        tested[target.group] += len(mutants)
        for one in run_target(target, mutants, FOLDER / f"{target.group}.log"):
            reason = reasons.get((target.module, one.before, one.after))
            survivors[target.group] += 1
            explained[target.group] += reason is not None
            if reason is None:
                print(f"{target.module}:{one.line}: {one.operator}\n    {one.before}\n    {one.after}")
    command = f"python -m tests.mutation {' '.join(arguments)}".strip()
    for group in tested:
        open_share = 100 * (survivors[group] - explained[group]) / tested[group]
        print(f"{group}: {tested[group]} mutants, {survivors[group]} survive, {explained[group]} of them explained")
        if options.record:
            values = [
                Value("mutants", tested[group], "mutants", "measured"),
                Value("survivors", survivors[group], "mutants", "measured"),
                Value("survivors without a reason", round(open_share, 1), "%", "measured"),
            ]
            add_record(ROOT / "results", "verification", f"mutation/{group}", values, command=command)
    return any(survivors[group] - explained[group] >= 0.05 * tested[group] for group in tested)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
