"""Adder graphs of random matrices, in exact integers, the cache, and blocks in several processes."""

import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from psahw.adder_graph import Graph, Output, solve, solve_all, solver
from psahw.adder_graph.encoding import decode, encode

pytest.importorskip("da4ml", reason="the extra `graph` is not installed")


@pytest.fixture(autouse=True)
def cache(tmp_path_factory, monkeypatch):
    directory = tmp_path_factory.mktemp("cache")
    monkeypatch.setenv("PSAHW_CACHE", str(directory))
    return directory / "adder_graphs"


def check(graph, weight, ranges=None):
    """Check that outputs equal NumPy's, and that every node stays in its range and reaches both ends."""
    weight = np.asarray(weight, np.int64)
    low, high = np.array(ranges or [(-128, 127)] * weight.shape[1]).T
    x = np.random.default_rng(0).integers(low, high + 1, (20, weight.shape[1]))
    np.testing.assert_array_equal(graph.evaluate(x), x @ weight.T)
    np.testing.assert_array_equal(graph.weight, weight)
    for form, ends in zip(graph.forms, graph.ranges, strict=True):
        assert (np.where(form > 0, low, high) @ form, np.where(form > 0, high, low) @ form) == ends


elements = st.one_of(st.integers(-128, 127), st.sampled_from([0, 0, -128, 127, 64]))
matrices = arrays.arrays(np.int8, st.tuples(st.integers(1, 12), st.integers(1, 12)), elements=elements)


@settings(max_examples=60, deadline=None)
@given(matrices, st.sampled_from([None, 1, 3]))
def test_any_matrix(weight, block_rows):
    """The graph computes the matrix, also after it was written as bytes and read again."""
    graph = solve(weight, block_rows=block_rows, workers=1)
    check(graph, weight)
    assert decode(encode(graph)) == graph


@settings(max_examples=20, deadline=None)
@given(matrices, st.data())
def test_any_ranges(weight, data):
    pairs = st.tuples(st.integers(-300, 300), st.integers(-300, 300)).map(sorted)
    ranges = [tuple(data.draw(pairs)) for _ in range(weight.shape[1])]
    check(solve(weight, ranges, workers=1), weight, ranges)


def test_constant_inputs():
    """The weights of constant inputs stay, so that the graph computes its matrix whatever the ranges."""
    weight, ranges = np.array([[1, 3, -7], [0, 5, 5]]), [(0, 0), (9, 9), (-128, 127)]
    check(solve(weight, ranges, workers=1), weight, ranges)


def test_nodes_are_different_forms():
    """No node is 0 or equals another up to sign and a power of two, so repeated and scaled rows need no adders."""
    rng = np.random.default_rng(1)
    row = rng.integers(-64, 64, 9)
    graph = solve(np.array([row, -row, 2 * row, row]), workers=1)
    assert len(graph.adders) == len(solve(row[None], workers=1).adders)
    graph = solve(rng.integers(-128, 128, (12, 12)), block_rows=4, workers=1)
    assert (graph.forms & 1).any(1).all()
    assert len({min(form.tobytes(), (-form).tobytes()) for form in graph.forms}) == graph.nodes


def test_weights_that_are_powers_of_two_need_no_adder():
    assert solve(np.array([[0, -128, 0], [0, 0, 0], [1, 0, 0]]), workers=1) == Graph(
        ((-128, 127),) * 3, (), (Output(1, 7, True), None, Output(0, 0, False))
    )


def test_wide_weights():
    weight = np.random.default_rng(0).integers(-(1 << 15), 1 << 15, (3, 4))
    check(solve(weight, workers=1), weight)


@pytest.mark.parametrize("quick", [0, 48])
def test_processes_and_progress(quick, monkeypatch):
    """Quick work is done without other processes, and without a report of progress."""
    monkeypatch.setattr(solver, "_QUICK", quick)
    rng = np.random.default_rng(0)
    layers = [(rng.integers(-128, 128, (8, 6)), None), (np.zeros((2, 2), int), None)]
    calls = []
    graphs = solve_all(layers, block_rows=4, workers=2, progress=lambda *call: calls.append(call))
    assert calls == ([] if quick else [(0, 2), (1, 2), (2, 2)])
    for graph, (weight, _) in zip(graphs, layers, strict=True):
        check(graph, weight)
    assert graphs == solve_all(layers, block_rows=4, workers=1)


def test_the_cache(cache, monkeypatch, caplog):
    """Damaged and wrong files are written again. Another matrix, range or release of da4ml is another entry."""
    weight = np.random.default_rng(0).integers(-128, 128, (4, 4))
    graph = solve(weight, workers=1)
    (entry,) = cache.iterdir()
    content = entry.read_bytes()
    head, _, own = content.partition(b"\n")
    assert decode(own) == graph

    other = encode(solve(weight + 1, workers=1))
    for n, broken in enumerate((b"", content[:-9], b"[]", own, other, head + b"\n" + other), 1):
        entry.write_bytes(broken)
        assert solve(weight, workers=1) == graph
        assert entry.read_bytes() == content
        assert len(caplog.messages) == n

    def fail(task):
        raise AssertionError("solved again")

    monkeypatch.setattr(solver, "_optimise", fail)
    assert solve(weight, workers=1) == graph
    for different in ((weight, [(-1, 1)] * 4), (weight.T, None)):
        with pytest.raises(AssertionError, match="solved again"):
            solve(*different, workers=1)
    monkeypatch.setattr(solver.metadata, "version", lambda name: "0.0.0")
    with pytest.raises(AssertionError, match="solved again"):
        solve(weight, workers=1)


@pytest.mark.parametrize(
    ("weight", "options", "error", "message"),
    [
        (np.zeros((2, 2)), {}, TypeError, "layers[0] must be an array of integers, not float64"),
        (np.zeros(2, int), {}, ValueError, "layers[0] must have shape (outputs, inputs), not (2,)"),
        (np.full((1, 2), 1 << 16), {}, ValueError, "layers[0] must lie in [-32768, 32768], not 65536 to 65536"),
        (np.ones((1, 2), int), {"inputs": [(0, 1)]}, ValueError, "inputs must have 2 ranges, not 1"),
        (np.ones((1, 2), int), {"block_rows": 0}, ValueError, "block_rows must be at least 1, not 0"),
    ],
)
def test_solve_wrong(weight, options, error, message):
    with pytest.raises(error, match=f"^{re.escape(message)}$"):
        solve(weight, **options)
