"""Construction of adder graphs: which sums need a new adder."""

import numpy as np
import pytest

from psahw.adder_graph.builder import Builder, Term

BYTE = (-128, 127)


def test_equal_sums_share_an_adder():
    """x0 + 2·x1, four times that and its negative are one node; x0 - x0 is none, and 0 + x is x."""
    builder = Builder(2)
    x, y = Term(0), Term(1)
    total = builder.add(x, y.shifted(1))
    assert total == Term(2)
    assert builder.add(x.shifted(2), y.shifted(3)) == total.shifted(2)
    assert builder.add(x.negated(), y.shifted(1).negated()) == total.negated()
    assert builder.add(x, x.negated()) is None
    assert builder.add(None, y) == y and builder.add(x, None) == x
    assert len(builder.finish((BYTE, BYTE), [total]).adders) == 1


def test_unused_adders_are_left_out():
    builder = Builder(2)
    builder.add(Term(0), Term(1).shifted(3))
    total = builder.add(Term(0), Term(1))
    graph = builder.finish((BYTE, BYTE), [None, total.shifted(1)])
    assert len(graph.adders) == 1
    assert graph.weight.tolist() == [[0, 0], [2, 2]]


def test_included_graphs_share_nodes():
    inner = Builder(2)
    graph = inner.finish((BYTE, BYTE), [inner.add(Term(0), Term(1)), None])
    builder = Builder(3)
    first = builder.include(graph, [0, 2])
    assert builder.include(graph, [2, 0]) == first
    joined = builder.finish((BYTE,) * 3, first)
    np.testing.assert_array_equal(joined.weight, [[1, 0, 1], [0, 0, 0]])
    assert len(joined.adders) == 1


def test_shift_beyond_reason():
    with pytest.raises(RuntimeError, match=r"^an adder must shift by at most 40, not 41$"):
        Builder(2).add(Term(0), Term(1, 41))
