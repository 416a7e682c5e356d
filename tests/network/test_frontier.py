"""The Pareto set of points and of network files, and the command that draws it."""

import json
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from psahw.cli import main
from psahw.network import file as network_file
from psahw.network.frontier import candidates, pareto
from psahw.network.random import StageShape, random_network
from psahw.network.summary import summarise


def test_pareto_by_hand():
    points = [(100, 90.0), (50, 90.0), (50, 89.0), (20, 80.0), (20, 80.0), (10, 10.0), (200, 91.0)]
    assert pareto(points) == [False, True, False, True, True, True, True]
    assert pareto([]) == []


def test_pareto_set_is_a_staircase():
    """In order of cost the values of the set rise, and every other point lies below it."""
    rng = np.random.default_rng(0)
    points = list(zip(rng.integers(0, 50, 200).tolist(), rng.integers(0, 50, 200).tolist(), strict=True))
    marks = pareto(points)
    best = sorted({point for point, mark in zip(points, marks, strict=True) if mark})
    assert all(a[0] < b[0] and a[1] < b[1] for a, b in pairwise(best))
    for cost, value in points:
        assert max(v for c, v in best if c <= cost) >= value


@pytest.fixture
def files(tmp_path):
    """Write three networks, of which the largest is worse than the second, and one without a validation accuracy."""
    for name, hidden, accuracy in (
        ("large", 40, {"validation INT8": 90.0, "cifar10 test INT8": 89.5}),
        ("small", 4, {"validation INT8": 80.0}),
        ("worse", 60, {"validation INT8": 85.0}),
        ("silent", 4, {"cifar10 test INT8": 99.0}),
    ):
        network = random_network(np.random.default_rng(0), stages=(StageShape(8, hidden),), name=name)
        network.metadata["accuracy"] = accuracy
        network_file.save(network, tmp_path / name)
    return tmp_path


def test_candidates(files):
    networks = [(name, network_file.load(files / name)) for name in ("worse", "large", "silent", "small")]
    by_name = {candidate.network: candidate for candidate in candidates(networks)}
    assert {name: c.pareto for name, c in by_name.items()} == {
        "large": True, "small": True, "worse": False, "silent": None,
    }  # fmt: skip
    assert (by_name["large"].test, by_name["small"].test, by_name["silent"].validation) == (89.5, None, None)
    for name, network in networks:
        assert by_name[name].luts == summarise(network)["adder_luts"]
        assert by_name[name].weights_nonzero == sum(np.count_nonzero(x.weight) for _, x, *_ in network.linears())
    luts = [candidate.luts for candidate in candidates(networks)]
    assert luts == sorted(luts)


def test_command(files, capsys):
    paths = [str(files / name) for name in ("large", "small", "worse", "silent")]
    picture = files / "frontier.svg"
    assert main(["frontier", *paths, "--json", "--plot", str(picture)]) == 0
    entries = json.loads(capsys.readouterr().out)["networks"]
    assert [entry["network"] for entry in entries if entry["pareto"]] == ["small", "large"]
    assert {Path(entry["path"]).name for entry in entries} == {"large", "small", "worse", "silent"}
    text = picture.read_text()
    assert text.startswith("<?xml") and "small" in text and "silent" not in text
    assert main(["frontier", *paths]) == 0
    assert "89.50 %" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["silent", "--plot", "x.svg"],
            "no network records its validation accuracy: there is nothing to draw",
        ),
        (["small", "--plot", "x.png"], "--plot: x.png: the name must end in .svg"),
        (["absent"], "neither a file nor one that ships"),
    ],
)
def test_wrong_use(arguments, message, files, capsys, monkeypatch):
    monkeypatch.chdir(files)
    before = sorted(files.iterdir())
    assert main(["frontier", *arguments]) == 2
    err = capsys.readouterr().err
    assert message in err and err.count("\n") == 1
    assert sorted(files.iterdir()) == before
