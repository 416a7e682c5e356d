"""Tests of stored answers: they equal those that teachers give beside the student, and existing files stay."""

import dataclasses
import json
import os
import re

import numpy as np
import pytest
import torch

from psahw.cli import main
from psahw.errors import UserError
from psahw.model import checkpoint, data, targets, training_loop
from psahw.model.augment import View, pack
from psahw.model.config import TrainConfig
from psahw.model.losses import smooth_targets
from psahw.model.native import can_compile
from psahw.model.presets import PRESETS
from psahw.model.resmlp import ResMLP
from psahw.model.targets import Targets
from psahw.network import file as network_file

QUICK = TrainConfig(
    epochs=3, batch=16, bf16=False, compile=False, cutmix=0.4, mixup=0.4, cutout=8, colour=0.2, randaugment=1
)


def _teacher(seed):
    torch.manual_seed(seed)
    model = ResMLP(PRESETS["tiny"].model)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    return model.eval()


@pytest.fixture(scope="module")
def teachers():
    return [_teacher(1), _teacher(2)]


def _teach(teachers, directory, views=2, config=QUICK, **options):
    about = {"teachers": [{"model": teacher.config.to_dict()} for teacher in teachers]}
    targets.compute_targets(teachers, data.load("sample"), config, views, directory, about, **options)
    return Targets.load(directory)


def test_answers_are_to_the_images_of_the_view(teachers, tmp_path):
    stored = _teach(teachers, tmp_path)
    dataset = data.load("sample")
    part, _ = data.split(100)
    assert (stored.views, stored.answers.dtype, stored.seed) == (2, torch.float16, 1)
    labels = smooth_targets(torch.from_numpy(dataset.train_labels[part]).long(), 10, 0.1)
    view = View(pack(dataset.train_images[part]), labels, QUICK, 1, 1)
    images, _ = view(torch.arange(len(part)))
    expected = sum(teacher(images).softmax(-1) for teacher in teachers) / 2
    np.testing.assert_allclose(stored.answers[1].float().exp(), expected.detach(), atol=1e-3)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # from torch.compile
@pytest.mark.skipif(not can_compile("cpu"), reason="torch.compile needs a C++ compiler")
def test_compiled_teachers_answer_the_same(teachers, tmp_path, monkeypatch):
    compiles, compile = [], torch.compile
    monkeypatch.setattr(torch, "compile", lambda teacher: compiles.append(teacher) or compile(teacher))
    eager = _teach(teachers, tmp_path / "eager", views=1)
    compiled = _teach(teachers, tmp_path / "compiled", views=1, config=dataclasses.replace(QUICK, compile=True))
    torch.testing.assert_close(compiled.answers, eager.answers, rtol=2e-3, atol=2e-3)
    assert compiles == teachers


def test_student_learns_as_beside_its_teachers(teachers, tmp_path):
    """Epoch e shows view e mod V, so a run with as many views as epochs sees what an ordinary run sees."""
    stored = _teach(teachers, tmp_path / "answers", views=3)
    weights = []
    for name, options in (("online", {"teachers": teachers}), ("stored", {"targets": stored})):
        torch.manual_seed(5)
        student = ResMLP(PRESETS["tiny"].model)
        training_loop.fit(student, data.load("sample"), QUICK, tmp_path / name, **options)
        weights.append(student.head.weight.detach())
    torch.testing.assert_close(*weights, rtol=1e-2, atol=1e-3)
    assert [stored.view(epoch) for epoch in (0, 2, 3, 7)] == [(1, 0), (1, 2), (1, 0), (1, 1)]


def test_existing_views_stay(teachers, tmp_path):
    class Broken(Exception):
        pass

    def stop(view, rate):
        if view == 1:
            raise Broken

    with pytest.raises(Broken):
        _teach(teachers, tmp_path, views=4, written=stop)
    before = {path.name: path.stat().st_mtime_ns for path in tmp_path.iterdir()}
    assert sorted(before) == ["view0000.safetensors", "view0001.safetensors"]
    images, written = [], []
    stored = _teach(
        teachers, tmp_path, views=4, progress=images.append, written=lambda view, rate: written.append(view)
    )
    assert stored.views == 4 and written == [2, 3] and sum(images) == 4 * 90
    assert {name: (tmp_path / name).stat().st_mtime_ns for name in before} == before
    whole = _teach(teachers, tmp_path / "whole", views=4)
    assert torch.equal(whole.answers, stored.answers)


def test_stored_before_a_setting_existed(teachers, tmp_path):
    """The setting then has its default."""
    config = dataclasses.replace(QUICK, colour=0.0)
    stored = _teach(teachers, tmp_path, views=1, config=config)
    tensors, metadata = checkpoint.read(tmp_path / "view0000.safetensors")
    del metadata["augmentation"]["colour"]
    checkpoint.write(tmp_path / "view0000.safetensors", tensors, metadata)
    extended = _teach(teachers, tmp_path, views=2, config=config)
    assert extended.augmentation == stored.augmentation and extended.views == 2


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"seed": 3}, "view0000.safetensors has another seed"),
        ({"crop": 2, "colour": 0}, "view0000.safetensors has another augmentation"),
        ({"all_images": True}, "view0000.safetensors has another augmentation"),
    ],
)
def test_answers_of_another_kind_are_refused(teachers, tmp_path, changes, message):
    _teach(teachers, tmp_path)
    with pytest.raises(UserError, match=message):
        _teach(teachers, tmp_path, config=dataclasses.replace(QUICK, **changes))
    with pytest.raises(UserError, match=r"view0000\.safetensors has another teachers"):
        _teach(teachers[:1], tmp_path)
    _teach(teachers, tmp_path / "other", config=dataclasses.replace(QUICK, **changes))
    os.replace(tmp_path / "other" / "view0001.safetensors", tmp_path / "view0001.safetensors")
    with pytest.raises(UserError, match=r"view0001\.safetensors has another \w+ than .*view0000"):
        Targets.load(tmp_path)


def test_run_of_other_images_is_refused(teachers, tmp_path):
    stored = _teach(teachers, tmp_path / "answers", views=1)
    student, dataset = ResMLP(PRESETS["tiny"].model), data.load("sample")
    with pytest.raises(UserError, match=r"^crop must be 4 as in the targets, not 2$"):
        training_loop.fit(student, dataset, dataclasses.replace(QUICK, crop=2), tmp_path, targets=stored)
    other = dataclasses.replace(dataset, name="other")
    message = "the targets are for 90 images of sample in 10 classes, not for 90 of other in 10"
    with pytest.raises(UserError, match=message):
        training_loop.fit(student, other, QUICK, tmp_path, targets=stored)
    assert not (tmp_path / "log.jsonl").exists()


SMOKE = ["--dataset", "sample", "--json", "--set", "compile=false"]
TRAIN = [*SMOKE, "--batch", "16", "--set", "bf16=false"]


def _json(capsys, *arguments):
    status = main([str(argument) for argument in arguments])
    out, err = capsys.readouterr()
    assert status == 0, err
    return json.loads(out), err


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    directory = tmp_path_factory.mktemp("runs") / "teacher"
    assert main(["train", "--config", "tiny", "--epochs", "2", "-o", str(directory), *TRAIN]) == 0
    return directory


def test_teach_distill_quantize(run, tmp_path, capsys):
    command = ["teach", "--teacher", run, "--set", "cutmix=0.5", "--seed", 7, "-o", tmp_path / "answers", *SMOKE]
    result, err = _json(capsys, *command, "--views", 2)
    seconds = result.pop("seconds")
    assert result == {"targets": str(tmp_path / "answers"), "views": 2, "images": 90, "classes": 10} and seconds > 0
    assert re.findall(r"view (\d/\d)  [\d,]+ images/s", err) == ["1/2", "2/2"]
    student = ["--targets", tmp_path / "answers", "--from", run, "--config", "tiny", "--epochs", 3]
    _json(capsys, "distill", *student, "-o", tmp_path / "student", *TRAIN)
    _, about = checkpoint.load_model(tmp_path / "student" / "model.safetensors")
    assert about["train"]["cutmix"] == 0.5 and about["start"] == "teacher"
    assert about["targets"] == {"seed": 7, "views": 2}
    assert about["teacher"] == about["from"] and about["teacher"]["about"]["train"]["epochs"] == 2
    quantize = ["quantize", tmp_path / "student", "--targets", tmp_path / "answers", "--name", "x", "--epochs", 1]
    result, _ = _json(capsys, *quantize, "-o", tmp_path / "int8", *TRAIN)
    assert result["logits_different"] == 0


def test_all_images(run, tmp_path, capsys):
    """No accuracy is reported on images that were trained on, nor for anything that starts from such a run."""
    command = ["teach", "--teacher", run, "--set", "all_images=true", "--views", 1, *SMOKE]
    assert _json(capsys, *command, "-o", tmp_path / "answers")[0]["images"] == 100
    student = ["distill", "--targets", tmp_path / "answers", "--config", "tiny", "--epochs", 1]
    result, err = _json(capsys, *student, "-o", tmp_path / "student", *TRAIN)
    assert result["validation_accuracy"] is None and "epoch 1/1" in err and "validation" not in err
    log = [json.loads(line) for line in (tmp_path / "student" / "log.jsonl").read_text().splitlines()]
    assert [event["validation_accuracy"] for event in log if event["event"] != "start"] == [None, None]
    quantize = ["quantize", tmp_path / "student", "--name", "x", "--epochs", 0, "-o", tmp_path / "int8", *TRAIN]
    result, _ = _json(capsys, *quantize)
    assert result["logits_different"] == 0
    assert result["validation_float"] is result["validation_before_tuning"] is result["validation_int8"] is None
    assert network_file.load(tmp_path / "int8" / "x.safetensors").metadata["accuracy"] == {}
    result, _ = _json(capsys, "distill", "--teacher", tmp_path / "student", "--epochs", 1, "--config", "tiny",
                      "-o", tmp_path / "pupil", *TRAIN)  # fmt: skip
    assert result["validation_accuracy"] is None


def test_distill_from_targets_alone_starts_at_random(run, tmp_path, capsys):
    _json(capsys, "teach", "--teacher", run, "--teacher", run, "--views", 1, "-o", tmp_path / "answers", *SMOKE)
    student = ["--targets", tmp_path / "answers", "--config", "tiny", "--epochs", 1]
    _json(capsys, "distill", *student, "-o", tmp_path / "student", *TRAIN)
    _, about = checkpoint.load_model(tmp_path / "student" / "model.safetensors")
    assert about["start"] == "random" and len(about["teacher"]) == 2


def test_interrupted(run, tmp_path, capsys, monkeypatch):
    """The message is one line. Complete views stay, and no other file is left."""
    write, written = checkpoint.write, []

    def interrupted(*arguments):
        if written:
            raise KeyboardInterrupt
        written.append(write(*arguments))

    monkeypatch.setattr(checkpoint, "write", interrupted)
    assert main(["teach", "--teacher", str(run), "--views", "3", "-o", str(tmp_path), *SMOKE]) == 130
    assert capsys.readouterr().err.splitlines()[-1] == "psahw: interrupted"
    assert [path.name for path in tmp_path.iterdir()] == ["view0000.safetensors"]


@pytest.mark.parametrize(
    "command, message",
    [
        (["teach", "--views", "2"], "teach needs at least one teacher (--teacher RUN)"),
        (["teach", "--views", "0", "--teacher", "{run}"], "0 is not in the range"),
        (
            ["teach", "--views", "2", "--teacher", "{run}", "--set", "ema=0.9"],
            "ema must be a setting of the teach",
        ),
        (
            ["teach", "--views", "2", "--teacher", "{run}", "--set", "crop=32"],
            "crop must be less than the im",
        ),
        (["distill"], "distill needs teachers or targets (--teacher RUN, --targets DIR)"),
        (
            ["distill", "--teacher", "{run}", "--targets", "{run}"],
            "learns from teachers or from targets, not from both",
        ),
        (["distill", "--targets", "{run}"], "{run} holds no teachers' answers: psahw teach writes them"),
        (
            ["distill", "--teacher", "{run}", "--teacher", "{run}", "--start", "teacher"],
            "a student with --start teacher needs one --teacher, or",
        ),
        (["distill", "--teacher", "{run}", "--from", "{run}", "--start", "random"], "starts from no run"),
        (["distill", "--teacher", "{run}", "--block-epochs", "2"], "block_epochs need --start blocks"),
        (["distill", "--teacher", "{run}", "--set", "block_epochs=2"], "block_epochs need --start blocks"),
    ],
)
def test_wrong_use(run, command, message, tmp_path, capsys):
    command = [part.replace("{run}", str(run)) for part in command]
    assert main([*command, "--dataset", "sample", "-o", str(tmp_path / "out")]) == 2
    err = capsys.readouterr().err
    assert message.replace("{run}", str(run)) in err and err.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_several_teachers_beside_the_student(run, tmp_path, capsys):
    """The same teacher twice has the effect of that teacher."""
    files = []
    for count in (1, 2):
        student = ["distill", *["--teacher", run] * count, "--config", "tiny", "--start", "random", "--epochs", 1]
        files.append(_json(capsys, *student, "-o", tmp_path / str(count), *TRAIN)[0]["model"])
    (one, _), (two, metadata) = map(checkpoint.read, files)
    assert len(metadata["about"]["teacher"]) == 2
    torch.testing.assert_close(one["head.weight"], two["head.weight"], rtol=1e-3, atol=1e-4)
