"""Adder graphs as bytes: values by hand, large numbers, and damage."""

import pytest

from psahw.adder_graph import Adder, Graph, Output
from psahw.adder_graph.encoding import decode, encode

GRAPH = Graph(
    ((-128, 127), (0, 3)),
    (Adder(0, 1, 2, False), Adder(2, 0, 0, True, 2)),
    (Output(2, 1, False), None, Output(3, 0, True)),
)


def test_bytes_by_hand():
    """Counts and ranges, then the fields of the adders and of the outputs, highest bytes first."""
    counts = [2, 2, 3, -128, 127, 0, 3]
    header = b"".join(number.to_bytes(4, "little", signed=True) for number in counts)
    a, b = bytes([0] * 6 + [2, 1]), bytes([0] * 6 + [1, 3])  # nodes 2 - 0 and 3 - 2; 2 - 1 and 3 - 0
    adders = a + b + bytes([4, 1]) + bytes([0, 2])
    outputs = bytes([0] * 9 + [2, 0, 1]) + bytes([2, 0, 1])
    assert encode(GRAPH) == header + adders + outputs
    assert decode(encode(GRAPH)) == GRAPH
    empty = Graph((), (), ())
    assert decode(encode(empty)) == empty


def test_distances_of_more_than_a_byte():
    inputs = ((0, 1),) * 70_000
    graph = Graph(inputs, (Adder(0, 69_999, 40, True, 40),), (Output(0, 40, True), Output(70_000, 0, False)))
    assert decode(encode(graph)) == graph


@pytest.mark.parametrize("size", [0, 11, 12, 20, 35, 50, 60])
def test_cut_off(size):
    with pytest.raises(ValueError, match="is cut off"):
        decode(encode(GRAPH)[:size])


def test_damaged():
    """Nothing that can be decoded is an impossible graph."""
    content = encode(GRAPH)
    with pytest.raises(ValueError, match=r"must not be .* bytes long"):
        decode(content + b"x")
    for place in range(12, len(content)):
        for value in (0xFF, 0x7F):
            try:
                graph = decode(content[:place] + bytes([value]) + content[place + 1 :])
            except ValueError:
                continue
            assert decode(encode(graph)) == graph
