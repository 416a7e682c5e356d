"""What a student takes over, and how it learns its teacher's blocks."""

import dataclasses
import json

import pytest
import torch

from model import checkpoint, data, train
from model.config import PRESETS, ConvConfig, TrainConfig
from model.convnet import ConvNet
from model.resmlp import Block, ResMLP
from model.transfer import adopt, block_loss, narrow
from psahw.cli import main
from psahw.errors import UserError

TINY = PRESETS["tiny"].model
STAGES = (dataclasses.replace(TINY.stages[0], blocks=1), dataclasses.replace(TINY.stages[0], channels=8, blocks=2))
TWO_STAGES = dataclasses.replace(TINY, stages=STAGES)
QUICK = TrainConfig(epochs=2, block_epochs=3, batch=16, bf16=False, compile=False, adamw_lr=0.01)


def _model(config, seed, noise=0.0):
    torch.manual_seed(seed)
    model = ResMLP(config)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(noise * torch.randn_like(parameter))
    return model


def _with(config, **changes):
    return dataclasses.replace(config, stages=tuple(dataclasses.replace(s, **changes) for s in config.stages))


@pytest.fixture
def images():
    return torch.from_numpy(data.load("sample").test_images)


def _narrowed():
    """A teacher of which half of the hidden neurons add nothing, and the shape of a student without them."""
    teacher = _model(TINY, 1, noise=0.1)
    with torch.no_grad():
        for block in teacher.stages[0].blocks:
            block.channel_mixing.linear2.weight[:, ::2] = 0
    return teacher, _with(TINY, hidden=8)


@pytest.mark.parametrize("take", [narrow, adopt])
def test_keeps_learned_functions(take, images):
    """Hidden neurons that add nothing may go; the others keep their functions."""
    teacher, half = _narrowed()
    student = _model(half, 7)
    take(teacher, student)
    torch.testing.assert_close(student.eval()(images), teacher.eval()(images), rtol=1e-4, atol=1e-4)


def test_narrow_starts_near_the_teacher(images):
    teacher = _model(dataclasses.replace(TINY, activation="gelu"), 5, noise=0.1)
    student = ResMLP(TINY)
    narrow(teacher, student)
    expected, got = teacher.eval()(images), student.eval()(images)
    assert (got - expected).abs().mean() < 0.2 * expected.std()
    narrow(teacher, ResMLP(_with(TINY, hidden=8)))


def test_narrow_refuses():
    message = "differ in hidden size and activation alone"
    with pytest.raises(UserError, match=message):
        narrow(ResMLP(TINY), ResMLP(dataclasses.replace(TINY, segments=4)))
    with pytest.raises(UserError, match=message):
        narrow(ResMLP(TINY), ResMLP(dataclasses.replace(TINY, patch_size=4, patch_stride=4)))
    with pytest.raises(UserError, match="16 hidden neurons exceed the teacher's 8"):
        narrow(ResMLP(_with(TINY, hidden=8)), ResMLP(TINY))


def test_adopt_takes_what_fits(images):
    """More hidden neurons, another mixing: only what surrounds them is the teacher's."""
    teacher = _model(TWO_STAGES, 1, noise=0.1)
    student = _model(_with(TWO_STAGES, hidden=20, kernel=None), 2)
    adopt(teacher, student)
    theirs, ours = teacher.state_dict(), student.state_dict()
    for name in ("embed.weight", "head.weight", "norm.var", "stages.1.merge.linear.weight"):
        assert torch.equal(theirs[name], ours[name]), name
    assert not any(p.any() for p in student.stages[0].blocks[0].token_mixing.weights)


@pytest.mark.parametrize(
    "student",
    [
        dataclasses.replace(TINY, patch_size=4, patch_stride=4),
        _with(TINY, blocks=1),
        _with(TINY, channels=8),
        TWO_STAGES,
    ],
)
def test_adopt_refuses_other_streams(student):
    with pytest.raises(UserError, match="only if patches, and channels and blocks of every stage, are the same"):
        adopt(ResMLP(TINY), ResMLP(student))


def test_convolutions_have_no_blocks():
    with pytest.raises(UserError, match="only a ResMLP can start from its teacher"):
        adopt(ConvNet(ConvConfig((4,))), ResMLP(TINY))


def test_block_loss(images):
    """Against the teacher's own forward pass, seen by hooks; zero for the teacher itself."""
    teacher = _model(TWO_STAGES, 1, noise=0.1).eval()
    student = _model(TWO_STAGES, 2, noise=0.1).eval()
    seen = []
    blocks = [[module for module in model.modules() if isinstance(module, Block)] for model in (teacher, student)]
    for block in blocks[0]:
        block.register_forward_hook(lambda block, given, made: seen.append((given[0], made)))
    teacher(images)
    differences = [((block(x) - y) ** 2).mean() for block, (x, y) in zip(blocks[1], list(seen), strict=True)]
    assert len(differences) == 3
    torch.testing.assert_close(block_loss(teacher, student, images), torch.stack(differences).mean())
    assert block_loss(teacher, teacher, images) == 0


def test_blocks_learn_each_by_itself(images):
    teacher, student = _model(TWO_STAGES, 1, noise=0.1), _model(TWO_STAGES, 2, noise=0.1)
    block_loss(teacher.requires_grad_(False), student, images).backward()
    inside = {name: parameter.grad is not None for name, parameter in student.named_parameters()}
    assert all(learns == (".blocks." in name) for name, learns in inside.items())


def _fit(directory, seed=3, config=QUICK, **options):
    teacher = _model(dataclasses.replace(TINY, activation="gelu"), 1, noise=0.2)
    student = _model(TINY, seed)
    adopt(teacher, student)
    result = train.fit(
        student, data.load("sample"), config, directory, teachers=[teacher], blocks_of=teacher, quiet=True, **options
    )
    return student, result


def _epochs(directory):
    events = map(json.loads, (directory / "log.jsonl").read_text().splitlines())
    return [event for event in events if event["event"] == "epoch"]


def test_phases(tmp_path):
    """The loss of the blocks falls; the schedule of each phase has its own length."""
    _, result = _fit(tmp_path)
    epochs = _epochs(tmp_path)
    assert result.epoch == 5 and [e["phase"] for e in epochs] == ["blocks"] * 3 + ["train"] * 2
    assert epochs[2]["loss"] < 0.8 * epochs[0]["loss"]
    rates = [e["lr_factor"] for e in epochs]
    assert rates[0] > rates[1] > rates[2] < rates[3] > rates[4]
    assert rates[2] == pytest.approx(1 / 14, abs=1e-3) and rates[4] == pytest.approx(1 / 9, abs=1e-3)


@pytest.mark.parametrize("stops", [(1,), (3,), (2, 4)])
def test_resumed_equals_uninterrupted(tmp_path, stops):
    """Within a phase and between the two."""
    config = dataclasses.replace(QUICK, ema=0.9)
    whole, _ = _fit(tmp_path / "whole", config=config)
    for stop in stops:
        _fit(tmp_path / "parts", config=config, stop_after=stop)
    resumed, _ = _fit(tmp_path / "parts", config=config, seed=99)
    for (name, a), b in zip(whole.state_dict().items(), resumed.state_dict().values(), strict=True):
        assert torch.equal(a, b), name


SMOKE = ["--dataset", "sample", "--batch", "16", "--set", "compile=false", "--set", "bf16=false", "--json"]


def test_command(tmp_path, capsys):
    def run(*arguments):
        status = main([str(argument) for argument in (*arguments, *SMOKE)])
        out, err = capsys.readouterr()
        assert status == 0, err
        return json.loads(out)

    run("train", "--config", "tiny", "--epochs", 1, "-o", tmp_path / "teacher")
    distill = ["distill", "--teacher", tmp_path / "teacher", "--config", "tiny", "--epochs", 1]
    distill += ["--start", "blocks", "--block-epochs", 2, "-o", tmp_path / "student"]
    assert run(*distill, "--stop-after", 1) == {"finished": False, "epoch": 1, "epochs": 3}
    made = run(*distill)
    assert [event["phase"] for event in _epochs(tmp_path / "student")] == ["blocks", "blocks", "train"]
    _, about = checkpoint.load_model(made["model"])
    assert (about["start"], about["train"]["block_epochs"]) == ("blocks", 2)
    assert main([str(part) for part in (*distill[:-6], "--block-epochs", 2, *distill[-2:])]) == 2
    assert "--block-epochs is for --start blocks" in capsys.readouterr().err
