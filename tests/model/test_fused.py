"""The training step in C equals the same network in torch: values, gradients and running statistics."""

import copy
import json

import numpy as np
import pytest
import torch

from psahw.model import data, fused
from psahw.model.config import ModelConfig, StageConfig, TrainConfig
from psahw.model.losses import cross_entropy, smooth_targets
from psahw.model.presets import PRESETS
from psahw.model.resmlp import ResMLP
from psahw.model.training_loop import fit

STAGES = {
    "local": (StageConfig(24, 20, 2, groups=4, kernel=3),),
    "depthwise pyramid": (
        StageConfig(16, 12, 1, groups=16, kernel=3, shared=True),
        StageConfig(20, 33, 2, groups=5, kernel=5, shared=True),
    ),
    "dense": (StageConfig(12, 8, 2, groups=2),),
}
SIZES = {"whole tiles": (32, 64), "a part of a tile": (20, 96)}  # side of the images and batch; 64 or 25 tokens
# A grid of 5 x 5 cannot be merged, so the pyramid is tested in whole tiles only.
CASES = [(s, z) for s in STAGES for z in SIZES if z == "whole tiles" or len(STAGES[s]) == 1]

pytestmark = pytest.mark.skipif(fused._library() is None, reason="needs AVX-512 and a C compiler")


def _model(stages: tuple[StageConfig, ...], activation: str, side: int = 32) -> ResMLP:
    torch.manual_seed(3)
    patches = {"patch_size": 5, "patch_stride": 4, "patch_padding": 1}
    psa = {"segments": 4, "grid_size": 22 if activation == "psa_hidden" else 64}
    model = ResMLP(ModelConfig(stages, **patches, activation=activation, **psa, image=(side, side)))
    for parameter in model.parameters():
        parameter.data += 0.2 * torch.randn_like(parameter)
    return model.train()


def _images(batch: int, side: int = 32) -> torch.Tensor:
    rng = np.random.default_rng(batch)
    return torch.from_numpy(rng.integers(0, 256, (batch, side, side, 3), dtype=np.uint8))


@pytest.mark.parametrize("activation", ["psa_both", "psa_hidden", "gelu", "relu"])
@pytest.mark.parametrize("stages, size", CASES)
def test_equals_torch(stages, size, activation, monkeypatch):
    stages, (side, batch) = STAGES[stages], SIZES[size]
    monkeypatch.setattr(fused, "COLLECT_EVERY", 1)
    model = _model(stages, activation, side)
    other = copy.deepcopy(model)
    images = _images(batch, side)
    targets = smooth_targets(torch.arange(batch) % 10, 10, 0.1)
    logits, expected = fused.forward(model, images), other(images)
    assert torch.allclose(logits, expected, atol=1e-3, rtol=1e-3)
    cross_entropy(logits, targets).backward()
    cross_entropy(expected, targets).backward()
    for (name, parameter), reference in zip(model.named_parameters(), other.parameters(), strict=True):
        # A bias that only norms follow has no gradient; the 1e-3 keeps its rounding errors from counting.
        error = (parameter.grad - reference.grad).norm() / (reference.grad.norm() + 1e-3)
        assert error < 2e-3, f"{name}: {float(error)}"
    for (name, buffer), reference in zip(model.named_buffers(), other.buffers(), strict=True):
        assert torch.allclose(buffer, reference, atol=1e-4, rtol=1e-3), name


def test_sampled_gradient_is_unbiased(monkeypatch):
    """Each phase takes a different quarter of the values, so the mean over the phases is the gradient of all."""
    model = _model(STAGES["local"], "psa_both")
    images = _images(64)
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


def test_repeats_bit_for_bit():
    """Gradients are equal bit for bit, although the threads may run in a different order each time."""
    images, gradients = _images(64), []
    threads = torch.get_num_threads()
    torch.set_num_threads(4)
    try:
        for _ in range(5):
            model = _model(STAGES["depthwise pyramid"], "psa_both")
            fused.forward(model, images).square().sum().backward()
            gradients.append(torch.cat([p.grad.flatten() for p in model.parameters()]))
    finally:
        torch.set_num_threads(threads)
    assert all(torch.equal(gradients[0], other) for other in gradients[1:])


@pytest.mark.parametrize("activation", ["psa_both", "gelu", "relu"])
def test_nan_reaches_the_logits(activation):
    """Otherwise a run whose weights have become NaN would continue with a plausible loss."""
    model = _model(STAGES["local"], activation)
    model.stages[0].blocks[0].channel_mixing.linear1.weight.data[3, 5] = torch.nan
    assert fused.forward(model, _images(64)).isnan().any()


@pytest.mark.parametrize(
    "images, message",
    [
        (_images(48), "a multiple of 32 images, not 48$"),
        (_images(64, 16), r"images must be uint8 \[B, 32, 32, 3\] on the CPU"),
        (_images(64).float(), "images must be uint8"),
    ],
)
def test_wrong_images(images, message):
    """The C code would read beyond the end of these."""
    with pytest.raises(ValueError, match=message):
        fused.forward(_model(STAGES["dense"], "relu"), images)


def test_training_run_uses_it(tmp_path, monkeypatch):
    """A run that was stopped and resumed ends with the same weights as one that was not."""
    phases, forward = [], fused.forward
    monkeypatch.setattr(fused, "forward", lambda *arguments: phases.append(arguments[2]) or forward(*arguments))
    config = TrainConfig(epochs=4, batch=32, compile=False)
    ends = []
    for stops in ((None,), (2, None)):
        for stop in stops:
            torch.manual_seed(1)
            model = ResMLP(PRESETS["tiny"].model)
            directory = tmp_path / str(len(stops))
            fit(model, data.load("sample"), config, directory, stop_after=stop)
        ends.append(model.state_dict())
    assert phases == list(range(8)) * 2
    for name, value in ends[0].items():
        assert torch.equal(value, ends[1][name]), name
    events = [json.loads(line) for line in (directory / "log.jsonl").read_text().splitlines()]
    assert [event["step"] for event in events if "step" in event] == ["c", "c"]
