"""Tests of the functions behind the training commands, called from Python."""

import dataclasses

import numpy as np
import pytest
import torch

from psahw.errors import UserError
from psahw.model import checkpoint, data
from psahw.model.config import ModelConfig, StageConfig
from psahw.model.evaluation import evaluate
from psahw.model.quantize import quantize
from psahw.model.teaching import teach
from psahw.model.training import distill, train
from psahw.network import file as network_file

SHAPE = ModelConfig((StageConfig(8, 8, 1),), patch_size=8, patch_stride=8, classes=3)
QUICK = {"epochs": 1, "batch": 15, "compile": False}


@pytest.fixture(scope="module")
def dataset():
    """Return thirty images of three classes that are not among the named data sets."""
    images = np.random.default_rng(3).integers(0, 256, (30, 32, 32, 3), dtype=np.uint8)
    labels = np.arange(30, dtype=np.uint8) % 3
    return data.Dataset("noise", ("a", "b", "c"), images, labels, images, labels)


@pytest.fixture(scope="module")
def trained(dataset, tmp_path_factory):
    return train(SHAPE, tmp_path_factory.mktemp("runs") / "float", dataset=dataset, **QUICK)


def test_train(trained, dataset):
    assert trained.finished and trained.epoch == 1 and trained.config.batch == 15
    model, about = checkpoint.load_model(trained.model)
    assert model.config == SHAPE and about["dataset"] == "noise"
    result = evaluate(trained.model, dataset=dataset)
    with torch.no_grad():
        answers = model(torch.from_numpy(dataset.test_images)).argmax(1).numpy()
    assert result.correct == (answers == dataset.test_labels).sum()
    assert (result.images, result.dataset) == (30, "noise")


@pytest.mark.parametrize("name", ["", "a" * 101, "a\x1b[31m"])
def test_wrong_names_are_refused_before_training(name, trained, dataset, tmp_path):
    with pytest.raises(UserError, match=r"^--name must (have 1 to 100 characters|consist of characters that print)"):
        quantize(trained.model, name, tmp_path / "run", dataset=dataset, **QUICK)
    assert not (tmp_path / "run").exists()


def test_unfinished_run(dataset, tmp_path):
    lines = []
    settings = QUICK | {"epochs": 2}
    result = train(SHAPE, tmp_path, dataset=dataset, stop_after=1, log=lines.append, **settings)
    assert not result.finished and not result.model.exists()
    assert result.to_dict() == {"finished": False, "epoch": 1, "epochs": 2}
    assert len(lines) == 1 and lines[0].startswith("epoch 1/2  loss ")
    assert train(SHAPE, tmp_path, dataset=dataset, **settings).finished


def test_teach_distill_quantize(trained, dataset, tmp_path):
    progress = []
    answers = teach(
        [trained.model], tmp_path / "answers", 2, dataset=dataset, compile=False,
        progress=lambda complete, total: progress.append((complete, total)),
    )  # fmt: skip
    assert (answers.views, answers.images, answers.classes) == (2, 27, 3) and progress[-1] == (54, 54)
    student = distill(
        SHAPE, tmp_path / "student", targets=answers.directory, source=trained.model, dataset=dataset, **QUICK
    )
    assert student.finished
    result = quantize(student.model, "noise", tmp_path / "int8", epochs=0, bits="5,head=8", dataset=dataset)
    assert result.network == tmp_path / "int8" / "noise.safetensors"
    assert (result.logits_compared, result.finished) == (9, True)
    network = network_file.load(result.network)
    assert evaluate(network, dataset=dataset) == evaluate(result.network, dataset=dataset)


def test_unknown_setting(tmp_path):
    with pytest.raises(UserError, match="unknown field 'speed'; known are epochs, "):
        train("tiny", tmp_path, speed=9)
    with pytest.raises(UserError, match="ema must be a setting of the teachers' answers, which are seed, "):
        teach(["run"], tmp_path, 1, ema=0.9)


def test_network_without_a_file_cannot_be_recorded():
    with pytest.raises(UserError, match="record needs the name of a network file, not a network"):
        evaluate(network_file.load("cifar10-psa-small"), dataset="sample", record=True)
    for images in (0, -5):
        with pytest.raises(ValueError, match=f"^images must be positive, not {images}$"):
            evaluate("cifar10-psa-small", dataset="sample", images=images)


def test_results_are_frozen(trained):
    with pytest.raises(dataclasses.FrozenInstanceError):
        trained.epoch = 2
