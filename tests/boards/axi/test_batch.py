"""The throughput and the logits of a real accelerator in the kernel."""

import numpy as np
import pytest

from psahw.cli import main
from psahw.network import file as network_file
from psahw.network.random import StageShape, random_images, random_network
from psahw.network.resmlp import Patch
from tests.boards.axi.batch import classify, problems

COUNT = 200


@pytest.mark.slow  # test_kernel.py simulates smaller batches
def test_a_batch_of_200_images(tmp_path):
    """All logits are correct, and the batch takes at most 5 % more cycles than 200 frame intervals.

    The images have 81 bytes, 3 per beat, and begin at an odd address. The time includes the latency
    of the first image.
    """
    pytest.importorskip("cocotbext.axi", reason="the extra `sim` is not installed")
    network = random_network(
        np.random.default_rng(7),
        image=(9, 3),
        patch=Patch(3, 3),
        stages=(StageShape(channels=4, hidden=3),),
        name="little",
    )
    network_file.save(network, tmp_path / "little.safetensors")
    command = ["package", str(tmp_path / "little.safetensors"), "--for", "vitis", "--engines", "mac", "--fps", "3e6"]
    assert main([*command, "-o", str(tmp_path / "kernel")]) == 0
    result = classify(tmp_path / "kernel", network, random_images(np.random.default_rng(8), network, COUNT))
    assert problems(result) == []
    assert result["images"] == COUNT and 50 <= result["frame_interval"] <= 100
    assert (
        result["cycles"] >= (COUNT - 1) * result["frame_interval"]
    )  # a shorter time would mean that something else was measured


@pytest.mark.parametrize(
    ("change", "complaints"),
    [
        ({}, []),
        ({"mismatched_logits": 3}, ["3 mismatched logits"]),
        ({"mismatched_classes": 1}, ["1 mismatched classes"]),
        ({"status": 2}, ["the kernel's status is 2"]),
        ({"over_limit": 0.06}, ["an image takes 6.0 % more cycles than the accelerator or the bus needs"]),
    ],
)
def test_problems(change, complaints):
    good = {"mismatched_logits": 0, "mismatched_classes": 0, "status": 0, "over_limit": 0.05}
    assert problems(good | change) == complaints
