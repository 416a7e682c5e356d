"""Put faults into the sources, one at a time, and count those that no test notices.

    python -m tests.mutation [--group GROUP] [--module PATH] [--sample N] [--seed S] [--again]
                             [--record]

Results are kept in ``build/mutation/``, and a run that was interrupted continues there. A mutant survives if all
tests of its module pass. Tests that take five times the processor time are stopped, and counted apart.
``tests/mutation/equivalent.json`` lists mutants that no test can notice, with the reason for each. Those that
were found in the sample of a record count as survivors there, although they have a reason (``counts``).
"""

import argparse
import hashlib
import json
import random
import shlex
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
SLOWER = 5  # times the processor time that tests take with the right source
GRACE = 10.0  # additional seconds
SURVIVES, EXPLAINED, KILLED, ENDLESS = "survives", "explained", "killed", "endless"


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
    """Return the outcomes in a log by key. The last one counts."""
    if not path.exists():
        return {}
    lines = [line.split() for line in path.read_text().splitlines()]
    return {line[0]: line[1] for line in lines if len(line) == 2}


def run_target(target: Target, mutants: list[Mutant], log: Path, again: bool = False) -> list[str]:
    """Test mutants of a module, except those with an outcome in the log, and return all outcomes.

    If ``again`` is set, those that survive according to the log are tested once more. Raises RuntimeError if the
    tests fail with the right source.
    """
    outcomes = {key: outcome for key, outcome in _log(log).items() if not (again and outcome == SURVIVES)}
    pending = [one for one in mutants if _key(target, one) not in outcomes]
    if pending:
        tree = Tree(FOLDER / "tree" / target.group)
        status, seconds = tree.run(target, None, 600)
        if status != SURVIVED:
            raise RuntimeError(f"{target.module}: its tests fail without a mutation, with status {status}")
        with progress(target.module) as report, open(log, "a") as file:
            advance = counter(report, len(pending))
            for one in pending:
                status, _ = tree.run(target, one.source, SLOWER * seconds + GRACE)
                outcome = {SURVIVED: SURVIVES, None: ENDLESS}.get(status, KILLED)
                outcomes[_key(target, one)] = outcome
                print(_key(target, one), outcome, file=file, flush=True)
                advance(1)
    return [outcomes[_key(target, one)] for one in mutants]


def _reasons() -> tuple[dict[tuple[str, str, str], str], dict[tuple[str, str, str], str]]:
    """Return why mutants are not noticed, by module and the two lines: reasons of equivalents and of survivors."""
    equivalent: dict[tuple[str, str, str], str] = {}
    survivors: dict[tuple[str, str, str], str] = {}
    for entry in json.loads(EQUIVALENT.read_text()):
        reasons = survivors if entry.get("counts") else equivalent
        reasons[entry["module"], entry["before"], entry["after"]] = entry["reason"]
    return equivalent, survivors


def main(arguments: list[str]) -> int:
    """Run the mutants, and return 0 if fewer than 5 % of those in each group survive without a reason, else 1."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.mutation", description="Count faults that no test notices."
    )
    parser.add_argument("--group", action="append", choices=GROUPS, help="only modules of this group")
    parser.add_argument("--module", action="append", help="only this module")
    parser.add_argument("--sample", type=int, help="mutants per module, chosen at random; by default all")
    parser.add_argument("--seed", type=int, default=1, help="seed of the choice")
    parser.add_argument("--again", action="store_true", help="test those once more that have survived")
    parser.add_argument("--record", action="store_true", help="add the scores to results/verification.json")
    parser.add_argument(
        "--note", default="", help="note of the record, such as the commit of the tests if it is older"
    )
    options = parser.parse_args(arguments)
    targets = [
        target
        for target in TARGETS
        if target.group in (options.group or GROUPS) and target.module in (options.module or [target.module])
    ]
    preload()
    FOLDER.mkdir(parents=True, exist_ok=True)
    equivalent, explained = _reasons()
    survivors: dict[str, list[Value]] = {target.group: [] for target in targets}
    counts: dict[str, Counter[str]] = {target.group: Counter() for target in targets}
    for target in targets:
        mutants = chosen(target, options.sample, options.seed)
        outcomes = run_target(target, mutants, FOLDER / f"{target.group}.log", options.again)
        for one, outcome in zip(mutants, outcomes, strict=True):
            key = target.module, one.before, one.after
            if outcome == SURVIVES and key in equivalent:
                outcome = EXPLAINED
            counts[target.group][outcome] += 1
            if outcome == SURVIVES:
                print(f"{target.module}:{one.line}: {one.operator}\n    {one.before}\n    {one.after}", flush=True)
                reason = explained.get(key, "not explained")
                survivors[target.group].append(_survivor(target, one, reason))
    command = shlex.join(["python", "-m", "tests.mutation", *_without(arguments, options.note)])
    for group, count in counts.items():
        print(
            f"{group}: {count.total()} mutants; {count[KILLED]} fail, {count[ENDLESS]} take too long, "
            f"{count[EXPLAINED]} have the same meaning, {count[SURVIVES]} survive ({100 * _share(count):.1f} %)"
        )
        if options.record:
            values = [
                Value("mutants", count.total(), "mutants", "measured"),
                Value("noticed", count[KILLED], "mutants", "measured"),
                Value("stopped because the tests took too long", count[ENDLESS], "mutants", "measured"),
                Value("equivalent", count[EXPLAINED], "mutants", "measured"),
                Value("survivors", count[SURVIVES], "mutants", "measured"),
                Value(
                    "survivors among those that are not equivalent", round(100 * _share(count), 1), "%", "measured"
                ),
                *survivors[group],
            ]
            sample = f"{options.sample} of each module, seed {options.seed}" if options.sample else "all"
            add_record(
                ROOT / "results",
                "verification",
                f"mutation/{group}",
                values,
                command=command,
                configuration=sample,
                note=options.note,
            )
    return any(_share(count) >= 0.05 for count in counts.values())


def _without(arguments: list[str], note: str) -> list[str]:
    """Return the arguments without those that only concern the record."""
    return [argument for argument in arguments if argument not in ("--record", "--note", note)]


def _survivor(target: Target, one: Mutant, reason: str) -> Value:
    """Return the entry of a record for a mutant that survives."""
    what = f"survivor {target.module}:{one.line}, {one.operator} {one.occurrence}"
    return Value(what, f"{one.after}  # {reason}", "", "measured")


def _share(count: Counter[str]) -> float:
    """Return the share of survivors among the mutants of a group that are not equivalent."""
    return count[SURVIVES] / max(1, count.total() - count[EXPLAINED])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
