"""Adder graphs that ship with psahw: complete, right, and used in place of minutes of solving."""

import importlib.metadata
import json

import numpy as np
import pytest

from psahw.adder_graph import shipped, solve, solver
from psahw.adder_graph.encoding import decode
from psahw.adder_graph.parallel import DEPTHS
from psahw.adder_graph.serial import DIGITS
from psahw.network import file as network_file
from psahw.planner import graph_options
from psahw.planner.graph_options import graph_layers

pytest.importorskip("da4ml", reason="the extra `graph` is not installed")

UNSOLVED = {"cifar10-psa-max"}
"""Networks whose graphs do not ship, because solving them takes an hour."""

NETWORKS = sorted(set(network_file.shipped()) - UNSOLVED)


@pytest.fixture(scope="module")
def layers():
    """Return the layers that an adder graph can compute, of every network whose graphs ship."""
    return {
        (name, layer): value for name in NETWORKS for layer, value in graph_layers(network_file.load(name)).items()
    }


@pytest.fixture(autouse=True)
def no_solver(monkeypatch, tmp_path):
    """Let nothing be solved or computed, and nothing be in the cache."""

    def fail(tasks, *arguments):
        assert not tasks, "not shipped: run scripts/ship_graphs.py"
        return []

    monkeypatch.setenv("PSAHW_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(solver, "_answers", fail)


def _graph_name(coded):
    return f"{solver.digest(coded.layer.weight, coded.ranges)}.graph"


def _check(coded):
    """Check that graph and options of a layer are those that would be computed."""
    graph = decode(shipped.read(_graph_name(coded)))
    np.testing.assert_array_equal(graph.weight, coded.layer.weight)
    assert set(graph.inputs) == {(coded.codes.low, coded.codes.high)}
    (options,) = graph_options.graph_options({"layer": coded}).values()
    assert list(options) == graph_options.calculate(graph, coded.layer)


def test_every_layer_ships(layers, monkeypatch, tmp_path):
    """All layers have options, without a graph being read, and a graph of the right shape."""
    options = graph_options.graph_options({f"{name}/{layer}": value for (name, layer), value in layers.items()})
    assert {len(choice) for choice in options.values()} == {len(DEPTHS) + len(DIGITS)}
    for layer in layers.values():
        assert _graph_name(layer) in shipped._archives(shipped.DIRECTORY)
    assert not (tmp_path / "cache").exists()


@pytest.mark.parametrize("name", NETWORKS)
def test_the_smallest_layers_are_right(layers, name):
    own = sorted(
        (coded for (network, _), coded in layers.items() if network == name), key=lambda one: one.layer.weight.size
    )
    _check(own[0])
    graph = solve(own[1].layer.weight, own[1].ranges)
    np.testing.assert_array_equal(graph.weight, own[1].layer.weight)


@pytest.mark.slow
@pytest.mark.parametrize("name", NETWORKS)
def test_all_layers_are_right(layers, name):
    for (network, _), layer in layers.items():
        if network == name:
            _check(layer)


def test_nothing_else_ships(layers):
    """Leftovers of other weights or formats would only take room."""
    wanted = {_graph_name(layer) for layer in layers.values()}
    wanted |= {graph_options.shipped_name(layer) for layer in layers.values()}
    assert set(shipped._archives(shipped.DIRECTORY)) == wanted


def test_another_release_of_da4ml(layers, monkeypatch):
    """It would find other graphs, so that those that ship are not used."""
    layer = next(iter(layers.values()))
    version = importlib.metadata.version
    monkeypatch.setattr(solver.metadata, "version", lambda name: "0.0.0" if name == "da4ml" else version(name))
    with pytest.raises(AssertionError, match="not shipped"):
        solve(layer.layer.weight, layer.ranges, workers=1)


def test_other_weights_or_biases(layers):
    """A layer with another bias has the same graph and other options; with another weight it has neither."""
    coded = next(iter(layers.values()))
    layer = coded.layer
    assert graph_options._shipped(coded) is not None
    other = type(layer)(layer.weight, layer.bias + np.int32(1), layer.shift)
    assert graph_options._shipped(coded._replace(layer=other)) is None
    weight = layer.weight.copy()
    weight[0, 0] += 1
    with pytest.raises(AssertionError, match="not shipped"):
        solve(weight, workers=1)


def test_options_are_json_of_numbers(layers):
    """They can be read without psahw."""
    layer = next(iter(layers.values()))
    options = json.loads(shipped.read(graph_options.shipped_name(layer)))
    assert [len(option) for option in options] == [6] * (len(DEPTHS) + len(DIGITS))
