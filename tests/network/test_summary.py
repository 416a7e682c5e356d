"""Counts of a network's weights, operations and tables, compared with counts made by hand."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import psahw.network
from calibration.published import convert
from psahw.network.random import StageShape, random_network
from psahw.network.resmlp import Patch
from psahw.network.summary import accuracies, summarise, weight_bits


@pytest.mark.parametrize(
    ("weights", "bits"),
    [([0], 1), ([1], 2), ([-1], 1), ([-1, 1], 2), ([3], 3), ([-4], 3), ([4], 4), ([127], 8), ([-128], 8)],
)
def test_weight_bits(weights, bits):
    assert weight_bits(np.array(weights, np.int8)) == bits


def test_published_counts():
    """The article states 95,680 weights in matrices and 6,587,328 multiply-accumulates per frame."""
    try:
        network, _ = convert("psa96")
    except FileNotFoundError as error:
        pytest.skip(f"published network absent: {error.filename}")
    info = summarise(network)
    assert (info["macs"], info["weights"]) == (6_587_328, 95_680)
    assert info["tables"] == 4 * 6 * 96


def test_counts_by_loops():
    """Totals of two stages, one of them local with groups, equal those of loops over the products."""
    rng = np.random.default_rng(1)
    stages = (StageShape(8, 6, 2, groups=2, kernel=3), StageShape(12, 5, 1, groups=3))
    network = random_network(rng, image=(16, 12), patch=Patch(4, 2, 1), stages=stages, extremes=True)
    height, width = network.place("embed").output.grid
    assert (height, width) == (8, 6)
    inside = sum(
        0 <= row + dy < height and 0 <= column + dx < width
        for row in range(height)
        for column in range(width)
        for dy in (-1, 0, 1)
        for dx in (-1, 0, 1)
    )
    first, second = height * width, height * width // 4
    local = 2 * (inside * 8 + 2 * first * 8 * 6)
    dense = second**2 * 12 + 2 * second * 12 * 5
    macs = first * 48 * 8 + local + second * 32 * 12 + dense + 12 * 5
    weights = 48 * 8 + 2 * (2 * inside + 96) + 32 * 12 + 3 * second**2 + 120 + 60
    info = summarise(network)
    assert (info["macs"], info["weights"]) == (macs, weights)
    assert info["weights_nonzero"] == sum(np.count_nonzero(layer.weight) for _, layer, *_ in network.linears())
    assert 0 < info["macs_nonzero"] < info["macs"]
    assert info["tables"] == 2 * (5 * 8 + 6) + 5 * 12 + 5
    assert info["weight_bits"] == 8
    json.dumps(info)


def test_a_shared_kernel_counts_once():
    """The weights of a shared kernel count once, its operations for every token."""
    counts = []
    for shared in (False, True):
        stages = (StageShape(8, 6, 2, groups=8, kernel=3, shared=shared),)
        info = summarise(random_network(np.random.default_rng(1), image=(16, 12), stages=stages))
        counts.append([info["layers"][1][key] for key in ("weights", "macs", "inputs")])
    reached = (3 * 4 - 2) * (3 * 3 - 2)  # a line of n tokens has 3·n - 2 pairs
    assert counts == [[8 * reached, 8 * reached, 12], [8 * 9, 8 * reached, 12]]


def test_nonzero_operations_of_a_shared_kernel():
    network = random_network(np.random.default_rng(1), stages=(StageShape(8, 6, 1, 4, 3, True),), extremes=True)
    info = summarise(network)["layers"][1]
    layer = network.place("stages.0.blocks.0.token_mixing.linear").layer
    assert info["weights_nonzero"] == np.count_nonzero(layer.weight)
    assert info["macs_nonzero"] == 2 * np.count_nonzero(layer.dense((2, 2)))


def test_no_tables():
    network = random_network(np.random.default_rng(0), tables=False)
    assert list(network.tables()) == []
    assert summarise(network)["tables"] == 0


@pytest.mark.parametrize(
    ("recorded", "expected"),
    [
        ({"int8": 82.5, "float": 83, "note": "x"}, {"int8": 82.5, "float": 83}),
        (82.5, {"int8": 82.5}),
        (None, {}),
        ("82", {}),
        (True, {}),
    ],
)
def test_accuracies(recorded, expected):
    network = random_network(np.random.default_rng(0))
    network.metadata["accuracy"] = recorded
    assert accuracies(network) == expected


def test_networks_need_no_hardware_libraries():
    """Importing every module of the package loads neither Amaranth nor torch, not even through other modules."""
    package = Path(psahw.network.__file__).parent
    names = [f"psahw.network.{path.stem}" for path in package.glob("*.py") if path.stem != "__init__"]
    block = "import sys; sys.modules |= dict.fromkeys(['amaranth', 'torch', 'scipy', 'da4ml', 'cocotb'])"
    code = f"{block}; import {', '.join(names)}"
    process = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert (process.returncode, process.stderr) == (0, "")
