"""Topologies other than ResMLPs, whole: the circuit equals the integer model, and its cadence the prediction."""

import pytest

pytest.importorskip("torch", reason="the extra `train` is not installed")

from .topologies import FULL, SMALL, check


@pytest.mark.parametrize(
    ("name", "engines", "fps"),
    [
        ("mlp", "parallel", 1e6),
        ("mixer", "mac", 50_000),
        ("resnet8", "serial:2", 1e6),
        ("depthwise-separable", "mac", 50_000),
        ("autoencoder", "serial:1", 1e6),
    ],
)
def test_small(name, engines, fps, tmp_path):
    outcome = check(name, SMALL[name], engines, (), fps, 8, tmp_path)
    assert outcome.problems == ()


@pytest.mark.slow
@pytest.mark.parametrize("engines", ["mac", "serial,parallel"])
@pytest.mark.parametrize("name", FULL)
def test_in_their_own_sizes(name, engines, tmp_path):
    shape, fps, layers = FULL[name]
    assert check(name, shape, engines, () if engines == "mac" else layers, fps, 100, tmp_path).problems == ()
