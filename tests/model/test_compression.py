"""Tests of `quantize` with fewer bits and pruned weights, on the shipped sample."""

import json

import numpy as np
import pytest

from psahw.cli import main
from psahw.errors import UserError
from psahw.model import compression
from psahw.model.compression import Compression
from psahw.network import file as network_file
from psahw.network.summary import summarise, weight_bits

SMOKE = ["--dataset", "sample", "--batch", "16", "--set", "compile=false", "--set", "bf16=false", "--json"]
NAMES = ["embed", "stages.0.blocks.0.token_mixing", "stages.0.blocks.1.token_mixing", "head"]


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    directory = tmp_path_factory.mktemp("runs") / "float"
    assert main(["train", "--config", "tiny", "--epochs", "2", "-o", str(directory), *SMOKE]) == 0
    return directory


def _quantize(capsys, run, directory, *arguments):
    status = main(["quantize", str(run), "--name", "small", "-o", str(directory), *map(str, arguments), *SMOKE])
    out, err = capsys.readouterr()
    assert status == 0, err
    return json.loads(out), err


def _weights(result):
    return {name: layer.weight for name, layer, *_ in network_file.load(result["network"]).linears()}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (None, [8, 8, 8, 8]),
        ("5", [5, 5, 5, 5]),
        ("head=6,embed=7", [7, 8, 8, 6]),
        ("5,*.token_mixing=4,stages.0.blocks.1.token_mixing=3", [5, 4, 3, 5]),
    ],
)
def test_bits_by_name(text, expected):
    assert list(Compression.parse(NAMES, text, None, 10, None).bits.values()) == expected


@pytest.mark.parametrize(
    ("text", "common", "by_layer"),
    [
        (None, None, {}),
        ("0.5", 0.5, {}),
        ("0.5,head=0", 0.5, {"head": 0.0}),
        ("*.token_mixing=.25", 0.0, dict.fromkeys(NAMES[1:3], 0.25)),
    ],
)
def test_fractions_by_name(text, common, by_layer):
    parsed = Compression.parse(NAMES, None, None, 10, text)
    assert (parsed.prune, parsed.prune_by_layer) == (common, by_layer)


def test_defaults_describe_nothing():
    """A run from before these options can therefore be resumed."""
    assert Compression.parse(NAMES, None, None, 10, None).describe() == {}
    assert Compression.parse(NAMES, "8", None, 10, None).describe() == {}


@pytest.mark.parametrize(
    ("bits", "prune", "message"),
    [
        ("9", None, "bits must be an integer from 2 to 8, not '9'"),
        ("head=", None, "bits must be an integer from 2 to 8, not ''"),
        ("neck=4", None, "bits: no layer 'neck'; layers are embed, "),
        (None, "1", "prune must be a number from 0 to below 1, not '1'"),
        (None, "nan", "prune must be a number from 0 to below 1, not 'nan'"),
        (None, "head=half", "prune must be a number from 0 to below 1, not 'half'"),
    ],
)
def test_wrong_use(bits, prune, message):
    with pytest.raises(UserError) as caught:
        Compression.parse(NAMES, bits, None, 10, prune)
    assert str(caught.value).startswith(message)


def test_bits_and_pruning_are_in_the_file(run, tmp_path, capsys):
    result, _ = _quantize(capsys, run, tmp_path / "q", "--bits", "4,head=6", "--prune", "0.5,head=0", "--epochs", 2)
    weights = _weights(result)
    for name, weight in weights.items():
        assert weight_bits(weight) <= (6 if name == "head" else 4)
    network = network_file.load(result["network"])
    possible = sum(layer["weights"] for layer in summarise(network)["layers"] if layer["name"] != "head")
    assert sum(np.count_nonzero(w) for name, w in weights.items() if name != "head") <= possible / 2
    recorded = network.metadata["quantisation"]
    assert recorded["bits"] == dict.fromkeys(weights, 4) | {"head": 6}
    assert recorded["prune"] == {"common": 0.5, "layers": {"head": 0.0}}
    assert result["adder_luts_estimated"] == summarise(network)["adder_luts"]


def test_without_training_it_prunes_at_once(run, tmp_path, capsys):
    result, _ = _quantize(capsys, run, tmp_path / "q", "--prune", "embed=0.75", "--epochs", 0)
    weight = _weights(result)["embed"]
    assert np.count_nonzero(weight) <= weight.size / 4


def test_resumed_equals_uninterrupted(run, tmp_path, capsys):
    options = ["--bits", "5", "--prune", "0.4", "--epochs", 3]
    whole, _ = _quantize(capsys, run, tmp_path / "whole", *options)
    _quantize(capsys, run, tmp_path / "parts", *options, "--stop-after", 1)
    parts, _ = _quantize(capsys, run, tmp_path / "parts", *options)
    assert len({network_file.digest(network_file.load(result["network"])) for result in (whole, parts)}) == 1
    command = ["quantize", str(run), "--name", "small", "-o", str(tmp_path / "parts"), *SMOKE, "--epochs", "3"]
    assert main([*command, "--bits", "5"]) == 2
    assert "belongs to a run with another prune" in capsys.readouterr().err
    assert main([*command, "--bits", "4", "--prune", "0.4"]) == 2
    assert "belongs to a run with another bits" in capsys.readouterr().err


def test_budget_is_searched_once_and_kept(run, tmp_path, capsys, monkeypatch):
    plain, _ = _quantize(capsys, run, tmp_path / "plain", "--epochs", 0)
    budget = plain["adder_luts_estimated"] // 2
    options = ["--lut-budget", budget, "--search-images", 30, "--epochs", 2]
    _quantize(capsys, run, tmp_path / "q", *options, "--stop-after", 1)
    search = json.loads((tmp_path / "q" / "bits.json").read_text())
    chosen = sum(search["luts"][name][str(layer_bits)] for name, layer_bits in search["bits"].items())
    assert chosen <= budget < sum(of_layer["8"] for of_layer in search["luts"].values())
    monkeypatch.setattr(compression, "loss_by_bits", lambda *arguments: pytest.fail("searched again"))
    result, err = _quantize(capsys, run, tmp_path / "q", *options)
    recorded = network_file.load(result["network"]).metadata["quantisation"]
    assert (recorded["bits"], recorded["lut_budget"]) == (search["bits"], budget)
    for name, weight in _weights(result).items():
        assert weight_bits(weight) <= search["bits"][name]
    over = result["adder_luts_estimated"] > budget
    assert ("LUTs of the" in err) == over


def test_budget_counts_what_will_be_pruned(run, tmp_path, capsys):
    plain, _ = _quantize(capsys, run, tmp_path / "plain", "--prune", "0.5", "--epochs", 0)
    budget = plain["adder_luts_estimated"] + 100
    result, _ = _quantize(capsys, run, tmp_path / "q", "--lut-budget", budget, "--prune", "0.5", "--epochs", 0)
    recorded = network_file.load(result["network"]).metadata["quantisation"]["bits"]
    assert set(recorded.values()) == {8} and result["adder_luts_estimated"] == plain["adder_luts_estimated"]


def test_budget_that_is_too_small(run, tmp_path, capsys):
    command = ["quantize", str(run), "--name", "small", "-o", str(tmp_path / "q"), *SMOKE]
    assert main([*command, "--lut-budget", "100"]) == 2
    assert "a budget of 100 LUTs is too small: 2 bits everywhere take " in capsys.readouterr().err
    assert not (tmp_path / "q").exists()
