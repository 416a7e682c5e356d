"""Tests of configurations: everything that they may not contain is one clear error before any work."""

import json
import re

import pytest

from psahw.errors import UserError
from psahw.model.config import (
    ConvConfig,
    ModelConfig,
    StageConfig,
    TrainConfig,
    held_out,
)
from psahw.model.models import config_from_dict
from psahw.model.presets import PRESETS, load_model_config

STAGE = {"channels": 8, "hidden": 8, "blocks": 1}


def test_presets_survive_json():
    for preset in PRESETS.values():
        assert config_from_dict(json.loads(json.dumps(preset.model.to_dict()))) == preset.model
    assert TrainConfig.from_dict(json.loads(json.dumps(TrainConfig().to_dict()))) == TrainConfig()


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"stages": []}, "stages must not be empty"),
        ({"stages": 5}, "stages must be a list, not 5"),
        ({"stages": [5]}, "stage 0 must be a JSON object, not 5"),
        ({"stages": [STAGE | {"depth": 3}]}, "stage 0: unknown field 'depth'"),
        ({"stages": [{"channels": 8}]}, "stage 0: .* missing 2 required"),
        ({"stages": [STAGE | {"blocks": 0}]}, r"blocks must be an integer in \[1, .*\], not 0"),
        ({"stages": [STAGE | {"hidden": True}]}, "hidden must be an integer in .*, not True"),
        ({"stages": [STAGE | {"groups": 3}]}, "groups must divide the 8 channels, not 3"),
        ({"stages": [STAGE | {"kernel": 4}]}, "kernel must be 1, 3, 5, 7, 9 or null, not 4"),
        ({"stages": [STAGE | {"kernel": "3"}]}, "kernel must be 1, 3, 5, 7, 9 or null, not '3'"),
        ({"stages": [STAGE | {"kernel": 3, "shared": 1}]}, "shared must be true or false, not 1"),
        ({"stages": [STAGE | {"shared": True}]}, "shared must be false without a kernel, not True"),
        ({"patch_stride": 0}, r"patch_stride must be an integer in \[1, 4\], not 0"),
        ({"patch_stride": 5}, r"patch_stride must be an integer in \[1, 4\], not 5"),
        ({"patch_size": 0}, r"patch_size must be an integer in \[1, 64\], not 0"),
        ({"patch_padding": -1}, r"patch_padding must be an integer in \[0, 3\], not -1"),
        ({"patch_padding": 4}, r"patch_padding must be an integer in \[0, 3\], not 4"),
        ({"activation": "tanh"}, "activation must be one of gelu, relu, psa_hidden, psa_both, not 'tanh'"),
        ({"segments": 0}, "segments must be an integer in .*, not 0"),
        ({"grid_size": 32}, "grid_size must be one of 4, 8, 10, 22, 64, not 32"),
        ({"grid_size": 22.0}, "grid_size must be one of 4, 8, 10, 22, 64, not 22.0"),
        ({"classes": 1}, "classes must be an integer in .*, not 1"),
        ({"image": [32]}, r"image must be two numbers, not \(32,\)"),
        ({"image": 32}, "image must be two numbers, not 32"),
        ({"image": [32, 0]}, "image must be an integer in .*, not 0"),
        ({"image": [3, 32]}, "patch_size must be at most the 3 pixels of the image and the padding, not 4"),
        ({"image": [36, 36], "stages": [STAGE, STAGE]}, "merging after stage 0 needs an even grid, not 9 x 9"),
    ],
)
def test_wrong_model(changes, message, tmp_path):
    path = tmp_path / "shape.json"
    path.write_text(json.dumps({"stages": [STAGE]} | changes))
    with pytest.raises(UserError, match=f"^{re.escape(str(path))}[:,].*{message}"):
        load_model_config(str(path))


def test_shared():
    """The field is written only where it is true, so that older configurations equal new ones without it."""
    stages = (StageConfig(8, 8, 1, groups=8, kernel=3, shared=True), StageConfig(8, 8, 1, kernel=3))
    config = ModelConfig(stages)
    written = json.loads(json.dumps(config.to_dict()))
    assert [stage.get("shared") for stage in written["stages"]] == [True, None]
    assert ModelConfig.from_dict(written) == config
    free = ModelConfig((StageConfig(8, 8, 1, groups=8, kernel=3), stages[1]))
    assert config.macs() == free.macs()
    assert config.weights() == free.weights() - 8 * (22**2 - 9)  # a line of 8 tokens has 22 pairs of neighbours


@pytest.mark.parametrize(
    "name, value, expected",
    [
        ("epochs", 0, r"an integer in \[1, 1048576\]"),
        ("block_epochs", -1, r"an integer in \[0, 1048576\]"),
        ("batch", 1.5, r"an integer in \[1, 1048576\]"),
        ("seed", -1, "an integer in .*"),
        ("crop", -1, r"an integer in \[0, 512\]"),
        ("cutout", -2, r"an integer in \[0, 1024\]"),
        ("optimizer", "sgd", "one of muon, adamw"),
        ("schedule", "step", "one of linear, cosine, onecycle"),
        ("muon_lr", -0.1, r"a number in \[0, 100\]"),
        ("adamw_lr", float("nan"), r"a number in \[0, 100\]"),
        ("weight_decay", -1, r"a number in \[0, 100\]"),
        ("warmup", 3, r"a number in \[0, 1\]"),
        ("label_smoothing", 1.1, r"a number in \[0, 1\]"),
        ("alpha", 9, r"a number in \[0, 1\]"),
        ("cutmix", -0.1, r"a number in \[0, 1\]"),
        ("mixup", 1.1, r"a number in \[0, 1\]"),
        ("randaugment", 17, r"an integer in \[0, 16\]"),
        ("magnitude", 31, r"a number in \[0, 30\]"),
        ("colour", 2, r"a number in \[0, 1\]"),
        ("ema", 2, r"a number in \[0, 0.999999\]"),
        ("momentum", 1, r"a number in \[0, 0.999999\]"),
        ("temperature", 0, r"a number in \(0, 1000\]"),
        ("betas", [1], "two numbers"),
        ("betas", [0.9, 1], r"a number in \[0, 0.999999\]"),
        ("flip", 1, "true or false"),
        ("all_images", 1, "true or false"),
    ],
)
def test_wrong_training(name, value, expected):
    shown = tuple(value) if isinstance(value, list) and len(value) == 1 else value[1] if name == "betas" else value
    message = rf"^training configuration: {name} must be {expected}, not {re.escape(repr(shown))}$"
    with pytest.raises(UserError, match=message):
        TrainConfig.from_dict({name: value})


@pytest.mark.parametrize(
    "about, expected",
    [
        ({"train": TrainConfig().to_dict(), "teacher": None, "from": {"about": {"train": {}}}}, True),
        ({"train": TrainConfig(all_images=True).to_dict()}, False),
        ({"teacher": [{"about": {"train": {}}}, {"about": {"train": {"all_images": True}}}]}, False),
        ({"from": {"about": {"from": {"about": {"train": {"all_images": True}}}}}}, False),
    ],
)
def test_held_out(about, expected):
    assert held_out(json.loads(json.dumps(about))) is expected


def test_mixtures_exclude_each_other():
    with pytest.raises(UserError, match=r"^cutmix and mixup must add up to 1 at most, not 1\.1$"):
        TrainConfig(cutmix=0.5, mixup=0.6)


def test_terms():
    stages = (StageConfig(8, 12, 1, groups=2, kernel=3), StageConfig(16, 8, 1))
    assert ModelConfig(stages, patch_size=6, patch_padding=1).terms() == {
        "patch embedding": 108,
        "token mixing of stage 0": 9,
        "channel mixing of stage 0": 12,
        "merging before stage 1": 32,
        "token mixing of stage 1": 16,
        "channel mixing of stage 1": 16,
        "head": 16,
    }


def test_more_weights_than_a_file_holds():
    """A dense mixing of 256 x 256 tokens would take 16 GiB."""
    stages = (StageConfig(8, 8, 1),)
    with pytest.raises(UserError, match=r"^the network may have at most 268,435,456 weights, not 4,294,967,888$"):
        ModelConfig(stages, image=(1024, 1024))
    local = ModelConfig((StageConfig(8, 8, 1, kernel=3),), image=(1024, 1024))
    assert local.largest_activation() == 256 * 256 * 48
    assert ConvConfig((4,), stem=24).largest_activation() == 31 * 31 * 24
