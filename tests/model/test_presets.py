"""Tests of configurations by name, from files, and with changes."""

import pytest

from psahw.errors import UserError
from psahw.model.presets import load_model_config


def test_changes_to_a_shape():
    config = load_model_config("pyramid", ("activation=relu", "hidden=[8,12,16]", "shared=false", "classes=7"))
    assert config.activation == "relu" and config.classes == 7
    assert [stage.hidden for stage in config.stages] == [8, 12, 16]
    assert not any(stage.shared for stage in config.stages)
    assert load_model_config("conv", ("widths=[8,9]",)).widths == (8, 9)


@pytest.mark.parametrize(
    "change, message",
    [
        ("hidden", "NAME=VALUE with a name of "),
        ("kind=x", "NAME=VALUE with a name of "),
        ("stages=[]", "NAME=VALUE with a name of "),
        ("hidden=[1,2]", "3 stages need as many values, not 2"),
        ("hidden=many", "hidden must be an integer"),
        ("activation=tanh", "activation must be one of"),
    ],
)
def test_wrong_changes(change, message):
    with pytest.raises(UserError, match=message):
        load_model_config("pyramid", (change,))


def test_shape_from_a_file(tmp_path):
    path = tmp_path / "shape.json"
    path.write_text('{"stages": [{"channels": 8, "hidden": 4, "blocks": 1}], "patch_size": 8, "patch_stride": 8}')
    assert load_model_config(str(path)).grids == [(4, 4)]


def test_unknown_preset():
    with pytest.raises(UserError, match="unknown configuration 'resnet'; known are teacher, psa"):
        load_model_config("resnet")
