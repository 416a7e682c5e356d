"""Tests of the training loop: resuming, averaging, stopping, several processes."""

import dataclasses
import itertools
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from psahw.cli import main
from psahw.errors import CheckFailed, UserError
from psahw.model import checkpoint, data, targets, training_loop
from psahw.model.config import ConvConfig, TrainConfig
from psahw.model.convnet import ConvNet
from psahw.model.predict import accuracy
from psahw.model.presets import PRESETS
from psahw.model.resmlp import ResMLP
from psahw.model.run_state import RunState

QUICK = TrainConfig(epochs=3, batch=16, bf16=False, compile=False)


def _model(seed=1):
    torch.manual_seed(seed)
    return ResMLP(PRESETS["tiny"].model)


def _fit(directory, config=QUICK, model=None, **options):
    model = model or _model()
    result = training_loop.fit(model, data.load("sample"), config, Path(directory), **options)
    return model, result


def _validation_accuracy(model):
    dataset = data.load("sample")
    part = data.split(len(dataset.train_images))[1]
    return accuracy(model, dataset.train_images[part], dataset.train_labels[part])


@pytest.mark.parametrize("changes", [{}, {"ema": 0.9, "schedule": "cosine"}, {"optimizer": "adamw", "cutmix": 0.5}])
def test_resumed_equals_uninterrupted(tmp_path, changes):
    config = dataclasses.replace(QUICK, **changes)
    whole, _ = _fit(tmp_path / "whole", config)
    _fit(tmp_path / "parts", config, stop_after=1)
    resumed, _ = _fit(tmp_path / "parts", config, model=_model(seed=99))
    for (name, a), b in zip(whole.state_dict().items(), resumed.state_dict().values(), strict=True):
        assert torch.equal(a, b), name
    events = [json.loads(line) for line in (tmp_path / "parts" / "log.jsonl").read_text().splitlines()]
    assert [e["event"] for e in events] == ["start", "epoch", "end", "resume", "epoch", "epoch", "end"]


@pytest.mark.parametrize("changes", [{}, {"cutmix": 0.5, "randaugment": 1}])
def test_augmenting_for_several_steps_at_once_changes_nothing(tmp_path, monkeypatch, changes):
    """GPUs need this. The sample's 90 training images make five steps, so the last group is not full."""
    config = dataclasses.replace(QUICK, **changes)
    one, first = _fit(tmp_path / "one", config)
    monkeypatch.setitem(training_loop.AHEAD, "cpu", 3)
    several, second = _fit(tmp_path / "several", config)
    for (name, a), b in zip(one.state_dict().items(), several.state_dict().values(), strict=True):
        assert torch.equal(a, b), name
    assert second.loss == pytest.approx(first.loss)


@pytest.mark.parametrize("bad", [2, 4])
def test_the_step_with_a_loss_that_is_not_finite_is_named(tmp_path, monkeypatch, bad):
    """The losses are read only at the end of a group of three steps, or of the two that are left."""
    monkeypatch.setitem(training_loop.AHEAD, "cpu", 3)
    losses = itertools.count(1)
    make = training_loop.make_step

    def make_step(*arguments):
        step = make(*arguments)
        return lambda *inputs: step(*inputs) * (float("nan") if next(losses) == bad else 1)

    monkeypatch.setattr(training_loop, "make_step", make_step)
    with pytest.raises(CheckFailed, match=f"the loss is nan in epoch 1, step {bad}; lower"):
        _fit(tmp_path)


def test_loss_improves_and_seed_fixes_it(tmp_path):
    config = dataclasses.replace(QUICK, epochs=6)
    _, first = _fit(tmp_path / "a", config)
    _, second = _fit(tmp_path / "b", config)
    assert first.loss == second.loss
    losses = [json.loads(line).get("loss") for line in (tmp_path / "a" / "log.jsonl").read_text().splitlines()]
    assert losses[6] < losses[1]


def test_checkpoint_of_another_run_is_refused(tmp_path):
    _fit(tmp_path, stop_after=1)
    with pytest.raises(UserError, match="belongs to a run with another muon_lr, seed"):
        _fit(tmp_path, dataclasses.replace(QUICK, muon_lr=0.5, seed=2))


def test_checkpoint_of_another_version(tmp_path):
    """The model in it lacks a tensor."""
    _fit(tmp_path, stop_after=1)
    path = tmp_path / "checkpoint.safetensors"
    tensors, metadata = checkpoint.read(path)
    tensors = {name: tensor.clone() for name, tensor in tensors.items() if name != "model/embed.weight"}
    checkpoint.write(path, tensors, metadata)
    with pytest.raises(UserError, match=r"was written by another version of psahw: start again in another dir"):
        _fit(tmp_path)


def test_setting_that_only_the_checkpoint_has(tmp_path):
    _fit(tmp_path, stop_after=1, describe={"start": "teacher"})
    with pytest.raises(UserError, match=r"another start: give another directory with -o, or delete this one$"):
        _fit(tmp_path)


def test_finished_run_again(tmp_path):
    """The results stay the same, and the model has the averaged weights, not the last ones."""
    config = dataclasses.replace(QUICK, ema=0.99, muon_lr=0.3)
    first, result = _fit(tmp_path, config)
    second, repeated = _fit(tmp_path, config, model=_model(seed=99))
    assert (result.epoch, result.loss is None) == (3, False)
    assert (repeated.epoch, repeated.loss, repeated.images_per_second) == (3, None, None)
    assert repeated.validation_accuracy == result.validation_accuracy == _validation_accuracy(first)
    assert torch.equal(first.head.weight, second.head.weight)


def test_the_accuracy_reported_is_that_of_the_final_weights(tmp_path, monkeypatch):
    """A finished run that is run again measures the weights that the model ends with."""
    config = dataclasses.replace(QUICK, epochs=1, ema=0.5)
    _fit(tmp_path, config)
    measured = []

    def measure(model, images, labels, task):
        measured.append(model.head.weight.clone())
        return 1.0

    monkeypatch.setattr(training_loop, "model_score", measure)
    model, _ = _fit(tmp_path, config)
    assert len(measured) == 1 and torch.equal(measured[0], model.head.weight)


def test_restored_average_stays_on_its_device(tmp_path):
    """The checkpoint's tensors are in main memory, while the average must stay on the model's device."""
    config = dataclasses.replace(QUICK, ema=0.9)
    model, _ = _fit(tmp_path, config)
    run = RunState(model, config, tmp_path, {})
    before = dict(run.average.tensors)
    run.restore()
    assert all(run.average.tensors[name] is tensor for name, tensor in before.items())


def test_damaged_checkpoint(tmp_path):
    (tmp_path / "checkpoint.safetensors").write_bytes(b"nothing")
    with pytest.raises(UserError, match=r"cannot read .*checkpoint\.safetensors"):
        _fit(tmp_path)


def test_stops_when_the_loss_is_not_finite(tmp_path):
    model = _model()
    with torch.no_grad():
        model.head.bias[0] = float("nan")
    with pytest.raises(CheckFailed, match="the loss is nan in epoch 1, step 1"):
        _fit(tmp_path, model=model)


def test_distillation_uses_the_teacher(tmp_path):
    teacher, _ = _fit(tmp_path / "teacher")
    before = {name: value.clone() for name, value in teacher.state_dict().items()}
    _, result = _fit(tmp_path / "student", teachers=[teacher], model=_model(seed=2))
    assert np.isfinite(result.loss)
    for name, value in teacher.state_dict().items():
        assert torch.equal(value, before[name]), name


def test_saved_model_is_the_model(tmp_path):
    model = _model()
    checkpoint.save_model(tmp_path / "model.safetensors", model, model.config, {"seed": 1})
    loaded, about = checkpoint.load_model(tmp_path / "model.safetensors")
    assert about == {"seed": 1} and loaded.config == model.config
    images = torch.from_numpy(data.load("sample").test_images)
    assert torch.equal(loaded(images), model.eval()(images))


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # from torch.compile
def test_compiled_step_equals_eager(tmp_path):
    eager, _ = _fit(tmp_path / "eager", dataclasses.replace(QUICK, epochs=1))
    compiled, _ = _fit(tmp_path / "compiled", dataclasses.replace(QUICK, epochs=1, compile=True))
    torch.testing.assert_close(compiled.head.weight, eager.head.weight, rtol=1e-3, atol=1e-4)


def _fit_both(directory):
    """Train an ordinary run, and one on stored answers with averaged weights and every kind of mixture."""
    directory = Path(directory)
    _fit(directory / "plain")
    config = dataclasses.replace(QUICK, ema=0.9, cutmix=0.4, mixup=0.3, randaugment=1)
    dataset = data.load("sample")
    answers = directory.parent / "answers"
    if not answers.exists():  # the first process computes them
        about = {"teachers": [{"model": "a teacher"}]}
        targets.compute_targets([_model(5)], dataset, config, 2, answers, about)
    return _fit(directory / "stored", config, targets=targets.Targets.load(answers))[0]


def test_two_processes_equal_one(tmp_path):
    script = tmp_path / "script.py"
    script.write_text("import sys\nfrom tests.model.test_training_loop import _fit_both\n_fit_both(sys.argv[1])\n")
    root = Path(__file__).parents[2]
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", str(script)]
    environment = os.environ | {"PYTHONPATH": str(root), "OMP_NUM_THREADS": "1"}
    model = _fit_both(tmp_path / "one")
    subprocess.run([*command, str(tmp_path / "two")], check=True, env=environment, capture_output=True)

    def logged_losses(name):
        events = map(json.loads, (tmp_path / name / "log.jsonl").read_text().splitlines())
        return [event["loss"] for event in events if event["event"] == "epoch"]

    for kind in ("plain", "stored"):
        losses = logged_losses(f"two/{kind}")
        assert len(losses) == 3
        np.testing.assert_allclose(losses, logged_losses(f"one/{kind}"), rtol=2e-3)
        tensors, _ = checkpoint.read(tmp_path / "two" / kind / "checkpoint.safetensors")
    average, last = tensors["average/head.weight"], tensors["model/head.weight"]
    assert (average - model.head.weight).abs().max() < 0.4 * (average - last).abs().max()


def test_convolutions_train_in_one_process(tmp_path, monkeypatch):
    monkeypatch.setattr(training_loop, "processes", lambda: (0, 2))
    with pytest.raises(UserError, match="a convolutional teacher is trained by one process"):
        _fit(tmp_path, model=ConvNet(ConvConfig((4,))))


KILLED = """
import os, signal, sys
from psahw import files
from psahw.model.augment import View
from psahw.cli import main

kill, moment = lambda *arguments: os.kill(os.getpid(), signal.SIGKILL), sys.argv[1]
if moment == "step":  # the eighth step, with five per epoch
    calls, make = [], View.__call__
    View.__call__ = lambda view, index: kill() if len(calls) == 7 else calls.append(1) or make(view, index)
else:  # the checkpoint of the next epoch is written but not renamed yet
    files.os.replace = kill
sys.exit(main(sys.argv[2:]))
"""


def test_killed_and_resumed(tmp_path):
    """A run that is killed in an epoch, and then while it writes its checkpoint, ends as an undisturbed one."""
    command = ["train", "--config", "tiny", "--dataset", "sample", "--epochs", "3", "--batch", "16"]
    for setting in ("compile=false", "bf16=false", "cutmix=0.5", "randaugment=1", "ema=0.9"):
        command += ["--set", setting]
    threads = str(torch.get_num_threads())
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2]), "OMP_NUM_THREADS": threads}
    for moment in ("step", "write"):
        script = [sys.executable, "-c", KILLED, moment, *command, "-o", str(tmp_path / "parts")]
        killed = subprocess.run(script, env=environment, capture_output=True)
        assert killed.returncode == -signal.SIGKILL
        assert checkpoint.read(tmp_path / "parts" / "checkpoint.safetensors")[1]["epoch"] == 1
    for name in ("parts", "whole"):
        assert main([*command, "-o", str(tmp_path / name)]) == 0
    parts, whole = (checkpoint.read(tmp_path / name / "model.safetensors")[0] for name in ("parts", "whole"))
    for name, tensor in whole.items():
        assert torch.equal(tensor, parts[name]), name
    events = [json.loads(line)["event"] for line in (tmp_path / "parts" / "log.jsonl").read_text().splitlines()]
    assert events == ["start", "epoch", "resume", "resume", "epoch", "epoch", "end"]


def test_checkpoint_from_before_a_setting_existed(tmp_path):
    """The run is resumed if the setting has its default, and refused otherwise."""
    _fit(tmp_path, stop_after=1)
    tensors, metadata = checkpoint.read(tmp_path / "checkpoint.safetensors")
    for name in ("mixup", "randaugment", "magnitude", "block_epochs"):
        del metadata["train"][name]
    checkpoint.write(tmp_path / "checkpoint.safetensors", tensors, metadata)
    with pytest.raises(UserError, match="belongs to a run with another mixup"):
        _fit(tmp_path, dataclasses.replace(QUICK, mixup=0.5))
    _, result = _fit(tmp_path)
    assert result.epoch == 3


@pytest.mark.parametrize(
    ("variable", "value", "reason"),
    [
        ("CXX", "no-such-compiler", "no C++ compiler (g++, or $CXX) is found"),
        ("TORCHINDUCTOR_CACHE_DIR", "/x/c d", "torch.compile cannot handle the space in /x/c d"),
    ],
)
def test_without_what_compiling_needs_it_trains_uncompiled(tmp_path, monkeypatch, variable, value, reason):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch, "compile", lambda *arguments: pytest.fail("compiled"))
    monkeypatch.setenv(variable, value)
    config = dataclasses.replace(QUICK, epochs=1, compile=True)
    messages = []
    _fit(tmp_path, config, log=messages.append)
    assert messages == [f"{reason}: trains without torch.compile, slower"]
    assert checkpoint.read(tmp_path / "checkpoint.safetensors")[1]["train"]["compile"] is True
