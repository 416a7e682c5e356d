"""Networks of any topology and task: pages, pictures of functions, and results on the command line."""

import json

import numpy as np
import pytest

import psahw
from psahw.cli import main
from psahw.errors import UserError
from psahw.flow.functions import draw_functions
from psahw.model import checkpoint
from psahw.model.functions import code_curves, float_curves
from psahw.model.graphs import topologies
from psahw.model.graphs.quantised import QuantizedGraph
from psahw.model.quantised import scales, to_network
from psahw.model.run_directory import model_file
from psahw.network import evaluation
from psahw.network import file as network_file
from psahw.network.layers import Table
from tests.model.test_graphs import SMALL, images_for, trained

NARROW = topologies.Mlp(
    image=(1, 1), colours=3, classes=2, widths=(4,), activation="gelu", bits=5, input_function=True
)
SHAPES = SMALL | {"narrow": NARROW}
QUICK = ["--epochs", "1", "--batch", "16", "--set", "compile=false"]


@pytest.fixture(scope="module")
def made():
    """Return a function that gives a float network, and what was quantised from it, once for each shape."""
    known = {}

    def make(name):
        if name not in known:
            shape = SHAPES[name]
            quantized = QuantizedGraph(trained(shape), images_for(shape))
            metadata = {"scales": json.loads(json.dumps(scales(quantized)))}
            names = tuple(f"o{n}" for n in range(shape.classes))
            known[name] = trained(shape), to_network(quantized, name, names, metadata)
        return known[name]

    return make


@pytest.mark.parametrize("name", SHAPES)
def test_code_curves_round_to_the_tables(made, name):
    """Without fine-tuning, each table is its curve, rounded and saturated; the grid's points lie on the curve."""
    model, network = made(name)
    curves = code_curves(model, network.metadata["scales"])
    tables = {place.name: place for place in network.tables() if isinstance(place.layer, Table)}
    assert [place for place in tables if not place.endswith(".rescale")] == [
        place for place in curves if place in tables
    ]
    for place, (x, y, grid_x, grid_y) in curves.items():
        if place not in tables:  # the identity, which the file leaves out
            continue
        table, before = tables[place].layer, tables[place].input.codes
        np.testing.assert_array_equal(x, np.broadcast_to(np.arange(before.low, before.high + 1), table.values.shape))
        assert np.abs(y.clip(table.codes.low, table.codes.high) - table.values).max() < 0.51
        for neuron in range(len(x) if grid_x.size else 0):
            inside = (grid_x[neuron] > before.low) & (grid_x[neuron] < before.high)
            between = np.interp(grid_x[neuron][inside], x[neuron], y[neuron])
            np.testing.assert_allclose(grid_y[neuron][inside], between, atol=0.05 * np.ptp(y[neuron]) + 1e-6)


@pytest.mark.parametrize("name", SHAPES)
def test_pages(made, name, tmp_path):
    """A page with a plan has every function once, and the confusions or residuals of the task."""
    _, network = made(name)
    shape = SHAPES[name]
    rng, images = np.random.default_rng(0), images_for(shape)
    right = {
        "class": rng.integers(0, shape.classes, len(images)),
        "labels": rng.integers(0, 2, (len(images), shape.classes)),
        "values": rng.normal(size=(len(images), shape.classes)),
    }[shape.task]
    scored = evaluation.evaluate(network, images, right, "noise")
    text = tmp_path / "evaluation.json"
    text.write_text(json.dumps(scored))
    planned = psahw.plan(network, "marble", engines="mac")
    result = psahw.write_report(network, tmp_path / "page.html", plan=planned, evaluation=text)
    page = result.page.read_text()
    tables = [place for place, *_ in network.tables()]
    assert all(f">{place}: " in page for place in tables)
    assert ('class="confusion"' in page, 'class="cloud"' in page) == (shape.task == "class", shape.task == "values")
    assert "this network is for other images" in page and "Worst errors" in page


@pytest.mark.parametrize("name", ["mlp", "narrow", "resnet-psa", "mlp-relu", "depthwise"])
def test_drawings(made, name, tmp_path):
    """A network, its float model, and both; or one line if there is nothing to draw."""
    model, network = made(name)
    checkpoint.save_model(model_file(tmp_path), model, model.config, {})
    picture = tmp_path / "picture.svg"
    for source, run, count in (
        (network, None, len(list(network.tables()))),
        (network, tmp_path, len(list(network.tables()))),
        (None, tmp_path, len(float_curves(model))),
    ):
        picture.unlink(missing_ok=True)
        if count:
            draw_functions(source, picture, run=run)
            assert picture.read_text().startswith("<?xml")
        else:
            with pytest.raises(UserError, match=r"has no functions to draw$"):
                draw_functions(source, picture, run=run)


def test_float_run_of_another_network(made, tmp_path, capsys):
    model, _ = made("mlp")
    checkpoint.save_model(model_file(tmp_path), model, model.config, {})
    for other in ("narrow", "resnet-psa"):
        network_file.save(made(other)[1], tmp_path / "other.safetensors")
        arguments = ["--float", str(tmp_path), "--plot", str(tmp_path / "x.png")]
        assert main(["info", str(tmp_path / "other.safetensors"), *arguments]) == 2
        err = capsys.readouterr().err
        assert err.startswith(f"psahw: {other} was not made from {tmp_path}: ") and err.count("\n") == 1


def test_regression_on_the_command_line(tmp_path, capsys):
    """From a table to the errors of each value: R² is called so, also where it is negative."""
    rng = np.random.default_rng(3)
    columns = rng.normal(size=(80, 3)).round(2)
    rows = [f"{a},{b},{c},{a + b:.3f},{a * c:.3f}" for a, b, c in columns]
    (tmp_path / "motor.csv").write_text("\n".join(["a,b,c,torque,speed", *rows]))
    table = ["--dataset", str(tmp_path / "motor.csv"), "--target", "torque,speed", "--task", "values"]
    run, int8 = tmp_path / "run", tmp_path / "int8"
    for _ in range(2):  # the second one has nothing left to train, and no loss
        assert main(["train", "--config", "mlp", "--shape", "widths=[4]", *table, "-o", str(run), *QUICK]) == 0
        out = capsys.readouterr().out
        assert "validation R², %" in out and "accuracy" not in out
    command = ["quantize", str(run), *table, "--name", "motor", "-o", str(int8), "--epochs", "0"]
    assert main(command) == 0
    out = capsys.readouterr().out
    assert "validation R² int8, %" in out and "accuracy" not in out
    network = str(int8 / "motor.safetensors")
    assert main(["evaluate", network, *table]) == 0
    out = capsys.readouterr().out
    lines = [line.split() for line in out.splitlines() if line.strip()]
    assert ["value", "RMSE", "MAE", "R²"] in lines and "residuals" not in out and "worst" not in out
    assert main(["evaluate", network, *table, "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    for one in result["values"]:
        assert [one["name"], *(f"{one[key]:.4g}" for key in ("rmse", "mae", "r2"))] in lines
    assert [one["name"] for one in result["residuals"]] == ["torque", "speed"]
    assert result["worst"][0]["row"].keys() == {"a", "b", "c"}
    shown = np.array(list(result["worst"][0]["row"].values()))
    assert np.abs(columns - shown).max(1).min() < 0.05  # a row of the table, to the resolution of a byte
    assert main(["evaluate", str(run), *table, "--json"]) == 0
    assert json.loads(capsys.readouterr().out).keys() == result.keys() - {"worst", "residuals"}


def test_values_that_are_not_explained(tmp_path, capsys):
    """The score of noise is below 0, which a network file records as 0."""
    noise = np.random.default_rng(4).normal(size=(60, 2)).round(3)
    (tmp_path / "noise.csv").write_text("\n".join(["a,b", *(f"{a},{b}" for a, b in noise)]))
    table = ["--dataset", str(tmp_path / "noise.csv"), "--target", "b", "--task", "values"]
    run, int8 = tmp_path / "run", tmp_path / "int8"
    assert main(["train", "--config", "mlp", "--shape", "widths=[9]", *table, "-o", str(run), *QUICK]) == 0
    assert main(["quantize", str(run), *table, "--name", "noise", "-o", str(int8), "--epochs", "0"]) == 0
    capsys.readouterr()
    network = str(int8 / "noise.safetensors")
    assert main(["evaluate", network, *table, "--record", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["r2"] < 0
    recorded = network_file.load(network).metadata["accuracy"]
    assert recorded["validation INT8"] == recorded["noise test INT8"] == 0
    assert main(["info", network]) == 0
    assert "R² validation INT8 0 %" in capsys.readouterr().out
