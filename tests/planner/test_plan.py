"""Plans as JSON."""

import dataclasses
import json

import numpy as np
import pytest

from psahw.architecture.device import DEVICES
from psahw.network.random import StageShape, random_network
from psahw.planner import search
from psahw.planner.cost import cost

K160T = DEVICES["xc7k160t"]


@pytest.fixture(scope="module")
def network():
    stages = (StageShape(16, 16, blocks=2, groups=2), StageShape(24, 16, groups=4, kernel=3))
    return random_network(np.random.default_rng(3), image=(16, 16), stages=stages)


def test_texts(network):
    """Numbers are rounded to whole ones, and the clock to six digits."""
    planned = search.make(network, K160T, clock_hz=100e6, fps=20_000)
    assert planned.resources == cost(planned.pipeline, "xc7", whole=True)
    large = dataclasses.replace(planned, clock_hz=999_999e6, frame_interval=4000, latency=3_999_996_000_000)
    assert repr(large) == "<Plan of 'random' on xc7k160t at 999999 MHz: 4000 cycles per frame>"
    assert large.summary == (
        "random on xc7k160t at 999999 MHz (requested): one frame per 4,000 cycles, 249,999,750 FPS, latency "
        "3,999,996,000,000 cycles (4,000,000 us)"
    )
    assert large.to_dict()["latency_s"] == 4.0


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
