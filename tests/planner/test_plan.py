"""Plans as JSON."""

import json

import numpy as np
import pytest

from psahw.architecture.device import DEVICES
from psahw.network.random import StageShape, random_network
from psahw.planner import search

K160T = DEVICES["xc7k160t"]


@pytest.fixture(scope="module")
def network():
    stages = (StageShape(16, 16, blocks=2, groups=2), StageShape(24, 16, groups=4, kernel=3))
    return random_network(np.random.default_rng(3), image=(16, 16), stages=stages)


def test_json(network):
    planned = search.make(network, K160T, clock_hz=100e6, fps=20_000)
    result = json.loads(json.dumps(planned.to_dict()))
    assert result["frame_interval"] * result["fps"] == pytest.approx(result["clock_hz"])
    assert set(result["resources"]) == set(result["limits"]) == {"lut", "ff", "dsp", "bram36"}
    for resource in ("dsp", "bram36"):
        assert sum(stage["resources"][resource] for stage in result["stages"]) == result["resources"][resource]
    names = [stage["name"] for stage in result["stages"]]
    assert len(set(names)) == len(names)
    assert all(1 <= stage["interval"] <= result["frame_interval"] for stage in result["stages"])
