"""Training, quantisation, evaluation and simulation's images on data of any shape."""

import dataclasses
import json

import numpy as np
import pytest
import torch
from PIL import Image

from psahw.cli import main
from psahw.errors import UserError
from psahw.flow.images import load_test_images
from psahw.model import data, fused
from psahw.model.augment import View, pack
from psahw.model.config import ModelConfig, StageConfig, TrainConfig
from psahw.model.presets import load_model_config
from psahw.model.resmlp import ResMLP
from psahw.network import file as network_file
from psahw.network import reference

QUICK = ["--epochs", "2", "--batch", "16", "--set", "compile=false", "--json"]


def _run(capsys, *arguments):
    status = main([str(argument) for argument in arguments])
    out, err = capsys.readouterr()
    assert status == 0, err
    return json.loads(out)


def _shape(path, **fields):
    path.write_text(json.dumps(ModelConfig(**fields).to_dict()))
    return path


def test_grey_pictures_of_28_by_12(tmp_path, capsys):
    """From a folder of pictures to a network file, which is evaluated and gives images to simulate."""
    rng = np.random.default_rng(5)
    for label, name in enumerate(("dash", "dot", "blank")):
        for n in range(30):
            pixels = rng.integers(60, 90, (28, 12), np.uint8)
            pixels[4 + 8 * label : 8 + 8 * label] += 120
            (tmp_path / "signs" / name).mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels).save(tmp_path / "signs" / name / f"{n}.png")
    stage = StageConfig(8, 8, 1, groups=2, kernel=3)
    shape = _shape(tmp_path / "shape.json", stages=(stage,), patch_size=4, patch_stride=4, image=(28, 12), classes=3,
                   colours=1)  # fmt: skip
    folder = ["--dataset", tmp_path / "signs"]
    assert main(["train", "--config", "tiny", *map(str, folder), "-o", str(tmp_path / "run")]) == 2
    changes = "--shape image=[28,12] --shape colours=1 --shape classes=3"
    assert f"signs has (28, 12, 1) in 3; {changes} makes it fit\n" in capsys.readouterr().err
    run = ["train", "--config", shape, *folder, "-o", tmp_path / "run", "--set", "flip=false", *QUICK]
    assert _run(capsys, *run)["weights"] == ModelConfig.from_dict(json.loads(shape.read_text())).weights()
    quantized = _run(
        capsys, "quantize", tmp_path / "run", *folder, "--name", "signs", "-o", tmp_path / "int8", *QUICK
    )
    assert quantized["logits_different"] == 0
    network = network_file.load(quantized["network"])
    assert (network.image, network.colours, network.classes) == ((28, 12), 1, ("blank", "dash", "dot"))
    np.testing.assert_array_equal(network.input_table, np.arange(-128, 128)[None])
    dataset = data.load(str(tmp_path / "signs"))
    result = _run(capsys, "evaluate", quantized["network"], *folder, "--json")
    answers = reference.run(network, dataset.test_images).argmax(1)
    assert (result["dataset"], result["images"]) == ("signs", 18)
    assert result["correct"] == (answers == dataset.test_labels).sum()
    images = load_test_images(network, 5, dataset=str(tmp_path / "signs"))
    np.testing.assert_array_equal(images.pixels, dataset.test_images[:5])
    for other in (None, "mnist"):
        refusal = r"^signs takes images of \(28, 12, 1\) in 3 classes; (sample|mnist) has \("
        with pytest.raises(UserError, match=refusal):
            load_test_images(network, 5, dataset=other)


@pytest.mark.parametrize(
    "command", [["simulate", "cifar10-psa-small"], ["run", "cifar10-psa-small", "--port", "sim"]]
)
@pytest.mark.parametrize("dataset", ["mnist", "fashion-mnist", "dry-bean", "cifar100", "{own}"])
def test_other_data_are_refused_before_anything_is_made(command, dataset, tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("PSAHW_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("psahw.cli.simulate.make_plan", None)
    monkeypatch.setattr("psahw.cli.run.make_plan", None)
    np.savez(tmp_path / "own.npz", x=np.zeros((20, 9, 9), np.uint8), y=np.arange(20) % 2)
    assert main([*command, "--dataset", dataset.format(own=tmp_path / "own.npz")]) == 2
    err = capsys.readouterr().err
    assert err.startswith("psahw: cifar10-psa-small takes images of (32, 32, 3) in 10 classes; ")
    assert err.count("\n") == 1 and [path.name for path in tmp_path.iterdir()] == ["own.npz"]


def test_table(tmp_path, capsys):
    """The network file records how raw values become bytes, and other data are converted by this rule."""
    pytest.importorskip("polars")
    rng = np.random.default_rng(6)
    values = rng.normal(0, 1, (200, 6)) * 10.0 ** np.arange(-2, 4)
    kinds = np.where(values[:, 0] * 100 > values[:, 3] / 10, "up", "down")
    rows = [",".join([*map(str, row), kind]) for row, kind in zip(values, kinds, strict=True)]
    path = tmp_path / "sensors.csv"
    path.write_text("\n".join(["a,b,c,d,e,f,kind", *rows]))
    shape = _shape(tmp_path / "shape.json", stages=(StageConfig(8, 16, 1),), patch_size=1, patch_stride=1,
                   image=(1, 1), classes=2, colours=6)  # fmt: skip
    table = ["--dataset", path, "--target", "kind"]
    _run(capsys, "train", "--config", shape, *table, "-o", tmp_path / "run", "--set", "mixup=0.2", *QUICK)
    quantized = _run(capsys, "quantize", tmp_path / "run", *table, "--name", "up", "-o", tmp_path / "int8", *QUICK)
    network = network_file.load(quantized["network"])
    dataset = data.load(data.Source(str(path), target="kind"))
    assert network.metadata["columns"] == json.loads(json.dumps(dataset.columns.to_dict()))
    assert (network.metadata["dataset"], network.metadata["data_options"]) == ("sensors", {"target": "kind"})
    other = tmp_path / "other.csv"
    other.write_text(
        "\n".join(["f,e,d,c,b,a,kind", *("0,0,0,0,0,0,up" if n % 2 else "9e9,0,0,0,0,0,down" for n in range(20))])
    )
    images = load_test_images(network, 4, dataset=data.Source(str(other), target="kind")).pixels
    zeros = [
        int((0 - offset) / step + 0.5)
        for offset, step in zip(dataset.columns.offset, dataset.columns.step, strict=True)
    ]
    assert {tuple(row) for row in images[:, 0, 0].tolist()} <= {tuple(zeros), (*zeros[:5], 255)}
    assert main(["evaluate", quantized["network"], "--dataset", str(other)]) == 2
    assert "needs --target COLUMN" in capsys.readouterr().err
    assert main(["simulate", quantized["network"], "--target", "kind"]) == 2
    assert "--target needs --dataset PATH" in capsys.readouterr().err


@pytest.mark.parametrize("colours", [1, 2, 3, 4, 5, 16])
def test_augmentation_of_any_number_of_colours(colours):
    """Each byte of an augmented image comes from the place that the same settings give an RGB image."""
    grid = (1, 1) if colours > 4 else (6, 5)
    images = np.random.default_rng(colours).integers(0, 256, (9, *grid, colours), dtype=np.uint8)
    config = TrainConfig(crop=2, flip=True, cutout=2, cutmix=0.3)
    index, targets = torch.arange(9), torch.eye(9)
    augmented, mixed = View(pack(images), targets, config, 1, 0, colours)(index)
    assert augmented.shape == images.shape
    if colours > 4:  # one pixel can be neither moved nor cut
        np.testing.assert_array_equal(augmented, images)
        return
    for colour in range(colours):
        alone = np.repeat(images[..., colour : colour + 1], 3, axis=3)
        expected, same = View(pack(alone), targets, config, 1, 0)(index)
        np.testing.assert_array_equal(augmented[..., colour], expected[..., 0])
        assert torch.equal(mixed, same)


def test_mixed_rows_of_a_table():
    rows = np.random.default_rng(2).integers(0, 256, (50, 1, 1, 9), dtype=np.uint8)
    augmented, targets = View(pack(rows), torch.eye(50), TrainConfig(mixup=1.0), 1, 0, 9)(torch.arange(50))
    expected = targets.double().numpy() @ rows[:, 0, 0].astype(float)
    assert np.abs(augmented[:, 0, 0].numpy() - expected).max() <= 0.51


def test_settings_that_need_colours(tmp_path, capsys):
    for n in range(20):
        (tmp_path / "pets" / "ab"[n % 2]).mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.full((3, 9), n, np.uint8)).save(tmp_path / "pets" / "ab"[n % 2] / f"{n}.png")
    shape = _shape(tmp_path / "shape.json", stages=(StageConfig(8, 8, 1),), patch_size=3, patch_stride=3,
                   image=(3, 9), classes=2, colours=1)  # fmt: skip
    command = ["train", "--config", str(shape), "--dataset", str(tmp_path / "pets"), "-o", str(tmp_path / "run")]
    assert main(command) == 2
    assert "crop must be less than the images' 3 pixels, not 4" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_step_in_c_with_one_colour():
    """The step in C computes what torch does, for grey images too."""
    config = ModelConfig((StageConfig(16, 16, 1, groups=2, kernel=3),), patch_size=4, patch_stride=4, image=(12, 8),
                         classes=3, colours=1)  # fmt: skip
    torch.manual_seed(1)
    model = ResMLP(config)
    if not fused.usable(model, 32):
        pytest.skip("this processor does not have the instructions of the step in C")
    images = torch.randint(0, 256, (32, 12, 8, 1), dtype=torch.uint8)
    expected = model(images)
    np.testing.assert_allclose(fused.forward(model, images).detach(), expected.detach(), atol=1e-3)


def test_colours_of_a_configuration():
    """Three colours are not written, so that older runs can be resumed."""
    config = ModelConfig((StageConfig(8, 8, 1),))
    assert "colours" not in config.to_dict()
    grey = dataclasses.replace(config, colours=1)
    assert ModelConfig.from_dict(grey.to_dict()) == grey and grey.weights() == config.weights() - 2 * 16 * 8
    changes = ["colours=1", "image=[28, 12]", "classes=3"]
    assert load_model_config("tiny", changes) == dataclasses.replace(
        load_model_config("tiny"), colours=1, image=(28, 12), classes=3
    )
    with pytest.raises(UserError, match=r"^colours must be an integer in \[1, 65536\], not 0$"):
        dataclasses.replace(config, colours=0)
