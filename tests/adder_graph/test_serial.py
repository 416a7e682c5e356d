"""Schedules of digit-serial graphs: nothing is used before it is there, words are as long as results need."""

import numpy as np
import pytest

from psahw.adder_graph.graph import Adder, Graph, Output
from psahw.adder_graph.serial import DIGITS, Operand, digit_serial, digit_serial_cost, lag
from tests.adder_graph.test_parallel import BYTE, random_graph, rows_of


def uses(made):
    """(operand, the clock in which its addition begins) of all additions and rows."""
    for n, step in enumerate(made.steps):
        yield step.a, made.start(n)
        yield step.b, made.start(n)
    for row in made.rows:
        if row.operand:
            yield row.operand, made.out_time


def exact(made, x):
    """Every row's total before its shift, in integers, from the steps alone."""
    values = [int(v) for v in x]
    for a, b, subtract in made.steps:
        left, right = (values[operand.node] << operand.shift for operand in (a, b))
        values.append(left - right if subtract else left + right)
    totals = []
    for row in made.rows:
        term = values[row.operand.node] << row.operand.shift if row.operand else 0
        totals.append(row.constant - term if row.negative else row.constant + term)
    return totals


@pytest.mark.parametrize("digit", DIGITS)
@pytest.mark.parametrize("seed", range(4))
def test_operands_are_there_in_time(seed, digit):
    rng = np.random.default_rng(seed)
    graph = random_graph(rng)
    made = digit_serial(graph, **rows_of(rng, graph), digit=digit)
    for operand, start in uses(made):
        assert start >= 0
        for lane in range(digit):
            assert made.delay(operand, lane, start) >= 0
    assert all(time == 0 for time in made.time[: made.inputs])


@pytest.mark.parametrize("digit", DIGITS)
@pytest.mark.parametrize("seed", range(4))
def test_steps_compute_the_rows_and_words_hold_them(seed, digit):
    """The graph's own forms, biases and shifts give the same; every total, and every result caught, fits a word."""
    rng = np.random.default_rng(seed)
    graph = random_graph(rng)
    rows = rows_of(rng, graph)
    made = digit_serial(graph, **rows, digit=digit)
    for x in (*rng.integers(-128, 128, (20, len(graph.inputs))), [-128] * 6, [127] * 6):
        totals = exact(made, x)
        offset = np.asarray(rows["bias"]) + (1 << np.asarray(rows["shift"]) >> 1)
        wanted = (graph.weight @ np.asarray(x) + offset) >> np.asarray(rows["shift"])
        assert [total >> row.right for total, row in zip(totals, made.rows, strict=True)] == wanted.tolist()
        for total, row in zip(totals, made.rows, strict=True):
            if row.operand:
                assert -(1 << made.word_bits - 1) <= total < 1 << made.word_bits - 1
                assert row.right + made.out_bits <= made.word_bits
    assert made.period == -(-made.word_bits // digit)


def test_by_hand():
    """4·x1 comes two clocks after x0, and the row begins one before the sum is there that it takes twice."""
    graph = Graph((BYTE,) * 2, (Adder(0, 1, 2, False), Adder(0, 2, 0, True)), (Output(3, 1, False),))
    made = digit_serial(graph, bias=[0], shift=[0])
    assert made.steps[0].b == Operand(1, 2)
    assert made.time == (0, 0, 1, 2)
    assert made.taps == {(0, 0): (0, 1), (1, 0): (2,), (2, 0): (0,), (3, 0): (0,)}
    assert made.out_time == 1
    assert [lag(2, 0, digit) for digit in DIGITS] == [2, 1, 1, 1]
    assert [lag(9, lane, 4) for lane in range(4)] == [3, 2, 2, 2]


def late_sum(operands_wait):
    """Node 5 = x0 + x1 is wanted four clocks after its operands are there; these wait as long for others, or not."""
    chain = [Adder(0, 1, 0, False), Adder(2, 2, 0, False), Adder(3, 6, 0, False), Adder(4, 7, 0, False)]
    chain.append(Adder(2, 8, 0, False))  # node 9
    chain.append(Adder(5, 9, 0, False))
    if operands_wait:
        chain += [Adder(0, 9, 0, False), Adder(1, 9, 0, True)]
    outputs = tuple(Output(n, 0, False) for n in range(10, 5 + len(chain)))
    made = digit_serial(Graph((BYTE,) * 5, tuple(chain), outputs), bias=[0] * len(outputs), shift=[0] * len(outputs))
    assert digit_serial_cost(made).latency == 2 + made.out_time + 1 + made.period
    return made


def test_one_sum_waits_rather_than_two_operands():
    assert late_sum(operands_wait=False).time[5] == 1


def test_a_sum_whose_operands_wait_anyway_does_not():
    made = late_sum(operands_wait=True)
    assert made.time[5] == made.time[10] - 1


@pytest.mark.parametrize("digit", [0, 3, 16, None])
def test_wrong_digit(digit):
    graph = Graph((BYTE,), (), (Output(0, 0, False),))
    with pytest.raises(ValueError, match=f"^digit must be one of 1, 2, 4, 8, not {digit}$"):
        digit_serial(graph, bias=[0], shift=[0], digit=digit)
