"""Schedules of digit-serial graphs: order of digits, length of words, exact results."""

import numpy as np
import pytest

from psahw.adder_graph.graph import Adder, Graph, Output
from psahw.adder_graph.serial import DIGITS, Operand, digit_serial, digit_serial_cost, lag
from tests.adder_graph.test_parallel import BYTE, random_graph, rows_of


def uses(schedule):
    """Yield each operand of the additions and rows, with the time at which its addition begins."""
    for n, step in enumerate(schedule.steps):
        yield step.a, schedule.start(n)
        yield step.b, schedule.start(n)
    for row in schedule.rows:
        if row.operand:
            yield row.operand, schedule.out_time


def exact(schedule, x):
    """Return the total of each row before its shift, in integers, computed by the steps alone."""
    values = [int(v) for v in x]
    for a, b, subtract in schedule.steps:
        left, right = (values[operand.node] << operand.shift for operand in (a, b))
        values.append(left - right if subtract else left + right)
    totals = []
    for row in schedule.rows:
        term = values[row.operand.node] << row.operand.shift if row.operand else 0
        totals.append(row.constant - term if row.negative else row.constant + term)
    return totals


@pytest.mark.parametrize("digit", DIGITS)
@pytest.mark.parametrize("seed", range(4))
def test_operands_are_present_in_time(seed, digit):
    rng = np.random.default_rng(seed)
    graph = random_graph(rng)
    schedule = digit_serial(graph, **rows_of(rng, graph), digit=digit)
    for operand, start in uses(schedule):
        assert start >= 0
        for lane in range(digit):
            assert schedule.delay(operand, lane, start) >= 0
    assert all(time == 0 for time in schedule.time[: schedule.inputs])


@pytest.mark.parametrize("digit", DIGITS)
@pytest.mark.parametrize("seed", range(4))
def test_steps_compute_the_rows_and_words_hold_them(seed, digit):
    """Totals equal those of the graph's matrix, and totals and results fit a word."""
    rng = np.random.default_rng(seed)
    graph = random_graph(rng)
    rows = rows_of(rng, graph)
    schedule = digit_serial(graph, **rows, digit=digit)
    for x in (*rng.integers(-128, 128, (20, len(graph.inputs))), [-128] * 6, [127] * 6):
        totals = exact(schedule, x)
        offset = np.asarray(rows["bias"]) + (1 << np.asarray(rows["shift"]) >> 1)
        expected = (graph.weight @ np.asarray(x) + offset) >> np.asarray(rows["shift"])
        assert [total >> row.right for total, row in zip(totals, schedule.rows, strict=True)] == expected.tolist()
        for total, row in zip(totals, schedule.rows, strict=True):
            if row.operand:
                assert -(1 << schedule.word_bits - 1) <= total < 1 << schedule.word_bits - 1
                assert row.right + schedule.out_bits <= schedule.word_bits
    assert schedule.period == -(-schedule.word_bits // digit)


def test_by_hand():
    """4·x1 comes two cycles after x0, and the row begins a cycle before its operand, which is doubled."""
    graph = Graph((BYTE,) * 2, (Adder(0, 1, 2, False), Adder(0, 2, 0, True)), (Output(3, 1, False),))
    schedule = digit_serial(graph, bias=[0], shift=[0])
    assert schedule.steps[0].b == Operand(1, 2)
    assert schedule.time == (0, 0, 1, 2)
    assert schedule.taps == {(0, 0): (0, 1), (1, 0): (2,), (2, 0): (0,), (3, 0): (0,)}
    assert schedule.out_time == 1
    assert [lag(2, 0, digit) for digit in DIGITS] == [2, 1, 1, 1, 1, 1, 1, 1]
    assert [lag(9, lane, 4) for lane in range(4)] == [3, 2, 2, 2]


@pytest.mark.parametrize(("shift", "digit"), [(0, 1), (3, 1), (9, 4)])
def test_rows_of_inputs_begin_with_the_inputs(shift, digit):
    """Zeros that are shifted in come first, so that an input is not needed before it is there."""
    graph = Graph((BYTE,), (), (Output(0, shift, False),))
    assert digit_serial(graph, bias=[0], shift=[0], digit=digit).out_time == 0


@pytest.mark.parametrize(
    ("digit", "cost"), [(1, (27, 69, 16)), (2, (30, 71, 11)), (4, (42, 78, 8)), (8, (60, 98, 7))]
)
def test_cost_by_hand(digit, cost):
    """Two additions of numbers of 12 bits, and a row that saturates.

    For one bit per cycle, the LUTs are 2 x 1.005 for additions, 2 x 2.5 for inputs, 2.7 for the constant, 4.0 for
    saturation, 4 for the windows of the shifts (0, 2) and (1, 1), of the result (2, 8) and of the sign (9, 5), 5.0
    for a count of digits, and 4 to load the inputs. The flip-flops are 2 x 9 for inputs, 3 x 2 for sums and carries,
    8 + 3 for the result, 1 + 2 for values that wait, 1 + 12 + 3 for the time of the first and of the last digit, 3
    for pulses, 4 for windows, 4 for the count, and 4 to load the inputs.
    """
    graph = Graph((BYTE,) * 2, (Adder(0, 1, 2, False), Adder(0, 2, 0, True)), (Output(3, 1, False),))
    assert digit_serial_cost(digit_serial(graph, bias=[0], shift=[0], digit=digit)) == cost


@pytest.mark.parametrize(
    ("shift", "cost"), [(3, (25, 66, 16)), (4, (26, 65, 17)), (33, (26, 96, 46)), (34, (27, 97, 47))]
)
def test_cost_of_waiting(shift, cost):
    """``x1 << shift`` waits in three registers, then in a register and a LUT of up to 32 bits, then in two LUTs."""
    graph = Graph((BYTE,) * 2, (Adder(0, 1, shift, False),), (Output(2, 0, False),))
    assert digit_serial_cost(digit_serial(graph, bias=[0], shift=[0])) == cost


@pytest.mark.parametrize(
    ("inputs", "outputs", "cost"), [(32, 1, (93, 318, 11)), (33, 1, (99, 331, 11)), (1, 33, (108, 364, 11))]
)
def test_control_signals_are_copied(inputs, outputs, cost):
    """A signal has at most 32 loads: the loading of inputs, or the pulse, the window and the count of the rows."""
    graph = Graph((BYTE,) * inputs, (), (Output(0, 0, False),) * outputs)
    assert digit_serial_cost(digit_serial(graph, bias=[0] * outputs, shift=[0] * outputs)) == cost


def late_sum(operands_wait):
    """Return a schedule in which node 5 = x0 + x1 is wanted four cycles after its operands are present.

    With ``operands_wait`` other additions want the operands as late.
    """
    chain = [Adder(0, 1, 0, False), Adder(2, 2, 0, False), Adder(3, 6, 0, False), Adder(4, 7, 0, False)]
    chain.append(Adder(2, 8, 0, False))  # node 9
    chain.append(Adder(5, 9, 0, False))
    if operands_wait:
        chain += [Adder(0, 9, 0, False), Adder(1, 9, 0, True)]
    outputs = tuple(Output(n, 0, False) for n in range(10, 5 + len(chain)))
    schedule = digit_serial(
        Graph((BYTE,) * 5, tuple(chain), outputs), bias=[0] * len(outputs), shift=[0] * len(outputs)
    )
    assert digit_serial_cost(schedule).latency == 2 + schedule.out_time + 1 + schedule.period
    return schedule


def test_one_sum_waits_rather_than_two_operands():
    assert late_sum(operands_wait=False).time[5] == 1


def test_a_sum_whose_operands_wait_anyway_does_not():
    schedule = late_sum(operands_wait=True)
    assert schedule.time[5] == schedule.time[10] - 1


@pytest.mark.parametrize("digit", [0, 9, 16, None])
def test_wrong_digit(digit):
    graph = Graph((BYTE,), (), (Output(0, 0, False),))
    with pytest.raises(ValueError, match=f"^digit must be one of 1, 2, 3, 4, 5, 6, 7, 8, not {digit}$"):
        digit_serial(graph, bias=[0], shift=[0], digit=digit)
