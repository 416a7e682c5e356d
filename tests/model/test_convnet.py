"""Tests of the convolutional teacher: shape, multiply-accumulates, files."""

import json

import numpy as np
import pytest
import torch
from torch.nn import functional

from psahw.cli import main
from psahw.errors import UserError
from psahw.model import checkpoint
from psahw.model.config import ConvConfig, TrainConfig
from psahw.model.convnet import ConvNet, Convolution
from psahw.model.native import can_compile
from psahw.model.optim import Average, make_optimizers
from psahw.model.presets import PRESETS, load_model_config

SMALL = ConvConfig((4, 6), stem=3, image=(9, 13), classes=5)


@pytest.fixture
def images():
    return torch.from_numpy(np.random.default_rng(3).integers(0, 256, (7, 9, 13, 3), dtype=np.uint8))


def test_logits(images):
    torch.manual_seed(1)
    model = ConvNet(SMALL)
    assert model(images).shape == (7, 5)
    model.eval()
    torch.testing.assert_close(model(images)[2:5], model(images[2:5]))


def test_multiply_accumulates_are_counted(images, monkeypatch):
    macs, convolve = [], functional.conv2d

    def counted(x, filters, padding):
        y = convolve(x, filters, padding=padding)
        macs.append(y[0].numel() * filters[0].numel())
        return y

    monkeypatch.setattr(functional, "conv2d", counted)
    model = ConvNet(SMALL).eval()
    model(images)
    assert sum(macs) + model.head.weight.numel() == SMALL.macs()
    matrices = sum(p.numel() for name, p in model.named_parameters() if p.ndim == 2)
    assert matrices == SMALL.weights()
    assert PRESETS["conv"].model.macs() == pytest.approx(65e6, rel=0.01)


def test_first_filters_pass_their_channel_on():
    x = torch.randn(2, 3, 6, 6)
    assert torch.equal(Convolution(3, 5, 3, 1)(x)[:, :3], x)


def test_muon_gets_the_convolutions():
    model = ConvNet(SMALL)
    muon, _ = make_optimizers(model, TrainConfig())
    assert len(muon.param_groups[0]["params"]) == 1 + 2 * len(SMALL.widths)


def test_file(tmp_path, images):
    model = ConvNet(SMALL).eval()
    checkpoint.save_model(tmp_path / "model.safetensors", model, SMALL, {})
    loaded, _ = checkpoint.load_model(tmp_path / "model.safetensors")
    assert loaded.config == SMALL
    assert torch.equal(loaded(images), model(images))


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"widths": []}, "widths must not be empty"),
        ({"widths": [0]}, r"widths must be an integer in \[1, .*\], not 0"),
        ({"stem": 1.5}, "stem must be an integer in .*, not 1.5"),
        ({"image": [32, 4]}, "an image side of 4 cannot be halved 2 times"),
        ({"depth": 3}, "unknown field 'depth'"),
    ],
)
def test_wrong_shape(changes, message, tmp_path):
    path = tmp_path / "shape.json"
    path.write_text(json.dumps({"kind": "conv", "widths": [4, 8]} | changes))
    with pytest.raises(UserError, match=message):
        load_model_config(str(path))


def test_teaches(tmp_path, capsys):
    path = tmp_path / "shape.json"
    path.write_text(json.dumps({"kind": "conv", "widths": [4, 8], "stem": 4}))
    smoke = ["--dataset", "sample", "--batch", "30", "--epochs", "1", "--set", "compile=false", "--json"]
    teacher, student = str(tmp_path / "teacher"), str(tmp_path / "student")
    assert main(["train", "--config", str(path), "-o", teacher, *smoke]) == 0
    capsys.readouterr()
    distill = ["distill", "--teacher", teacher, "--config", "tiny", "-o", student, *smoke]
    assert main(distill) == 2
    assert "only a ResMLP can start from its teacher" in capsys.readouterr().err
    assert main([*distill, "--start", "random"]) == 0
    assert json.loads(capsys.readouterr().out)["epochs"] == 1
    assert main(["quantize", teacher, "--name", "x", "-o", str(tmp_path / "int8"), *smoke]) == 2
    assert 'a teacher of kind "conv" is never quantised' in capsys.readouterr().err


def test_average(images):
    """BatchNorm's counter is an integer, which is copied."""
    torch.manual_seed(2)
    model = ConvNet(SMALL)
    average = Average(model, 0.5)
    before = average.tensors["head.weight"].clone()
    model(images)
    model.head.weight.data += 1
    average.update(model)
    assert average.tensors["norm.num_batches_tracked"] == 1
    weight = 1 - 1 / 11
    torch.testing.assert_close(average.tensors["head.weight"], before + weight)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # from torch.compile
@pytest.mark.skipif(not can_compile("cpu"), reason="torch.compile needs a C++ compiler")
def test_compiled_in_bfloat16_has_gradients(images):
    torch.manual_seed(1)
    model = ConvNet(SMALL)

    def loss(images):
        with torch.autocast("cpu", torch.bfloat16):
            return model(images).square().mean()

    torch.compile(loss)(images).backward()
    assert all(parameter.grad.isfinite().all() for parameter in model.parameters())
