"""Tests that a student whose token mixing is freer than its teacher's starts as the same function."""

import itertools

import pytest
import torch
from psahw.model.config import ModelConfig, StageConfig
from psahw.model.resmlp import ResMLP
from psahw.model.transfer import narrow

from psahw.errors import UserError
from psahw.network import samples

MIXINGS = {
    "shared": {"groups": 2, "kernel": 3, "shared": True},
    "local": {"groups": 2, "kernel": 3},
    "depthwise": {"groups": 8, "kernel": 3, "shared": True},
    "dense": {"groups": 2},
    "dense, more groups": {"groups": 4},
    "wider": {"groups": 2, "kernel": 5},
}
FREER = {  # for each token mixing, those that can represent it
    "shared": {"local", "depthwise", "dense", "dense, more groups"},
    "local": {"dense", "dense, more groups"},
    "dense": {"dense, more groups"},
    "wider": {"dense", "dense, more groups"},
    "depthwise": set(),
    "dense, more groups": set(),
}


def _config(mixing: str) -> ModelConfig:
    return ModelConfig((StageConfig(8, 6, 2, **MIXINGS[mixing]),), patch_size=8, patch_stride=8)


def _trained(config: ModelConfig) -> ResMLP:
    torch.manual_seed(1)
    model = ResMLP(config)
    for parameter in model.parameters():
        parameter.data += 0.3 * torch.randn_like(parameter)
    return model.eval()


@pytest.mark.parametrize("teacher, student", list(itertools.permutations(MIXINGS, 2)))
def test_freer_mixing(teacher, student):
    theirs, ours = _trained(_config(teacher)), ResMLP(_config(student)).eval()
    if student not in FREER[teacher]:
        with pytest.raises(UserError, match="must keep its kernel"):
            narrow(theirs, ours)
        return
    narrow(theirs, ours)
    images = torch.from_numpy(samples.load()[0][:20])
    with torch.no_grad():
        assert torch.allclose(theirs(images), ours(images), atol=1e-4, rtol=1e-4)
