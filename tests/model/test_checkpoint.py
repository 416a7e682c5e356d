"""Float models and teachers' answers that are damaged are refused in one line, before memory is spent on them."""

import json

import pytest
import safetensors.torch
import torch

from psahw.errors import UserError
from psahw.model import checkpoint
from psahw.model.config import ModelConfig, StageConfig
from psahw.model.resmlp import ResMLP
from psahw.model.targets import Targets

CONFIG = ModelConfig((StageConfig(8, 8, 1),), patch_size=8, patch_stride=8, classes=3)


def write(path, tensors, text):
    """Write a file with a description that `checkpoint.write` would not write."""
    safetensors.torch.save_file(tensors, path, metadata={"psahw": text})
    return path


@pytest.fixture
def saved(tmp_path):
    """Return the file of a small model, its tensors and its description."""
    checkpoint.save_model(tmp_path / "model.safetensors", ResMLP(CONFIG), CONFIG, {"seed": 1})
    tensors, metadata = checkpoint.read(tmp_path / "model.safetensors")
    return tmp_path / "model.safetensors", tensors, metadata


def test_a_model_is_read_as_it_was_written(saved):
    path, tensors, _ = saved
    model, about = checkpoint.load_model(path)
    assert about == {"seed": 1} and not model.training
    assert all(torch.equal(value, tensors[name]) for name, value in model.state_dict().items())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"kind": "targets"}, r" must be a trained model: give the run's model\.safetensors$"),
        ({"model": None}, r": model must be an object, not null$"),
        ({"about": []}, r": about must be an object, not \[\]$"),
        ({"format": "1"}, r" must be a run directory or its model\.safetensors, not a network file$"),
        ({"format": 2}, r" has checkpoint format 2; this version reads 1$"),
        ({"model": CONFIG.to_dict() | {"classes": 60_000}}, r": head\.bias must have shape \(60000,\), not \(3,\)$"),
        ({"model": CONFIG.to_dict() | {"classes": "x" * 9_000}}, r"classes must be an integer in .*, not 'x{77}…'$"),
    ],
    ids=range(7),
)
def test_wrong_descriptions(change, message, saved):
    path, tensors, metadata = saved
    write(path, tensors, json.dumps(metadata | change))
    with pytest.raises(UserError, match=message):
        checkpoint.load_model(path)


def test_a_description_must_be_strict_json(saved):
    path, tensors, _ = saved
    for text, message in (("[" * 100_000, "nested more than 64 deep$"), ('{"format": NaN}', "NaN is not JSON")):
        write(path, tensors, text)
        with pytest.raises(UserError, match=message):
            checkpoint.read(path)


def test_missing_and_foreign_tensors(saved):
    path, tensors, metadata = saved
    write(path, {name: value for name, value in tensors.items() if name != "head.bias"}, json.dumps(metadata))
    with pytest.raises(UserError, match=r"head\.bias: this tensor is missing$"):
        checkpoint.load_model(path)
    write(path, tensors | {"more": torch.zeros(1)}, json.dumps(metadata))
    with pytest.raises(UserError, match=r"more: this tensor does not belong to the model described$"):
        checkpoint.load_model(path)


@pytest.mark.parametrize(
    ("change", "answers", "message"),
    [
        ({"teachers": "none"}, torch.zeros(4, 3, dtype=torch.float16), r": teachers must be a list, not 'none'$"),
        ({"seed": None}, torch.zeros(4, 3, dtype=torch.float16), r": seed must be an integer, not null$"),
        ({}, torch.zeros(4, 3), r": answers must be a matrix of float16$"),
        ({}, torch.zeros(4, dtype=torch.float16), r": answers must be a matrix of float16$"),
    ],
)
def test_wrong_answers_of_teachers(change, answers, message, tmp_path):
    about = {"kind": "targets", "dataset": "cifar10", "seed": 1, "augmentation": {}, "teachers": []}
    checkpoint.write(tmp_path / "view0000.safetensors", {"answers": answers}, about | change)
    with pytest.raises(UserError, match=rf"view0000\.safetensors{message}"):
        Targets.load(tmp_path)


def test_views_of_another_shape(tmp_path):
    about = {"kind": "targets", "dataset": "cifar10", "seed": 1, "augmentation": {}, "teachers": []}
    for number, count in enumerate((4, 5)):
        answers = torch.zeros(count, 3, dtype=torch.float16)
        checkpoint.write(tmp_path / f"view{number:04}.safetensors", {"answers": answers}, about)
    with pytest.raises(UserError, match=r"view0001\.safetensors has answers of another shape than .*view0000"):
        Targets.load(tmp_path)
