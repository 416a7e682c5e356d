"""The C training step against the same network in torch: values, gradients, running statistics."""

import copy
import dataclasses

import numpy as np
import pytest
import torch

from model import fused
from model.config import ModelConfig, StageConfig
from model.losses import cross_entropy, smooth_targets
from model.resmlp import ResMLP

STAGES = {
    "local": (StageConfig(24, 20, 2, groups=4, kernel=3),),
    "depthwise pyramid": (
        StageConfig(16, 12, 1, groups=16, kernel=3, shared=True),
        StageConfig(20, 33, 2, groups=5, kernel=5, shared=True),
    ),
    "dense": (StageConfig(12, 8, 2, groups=2),),
}

pytestmark = pytest.mark.skipif(fused._library() is None, reason="needs AVX-512 and a C compiler")


def _model(stages: tuple[StageConfig, ...], activation: str) -> ResMLP:
    torch.manual_seed(3)
    model = ResMLP(
        ModelConfig(stages, patch_size=5, patch_stride=4, patch_padding=1, activation=activation, segments=4)
    )
    for parameter in model.parameters():
        parameter.data += 0.2 * torch.randn_like(parameter)
    return model.train()


@pytest.mark.parametrize("activation", ["psa_both", "psa_hidden", "gelu", "relu"])
@pytest.mark.parametrize("stages", STAGES.values(), ids=STAGES)
def test_equals_torch(stages, activation, monkeypatch):
    monkeypatch.setattr(fused, "COLLECT_EVERY", 1)
    model = _model(stages, activation)
    other = copy.deepcopy(model)
    images = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (64, 32, 32, 3), dtype=np.uint8))
    targets = smooth_targets(torch.arange(64) % 10, 10, 0.1)
    logits, expected = fused.forward(model, images), other(images)
    assert torch.allclose(logits, expected, atol=1e-3, rtol=1e-3)
    cross_entropy(logits, targets).backward()
    cross_entropy(expected, targets).backward()
    for (name, parameter), reference in zip(model.named_parameters(), other.parameters(), strict=True):
        # A bias in front of norms alone has no gradient: what is left of it is rounding.
        error = (parameter.grad - reference.grad).norm() / (reference.grad.norm() + 1e-3)
        assert error < 2e-3, f"{name}: {float(error)}"
    for (name, buffer), reference in zip(model.named_buffers(), other.buffers(), strict=True):
        assert torch.allclose(buffer, reference, atol=1e-4, rtol=1e-3), name


def test_sampled_gradient_is_unbiased(monkeypatch):
    """Each of the phases takes another quarter of the values: their mean is the gradient of them all."""
    model = _model(STAGES["local"], "psa_both")
    images = torch.from_numpy(np.random.default_rng(1).integers(0, 256, (64, 32, 32, 3), dtype=np.uint8))
    targets = smooth_targets(torch.arange(64) % 10, 10, 0.1)

    def gradient(every: int, phase: int) -> torch.Tensor:
        monkeypatch.setattr(fused, "COLLECT_EVERY", every)
        model.zero_grad()
        cross_entropy(fused.forward(model, images, phase), targets).backward()
        return model.stages[0].blocks[0].channel_mixing.act_hidden.value.grad.clone()

    every, exact = fused.COLLECT_EVERY, gradient(1, 0)
    sampled = torch.stack([gradient(every, phase) for phase in range(every)])
    assert not torch.allclose(sampled[0], exact, rtol=1e-2)
    assert torch.allclose(sampled.mean(0), exact, rtol=1e-3, atol=1e-5)


def test_usable():
    model = _model(STAGES["local"], "relu")
    assert fused.usable(model, 64)
    assert not fused.usable(model, 48)
    assert not fused.usable(model.double(), 64)
    assert not fused.usable(torch.nn.Linear(2, 2), 64)


def test_same_again(monkeypatch):
    """Bit for bit, whatever the threads do."""
    images = torch.from_numpy(np.random.default_rng(1).integers(0, 256, (64, 32, 32, 3), dtype=np.uint8))
    found = []
    for _ in range(2):
        model = _model(STAGES["depthwise pyramid"], "psa_both")
        fused.forward(model, images).square().sum().backward()
        found.append(torch.cat([p.grad.flatten() for p in model.parameters()]))
    assert torch.equal(*found)
    assert dataclasses.asdict(model.config)["activation"] == "psa_both"
