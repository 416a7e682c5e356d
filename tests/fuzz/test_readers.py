"""Every reader takes damaged input, within bounds of time and memory, and leaves nothing behind."""

import os
import resource
import time
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings

from psahw.errors import CheckFailed, UserError

from .readers import READERS, Reader

CASES = int(os.environ.get("FUZZ_CASES", "200"))
SECONDS, MEGABYTES = 2, 500
LONGEST = 600  # characters of a message, besides paths


def peak_megabytes() -> float:
    """Return the largest amount of memory that this process has had."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def check_message(error: Exception, folder: Path) -> None:
    """Check that a message is one short line that can be printed."""
    message = str(error).replace(str(folder), "")
    assert message.isprintable(), f"{message!r} does not print"
    assert 0 < len(message) <= LONGEST, f"{len(message)} characters: {message[:LONGEST]}"


def outcome(reader: Reader, case: object, folder: Path) -> str:
    """Return whether a reader accepts or refuses a case. Raises AssertionError if it does anything else."""
    reader.write(case, folder)
    before = sorted(folder.rglob("*"))
    memory, start = peak_megabytes(), time.process_time()
    result = "accepted"
    try:
        reader.read(case, folder)
    except (UserError, CheckFailed, *reader.errors) as error:
        result = "refused"
        check_message(error, folder)
    assert time.process_time() - start < SECONDS
    assert peak_megabytes() - memory < MEGABYTES
    assert sorted(folder.rglob("*")) == before, "it left files behind"
    return result


@pytest.mark.parametrize("reader", READERS, ids=[reader.name for reader in READERS])
def test_reader(reader, tmp_path, record_property):
    for module in reader.needs:
        pytest.importorskip(module)
    counts: Counter[str] = Counter()
    assert {outcome(reader, case, tmp_path) for case in reader.valid()} == {"accepted"}

    @settings(
        max_examples=CASES,
        deadline=None,
        database=None,
        derandomize=CASES <= 200,  # the test suite always has the same cases
        suppress_health_check=list(HealthCheck),
        print_blob=True,
    )
    @given(reader.damaged())
    def check(case):
        counts[outcome(reader, case, tmp_path)] += 1

    check()
    print(f"{reader.name}: {counts['accepted']} accepted, {counts['refused']} refused")
    record_property("refused", counts["refused"])
    assert counts["refused"] > 0
