"""Run damaged cases through a reader, and check what every reader must keep to."""

import resource
import tempfile
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from hypothesis import HealthCheck, given, settings

from psahw.errors import CheckFailed, UserError

from .readers import Reader

__all__ = ["Counts", "fuzz"]

SECONDS, MEGABYTES = 2, 500
LONGEST = 600  # characters of a message, besides paths


@dataclass(frozen=True)
class Counts:
    """Numbers of cases of a reader, and what they took.

    Attributes
    ----------
    accepted, refused
        Number of cases.
    slowest
        Processor time of the slowest case, in seconds.
    megabytes
        Memory that all cases took in addition to that of the first ones.
    """

    accepted: int
    refused: int
    slowest: float
    megabytes: float


def _peak_megabytes() -> float:
    """Return the largest amount of memory that this process has had."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def _check_message(error: Exception, folder: Path) -> None:
    """Check that a message is one short line that can be printed."""
    message = str(error).replace(str(folder), "")
    assert message.isprintable(), f"{message!r} does not print"
    assert 0 < len(message) <= LONGEST, f"{len(message)} characters: {message[:LONGEST]}"


def _outcome(reader: Reader, case: object, folder: Path) -> tuple[str, float]:
    """Return whether a reader accepts or refuses a case, and its processor time in seconds.

    Raises AssertionError if it does anything else.
    """
    reader.write(case, folder)
    before = sorted(folder.rglob("*"))
    memory, start = _peak_megabytes(), time.process_time()
    result = "accepted"
    try:
        reader.read(case, folder)
    except (UserError, CheckFailed, *reader.errors) as error:
        result = "refused"
        _check_message(error, folder)
    seconds = time.process_time() - start
    assert seconds < SECONDS, f"{seconds:.1f} s"
    assert _peak_megabytes() - memory < MEGABYTES
    assert sorted(folder.rglob("*")) == before, "it left files behind"
    return result, seconds


def fuzz(reader: Reader, cases: int, *, derandomize: bool = False) -> Counts:
    """Run damaged cases through a reader, and return what became of them.

    Parameters
    ----------
    reader
        The reader, which must first accept its valid cases.
    cases
        Number of cases.
    derandomize
        Whether the cases are always the same.

    Raises
    ------
    Exception
        If a case ends in anything but success or an error for the user. Hypothesis adds the case and a line that
        reproduces it.
    """
    counts: Counter[str] = Counter()
    times = [0.0]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for case in reader.valid():
            result, _ = _outcome(reader, case, folder)
            assert result == "accepted"
        memory = _peak_megabytes()

        @settings(
            max_examples=cases,
            deadline=None,
            database=None,
            derandomize=derandomize,
            suppress_health_check=list(HealthCheck),
            print_blob=True,
        )
        @given(reader.damaged())
        def check(case):
            result, seconds = _outcome(reader, case, folder)
            counts[result] += 1
            times.append(seconds)

        check()
    return Counts(counts["accepted"], counts["refused"], max(times), _peak_megabytes() - memory)
