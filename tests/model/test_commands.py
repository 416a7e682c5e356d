"""Tests of the commands that train, quantise and evaluate, on the shipped sample."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from psahw.cli import main, quantize, training, training_options
from psahw.model import checkpoint, data, datasets
from psahw.model.config import TrainConfig
from psahw.model.quant import QuantizedResMLP
from psahw.model.quantize import DEFAULTS
from psahw.model.training import BLOCK_EPOCHS
from psahw.network import file as network_file
from psahw.network import reference, samples

SMOKE = ["--dataset", "sample", "--batch", "16", "--set", "compile=false", "--set", "bf16=false", "--json"]


def _run(capsys, *arguments):
    status = main([str(argument) for argument in arguments])
    out, err = capsys.readouterr()
    assert status == 0, err
    return json.loads(out)


@pytest.fixture(scope="module")
def teacher(tmp_path_factory):
    directory = tmp_path_factory.mktemp("runs") / "teacher"
    assert main(["train", "--config", "tiny", "--epochs", "4", "-o", str(directory), *SMOKE]) == 0
    return directory


def test_train_improves_the_loss(teacher):
    events = [json.loads(line) for line in (teacher / "log.jsonl").read_text().splitlines()]
    losses = [event["loss"] for event in events if event["event"] == "epoch"]
    assert len(losses) == 4 and losses[-1] < losses[0]
    assert events[0]["command"] and events[0]["train"]["seed"] == 1


def test_train_distill_quantize_evaluate(teacher, tmp_path, capsys):
    student = _run(capsys, "distill", "--teacher", teacher, "--config", "tiny", "--epochs", 2,
                   "-o", tmp_path / "student", *SMOKE)  # fmt: skip
    assert student["epochs"] == 2 and student["macs"] == 68_896
    quantized = _run(capsys, "quantize", tmp_path / "student", "--teacher", teacher, "--name", "smoke",
                     "--epochs", 1, "-o", tmp_path / "int8", *SMOKE)  # fmt: skip
    assert quantized["logits_compared"] == 100 and quantized["logits_different"] == 0
    result = _run(capsys, "evaluate", quantized["network"], "--dataset", "sample", "--json")
    images, labels = samples.load()
    answers = reference.run(network_file.load(quantized["network"]), images).argmax(1)
    correct = int((answers == labels).sum())
    confusion = np.array(result.pop("confusion"))
    assert all(each["answer"] != each["right"] for each in result.pop("worst"))
    recalls = [each["recall"] for each in result.pop("classes")]
    assert recalls == pytest.approx(100 * np.diagonal(confusion) / confusion.sum(1))
    assert result == {
        "network": "smoke", "dataset": "sample", "task": "class", "images": 100, "correct": correct,
        "accuracy": float(correct),
    }  # fmt: skip
    assert confusion.sum(1).tolist() == np.bincount(labels, minlength=10).tolist()
    assert confusion.sum(0).tolist() == np.bincount(answers, minlength=10).tolist()
    assert confusion.trace() == correct


def test_svhn_from_its_files(tmp_path, capsys, monkeypatch):
    """All commands work on shorter files of the official layout, once SVHN_IMAGES has their lengths."""
    savemat = pytest.importorskip("scipy.io").savemat
    counts = {"train": 80, "test": 20}
    files, rng = tmp_path / "files", np.random.default_rng(8)
    files.mkdir()
    for part, count in counts.items():
        digits = rng.integers(0, 10, count)
        images = rng.integers(0, 90, (32, 32, 3, count), dtype=np.uint8) + (12 * digits).astype(np.uint8)
        labels = np.where(digits == 0, 10, digits).astype(np.uint8)[:, None]
        savemat(files / f"{part}_32x32.mat", {"X": images, "y": labels})
    svhn = ["--dataset", "svhn", "--data", files]
    options = [*svhn, "--set", "flip=false", *SMOKE[2:]]
    assert main([str(part) for part in ("train", "--config", "tiny", "-o", tmp_path / "run", *options)]) == 2
    assert "X must be uint8 (32, 32, 3, 73257) with 73257 labels y" in capsys.readouterr().err
    monkeypatch.setattr(datasets.svhn, "SVHN_IMAGES", counts)
    _run(capsys, "train", "--config", "tiny", "--epochs", 2, "-o", tmp_path / "run", *options)
    teach = ["teach", "--teacher", tmp_path / "run", "--views", 1, "--set", "flip=false", "--set", "compile=false"]
    assert _run(capsys, *teach, "-o", tmp_path / "answers", *svhn, "--json")["images"] == 72
    distill = ["distill", "--targets", tmp_path / "answers", "--config", "tiny", "--epochs", 2]
    _run(capsys, *distill, "-o", tmp_path / "student", *options)
    quantized = _run(capsys, "quantize", tmp_path / "student", "--name", "digits", "--epochs", 1,
                     "-o", tmp_path / "int8", *options)  # fmt: skip
    assert (quantized["logits_compared"], quantized["logits_different"]) == (80, 0)
    result = _run(capsys, "evaluate", quantized["network"], *svhn, "--json")
    network = network_file.load(quantized["network"])
    answers = reference.run(network, images.transpose(3, 0, 1, 2)).argmax(1)
    assert (result["images"], result["correct"]) == (20, int((answers == digits).sum()))
    assert (network.metadata["dataset"], network.classes) == ("svhn", tuple("0123456789"))


def test_network_records_how_it_was_made(teacher, tmp_path, capsys):
    student = _run(capsys, "distill", "--teacher", teacher, "--config", "tiny", "--epochs", 1,
                   "-o", tmp_path / "student", *SMOKE)  # fmt: skip
    quantized = _run(capsys, "quantize", tmp_path / "student", "--name", "smoke", "--epochs", 0, "--seed", 7,
                     "-o", tmp_path / "int8", *SMOKE)  # fmt: skip
    network = network_file.load(quantized["network"])
    metadata = network.metadata
    assert metadata["macs"] == student["macs"] and metadata["weights"] == student["weights"]
    assert metadata["float_training"]["teacher"]["about"]["train"]["epochs"] == 4
    assert metadata["float_training"]["commit"] == metadata["quantisation"]["commit"] != ""
    assert metadata["quantisation"]["command"] and metadata["quantisation"]["seed"] == 7
    before = network_file.digest(network)
    result = _run(capsys, "evaluate", quantized["network"], "--dataset", "sample", "--record", "--json")
    recorded = network_file.load(quantized["network"])
    assert recorded.metadata["accuracy"] == metadata["accuracy"] | {"sample test INT8": result["accuracy"]}
    assert network_file.digest(recorded) == before


def test_name_that_is_no_file_name(teacher, tmp_path, capsys):
    """The network stays in the run directory."""
    assert main(["quantize", str(teacher), "--name", "../x", "--epochs", "0", "-o", str(tmp_path / "int8")]) == 2
    assert "--name must be a file name, not '../x'" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_quantize_stopped_and_resumed(teacher, tmp_path, capsys):
    """A resumed run writes the same network as one that was never stopped."""
    command = ["quantize", teacher, "--name", "smoke", "--epochs", 2, *SMOKE, "-o"]
    stopped = _run(capsys, *command, tmp_path / "parts", "--stop-after", 1)
    assert stopped == {"finished": False, "epoch": 1, "epochs": 2}
    assert not list((tmp_path / "parts").glob("smoke.safetensors"))
    parts, whole = (_run(capsys, *command, tmp_path / name) for name in ("parts", "whole"))
    digests = {network_file.digest(network_file.load(quantized["network"])) for quantized in (parts, whole)}
    assert len(digests) == 1
    events = [json.loads(line) for line in (tmp_path / "parts" / "log.jsonl").read_text().splitlines()]
    assert [event["event"] for event in events] == ["start", "epoch", "end", "resume", "epoch", "end"]
    finished = _run(capsys, *command, tmp_path / "parts", "--stop-after", 1)
    assert finished["network"] == parts["network"]


def _phases(directory):
    events = map(json.loads, (directory / "log.jsonl").read_text().splitlines())
    return [event["phase"] for event in events if event["event"] == "epoch"]


def test_blocks_are_learned_first(teacher, tmp_path, capsys):
    """A run that is stopped between the phases is resumed, and ends as one that was not."""
    command = ["distill", "--teacher", teacher, "--config", "tiny", "--shape", "hidden=8", "--start", "blocks",
               "--block-epochs", 2, "--epochs", 1, *SMOKE, "-o"]  # fmt: skip
    whole = _run(capsys, *command, tmp_path / "whole")
    stopped = _run(capsys, *command, tmp_path / "parts", "--stop-after", 2)
    assert stopped == {"finished": False, "epoch": 2, "epochs": 3} and whole["epochs"] == 1
    parts = _run(capsys, *command, tmp_path / "parts")
    assert _phases(tmp_path / "whole") == _phases(tmp_path / "parts") == ["blocks", "blocks", "train"]
    (one, metadata), (other, _) = (checkpoint.read(Path(result["model"])) for result in (whole, parts))
    assert (metadata["about"]["start"], metadata["about"]["train"]["block_epochs"]) == ("blocks", 2)
    for name, tensor in one.items():
        assert torch.equal(tensor, other[name]), name


def test_setting_means_the_same_as_its_option(teacher, tmp_path, capsys):
    """If both are given, the option counts."""
    blocks = ["distill", "--teacher", teacher, "--config", "tiny", "--start", "blocks", *SMOKE]
    _run(capsys, *blocks, "--set", "block_epochs=1", "--set", "epochs=1", "-o", tmp_path / "set")
    assert _phases(tmp_path / "set") == ["blocks", "train"]
    both = ["--set", "block_epochs=3", "--block-epochs", 1, "--set", "epochs=3", "--epochs", 1]
    _run(capsys, *blocks, *both, "-o", tmp_path / "both")
    assert _phases(tmp_path / "both") == ["blocks", "train"]
    result = _run(capsys, "quantize", teacher, "--name", "x", "--set", "epochs=0", "-o", tmp_path / "int8", *SMOKE)
    assert network_file.load(result["network"]).metadata["quantisation"]["train"] is None
    teach = ["teach", "--teacher", teacher, "--views", 1, "--dataset", "sample", "--set", "compile=false", "--json"]
    _run(capsys, *teach, "--set", "seed=7", "-o", tmp_path / "answers")
    assert checkpoint.read(tmp_path / "answers" / "view0000.safetensors")[1]["seed"] == 7


def test_finished_run_again_has_no_loss(teacher, capsys):
    result = _run(capsys, "train", "--config", "tiny", "--epochs", "4", "-o", teacher, *SMOKE)
    assert result["loss"] is None and result["epochs"] == 4


def test_progress_on_standard_error_also_with_json(tmp_path, capsys):
    assert main(["train", "--config", "tiny", "--epochs", "1", "-o", str(tmp_path), *SMOKE]) == 0
    assert "epoch 1/1  loss" in capsys.readouterr().err


def test_warning_of_a_shape_that_cannot_be_quantised(tmp_path, capsys):
    stage = {"channels": 704, "hidden": 8, "blocks": 1, "kernel": 1}
    (tmp_path / "wide.json").write_text(json.dumps({"stages": [stage], "patch_size": 16, "patch_stride": 16}))
    config = ["--config", str(tmp_path / "wide.json"), "--epochs", "1"]
    assert main(["train", *config, "-o", str(tmp_path / "run"), *SMOKE]) == 0
    assert "cannot be quantised later: patch embedding must have at most 703 inputs" in capsys.readouterr().err
    assert main(["quantize", str(tmp_path / "run"), "--name", "x", "-o", str(tmp_path / "int8"), *SMOKE]) == 2
    assert "patch embedding must have at most 703 inputs" in capsys.readouterr().err
    assert not (tmp_path / "int8").exists()


def test_record_and_float_run(teacher, tmp_path, capsys):
    quantized = _run(capsys, "quantize", teacher, "--name", "plain", "--epochs", 0, "-o", tmp_path, *SMOKE)
    assert main(["evaluate", quantized["network"], "--dataset", "sample", "--record", "--json"]) == 0
    out, err = capsys.readouterr()
    result = json.loads(out)
    assert err == f"recorded sample test INT8 {result['accuracy']:g} % in {quantized['network']}\n"
    assert network_file.load(quantized["network"]).metadata["accuracy"]["sample test INT8"] == result["accuracy"]
    float_result = _run(capsys, "evaluate", teacher, "--dataset", "sample", "--json")
    assert float_result["network"] == f"{teacher} (float)" and float_result["images"] == 100
    of_file = _run(capsys, "evaluate", Path(teacher) / "model.safetensors", "--dataset", "sample", "--json")
    assert of_file == float_result | {"network": f"{teacher}/model.safetensors (float)"}
    assert main(["evaluate", quantized["network"], "--dataset", "sample", "--record", "--images", "5"]) == 2


def test_quantize_without_training(teacher, tmp_path, capsys):
    quantized = _run(capsys, "quantize", teacher, "--name", "plain", "--epochs", 0, "-o", tmp_path, *SMOKE)
    assert quantized["validation_int8"] == quantized["validation_before_tuning"]
    table = main(["evaluate", quantized["network"], "--dataset", "sample", "--images", "10"])
    assert table == 0 and "10" in capsys.readouterr().out


@pytest.mark.parametrize(
    "arguments, message",
    [
        (["train", "--config", "resnet"], "unknown configuration 'resnet'"),
        (["train", "--set", "speed=9"], "--set needs NAME=VALUE with a name of epochs"),
        (["train", "--set", "crop=many"], "--set crop must be an integer, not 'many'"),
        (["train", "--set", "crop=1.5"], "--set crop must be an integer, not '1.5'"),
        (["train", "--set", "flip=1"], "--set flip must be true or false, not '1'"),
        (["train", "--set", "betas=0.9"], "--set betas must be a list, not '0.9'"),
        (["train", "--set", "optimizer=sgd"], "optimizer must be one of muon, adamw, not 'sgd'"),
        (["train", "--dataset", "minst"], "unknown data set 'minst'"),
        (
            ["train", "--dataset", "sample", "--data", "docs"],
            "data names a copy of a data set: sample, which ships with psahw, needs none",
        ),
        (["train", "--epochs", "0"], "0 is not in the range"),
        (["train", "--set", "block_epochs=2", "--dataset", "sample"], "block_epochs need --start blocks"),
        (["distill", "--teacher", "nowhere"], "cannot read nowhere"),
        (["quantize", "nowhere", "--name", "x"], "cannot read nowhere"),
        (["quantize", "nowhere", "--name", "x", "--set", "bf16=true"], "bfloat16 cannot hold"),
        (["train", "--set", "ema=2"], "ema must be a number in [0, 0.999999], not 2"),
        (["train", "--set", "betas=[1]"], "betas must be two numbers, not (1,)"),
        (
            ["train", "--set", "crop=40", "--dataset", "sample"],
            "crop must be less than the images' 32 pixels, not 40",
        ),
        (
            ["train", "--config", "{small}", "--dataset", "sample"],
            "takes images of (16, 16, 3) in 10 classes; sample",
        ),
    ],
)
def test_wrong_use(arguments, message, tmp_path, capsys):
    directory = tmp_path / "run"
    small = tmp_path / "small.json"
    small.write_text(json.dumps({"stages": [{"channels": 8, "hidden": 8, "blocks": 1}], "image": [16, 16]}))
    arguments = [argument.replace("{small}", str(small)) for argument in arguments]
    assert main([*arguments, "-o", str(directory)]) == 2
    err = capsys.readouterr().err
    assert message in err and err.count("\n") == 1
    assert not directory.exists()


def test_directories_are_checked_before_the_work(teacher, tmp_path, capsys, monkeypatch):
    """No data set is loaded if the results cannot be written."""
    monkeypatch.setattr(data, "load", lambda *arguments, **options: pytest.fail("loaded too late"))
    (tmp_path / "file").write_text("in the way")
    for command in (["train"], ["distill", "--teacher", str(teacher)], ["quantize", str(teacher), "--name", "x"]):
        assert main([*command, "-o", str(tmp_path / "file" / "run")]) == 2
        assert "cannot write into directory" in capsys.readouterr().err
    network = str(tmp_path / "absent" / "x.safetensors")
    command = ["quantize", str(teacher), "--name", "x", "--network", network, "-o", str(tmp_path / "run")]
    assert main(command) == 2
    assert f"directory {tmp_path / 'absent'} for the network file does not exist" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_integers_are_compared_on_the_cpu(teacher, tmp_path, capsys, monkeypatch):
    """The model is moved there, wherever it was fine-tuned."""
    moved, cpu = [], QuantizedResMLP.cpu
    monkeypatch.setattr(QuantizedResMLP, "cpu", lambda model: moved.append("cpu") or cpu(model))
    monkeypatch.setattr(
        QuantizedResMLP,
        "codes",
        lambda *inputs, codes=QuantizedResMLP.codes: moved.append("") or codes(*inputs),
    )
    _run(capsys, "quantize", teacher, "--name", "plain", "--epochs", 0, "-o", tmp_path, *SMOKE)
    assert moved.count("cpu") == 1 and "" in moved[moved.index("cpu") :]


@pytest.mark.parametrize("more", [["--images", "5"], []])
def test_record_needs_a_network_and_all_images(teacher, capsys, more):
    network = "cifar10-psa" if more else str(teacher)
    assert main(["evaluate", network, "--dataset", "sample", "--record", *more]) == 2
    assert "--record needs a network file and all test images" in capsys.readouterr().err


def test_evaluate_unknown_network(capsys):
    assert main(["evaluate", "nonesuch"]) == 2
    assert "nonesuch" in capsys.readouterr().err


def test_directory_of_other_files_is_refused(teacher, tmp_path, capsys):
    (tmp_path / "README.md").write_text("of somebody else")
    (tmp_path / "log.jsonl").write_text("not a log\n")
    for command in (["train"], ["distill", "--teacher", str(teacher)], ["quantize", str(teacher), "--name", "x"]):
        assert main([*command, "-o", str(tmp_path), *SMOKE]) == 2
        err = capsys.readouterr().err
        assert err == f"psahw: {tmp_path} holds other files and no run of psahw: name a new or empty directory\n"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["README.md", "log.jsonl"]


def test_quantized_again_without_training(teacher, tmp_path, capsys):
    """The directory holds nothing but the network, which identifies it as a run directory."""
    for _ in range(2):
        _run(capsys, "quantize", teacher, "--name", "plain", "--epochs", 0, "-o", tmp_path, *SMOKE)


@pytest.mark.parametrize(
    "arguments, message",
    [
        (["--images", "500"], "images must be at most the 100 test images of sample, not 500"),
        (["--data", "docs"], "data names a copy of a data set: sample, which ships with psahw, needs none"),
        (["--record"], "--record: cifar10-psa ships with psahw; to record into it, give /"),
    ],
)
def test_evaluate_refuses_impossible_options(arguments, message, capsys):
    assert main(["evaluate", "cifar10-psa", "--dataset", "sample", *arguments]) == 2
    err = capsys.readouterr().err
    assert message in err and err.count("\n") == 1


def test_help_shows_the_defaults(capsys):
    assert (TrainConfig().epochs, TrainConfig().batch) == (training_options._EPOCHS, training_options._BATCH)
    assert training._BLOCK_EPOCHS == BLOCK_EPOCHS and DEFAULTS["epochs"] == quantize._EPOCHS
    for command, epochs in (("train", 20), ("distill", 20), ("quantize", 2)):
        assert main([command, "--help"]) == 0
        text = " ".join(capsys.readouterr().out.split())
        assert f"images; {epochs} unless given" in text and "per step; 256 unless given" in text
