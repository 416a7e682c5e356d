"""The curves equal the published formula and the tables that the hardware holds; the commands draw them."""

import json

import numpy as np
import pytest
import torch

from psahw.cli import main
from psahw.model.export import to_network
from psahw.model.functions import code_curves, float_curves, scales
from psahw.model.quant import QuantizedResMLP
from psahw.network import file as network_file
from psahw.network import samples
from psahw.network.random import random_network
from tests.model.test_psa import _published
from tests.model.test_quant import CLASSES, SHAPES, _trained

SMOKE = ["--dataset", "sample", "--batch", "16", "--set", "compile=false", "--set", "bf16=false", "--json"]


def test_float_curves_are_the_published_formula():
    model = _trained(SHAPES["local"])
    curves = float_curves(model)
    assert len(curves) == 4
    x, y, grid_x, grid_y = curves["stages.0.blocks.1.channel_mixing.table_hidden"]
    psa = model.stages[0].blocks[1].channel_mixing.act_hidden
    assert x.shape == y.shape == (16, 257) and grid_x.shape == grid_y.shape == (16, 64)
    for arguments, values in ((x, y), (grid_x, grid_y)):
        expected = [[_published(psa, neuron, x) for x in row] for neuron, row in enumerate(arguments.tolist())]
        np.testing.assert_allclose(values, expected, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(grid_x[3], np.linspace(-4, 4, 64), atol=1e-6)


def test_grid_is_what_the_forward_pass_interpolates():
    model = _trained(SHAPES["local"])
    psa = model.stages[0].blocks[0].channel_mixing.act_in
    _, _, _, grid_y = float_curves(model)["stages.0.blocks.0.channel_mixing.table_in"]
    np.testing.assert_allclose(grid_y.T, psa.grid().detach().numpy(), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("shape", SHAPES)
def test_code_curves_round_to_the_tables(shape):
    """Without fine-tuning, each table is its curve, rounded and saturated."""
    model = _trained(SHAPES[shape])
    quantized = QuantizedResMLP(model, samples.load()[0])
    network = to_network(quantized, "test", CLASSES)
    curves = code_curves(model, json.loads(json.dumps(scales(quantized))))
    tables = {name: table.values for name, table, *_ in network.tables() if "channel_mixing" in name}
    assert tables.keys() <= curves.keys() and tables
    for name, table in tables.items():
        x, y, grid_x, grid_y = curves[name]
        np.testing.assert_array_equal(x, np.broadcast_to(np.arange(-128, 128), table.shape))
        assert np.abs(y.clip(-128, 127) - table).max() < 0.51
        inside = (grid_x > -128) & (grid_x < 127)  # here the grid's points lie on the curve
        for neuron in range(len(x) if grid_x.size else 0):
            between = np.interp(grid_x[neuron][inside[neuron]], x[neuron], y[neuron])
            np.testing.assert_allclose(grid_y[neuron][inside[neuron]], between, atol=0.05 * np.ptp(y[neuron]))


def test_scales_of_another_network():
    model = _trained(SHAPES["local"])
    with pytest.raises(ValueError, match=r"^stages.0.blocks.0.channel_mixing.table_in must have 16 scales, not 0$"):
        code_curves(model, {})


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Train a float network, quantise it, and return the folder with both."""
    folder = tmp_path_factory.mktemp("runs")
    assert main(["train", "--config", "tiny", "--epochs", "1", "-o", str(folder / "float"), *SMOKE]) == 0
    command = ["quantize", str(folder / "float"), "--name", "quantised", "--epochs", "0", "-o", str(folder / "int8")]
    assert main([*command, *SMOKE]) == 0
    return folder


def test_network_records_its_scales(runs):
    recorded = network_file.load(runs / "int8" / "quantised.safetensors").metadata["scales"]
    lengths = {name: len(values) for name, values in recorded.items()}
    assert lengths["stages.0.blocks.1.channel_mixing"] == lengths["stages.0.blocks.1.token_mixing.table_in"] == 16
    assert lengths["stages.0.blocks.1.channel_mixing.table_hidden"] == 16 and len(lengths) == 10


def test_pictures(runs, tmp_path, capsys):
    network, run = str(runs / "int8" / "quantised.safetensors"), str(runs / "float")
    capsys.readouterr()
    for arguments in ([network, "--float", run], [network], [run]):
        picture = tmp_path / "picture.svg"
        assert main(["info", *arguments, "--plot", str(picture), "--json"]) == 0
        assert picture.read_text().startswith("<?xml")
        picture.unlink()
        json.loads(capsys.readouterr().out)
    assert main(["info", network, "--float", run, "--plot", str(tmp_path / "all")]) == 0
    places = [name for name, _, *_ in network_file.load(network).tables()]
    assert sorted(path.name for path in (tmp_path / "all").iterdir()) == sorted(f"{name}.svg" for name in places)
    assert f"functions drawn in {tmp_path / 'all'}" in capsys.readouterr().err


def test_wrong_use(runs, tmp_path, capsys):
    network, run = str(runs / "int8" / "quantised.safetensors"), str(runs / "float")
    other = tmp_path / "other"
    (tmp_path / "wide.json").write_text(
        json.dumps({"stages": [{"channels": 8, "hidden": 24, "blocks": 2}], "patch_size": 8, "patch_stride": 8})
    )
    wide = ["train", "--config", str(tmp_path / "wide.json"), "--epochs", "1", "-o", str(other), *SMOKE]
    assert main(wide) == 0
    plot = ["--plot", str(tmp_path / "x.png")]
    silent = tmp_path / "silent.safetensors"
    network_file.save(random_network(np.random.default_rng(0)), silent)
    for arguments, message in (
        ([run], "is a run directory: with --plot, info draws the functions of its float model"),
        ([run, *plot, "--float", run], "is a run directory: with --plot, info draws the functions"),
        ([network, "--float", run], "--float needs --plot"),
        ([str(silent), "--float", run, *plot], "random does not record the scales of its codes: quantize it again"),
        ([network, "--float", str(other), *plot], f"quantised was not made from {other}: "),
        ([network, "--float", str(tmp_path), *plot], "cannot read"),
    ):
        capsys.readouterr()
        assert main(["info", *arguments]) == 2
        err = capsys.readouterr().err
        assert message in err and err.count("\n") == 1
    assert not (tmp_path / "x.png").exists()


def test_curves_do_not_change_the_model():
    model = _trained(SHAPES["local"])
    before = {name: value.clone() for name, value in model.state_dict().items()}
    float_curves(model)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
