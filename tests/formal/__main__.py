"""Prove the stream contract of the components, and refute it for faulty ones.

    python -m tests.formal                         every proof and every refutation
    python -m tests.formal --list                  their names, methods and bounds
    python -m tests.formal transpose mac           those with "transpose" or "mac" in their names
    python -m tests.formal 'queue/depth-3/*'       those whose names match a pattern
    python -m tests.formal --quick                 those of the test suite

A proof must be proved, and a fault must be refuted: an assertion that cannot fail shows nothing. Outcomes are kept in
``build/proofs``, by a digest of the circuit, so that a run that was interrupted continues there; --again does
everything anew. What the solver does not decide within --limit seconds is tried anew by the next run. The exit
status is 0 if every check came out as it must, and 1 otherwise; for a proof that was refuted, the output has the
values of the component's ports up to the clock cycle in which an assertion fails, and the command that does it again.
"""

import argparse
import sys
from collections.abc import Sequence
from fnmatch import fnmatch
from pathlib import Path

import msgspec

from psahw.callbacks import counter
from psahw.cli.output import progress

from .checks import Outcome, Task, attempt_all, names, proof_of, wanted
from .proofs import PROOFS
from .recording import add_proofs

ROOT = Path(__file__).parents[2]
COLUMNS = 24  # clock cycles of a counterexample in one line


def chosen(patterns: Sequence[str], *, quick: bool) -> list[str]:
    """Return the names of checks that contain or match one of some patterns; all names if there are none."""
    return [
        name
        for name in names(quick=quick)
        if not patterns or any(pattern in name or fnmatch(name, pattern) for pattern in patterns)
    ]


def show(trace: dict[str, list[str]]) -> str:
    """Return a counterexample as text: a line for each port, a column for each clock cycle."""
    cycles = len(next(iter(trace.values()), ()))
    first = max(cycles - COLUMNS, 0)
    lines = {"clock cycle": [str(cycle) for cycle in range(first, cycles)]}
    lines |= {port: values[first:] for port, values in sorted(trace.items())}
    width = max(len(text) for line in lines.values() for text in line) if cycles else 0
    head = max(map(len, lines))
    return "\n".join(
        f"    {port:<{head}}  {' '.join(f'{text:>{width}}' for text in line)}" for port, line in lines.items()
    )


def describe(outcome: Outcome) -> str:
    """Return lines about the outcome of a check, with the counterexample of a proof that was refuted."""
    line = f"{'ok  ' if outcome.passed else 'FAIL'} {outcome.status:<9} {outcome.seconds:7.1f} s  {outcome.name}"
    if outcome.passed:
        return line
    lines = [line, f"    must be {wanted(outcome.name)}; again: python -m tests.formal --again '{outcome.name}'"]
    if outcome.trace:
        lines.append(show(outcome.trace))
    return "\n".join(lines)


def _list(chosen_names: Sequence[str], as_json: bool) -> None:
    """Print names, and how each check is done."""
    entries = []
    for name in chosen_names:
        proof = proof_of(name)
        entries.append({"name": name, "wanted": wanted(name), "engine": proof.engine, "bound": proof.bound})
    if as_json:
        print(msgspec.json.format(msgspec.json.encode(entries)).decode())
        return
    for entry in entries:
        bound = f"{entry['bound']} clock cycles" if entry["bound"] else "for all time"
        print(f"{entry['wanted']:<8} {entry['engine']:<10} {bound:<16} {entry['name']}")


def main(arguments: list[str]) -> int:
    """Run the command line, and return 0 if every check comes out as it must, else 1."""
    summary, _, rest = __doc__.partition("\n")
    parser = argparse.ArgumentParser(
        prog="python -m tests.formal", description=summary, epilog=rest,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    parser.add_argument(
        "patterns", nargs="*", metavar="NAME", help="part of a name, or a pattern; all if none is given"
    )
    parser.add_argument("--list", action="store_true", help="print the names, and do nothing")
    parser.add_argument("--quick", action="store_true", help="only checks that belong to the test suite")
    parser.add_argument("--jobs", type=int, default=1, help="checks at once (1)")
    parser.add_argument(
        "--limit",
        type=int,
        default=1800,
        help="seconds of processor time of a solver (1800); 0 for kept outcomes only",
    )
    parser.add_argument("--again", action="store_true", help="do not use outcomes of earlier runs")
    parser.add_argument("--json", action="store_true", help="print the outcomes as JSON")
    parser.add_argument("--record", action="store_true", help="add the outcomes to results/verification.json")
    options = parser.parse_args(arguments)
    selected = chosen(options.patterns, quick=options.quick)
    if not selected:
        parser.error("no check has such a name; --list prints all of them")
    if options.list:
        _list(selected, options.json)
        return 0
    if options.record and (options.patterns or options.quick):
        parser.error("--record needs all checks, without names and --quick")
    outcomes = []
    with progress("proofs") as report:
        advance = counter(report, len(selected))
        for outcome in attempt_all([Task(name, options.limit, options.again) for name in selected], options.jobs):
            outcomes.append(outcome)
            if not options.json:
                print(describe(outcome), flush=True)
            advance(1)
    if options.json:
        print(msgspec.json.format(msgspec.json.encode(outcomes)).decode())
    failed = [outcome.name for outcome in outcomes if not outcome.passed]
    proofs = sum(outcome.name in PROOFS for outcome in outcomes)
    print(
        f"{proofs} proofs and {len(outcomes) - proofs} refutations, {len(failed)} of them failed or undecided; "
        f"{sum(outcome.seconds for outcome in outcomes):.0f} s of processor time",
        file=sys.stderr,
    )
    if options.record:
        add_proofs(ROOT / "results", outcomes, f"python -m tests.formal {' '.join(arguments)}".strip())
    return int(bool(failed))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
