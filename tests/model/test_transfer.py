"""Tests of students that begin with what their teachers have learned: as the same function, or block by block."""

import dataclasses
import itertools

import numpy as np
import pytest
import torch

from psahw.errors import UserError
from psahw.model.config import ModelConfig, StageConfig
from psahw.model.resmlp import ResMLP
from psahw.model.transfer import adopt, block_loss, narrow
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


def _stream(model, images):
    """Return the residual stream before each block and after the last one, from hooks on the blocks."""
    stream, hooks = [], []
    blocks = [block for stage in model.stages for block in stage.blocks]
    for block in blocks:
        hooks.append(block.register_forward_hook(lambda block, inputs, output: stream.append((inputs[0], output))))
    with torch.no_grad():
        model(images)
    for hook in hooks:
        hook.remove()
    return blocks, stream


def test_block_loss_is_the_error_of_each_block_by_itself():
    stages = (StageConfig(8, 6, 2, groups=2, kernel=3), StageConfig(12, 8, 1))
    config = ModelConfig(stages, patch_size=8, patch_stride=8)
    teacher = _trained(config)
    student = _trained(dataclasses.replace(config, activation="gelu"))
    images = torch.from_numpy(samples.load()[0][:20])
    _, stream = _stream(teacher, images)
    blocks, _ = _stream(student, images)
    with torch.no_grad():
        errors = [((block(x) - y) ** 2).double().mean().item() for block, (x, y) in zip(blocks, stream, strict=True)]
    assert len(errors) == 3
    assert block_loss(teacher, student, images).item() == pytest.approx(np.mean(errors), rel=1e-4)


def test_block_loss_has_gradients_only_for_the_students_blocks():
    teacher, student = _trained(_config("local")), _trained(_config("dense"))
    block_loss(teacher, student, torch.from_numpy(samples.load()[0][:20])).backward()
    trained = {name for name, parameter in student.named_parameters() if parameter.grad is not None}
    assert trained == {name for name, _ in student.named_parameters() if ".blocks." in name}
    assert all(parameter.grad is None for parameter in teacher.parameters())


def test_adopted_student_has_all_that_fits():
    """Embedding, norm and head are the teacher's, and so are the channel mixings; the token mixings do not fit."""
    teacher, student = _trained(_config("dense")), ResMLP(_config("local")).eval()
    adopt(teacher, student)
    state = student.state_dict()
    for name, value in teacher.state_dict().items():
        assert ".token_mixing." in name or torch.equal(state[name], value), name
    mixings = [value for name, value in state.items() if name.endswith("token_mixing.weight")]
    assert len(mixings) == 2 and not any(mixing.any() for mixing in mixings)
    same = ResMLP(_config("dense")).eval()
    adopt(teacher, same)
    assert block_loss(teacher, same, torch.from_numpy(samples.load()[0][:20])) == 0


@pytest.mark.parametrize("change", [{"channels": 10}, {"blocks": 1}])
def test_blocks_of_another_stream_cannot_be_learned(change):
    config = _config("local")
    other = dataclasses.replace(config, stages=(dataclasses.replace(config.stages[0], **change),))
    with pytest.raises(UserError, match=r"only if patches, and channels and blocks of every stage, are the same$"):
        adopt(_trained(config), ResMLP(other))
