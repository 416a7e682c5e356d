"""Commands become records; the figures are those of their JSON output."""

import json
import subprocess

import pytest

from psahw.errors import CheckFailed, UserError
from psahw.records import Value, load
from psahw.records import capture as capture_module
from psahw.records.capture import add_record, capture, machine

PLAN = {
    "network": "tiny",
    "digest": "0" * 64,
    "device": "xc7k160t",
    "clock_hz": 143e6,
    "frame_interval": 2048,
    "latency": 6837,
    "fps": 69824.21875,
    "resources": {"lut": 25890, "ff": 28842, "dsp": 495, "bram36": 59.5},
    "clock": {"how": "requested", "highest_hz": None, "cause": None},
}


@pytest.fixture
def command(monkeypatch):
    """Let a command end with a given status and output; returns what was run."""
    runs = []

    def answer(output="", status=0):
        def run(arguments, **options):
            runs.append(arguments)
            return subprocess.CompletedProcess(arguments, status, output)

        monkeypatch.setattr(capture_module.processes, "run", run)
        monkeypatch.setattr(capture_module, "_commit", lambda: "0123abc")
        return runs

    return answer


def test_plan(command):
    runs = command(json.dumps(PLAN))
    kind, record = capture("tiny/marble", ["plan", "tiny", "--fps", "10"], configuration="as a test")
    assert kind == "plan"
    assert runs[0][1:] == ["-m", "psahw", "plan", "tiny", "--fps", "10", "--json"]
    assert (record.subject, record.device, record.command) == ("tiny", "xc7k160t", "psahw plan tiny --fps 10")
    assert (record["frame interval"], record["clock"], record["throughput"]) == (2048, 143.0, 69824)
    assert {value.what: value.how for value in record.values} == {
        "frame interval": "calculated",
        "latency": "calculated",
        "clock": "target",
        "throughput": "target",
        "lut": "estimated",
        "ff": "estimated",
        "dsp": "estimated",
        "bram36": "estimated",
    }


@pytest.mark.parametrize(
    ("how", "highest_hz", "expected"),
    [("estimated", 150e6, "estimated"), ("estimated", 142e6, "target"), ("routed", 143e6, "measured")],
)
def test_the_clock_of_a_plan(command, how, highest_hz, expected):
    """A clock counts as known only if what is known supports it."""
    command(json.dumps(PLAN | {"clock": {"how": how, "highest_hz": highest_hz, "cause": None}}))
    _, record = capture("tiny/marble", ["plan", "tiny"])
    assert {value.how for value in record.values if value.what in ("clock", "throughput")} == {expected}


BUILD = {
    "network": "tiny",
    "digest": "0" * 64,
    "device": "lfe5u-85f",
    "clock_hz": 100e6,
    "frame_interval": 16384,
    "fps": 6103.515625,
    "used": {"MULT18X18D": {"used": 147, "available": 156}, "DCCA": {"used": 0, "available": 56}},
    "fmax_hz": 104_166_667.0,
    "met": True,
    "seconds": {"synthesis": 300.2, "place and route": 500.4},
}


@pytest.mark.parametrize(("met", "status"), [(True, 0), (False, 1)])
def test_build(met, status, command):
    """A circuit that misses its clock has a record as well, without a frame rate."""
    command(json.dumps(BUILD | {"met": met}), status)
    kind, record = capture("tiny/ulx3s", ["build", "tiny", "--board", "ulx3s-85f"])
    assert kind == "routing"
    assert (record["clock"], record["planned clock"], record["MULT18X18D"], record["time"]) == (104.17, 100, 147, 801)
    assert {value.what for value in record.values if value.unit == "FPS"} == ({"throughput"} if met else set())
    assert not any(value.what == "DCCA" for value in record.values)


def test_a_command_that_fails(command):
    command(status=2)
    with pytest.raises(CheckFailed, match=r"^psahw plan tiny ended with status 2$"):
        capture("tiny/marble", ["plan", "tiny"])


def test_a_command_without_figures():
    with pytest.raises(UserError, match=r"^a record is made of plan, .*, synth, build, not of 'info tiny'$"):
        capture("tiny/marble", ["info", "tiny"])


def test_uncommitted_changes(monkeypatch):
    def run(arguments, **options):
        return subprocess.CompletedProcess(arguments, 0, "0123abc-dirty\n")

    monkeypatch.setattr(capture_module.processes, "run", run)
    with pytest.raises(UserError, match="run this in a checkout without uncommitted changes"):
        capture("tiny/marble", ["plan", "tiny"])


def test_machine():
    assert "Python 3" in machine()


def test_figures_of_a_program(tmp_path, monkeypatch):
    monkeypatch.setattr(capture_module, "_commit", lambda: "0123abc")
    for cases in (1, 2):
        values = [Value("cases", cases, "cases", "measured")]
        add_record(tmp_path, "verification", "fuzz/network", values, command="make fuzz")
    records = load(tmp_path / "verification.json")
    assert list(records) == ["fuzz/network"]
    record = records["fuzz/network"]
    assert (record["cases"], record.commit, record.command, record.machine) == (2, "0123abc", "make fuzz", machine())
