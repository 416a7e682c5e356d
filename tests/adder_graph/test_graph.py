"""The data of adder graphs: checks of the arguments, and values by hand."""

import re

import numpy as np
import pytest

from psahw.adder_graph.graph import Adder, Graph, Output

BYTE = (-128, 127)


def test_values_by_hand():
    """Nodes 2 and 3 are (x0 + 4·x1) and (node 2 - x0) / 4 = x1; the outputs are 2·node 2, 0 and -x1."""
    adders = (Adder(0, 1, 2, False), Adder(2, 0, 0, True, 2))
    graph = Graph((BYTE, (0, 3)), adders, (Output(2, 1, False), None, Output(3, 0, True)))
    assert graph.forms.tolist() == [[1, 0], [0, 1], [1, 4], [0, 1]]
    assert graph.weight.tolist() == [[2, 8], [0, 0], [0, -1]]
    assert graph.ranges == (BYTE, (0, 3), (-128, 139), (0, 3))
    assert graph.evaluate(np.array([[5, 3], [-128, 0]])).tolist() == [[34, 0, -3], [-256, 0, 0]]


INPUTS = ((0, 1), (5, 5))
LAST = Adder(0, 1, 40, False, 40)  # node 2, with the greatest shifts


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (((0, 1), (1, 0)), "inputs[1] must be (low, high), not (1, 0)"),
        (Adder(2, 0, 0, False), "adders[0] must add nodes from 0 to 1, not 2 and 0"),
        (Adder(0, 2, 0, False), "adders[0] must add nodes from 0 to 1, not 0 and 2"),
        (Adder(-1, 0, 0, False), "adders[0] must add nodes from 0 to 1, not -1 and 0"),
        (Adder(0, -1, 0, False), "adders[0] must add nodes from 0 to 1, not 0 and -1"),
        (Adder(0, 0, 41, False), "adders[0] must shift by 0 to 40, not 41 and 0"),
        (Adder(0, 0, 0, False, 41), "adders[0] must shift by 0 to 40, not 0 and 41"),
        (Adder(0, 0, -1, False), "adders[0] must shift by 0 to 40, not -1 and 0"),
        (Adder(0, 0, 1, False, -1), "adders[0] must shift by 0 to 40, not 1 and -1"),
        *(
            (output, f"outputs[1] must be a node below 3, shifted by 0 to 40, not {output}")
            for output in (Output(3, 0, True), Output(-1, 0, True), Output(0, 41, True), Output(0, -1, True))
        ),
    ],
)
def test_init_wrong_graph(arguments, message):
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        match arguments:
            case Adder():
                Graph(INPUTS, (arguments,), ())
            case Output():
                Graph(INPUTS, (LAST,), (None, arguments))
            case inputs:
                Graph(inputs, (), ())


def test_extreme_graphs():
    """The first and the last node, the least and the greatest shift, and an input that is constant."""
    outputs = (Output(0, 40, False), Output(3, 0, False), Output(2, 0, True))
    graph = Graph(INPUTS, (LAST, Adder(2, 2, 0, True)), outputs)
    assert graph.ranges[1] == (5, 5) and graph.outputs[0].shift == 40
    assert Graph(INPUTS, (), (Output(1, 0, False),)).weight.tolist() == [[0, 1]]
