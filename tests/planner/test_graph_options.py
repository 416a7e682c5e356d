"""Adder graphs as options of a plan, against the components, and the cache of options."""

import json

import numpy as np
import pytest
from amaranth.hdl import Fragment

from psahw.adder_graph import solve
from psahw.gateware.graph_engine import GraphEngine
from psahw.network.random import StageShape, random_network
from psahw.planner.graph_options import graph_layers, graph_options

pytest.importorskip("da4ml", reason="the extra `graph` is not installed")


@pytest.fixture
def network(monkeypatch, tmp_path):
    monkeypatch.setenv("PSAHW_CACHE", str(tmp_path))
    stages = (StageShape(6, 4), StageShape(8, 6, groups=2))
    return random_network(np.random.default_rng(2), image=(16, 16), stages=stages)


def test_layers_with_one_matrix(network):
    assert list(graph_layers(network)) == [
        "embed",
        "stages.0.blocks.0.token_mixing.linear",
        "stages.0.blocks.0.channel_mixing.linear1",
        "stages.0.blocks.0.channel_mixing.linear2",
        "stages.1.merge",
        "stages.1.blocks.0.channel_mixing.linear1",
        "stages.1.blocks.0.channel_mixing.linear2",
        "head",
    ]


def test_cadence_equals_that_of_the_component(network):
    """Every option of every layer has the interval and the latency of its component, and can be built."""
    layers = graph_layers(network)
    for name, options in graph_options(layers, workers=1).items():
        layer, codes = layers[name]
        graph = solve(layer.weight, layers[name].ranges)
        for option in options:
            rows = {"bias": layer.bias, "shift": layer.shift, "i_codes": codes, "o_codes": layer.codes}
            dut = GraphEngine(graph=graph, digit=option.digit, depth=option.additions, o_lanes=layer.outputs, **rows)
            assert (dut.interval, dut.latency) == (option.interval, option.latency + 4), (name, option)
            Fragment.get(dut, None)


def test_cache(network, tmp_path, monkeypatch, caplog):
    """The cache is read. A file that is damaged, altered, or that of another layer is written again."""
    layers = {name: graph_layers(network)[name] for name in ("head", "embed")}
    first = graph_options(layers, workers=1)
    with monkeypatch.context() as patch:
        patch.setattr("psahw.planner.graph_options.calculate", None)
        assert graph_options(layers, workers=1) == first
    path, other = tmp_path.glob("adder_graphs/*.options")
    written = path.read_text()
    head, _, text = written.partition("\n")
    options = json.loads(text)
    cheap = json.dumps([[*option[:3], 1, 1] for option in options])
    words = json.dumps([[*option[:3], "1", "1"] for option in options])
    damaged = (
        "",
        "[1]",
        written[: len(written) // 2],
        f"{head}\n{cheap}",
        f"{head}\n{words}",
        other.read_text(),
        cheap,
    )
    for n, content in enumerate(damaged, 1):
        path.write_text(content)
        assert graph_options(layers, workers=1) == first
        assert path.read_text() == written
        assert len(caplog.messages) == n
