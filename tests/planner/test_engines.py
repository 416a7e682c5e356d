"""Foldings of MAC arrays against all sizes, and what is offered for a layer."""

import dataclasses
import itertools
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from psahw.adder_graph.parallel import DEPTHS
from psahw.architecture.codes import INT8
from psahw.architecture.nodes import Gather, MacArray
from psahw.network.activations import Activations
from psahw.network.layers import Linear, TokenMixing
from psahw.planner import engines
from psahw.planner.engines import Engines, Infeasible, Matrix, Sums
from psahw.planner.graph_options import GraphOption
from psahw.planner.rules import MAC_ONLY, Rules


def inputs_of(layer):
    """Return what comes into a layer that takes any int8."""
    return Activations((1, 1), layer.inputs, INT8, -128, 127)


def matrix(outputs, inputs, sets=1):
    """Return the facts about a layer whose weights are all 1, so that any two rows can share a multiplier."""
    zeros = np.zeros(outputs, int)
    layer = Linear(np.ones((outputs, inputs), np.int8), zeros.astype(np.int32), zeros.astype(np.uint8))
    return dataclasses.replace(Matrix.of(layer, inputs_of(layer), 3), sets=sets)


def sizes(inputs, outputs, i_lanes, o_lanes, period):
    """Return (columns, rows) of all arrays that can be built between such streams and keep the period."""
    possible = []
    for columns, rows in itertools.product(range(1, inputs + 1), range(1, 60)):
        steps, passes = len(range(0, inputs, columns)), len(range(0, outputs, rows))
        lanes = columns % i_lanes == rows % o_lanes == inputs % i_lanes == outputs % o_lanes == 0
        if lanes and steps * passes <= period and rows <= o_lanes * steps:
            possible.append((columns, rows))
    return possible


@given(st.integers(1, 12), st.integers(1, 12), st.integers(1, 4), st.integers(1, 4), st.integers(1, 60))
def test_foldings_against_every_size(inputs, outputs, i_lanes, o_lanes, period):
    """For each number of steps, the smallest array is a folding, if one of its size keeps the period."""
    possible = sizes(inputs, outputs, i_lanes, o_lanes, period)
    smallest = {}
    for columns, rows in possible:
        smallest.setdefault(len(range(0, inputs, columns)), (rows, columns))
    layer = SimpleNamespace(inputs=inputs, outputs=outputs)
    assert list(engines._foldings(layer, i_lanes, o_lanes, period)) == list(smallest.values())
    for columns, rows in itertools.product(range(1, 14), range(1, 60)):
        kept = engines._keeps(layer, i_lanes, o_lanes, period, rows, columns)
        assert kept == ((columns, rows) in possible)


def test_sums_by_hand():
    """The sums are -128 - 2 * 127 to 127 + 2 * 128, and the offsets 3 + 4, -12 + 4 and 0 + 1."""
    weight, bias = np.array([[1, -2], [0, 0], [0, 0]], np.int8), np.array([3, -12, 0], np.int32)
    layer = Linear(weight, bias, np.array([3, 3, 1], np.uint8))
    assert Sums.of(layer, inputs_of(layer)) == Sums(acc_bits=10, offset_bits=4, shift_range=2, scale_bits=0)
    # From -2 * 60 - 20 to 2 * 20 + 60. With multipliers, the offsets are 3 * 6 + 4, -12 * 10 + 4 and 0 + 1.
    scaled = dataclasses.replace(layer, multiplier=np.array([6, 10, 5], np.uint32))
    narrow = Activations((1, 1), 2, INT8, -20, 60)
    assert Sums.of(scaled, narrow) == Sums(acc_bits=9, offset_bits=8, shift_range=2, scale_bits=4)
    # With offsets from 3 * 6 + 4 + 2000 to 0 + 1 - 3000, which is the one of the greatest magnitude.
    added = dataclasses.replace(scaled, offset=np.array([2000, 0, -3000], np.int32))
    assert Sums.of(added, narrow) == Sums(acc_bits=9, offset_bits=13, shift_range=2, scale_bits=4)
    zeros = dataclasses.replace(layer, multiplier=np.zeros(3, np.uint32))  # they take the multiplier's latency, too
    assert Sums.of(zeros, inputs_of(zeros)) == Sums(acc_bits=10, offset_bits=4, shift_range=2, scale_bits=1)
    facts = Matrix.of(layer, inputs_of(layer), 7)
    assert (facts.inputs, facts.outputs, facts.vectors, facts.sets) == (2, 3, 7, 1)
    assert (facts.i_codes, facts.o_codes, facts.weight_bits) == (INT8, INT8, 2)
    mixing = TokenMixing(np.full((3, 4, 4), 5, np.int8), np.zeros((3, 4), np.int32), np.ones((3, 4), np.uint8))
    facts = Matrix.of(mixing, Activations((2, 2), 9, INT8, -128, 127), 9)
    assert (facts.inputs, facts.outputs, facts.sets, facts.o_codes, facts.weight_bits) == (4, 4, 3, INT8, 4)


@pytest.mark.parametrize(
    ("inputs", "outputs", "sets", "size", "styles"),
    [
        (5, 3, 1, (1, 1), ["distributed"]),
        (4, 2, 2, (1, 1), ["distributed", "block"]),
        (8, 8, 8, (1, 1), ["distributed", "block"]),
        (27, 19, 1, (1, 1), ["block"]),
        (10, 9, 1, (3, 2), ["distributed"]),
        (9, 11, 1, (3, 3), ["distributed"]),
        (13, 11, 1, (3, 4), ["distributed", "block"]),
    ],
)
def test_memories_of_the_weights(inputs, outputs, sets, size, styles):
    """The memories have 15, 16, 512 and 513 words of one weight, or 15, 12 and 16 of six, nine and twelve."""
    arrays = list(engines._array("a", matrix(outputs, inputs, sets), 1, 1, *size, 0, None))
    assert [nodes[-1].weight_style for nodes in arrays] == styles


@pytest.mark.parametrize(
    ("columns", "gather"), [(2, ()), (6, (Gather("a.gather", 2, 3),)), (8, (Gather("a.gather", 2, 4, 6),))]
)
def test_beats_are_gathered(columns, gather):
    """Vectors of six beats of two elements. Four beats at a time do not divide them."""
    for *before, array in engines._array("a", matrix(4, 12), 2, 1, 2, columns, 1, "DSP48E1"):
        assert tuple(before) == gather
        assert (array.columns, array.rows, array.pairs, array.operand_bits) == (columns, 2, 1, 25)


def offered(layer, period, multiplier, rules=MAC_ONLY, graphs=None):
    """Return the sizes (rows, columns) of arrays that are offered between streams of one lane, and other nodes."""
    choice = Engines(graphs or {}, rules, multiplier).linear("a", layer, 1, 1, period)
    nodes = [option.nodes[-1] for option in choice.options]
    arrays = dict.fromkeys((node.rows, node.columns) for node in nodes if isinstance(node, MacArray))
    return list(arrays), [node for node in nodes if not isinstance(node, MacArray)]


@pytest.mark.parametrize(("multiplier", "shares"), [(None, 1), ("DSP48E1", 2)])
def test_the_arrays_with_the_fewest_multipliers(multiplier, shares):
    possible = sizes(24, 30, 1, 1, 100)
    smallest = {}
    for columns, rows in possible:
        smallest.setdefault(-(-24 // columns), -(-rows // shares) * columns)
    arrays, _ = offered(matrix(30, 24), 100, multiplier)
    assert len(arrays) == 4
    assert [-(-rows // shares) * columns for rows, columns in arrays] == sorted(smallest.values())[:4]


def test_pairs_are_counted_for_ten_foldings(monkeypatch):
    """Counting takes long, and is done once for each of the sizes that would have the fewest multipliers."""
    counted = []
    monkeypatch.setattr(engines, "pairs", lambda weights, bits, **_: counted.append(weights.shape[3:]) or [])
    choice = Engines({}, MAC_ONLY, "DSP48E1")
    layer = matrix(300, 200)
    least = sorted(columns * -(-rows // 2) for rows, columns in engines._foldings(layer, 1, 1, 900))
    assert len(least) > 11
    for _ in range(2):
        choice.linear("a", layer, 1, 1, 900)
    assert len(set(counted)) == len(counted) == 10
    assert sorted(columns * -(-rows // 2) for rows, columns in counted) == least[:10]


def test_a_size_that_a_rule_names_comes_first():
    arrays, _ = offered(matrix(30, 24), 100, None, Rules.parse("mac", ("a=mac:12x2,mac:13x2,mac",)))
    assert arrays[0] == (12, 2) and len(arrays) == 5  # thirteen rows are too many for twelve steps


@pytest.mark.parametrize(("interval", "period", "graphs"), [(12, 12, 1), (12, 11, 0), (5, 24, 1), (5, 23, 0)])
def test_adder_graphs_that_keep_the_period(interval, period, graphs):
    """A vector has 24 beats, so that no graph takes one more often than every 24 cycles."""
    layer = matrix(4, 24 if interval == 5 else 3)
    option = GraphOption(digit=None, interval=interval, latency=9, lut=100, ff=200)
    rules = Rules.parse("mac,parallel")
    _, nodes = offered(layer, max(period, 1), None, rules, {"a": (option,)})
    assert len(nodes) == graphs
    for node in nodes:
        assert (node.graph_interval, node.graph_latency, node.lut, node.ff) == (interval, 9, 100, 200)
    assert list(Engines({"a": (option,)}, rules, None)._graphs("a", layer, 5, 1, 99)) == []
    assert list(Engines({"a": (option,)}, rules, None)._graphs("a", layer, 1, 3, 99)) == []


@pytest.mark.parametrize(
    ("rule", "permitted", "offers"),
    [
        ("parallel", 1, [1]),
        ("parallel", 3, [3]),
        ("parallel:1", 3, [1]),
        ("parallel:3", 1, [3]),
        ("parallel,parallel:1", 2, [1, 2]),
        ("serial:2", 2, []),
    ],
)
def test_additions_between_registers(rule, permitted, offers):
    """The clock permits some, unless a rule names a number."""
    options = [GraphOption(None, 1, 12 // n, 100, 200 // n, n) for n in DEPTHS]
    choice = Engines({"a": tuple(options)}, Rules.parse(rule), None, permitted)
    nodes = list(choice._graphs("a", matrix(4, 3), 1, 1, 99))
    assert [node.additions for node in nodes] == offers
    assert [node.graph_latency for node in nodes] == [12 // n for n in offers]


def test_no_engine():
    with pytest.raises(Infeasible, match=r"^a: no engine for 30 x 24 takes a vector every 1 cycles with 1 lanes in"):
        offered(matrix(30, 24), 1, None)
    with pytest.raises(
        Infeasible, match=r"^a: each group has a matrix of its own, which only a MAC array can compute$"
    ):
        offered(matrix(30, 24), 99, None, Rules.parse("parallel"))
