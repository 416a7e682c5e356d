"""Topologies other than ResMLPs, whole: the circuit equals the integer model, and its cadence the prediction."""

import numpy as np
import pytest

from psahw import boards, generate
from psahw.network import reference
from psahw.network.random import random_images
from psahw.planner import search
from psahw.planner.rules import Rules
from psahw.sim import runner

from .topologies import TOPOLOGIES

BOARD = boards.get("alveo-u250")


def check(name, engines, folder, *, scale, images, fps=None):
    """Plan and simulate a topology, back to back and with stalls."""
    network = TOPOLOGIES[name](scale)
    plan = search.make(
        network,
        BOARD.device,
        clock_hz=BOARD.clock_hz,
        bus_bytes=search.widest_bus(network, BOARD.bus_bytes),
        rules=Rules.parse(engines),
        fps=fps,
    )
    generate.write(network, plan, folder)
    design = runner.load_design(folder)
    inputs = random_images(np.random.default_rng(1), network, images)
    expected = reference.run(network, inputs)
    assert len(np.unique(expected)) > 10
    for options in ({}, {"stalls": True}):
        result = runner.simulate(design, inputs, expected, seed=1, **options)
        assert runner.problems(result) == []
        assert result["images"] == images


@pytest.mark.parametrize(
    ("name", "engines", "scale"),
    [("mlp", "parallel", 4), ("autoencoder", "mac", 8), ("resnet8", "mac", 4), ("depthwise_separable", "mac", 8)],
)
def test_small(name, engines, scale, tmp_path):
    check(name, engines, tmp_path, scale=scale, images=8, fps=None if name == "mlp" else 100_000)


@pytest.mark.slow
@pytest.mark.parametrize("engines", ["mac", "mac,serial,parallel"])
@pytest.mark.parametrize("name", TOPOLOGIES)
def test_in_their_own_sizes(name, engines, tmp_path):
    check(name, engines, tmp_path, scale=1, images=100, fps=2000 if name == "resnet8" else None)
