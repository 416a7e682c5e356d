"""A network whose names need escaping, and results about it."""

import dataclasses

import numpy as np
import pytest

from psahw.architecture.device import DEVICES
from psahw.network.evaluation import evaluate
from psahw.network.graph import Output
from psahw.network.random import StageShape, random_images, random_network
from psahw.network.samples import CLASSES
from psahw.planner import search
from tests.report import NASTY


@pytest.fixture(scope="session")
def network():
    """Return a network of two stages."""
    stages = (StageShape(8, 6, 1, groups=2, kernel=3), StageShape(12, 5, 1))
    network = random_network(np.random.default_rng(0), image=(16, 16), stages=stages, name=NASTY, classes=10)
    network = dataclasses.replace(network, output=Output("class", CLASSES))
    network.metadata["dataset"] = "cifar10"
    network.metadata["accuracy"] = {"cifar10 test INT8": 82.5, NASTY: 1.0}
    return network


@pytest.fixture(scope="session")
def results(network):
    """Return all results, as the commands print them."""
    rng = np.random.default_rng(1)
    plan = search.make(network, DEVICES["xc7k160t"], clock_hz=100e6, bus_bytes=4).to_dict()
    images, labels = random_images(rng, network, 30), rng.integers(0, 5, 30)
    return {
        "plan": plan | {"board": NASTY},
        "simulation": {
            "images": 20,
            "mismatched_logits": 0,
            "mismatched_classes": 0,
            "frame_interval": plan["frame_interval"],
            "frame_interval_predicted": plan["frame_interval"],
            "latency": [1, 2],
            "latency_predicted": plan["latency"],
            "sim_cycles_per_second": 12345,
        },
        "evaluation": evaluate(network, images, labels, NASTY),
        "synth": {
            "resources": {"lut": 1234.0, "ff": 1, "dsp": 2, "bram36": 3.5},
            "timing": {
                "grade": "2",
                "clock_mhz": 143,
                "path_ns": 4.25,
                "allowance_ns": 0.3,
                "slack_ns": 2.443,
                "highest_mhz": 219.78,
                "levels": 3,
                "cause": "net with 900 loads",
            },
            "stages": [
                {"name": "embed", "path_ns": 3.5, "slack_ns": 3.193, "cause": "block RAM", "path_from": "input"},
                {
                    "name": "head",
                    "path_ns": 4.25,
                    "slack_ns": 2.443,
                    "cause": "net with 900 loads",
                    "path_from": "pool",
                },
                {"name": "argmax"},
            ],
        },
    }
