"""`psahw init`, and the three commands that it prints, from the user's own data to a simulated circuit."""

import json
import re
import shlex
import tomllib

import numpy as np
import pytest
from PIL import Image

from psahw.cli import main
from psahw.errors import CheckFailed, UserError

pytest.importorskip("torch", reason="the extra `train` is not installed")

from psahw.flow.images import load_test_images
from psahw.flow.initialising import init
from psahw.model.datasets.source import Source
from psahw.network.file import load


def pictures(folder, shape, classes, count=30):
    """Write pictures whose brightness tells their class into a folder for each class."""
    rng = np.random.default_rng(1)
    for number in range(classes):
        (folder / f"kind{number}").mkdir(parents=True)
        for index in range(count):
            level = 40 + 170 * number // max(1, classes - 1)
            pixels = np.clip(rng.normal(level, 25, shape), 0, 255).astype(np.uint8)
            Image.fromarray(pixels).save(folder / f"kind{number}" / f"{index:03}.png")
    return str(folder)


def table(path, rows=300):
    """Write a table of three sensors, of which the first two tell the class."""
    rng = np.random.default_rng(2)
    x = rng.normal(0, 1, (rows, 3)) * [1, 100, 0.01]
    kinds = np.where(x[:, 0] + x[:, 1] / 100 > 0, "good", "worn")
    lines = [",".join((*map(str, row), kind)) for row, kind in zip(x, kinds, strict=True)]
    path.write_text("\n".join(("force,speed,noise,state", *lines)))
    return str(path)


def run(capsys, arguments):
    """Run a command with ``--json``, and return what it prints."""
    status = main([*arguments, "--json"])
    captured = capsys.readouterr()
    assert status == 0, captured.err
    return json.loads(captured.out)


def quick(command):
    """Return a command's arguments, with two epochs and three images."""
    arguments = shlex.split(command)[1:]
    for name, value in (("--epochs", "2"), ("--images", "3")):
        if name in arguments:
            arguments[arguments.index(name) + 1] = value
    if arguments[0] == "quantize":
        arguments += ["--epochs", "1"]
    assert ("compile=false" in arguments) == (
        arguments[0] != "simulate"
    )  # so little data is learned sooner than compiled
    return arguments


@pytest.mark.parametrize("kind", ["grey pictures of 28x28", "coloured pictures of 48x32", "table"])
def test_three_commands_lead_to_a_circuit(tmp_path, capsys, kind):
    if kind == "table":
        data, options = table(tmp_path / "wear.csv"), ["--target", "state"]
    elif kind.startswith("grey"):
        data, options = pictures(tmp_path / "parts", (28, 28), 2), []
    else:
        data, options = pictures(tmp_path / "signs", (48, 32, 3), 3), []
    result = run(capsys, ["init", data, *options, "--max-lut", "7000", "-o", str(tmp_path / "out")])
    train, quantize, simulate = map(quick, result["commands"])
    run(capsys, train)
    assert run(capsys, quantize)["logits_different"] == 0
    simulated = run(capsys, simulate)
    assert (simulated["images"], simulated["mismatched_logits"]) == (3, 0)
    assert simulated["frame_interval"] == simulated["frame_interval_predicted"]
    assert simulated["latency"] == simulated["latency_predicted"]


def test_summary_of_pictures(tmp_path):
    data = pictures(tmp_path / "parts", (12, 16, 3), 3)
    result = init(data, tmp_path / "out", fps=100)
    assert (result.training, result.validation, result.test) == (65, 7, 18)
    assert result.shape == (12, 16, 3)
    assert sum(part.count for part in result.parts) == 65
    assert [part.name for part in result.parts] == ["kind0", "kind1", "kind2"]
    with Image.open(result.picture) as sheet:
        assert sheet.size == (12 * (16 * 3 + 2) + 2, 3 * (12 * 3 + 2) + 2)
    configuration = tomllib.loads(result.configuration.read_text())
    assert configuration["image"] == [12, 16]
    assert all("#" in line for line in result.configuration.read_text().splitlines() if line)


def test_summary_of_values(tmp_path):
    rng = np.random.default_rng(0)
    x = rng.normal(0, 1, (100, 4))
    np.savez(tmp_path / "motor.npz", x=x, y=x[:, :2] * 3 + 10, classes=np.array(["torque", "speed"]))
    from psahw.model.data import Source

    result = init(Source(str(tmp_path / "motor.npz"), task="values"), tmp_path / "out", fps=100)
    torque, speed = result.parts
    assert torque.low < 10 < torque.high and abs(speed.mean - 10) < 2
    assert "<svg" in result.picture.read_text()
    assert "--task values" in result.commands[0]


def test_smaller_networks_for_smaller_budgets(tmp_path):
    sizes = [init("digits", tmp_path / str(lut), fps=2e5, budget={"lut": lut}).weights for lut in (3500, 6000)]
    assert sizes[0] < sizes[1]


def test_room_for_trained_weights(tmp_path):
    """A circuit that takes a whole budget with random weights is not chosen, and the last command has the budget."""
    free = init("digits", tmp_path / "free")
    most = free.plan.resources.lut
    tight = init("digits", tmp_path / "tight", budget={"lut": most})
    assert tight.plan.resources.lut <= 0.97 * most
    assert shlex.split(tight.commands[2])[-4:-2] == ["--max-lut", f"{most:.15g}"]
    assert not {"--max-lut", "--engines"} & set(shlex.split(free.commands[2]))
    assert "--engines mac" in init("digits", tmp_path / "marble", board="marble").commands[2]


def test_no_room(tmp_path):
    with pytest.raises(CheckFailed, match="smallest overrun: lut"):
        init("digits", tmp_path / "out", budget={"lut": 100})
    assert not (tmp_path / "out").exists()


def test_a_directory_with_files_is_refused(tmp_path):
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(UserError, match="exists already"):
        init("digits", tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


def test_commands_of_a_regression(tmp_path, capsys):
    """Its answers are values in the units of the table, and an accuracy is not stated where there is none."""
    path = tmp_path / "motor.csv"
    x = np.random.default_rng(3).uniform(0, 1, (60, 2))
    path.write_text("a,b,torque\n" + "".join(f"{a},{b},{0.001 * (a + b)}\n" for a, b in x))
    options = ["--target", "torque", "--task", "values"]
    assert main(["init", str(path), *options, "-o", str(tmp_path / "out")]) == 0
    *summary, train, quantize, _ = capsys.readouterr().out.splitlines()
    assert any(re.match(r"torque +\S+ +0\.00[01]\d+ ", line) for line in summary), "small values are not shown as 0.0"
    run(capsys, quick(train))
    network = run(capsys, quick(quantize))["network"]
    images = load_test_images(load(network), 5, dataset=Source(str(path), target="torque", task="values"))
    assert images.labels is None
    assert main(["evaluate", network, "--dataset", str(path), *options]) == 0
    assert re.search(r"torque +0\.000\d+", capsys.readouterr().out)
