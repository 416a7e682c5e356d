"""Tests of optimisers, learning rates and averages."""

import itertools

import pytest
import torch

from psahw.model.config import TrainConfig
from psahw.model.optim import Average, learning_rate, make_optimizers
from psahw.model.presets import PRESETS
from psahw.model.resmlp import ResMLP


@pytest.mark.parametrize("schedule", ["linear", "cosine", "onecycle"])
def test_schedules(schedule):
    factor = learning_rate(TrainConfig(schedule=schedule, warmup=0.2), 100)
    values = [factor(step) for step in range(100)]
    assert max(values) == pytest.approx(1, abs=0.06)
    assert values.index(max(values)) in range(18, 22)
    assert values[0] < 0.1 and values[-1] < 0.02
    assert all(a >= b for a, b in itertools.pairwise(values[21:]))


def test_muon_gets_the_matrices():
    model = ResMLP(PRESETS["plain"].model)
    muon, adamw = make_optimizers(model, TrainConfig())
    names = {id(p): name for name, p in model.named_parameters()}
    matrices = {names[id(p)] for p in muon.param_groups[0]["params"]}
    assert "embed.weight" in matrices and "stages.0.blocks.0.token_mixing.weights.0" in matrices
    assert not any("act_" in name or "head" in name for name in matrices)
    assert len(matrices) + len(adamw.param_groups[0]["params"]) == len(names)


@pytest.mark.parametrize("optimizer", ["muon", "adamw"])
def test_only_matrices_decay(optimizer):
    """A step without gradients does nothing but decay."""
    model = ResMLP(PRESETS["plain"].model)
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    config = TrainConfig(optimizer=optimizer, weight_decay=0.5, muon_lr=0.1, adamw_lr=0.1)
    for p in model.parameters():
        p.grad = torch.zeros_like(p)
    for part in make_optimizers(model, config):
        part.step()
    for name, p in model.named_parameters():
        decays = p.ndim == 2 and not any(part in name for part in ("act_", "head", "bias"))
        torch.testing.assert_close(p.detach(), before[name] * (0.95 if decays else 1), msg=name)


def test_average_forgets_the_start():
    model = torch.nn.Linear(1, 1, bias=False)
    average = Average(model, 0.99)
    with torch.no_grad():
        model.weight.fill_(5.0)
    for _ in range(500):
        average.update(model)
    assert average.tensors["weight"].item() == pytest.approx(5.0, abs=0.05)
