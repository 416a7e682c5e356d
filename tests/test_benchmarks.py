"""The program that measures the first plan and the first simulation."""

import json
import os
import sys

import pytest

from psahw.errors import UserError
from tests import benchmarks


def _command(program):
    return [sys.executable, "-c", f"import json, os, time; {program}"]


def test_measure():
    """A command has an empty cache of its own and two processors at most. Its own time and its children's count."""
    program = (
        "t = time.process_time(); any(time.process_time() - t > 0.4 for _ in iter(int, 1)); "
        "print(json.dumps([os.listdir(os.environ['PSAHW_CACHE']), len(os.sched_getaffinity(0))]))"
    )
    child = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {_inner(program)}])"
    taken = benchmarks.measure(_command(child))
    assert 0.2 <= taken.user <= 5
    assert taken.user <= taken.wall + 0.1
    files, processors = taken.result
    assert set(files) <= {"cifar10.safetensors"}
    assert processors == min(2, len(os.sched_getaffinity(0)))


def _inner(program):
    return repr(f"import json, os, time; {program}")


def test_failing_command():
    with pytest.raises(UserError, match=r"ended with status 3$"):
        benchmarks.measure(_command("raise SystemExit(3)"))


@pytest.mark.parametrize("wall, status", [(15.0, 0), (15.1, 1)])
def test_limit(wall, status, monkeypatch):
    monkeypatch.setattr(benchmarks, "measure", lambda command: benchmarks.Measurement(wall, 9.0, {}))
    assert benchmarks.main(["plan", "cifar10-psa"]) == status


def test_rates(monkeypatch):
    """The quicker run of each version counts, and the rate includes everything."""
    walls = iter([600.0, 200.0, 500.0, 300.0])

    def measure(command):
        return benchmarks.Measurement(next(walls), 1.0, {"cycles": 1, "mismatched_logits": 0})

    recorded = {}
    monkeypatch.setattr(benchmarks, "measure", measure)
    monkeypatch.setattr(benchmarks, "_record", lambda figures, options: recorded.update(figures))
    assert benchmarks.main(["long", "tiny", "--against", "old", "--rounds", "2", "--record", "--images", "100"]) == 0
    assert recorded["tiny, rate"] == (30.0, "images/min")
    assert recorded["older version, tiny, rate"] == (12.0, "images/min")
    assert json.dumps(recorded["tiny"]) == '[200.0, "s"]'
