"""Logs stay whole, whatever a kill or a full disk leaves of the last record."""

import json
import re
import resource
from contextlib import contextmanager

import pytest

from psahw import logs
from psahw.errors import UserError

LINES = ['{"event": "start", "command": ["a", "b"]}', '{"event": "epoch", "epoch": 1, "loss": 0.25}']
RECORDS = [{"event": "start", "command": ["a", "b"]}, {"event": "epoch", "epoch": 1, "loss": 0.25}]


@contextmanager
def full_disk(size):
    """Let no file grow beyond `size` bytes, as if the disk were full."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.parametrize("left", range(len(LINES[1]) + 2))
def test_a_record_after_one_that_was_cut_off(tmp_path, left):
    """Whatever is left of the last record, the next one is a line of its own, and the log can be read."""
    path = tmp_path / "log.jsonl"
    path.write_text(f"{LINES[0]}\n" + f"{LINES[1]}\n"[:left])
    complete = RECORDS[: 2 if left >= len(LINES[1]) else 1]
    assert logs.read(path, dict) == complete
    logs.append(path, "resume", epoch=1)
    expected = [*complete, {"event": "resume", "epoch": 1}]
    assert [json.loads(line) for line in path.read_text().splitlines()] == logs.read(path, dict) == expected


@pytest.mark.parametrize("left", range(1, len(LINES[1])))
def test_log_to_which_an_earlier_version_appended(tmp_path, left):
    """It began no new line after the cut."""
    path = tmp_path / "log.jsonl"
    path.write_text(f"{LINES[0]}\n{LINES[1][:left]}{LINES[1]}\n")
    assert logs.read(path, dict) == RECORDS


def test_zeros_after_a_power_failure(tmp_path):
    path = tmp_path / "log.jsonl"
    path.write_bytes(LINES[0].encode() + b"\n" + bytes(100))
    assert logs.read(path, dict) == RECORDS[:1]
    logs.append(path, "epoch", epoch=1, loss=0.25)
    assert path.read_text() == "\n".join([*LINES, ""])


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("not a log", " must be JSON: "),
        ("3", " must be an object, not 3$"),
        ("[" * 100_000, ": lists and objects are nested more than"),
        ('{"epoch": 1}', ": event is missing$"),
        ('{"event": 3}', ": event must be a string, not 3$"),
        ('{"event": "epoch", "loss": NaN}', ": NaN is not JSON"),
    ],
)
def test_lines_that_are_no_records(tmp_path, line, problem):
    path = tmp_path / "log.jsonl"
    path.write_text(f"{LINES[0]}\n{line}\n")
    with pytest.raises(UserError, match=rf"^{re.escape(str(path))}, line 2{problem}"):
        logs.read(path, dict)


def test_numbers_that_are_no_json(tmp_path):
    with pytest.raises(ValueError, match="not JSON compliant"):
        logs.append(tmp_path / "log.jsonl", "epoch", loss=float("nan"))
    assert not list(tmp_path.iterdir())


def test_full_disk(tmp_path):
    """The log stays as it was, also if a part of the record had room."""
    path = tmp_path / "log.jsonl"
    path.write_text(f"{LINES[0]}\n")
    with full_disk(path.stat().st_size + 10), pytest.raises(UserError, match=r"^cannot write .*log.jsonl: File too"):
        logs.append(path, "epoch", epoch=1, loss=0.25)
    assert path.read_text() == f"{LINES[0]}\n"
    logs.append(path, "epoch", epoch=1, loss=0.25)
    assert logs.read(path, dict) == RECORDS


def test_text_begins_a_new_line(tmp_path):
    path = tmp_path / "job.log"
    path.write_text("epoch 1\nepo")
    for line in ("epoch 2\n", "epoch 3\n"):
        with logs.open_text(path) as file:
            file.write(line)
    assert path.read_text() == "epoch 1\nepo\nepoch 2\nepoch 3\n"
    with pytest.raises(UserError, match=r"^cannot write .*absent.job.log: No such file"):
        logs.open_text(tmp_path / "absent" / "job.log")
