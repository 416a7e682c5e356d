"""NaN, infinity and absurd magnitudes are neither written nor read, wherever they come from."""

import json
import math
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.numpy import load_file, save_file

from psahw.cli import main
from psahw.errors import CheckFailed, UserError
from psahw.model import checkpoint, data, residual_bits, targets, training_loop
from psahw.model.config import ConvConfig, TrainConfig
from psahw.model.convnet import ConvNet
from psahw.model.export import to_network
from psahw.model.finite import LIMIT, find_bad_number
from psahw.model.presets import PRESETS
from psahw.model.quant import QuantizedResMLP
from psahw.model.resmlp import ResMLP
from psahw.model.run_state import RunState
from psahw.model.transfer import adopt, narrow
from psahw.network import reference, samples
from tests.model.test_quant import _trained

TINY = PRESETS["tiny"].model
SAMPLE = ["--dataset", "sample", "--set", "compile=false"]
HIDDEN = "stages.0.blocks.1.channel_mixing.act_hidden"
NORM = "stages.0.blocks.0.token_mixing.norm"
FAULTS = {  # tensor: (index, number, what the message says)
    "embed.weight": ((3, 5), math.nan, "must be finite, not nan"),
    "embed.bias": ((7,), 1e30, "must be at most 1e+15 in magnitude, not 1e+30"),
    f"{NORM}.var": ((2,), math.inf, "must be finite, not inf"),
    "norm.var": ((0,), -0.5, "must be 0 or more, not -0.5"),
    "head.bias": ((9,), -math.inf, "must be finite, not -inf"),
    **{f"{HIDDEN}.{name}": ((4, 1), math.nan, "must be finite, not nan") for name in ("centre", "width", "value")},
    **{f"{HIDDEN}.{name}": ((4,), math.nan, "must be finite, not nan") for name in ("gain", "offset")},
}


def _model(seed=1):
    torch.manual_seed(seed)
    return ResMLP(TINY)


def _poison(path, name, index, number):
    """Write a number into a tensor of a file, without psahw."""
    tensors = {key: tensor.copy() for key, tensor in load_file(path).items()}
    with safe_open(path, framework="numpy") as file:
        metadata = file.metadata()
    tensors[name][index] = number
    save_file(tensors, path, metadata=metadata)


def _run_directory(tmp_path, name="embed.bias", index=(7,), number=1e30):
    """Return a run directory whose model has a bad number."""
    path = tmp_path / "bad" / "model.safetensors"
    checkpoint.save_model(path, _model(), TINY, {"dataset": "sample"})
    _poison(path, name, index, number)
    return path.parent


def _unlike_numbers(directory):
    """Return the tensors of all files below a directory that hold numbers which are not finite."""
    return [
        f"{path}: {name}"
        for path in Path(directory).rglob("*.safetensors")
        for name, tensor in load_file(path).items()
        if tensor.dtype.kind == "f" and not np.isfinite(tensor).all()
    ]


@pytest.mark.parametrize("name", FAULTS)
def test_model_file(tmp_path, name):
    index, number, problem = FAULTS[name]
    path = _run_directory(tmp_path, name, index, number) / "model.safetensors"
    place = f"{name}[{', '.join(map(str, index))}]"
    with pytest.raises(UserError, match=f"^{re.escape(f'{path}: {place} {problem}')}$"):
        checkpoint.load_model(path)


def test_variance_of_a_convolutional_teacher(tmp_path):
    path = tmp_path / "model.safetensors"
    config = ConvConfig((4,))
    checkpoint.save_model(path, ConvNet(config), config, {})
    _poison(path, "groups.0.norm1.running_var", (3,), -1)
    with pytest.raises(UserError, match=r"groups\.0\.norm1\.running_var\[3\] must be 0 or more, not -1$"):
        checkpoint.load_model(path)


@pytest.mark.parametrize(
    "command",
    [
        "quantize {bad} --name x -o {out}",
        "quantize {bad} --name x --epochs 0 --prune 0.5 --lut-budget 9000 -o {out}",
        "quantize {good} --name x --teacher {bad} -o {out}",
        "distill --teacher {bad} --config tiny -o {out}",
        "distill --teacher {good} --from {bad} --config tiny -o {out}",
        "teach --teacher {bad} --views 1 -o {out}",
        "evaluate {bad}",
        "info {bad} --plot {out}.svg",
    ],
)
def test_every_command_that_reads_a_model(tmp_path, capsys, command):
    bad, good, out = _run_directory(tmp_path), tmp_path / "good", tmp_path / "out"
    checkpoint.save_model(good / "model.safetensors", _model(), TINY, {"dataset": "sample"})
    words = command.format(bad=bad, good=good, out=out).split()
    words += ["--dataset", "sample"] if words[0] != "info" else []
    assert main(words) == 2
    expected = f"{bad / 'model.safetensors'}: embed.bias[7] must be at most 1e+15 in magnitude, not 1e+30\n"
    assert capsys.readouterr().err == f"psahw: {expected}"
    assert not out.exists()


def test_residual_bits(tmp_path, capsys, monkeypatch):
    path = _run_directory(tmp_path) / "model.safetensors"
    monkeypatch.setattr("sys.argv", ["residual_bits", str(path)])
    with pytest.raises(SystemExit) as exit_:
        residual_bits.main()
    assert exit_.value.code == 2 and "embed.bias[7] must be at most 1e+15" in capsys.readouterr().err


@pytest.mark.parametrize("way", ["quantize", "narrow", "adopt", "teacher", "targets"])
def test_every_function_that_takes_a_model(tmp_path, way):
    bad = _model()
    with torch.no_grad():
        bad.stages[0].blocks[0].channel_mixing.act_in.gain[3] = math.nan
    config = TrainConfig(epochs=1, compile=False)
    sample = data.load("sample")
    ways = {
        "quantize": lambda: QuantizedResMLP(bad, sample.train_images),
        "narrow": lambda: narrow(bad, _model()),
        "adopt": lambda: adopt(bad, _model()),
        "teacher": lambda: training_loop.fit(_model(), sample, config, tmp_path, teachers=[bad]),
        "targets": lambda: targets.compute_targets([bad], sample, config, 1, tmp_path, {"teachers": []}),
    }
    with pytest.raises(UserError, match=r"channel_mixing\.act_in\.gain\[3\] must be finite, not nan$"):
        ways[way]()
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("epochs", [4, 8])
def test_diverging_training_leaves_only_good_files(tmp_path, capsys, epochs):
    """The loss stays finite for some epochs in which variances overflow."""
    settings = ["optimizer=adamw", "adamw_lr=100", "weight_decay=100", "warmup=0", "ema=0", "compile=false"]
    words = ["train", "--config", "tiny", "--dataset", "sample", "--epochs", str(epochs), "-o", str(tmp_path / "run")]
    assert main(words + [word for setting in settings for word in ("--set", setting)]) == 1
    *_, message = capsys.readouterr().err.splitlines()
    named = re.fullmatch(
        r"psahw: training diverges in epoch (\d+): model/\S+\[\d+(?:, \d+)*\] must be (?:finite|at most 1e\+15 in "
        r"magnitude), not \S+; lower the learning rates\. "
        r"(?:The last good state is (\S+)|There is no checkpoint yet)",
        message,
    )
    assert named, message
    assert (named[2] is not None) == (tmp_path / "run" / "checkpoint.safetensors").exists()
    assert named[2] is None or Path(named[2]) == tmp_path / "run" / "checkpoint.safetensors"
    assert not (tmp_path / "run" / "model.safetensors").exists()
    assert _unlike_numbers(tmp_path) == []


@pytest.mark.parametrize("part", ["model/head.bias", "average/norm.var", "optimizer0/0/momentum_buffer"])
def test_state_that_is_not_finite(tmp_path, part):
    """The checkpoint before stays, and the message names it."""
    config = TrainConfig(epochs=3, batch=16, compile=False, ema=0.9)
    model = _model()
    training_loop.fit(model, data.load("sample"), config, tmp_path, stop_after=1)
    run = RunState(model, config, tmp_path, {})
    run.restore()
    run.check()
    before = run.path.read_bytes()
    tensor = run._tensors()[0][part]  # the state itself, not a copy
    tensor.view(-1)[1] = math.inf
    place = r"\[1\]" if tensor.ndim == 1 else r"\[0, 1\]"
    with pytest.raises(
        CheckFailed, match=rf"{part}{place} must be finite, not inf; .* The last good state is {run.path}$"
    ):
        run.check()
    with pytest.raises(CheckFailed, match=rf"^{run.path} was not written: {part}{place} must be finite"):
        run.save()
    assert run.path.read_bytes() == before and [path.name for path in tmp_path.glob("check*")] == [run.path.name]


def test_checkpoint_of_an_earlier_version(tmp_path, capsys):
    words = ["train", "--config", "tiny", *SAMPLE, "--epochs", "2", "-o", str(tmp_path)]
    assert main([*words, "--stop-after", "1"]) == 0
    _poison(tmp_path / "checkpoint.safetensors", "model/norm.var", (3,), math.inf)
    capsys.readouterr()
    assert main(words) == 2
    path = tmp_path / "checkpoint.safetensors"
    assert capsys.readouterr().err == f"psahw: {path}: model/norm.var[3] must be finite, not inf\n"


def test_large_squares_of_an_optimiser_are_good():
    tensors = {"optimizer0/0/exp_avg_sq": torch.tensor([1e30]), "model/count": torch.tensor(1 << 60)}
    assert find_bad_number(tensors, unlimited=["optimizer"]) is None
    assert find_bad_number(tensors).value == pytest.approx(1e30)
    assert find_bad_number({"a": torch.tensor(LIMIT), "b": torch.zeros(0)}) is None
    assert str(find_bad_number({"a": torch.tensor(-math.inf)})) == "a must be finite, not -inf"


def test_stored_answers(tmp_path):
    """Probabilities that float16 cannot tell from 0 get its least logarithm; other files are refused."""
    teacher = _model()
    with torch.no_grad():
        teacher.head.bias[0] = 1e6
    sample, config = data.load("sample"), TrainConfig(compile=False)
    targets.compute_targets([teacher], sample, config, 1, tmp_path, {"teachers": []})
    answers = targets.Targets.load(tmp_path).answers
    assert answers[0, :, 0].eq(0).all() and answers[0, :, 1:].eq(-65504).all()
    _poison(tmp_path / "view0000.safetensors", "answers", (2, 1), -math.inf)
    with pytest.raises(UserError, match=r"view0000\.safetensors: answers\[2, 1\] must be finite, not -inf$"):
        targets.Targets.load(tmp_path)


@pytest.mark.parametrize(
    "tensor", ["embed.weight", "embed.bias", "head.weight", "stages.0.blocks.0.channel_mixing.linear1.weight"]
)
def test_products_that_overflow(tensor):
    """Every parameter is good by itself, but the network cannot be computed, or not in codes."""
    model = _trained(TINY)
    with torch.no_grad():
        model.get_parameter(tensor).fill_(9e14)
        model.norm.weight.fill_(9e14)
        model.stages[0].blocks[0].channel_mixing.norm.weight.fill_(9e14)
        model.stages[0].blocks[0].channel_mixing.linear2.weight.fill_(9e14)
    with pytest.raises(
        UserError, match=r"^the (float|quantised) model: .* must be (finite|at most 1e\+15 in magnitude)"
    ):
        QuantizedResMLP(model, samples.load()[0])


@pytest.mark.parametrize("silent", [False, True])
def test_untrained_models_can_be_quantised(silent):
    """Their functions are the initial ones. If the head is 0, so is every logit, and its scale must not be."""
    model = _model().eval()
    if silent:
        for parameter in model.head.parameters():
            torch.nn.init.zeros_(parameter)
    images = samples.load()[0]
    quantized = QuantizedResMLP(model, images)
    network = to_network(quantized, "initial", tuple("0123456789"))
    logits = reference.run(network, images)
    with torch.no_grad():
        assert (quantized.codes(torch.from_numpy(images)).numpy() == logits).all()
    assert logits.any() != silent


def test_description_that_is_not_finite(tmp_path):
    path = tmp_path / "model.safetensors"
    save_file({"a": np.zeros(1)}, path, metadata={"psahw": json.dumps({"format": 1, "about": math.nan})})
    with pytest.raises(UserError, match=rf"^{path}: the description: NaN is not JSON: numbers must be finite$"):
        checkpoint.load_model(path)
    with pytest.raises(ValueError, match="not JSON compliant"):
        checkpoint.save_model(path, _model(), TINY, {"accuracy": math.nan})
