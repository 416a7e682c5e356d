"""The four commands on the shipped sample, start to end."""

import json

import pytest

from psahw import networkfile, reference, samples
from psahw.cli import main

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
    made = _run(capsys, "quantize", tmp_path / "student", "--teacher", teacher, "--name", "smoke",
                "--epochs", 1, "-o", tmp_path / "int8", *SMOKE)  # fmt: skip
    assert made["logits_compared"] == 100 and made["logits_different"] == 0
    result = _run(capsys, "evaluate", made["network"], "--dataset", "sample", "--json")
    images, labels = samples.load()
    correct = (reference.run(networkfile.load(made["network"]), images).argmax(1) == labels).sum()
    assert result == {
        "network": "smoke", "dataset": "sample", "images": 100,
        "correct": int(correct), "accuracy": float(correct),
    }  # fmt: skip
    metadata = networkfile.load(made["network"]).metadata
    assert metadata["float_training"]["teacher"]["about"]["train"]["epochs"] == 4


def test_record_and_float_run(teacher, tmp_path, capsys):
    made = _run(capsys, "quantize", teacher, "--name", "plain", "--epochs", 0, "-o", tmp_path, *SMOKE)
    result = _run(capsys, "evaluate", made["network"], "--dataset", "sample", "--record", "--json")
    assert networkfile.load(made["network"]).metadata["accuracy"]["sample test INT8"] == result["accuracy"]
    float_result = _run(capsys, "evaluate", teacher, "--dataset", "sample", "--json")
    assert float_result["network"] == f"{teacher} (float)" and float_result["images"] == 100
    assert main(["evaluate", made["network"], "--dataset", "sample", "--record", "--images", "5"]) == 2


def test_quantize_without_training(teacher, tmp_path, capsys):
    made = _run(capsys, "quantize", teacher, "--name", "plain", "--epochs", 0, "-o", tmp_path, *SMOKE)
    assert made["validation_int8"] == made["validation_before_tuning"]
    table = main(["evaluate", made["network"], "--dataset", "sample", "--images", "10"])
    assert table == 0 and "10" in capsys.readouterr().out


@pytest.mark.parametrize(
    "arguments, message",
    [
        (["train", "--config", "resnet"], "unknown configuration 'resnet'"),
        (["train", "--set", "speed=9"], "--set needs NAME=VALUE with a name of epochs"),
        (["train", "--set", "crop=many"], "--set crop: 'many' is no int"),
        (["train", "--set", "optimizer=sgd"], "optimizer must be one of muon, adamw, not 'sgd'"),
        (["train", "--dataset", "mnist"], "unknown data set 'mnist'"),
        (["train", "--epochs", "0"], "0 is not in the range"),
        (["distill", "--teacher", "nowhere"], "cannot read nowhere"),
        (["quantize", "nowhere", "--name", "x"], "cannot read nowhere"),
        (["quantize", "nowhere", "--name", "x", "--set", "bf16=true"], "bfloat16 cannot hold"),
    ],
)
def test_wrong_use(arguments, message, tmp_path, capsys):
    directory = tmp_path / "run"
    assert main([*arguments, "-o", str(directory)]) == 2
    err = capsys.readouterr().err
    assert message in err and err.count("\n") == 1
    assert not directory.exists()


def test_evaluate_unknown_network(capsys):
    assert main(["evaluate", "nonesuch"]) == 2
    assert "nonesuch" in capsys.readouterr().err
