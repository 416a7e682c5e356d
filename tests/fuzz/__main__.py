"""Fuzz readers at length.

    python -m tests.fuzz [--cases N] [--reader NAME] [--jobs N] [--record]

Without a name, all readers are fuzzed, each in a process of its own. The exit status is 1 if a case failed; the
output then has the case, and a line that reproduces it.
"""

import argparse
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import msgspec

from psahw.records import Value
from psahw.records.capture import add_record

from .cases import Counts, fuzz
from .readers import READERS

ROOT = Path(__file__).parents[2]


def _run(name: str, cases: int) -> tuple[str, Counts | str, float]:
    """Fuzz one reader in another process, and return its name, its counts or its output, and the seconds."""
    start = time.monotonic()
    command = [sys.executable, "-m", "tests.fuzz", "--reader", name, "--cases", str(cases)]
    finished = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
    seconds = time.monotonic() - start
    if finished.returncode:
        return name, (finished.stdout + finished.stderr)[-5000:], seconds
    return name, msgspec.json.decode(finished.stdout, type=Counts), seconds


def _record(counts: dict[str, Counts], cases: int, reader: str | None) -> None:
    """Add the figures to the records: those of all readers, or of one."""
    values = [
        Value("readers", len(counts), "", "measured"),
        Value("cases of each", cases, "", "measured"),
        Value("cases", sum(count.accepted + count.refused for count in counts.values()), "", "measured"),
        Value("accepted", sum(count.accepted for count in counts.values()), "", "measured"),
        Value("refused in one line", sum(count.refused for count in counts.values()), "", "measured"),
        Value("failed", 0, "", "measured"),
        Value("slowest case", round(max(count.slowest for count in counts.values()), 2), "s", "measured"),
        Value("most memory", round(max(count.megabytes for count in counts.values())), "MB", "measured"),
    ]
    add_record(
        ROOT / "results", "verification", "fuzz" + (f"/{reader.replace(' ', '-')}" if reader else ""), values,
        command=f"python -m tests.fuzz --cases {cases}" + (f" --reader '{reader}'" if reader else ""),
        configuration=f"damaged input for {', '.join(counts)}",
    )  # fmt: skip


def main(arguments: list[str]) -> int:
    """Run the command line, and return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__.partition("\n")[0])
    names = [reader.name for reader in READERS]
    parser.add_argument("--cases", type=int, default=10_000, help="damaged cases of each reader (10,000)")
    parser.add_argument("--reader", choices=names, help="fuzz this reader alone, and print its counts as JSON")
    parser.add_argument("--jobs", type=int, default=1, help="readers at once")
    parser.add_argument("--record", action="store_true", help="add the figures to results/verification.json")
    options = parser.parse_args(arguments)
    if options.reader:
        counts = fuzz(READERS[names.index(options.reader)], options.cases)
        print(msgspec.json.encode(counts).decode())
        if options.record:
            _record({options.reader: counts}, options.cases, options.reader)
        return 0
    failed, by_name = False, {}
    with ThreadPoolExecutor(options.jobs) as pool:
        for name, result, seconds in pool.map(lambda name: _run(name, options.cases), names):
            if isinstance(result, Counts):
                by_name[name] = result
                print(
                    f"{name:<14} {result.accepted:>6,} accepted, {result.refused:>6,} refused, "
                    f"at most {result.slowest:.2f} s and {result.megabytes:.0f} MB, {seconds:.0f} s in all",
                    flush=True,
                )
            else:
                failed = True
                print(f"{name:<14} failed:\n{result}", flush=True)
    if options.record and not failed:
        _record(by_name, options.cases, None)
    return int(failed)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
