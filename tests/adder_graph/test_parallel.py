"""Pipelines of adder graphs: order and number of steps between registers, no needless registers, and cost."""

import re

import numpy as np
import pytest

from psahw.adder_graph.graph import Adder, Graph, Output
from psahw.adder_graph.parallel import Cost, adder_graph_cost, pipeline

BYTE = (-128, 127)


def random_graph(rng, inputs=6, adders=40, outputs=8):
    """Return a graph whose adders add any two nodes before them."""
    nodes = []
    for n in range(inputs, inputs + adders):
        a, b = rng.integers(max(0, n - 12), n, 2).tolist()
        nodes.append(Adder(a, b, int(rng.integers(0, 3)), bool(rng.integers(0, 2)) and a != b))
    rows = rng.integers(0, inputs + adders, outputs)
    results = (Output(int(n), int(rng.integers(0, 3)), bool(rng.integers(0, 2))) for n in rows)
    return Graph((BYTE,) * inputs, tuple(nodes), (*results, None))


def rows_of(rng, graph):
    """Return random biases and shifts for the outputs of a graph."""
    outputs = len(graph.outputs)
    return {"bias": rng.integers(-999, 999, outputs), "shift": rng.integers(0, 9, outputs)}


def steps_in_stage(pipelined, value, stage):
    """Return the length of the longest chain of steps in a stage that ends with a value."""
    if pipelined.stage[value] != stage or not pipelined.operands[value]:
        return 0
    return 1 + max(steps_in_stage(pipelined, operand, stage) for operand in pipelined.operands[value])


@pytest.mark.parametrize("depth", [1, 2, 3])
@pytest.mark.parametrize("seed", range(4))
def test_operands_come_first_and_stages_are_short(seed, depth):
    rng = np.random.default_rng(seed)
    graph = random_graph(rng)
    pipelined = pipeline(graph, **rows_of(rng, graph), depth=depth)
    for value, operands in enumerate(pipelined.operands):
        assert all(pipelined.stage[operand] <= pipelined.stage[value] for operand in operands)
        assert steps_in_stage(pipelined, value, pipelined.stage[value]) <= depth
    assert all(pipelined.stage[n] == 0 for n in range(len(graph.inputs)))
    chain: list[int] = []
    for operands in pipelined.operands:
        chain.append(1 + max(chain[operand] for operand in operands) if operands else 0)
    assert max(pipelined.stage) == pipelined.latency - 1 == -(-max(chain) // depth)


def test_by_hand():
    """The sum of four inputs, its rounding and its saturation take four stages, and the output has registers."""
    graph = Graph(
        (BYTE,) * 4, (Adder(0, 1, 0, False), Adder(2, 3, 0, False), Adder(4, 5, 0, False)), (Output(6, 0, 0),)
    )
    pipelined = pipeline(graph, bias=[0], shift=[1])
    assert pipelined.stage == (0, 0, 0, 0, 1, 1, 2, 3, 4)
    assert pipelined.adder_bits == 9 + 9 + 10 + 10
    # Four inputs, two sums, one sum, its upper bits, the result, and five bits of validity.
    assert adder_graph_cost(pipelined).ff == 4 * 8 + 2 * 9 + 10 + 9 + 8 + 5
    assert adder_graph_cost(pipelined).latency == pipelined.latency == 5
    # Yosys finds no LUT for the highest bit of each sum, and for nine bits of the constant 1. Each sum takes 0.4 LUTs
    # more, and each bit of a result that can saturate 1.1.
    assert pipelined.unseen_bits == 3 + 9
    assert adder_graph_cost(pipelined).lut == 38 - 12 + round(3 * 0.4 + 8 * 1.1)
    assert pipeline(graph, bias=[0], shift=[1], depth=4).latency == 2


def test_a_wide_sum_is_made_late_and_a_narrow_one_early():
    """A sum is late if its inputs are needed later anyway, and early if two values would wait instead of one."""
    chain = tuple(Adder(n + 3, 0, 0, False) for n in range(4))
    graph = Graph((BYTE,) * 4, chain, (Output(7, 0, False),))
    alone = Graph((BYTE,) * 4, (*chain, Adder(1, 2, 0, False)), (Output(7, 0, False), Output(8, 0, False)))
    assert pipeline(graph, bias=[0], shift=[0]).stage[4:8] == (1, 2, 3, 4)
    pipelined = pipeline(alone, bias=[0, 0], shift=[0, 0])
    assert pipelined.stage[8] == 1 and pipelined.stage[-1] == 2  # eight bits wait for the other output, not sixteen
    shared = Graph((BYTE,) * 4, (*chain, Adder(0, 0, 2, False), Adder(7, 8, 0, False)), (Output(9, 0, False),))
    assert pipeline(shared, bias=[0], shift=[0]).stage[8] == 4


def test_one_sum_is_late_and_another_early():
    """Neither all steps as early nor all as late as possible is best here: both sums of the test before are there."""
    chain = tuple(Adder(n + 3, 0, 0, False) for n in range(4))
    more = (Adder(1, 2, 0, False), Adder(0, 0, 2, False), Adder(7, 9, 0, False))
    graph = Graph((BYTE,) * 4, (*chain, *more), (Output(10, 0, False), Output(8, 0, False)))
    assert pipeline(graph, bias=[0, 0], shift=[0, 0]).stage[8:11] == (1, 4, 5)


@pytest.mark.parametrize(
    ("low", "high", "bias", "more"), [(-128, 127, 0, 0), (-128, 127, 1, 1), (-129, 0, 0, 1), (0, 127, 0, 0)]
)
def test_saturation_costs_only_where_a_result_can_be_too_large(low, high, bias, more):
    """A result of eight bits; it takes 1.1 LUTs for each of them."""
    row = pipeline(Graph(((low, high),), (), (Output(0, 0, False),)), bias=[bias], shift=[0])
    assert [entry.saturates(8) for entry in row.rows] == [bool(more)]
    added = row.adder_bits - row.unseen_bits
    assert adder_graph_cost(row).lut == added + round(8 * 1.1) * more


def test_bits_that_pass_beside_an_adder():
    """The lowest four bits of ``x0 + (x1 << 4)`` are the two of x0 and its sign twice. The lowest is not used.

    The sign waits for two clock cycles, and no other bit of x0 does. The eight bits of x1, the nine upper bits of the
    sum, and the result wait for one. The latency of three has three more registers.
    """
    graph = Graph(((-2, 1), BYTE), (Adder(0, 1, 4, False),), (Output(2, 0, False),))
    assert adder_graph_cost(pipeline(graph, bias=[-1], shift=[1])).ff == 2 * 1 + 8 + 9 + 8 + 3


@pytest.mark.parametrize(
    ("sums", "luts", "registers"),
    [
        (1, 0, 8 + 9 + 10 + 8 + 2 * 8 + 4),
        (2, 8, 2 * 8 + 9 + 10 + 10 + 8 + 5),
        (3, 8, 3 * 8 + 9 + 10 + 10 + 11 + 8 + 6),
    ],
)
def test_runs_of_registers_are_luts(sums, luts, registers):
    """An input of eight bits is added to a multiple of the other one, for which it waits for a cycle more than sums.

    Eight LUTs hold it from three cycles on, each for all of its cycles. The other input, the sums, the total, the
    result and the validity are in registers.
    """
    multiples = tuple(Adder(n + 1 if n else 0, 0, 0, False) for n in range(sums))
    graph = Graph((BYTE,) * 2, (*multiples, Adder(sums + 1, 1, 0, False)), (Output(sums + 2, 0, False),))
    pipelined = pipeline(graph, bias=[0], shift=[0])
    added = pipelined.adder_bits - pipelined.unseen_bits
    assert adder_graph_cost(pipelined) == (round(added + luts + 0.4 * (sums + 1) + 8 * 1.1), registers, sums + 3)


@pytest.mark.parametrize(("fan_out", "copies"), [(None, 1), (5, 1), (2, 2), (1, 4)])
def test_registers_are_copied_for_their_loads(fan_out, copies):
    adders = tuple(Adder(0, n, 0, False) for n in range(1, 5))
    graph = Graph((BYTE,) * 5, adders, tuple(Output(n, 0, False) for n in range(5, 9)))
    pipelined = pipeline(graph, bias=[0] * 4, shift=[0] * 4)
    assert pipelined.copies(0, 1, fan_out) == copies
    assert adder_graph_cost(pipelined, fan_out).ff == adder_graph_cost(pipelined).ff + 8 * (copies - 1)


def test_constants_cost_nothing():
    pipelined = pipeline(Graph((BYTE,), (), (None,)), bias=[99], shift=[3])
    assert adder_graph_cost(pipelined) == Cost(0, pipelined.latency, pipelined.latency)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"bias": [0]}, "bias must have shape (2,), not (1,)"),
        ({"shift": [0, -1]}, "shift must be in [0, 31], not -1 to 0"),
        ({"depth": 0}, "depth must be at least 1, not 0"),
        ({"out_bits": 1}, "out_bits must be at least 2, not 1"),
    ],
)
def test_wrong(wrong, message):
    graph = Graph((BYTE,), (), (None, Output(0, 0, False)))
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        pipeline(graph, **({"bias": [0, 0], "shift": [0, 0]} | wrong))
