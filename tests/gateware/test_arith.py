"""The requantiser and its parts against NumPy."""

import re

import numpy as np
import pytest
from amaranth.hdl import Module, Shape, Signal, signed
from amaranth.sim import Simulator
from hypothesis import given, settings
from hypothesis import strategies as st

from psahw.architecture import timing
from psahw.architecture.codes import Codes
from psahw.architecture.ranges import MAX_MULTIPLIER, dot_range
from psahw.gateware.arith import Requantise, adder_tree, delay, saturate
from psahw.network import reference


def simulate(dut, testbench):
    simulator = Simulator(dut)
    simulator.add_clock(1e-6)
    simulator.add_testbench(testbench)
    simulator.run()


def requantised(dut, rows, values, latency):
    """Return the results of successive ``values`` in ``rows``."""
    results = []

    async def testbench(ctx):
        for sent in range(len(rows) + latency + 1):
            ctx.set(dut.row, int(rows[sent]) if sent < len(rows) else 0)
            ctx.set(dut.acc, int(values[sent - 1]) if 0 < sent <= len(rows) else 0)
            await ctx.tick()
            if sent >= latency:
                results.append(ctx.get(dut.y))

    simulate(dut, testbench)
    return np.array(results[: len(rows)])


@settings(max_examples=25, deadline=None)
@given(st.data())
def test_requantise(data):
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32 - 1)))
    rows = data.draw(st.integers(1, 5))
    largest = 1 << data.draw(st.integers(0, 24))
    low, high = np.sort(rng.integers(-largest, largest + 1, (2, rows)), axis=0)
    bias = rng.integers(-largest, largest + 1, rows)
    top = data.draw(st.sampled_from([0, 1, 9, 31]))
    shift = rng.integers(0, top + 1, rows) if data.draw(st.booleans()) else np.full(rows, top)
    codes = data.draw(st.sampled_from([Codes(2), Codes(8), Codes(20), Codes(8, False), Codes(1, False)]))
    scale = data.draw(st.sampled_from([None, rng.integers(0, 1 << 22, rows), np.ones(rows, int)]))
    offset = data.draw(st.sampled_from([None, rng.integers(-MAX_MULTIPLIER, MAX_MULTIPLIER + 1, rows)]))
    if scale is None:
        offset = None
    dut = Requantise(low=low, high=high, bias=bias, shift=shift, codes=codes, multiplier=scale, offset=offset)

    row = np.concatenate((np.repeat(np.arange(rows), 2), rng.integers(0, rows, 8)))
    acc = np.concatenate((np.stack((low, high), -1).reshape(-1), rng.integers(low[row[-8:]], high[row[-8:]] + 1)))
    total = (acc + bias[row]) * (1 if scale is None else scale[row]) + (0 if offset is None else offset[row])
    expected = np.clip((total + (1 << shift[row] >> 1)) >> shift[row], codes.low, codes.high)
    if top < 31:
        np.testing.assert_array_equal(expected, reference.requantise(total, shift[row].astype(np.int32), codes))
    latency = timing.requantise_latency(scale is not None)
    np.testing.assert_array_equal(requantised(dut, row, acc, latency), expected)


def test_requantise_input_width_is_exact():
    arguments = {"bias": [0, 0], "shift": [0, 0]}
    assert Requantise(low=[0, -128], high=[3, 127], **arguments).acc.shape() == signed(8)
    assert Requantise(low=[0, -129], high=[3, 127], **arguments).acc.shape() == signed(9)


def test_requantise_extreme_arguments():
    """The least and the greatest shift and multiplier."""
    Requantise(low=[0, 0], high=[9, 9], bias=[0, 0], shift=[0, 31], multiplier=[0, (1 << 22) - 1])


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"bias": [0]}, "bias must have shape (2,), not (1,)"),
        ({"low": []}, "low must have shape (any,), not (0,)"),
        ({"shift": [0, 32]}, "shift must be in [0, 31], not 0 to 32"),
        ({"shift": [-1, 0]}, "shift must be in [0, 31], not -1 to 0"),
        ({"offset": [0, 1]}, "offset must be None without multipliers, because the bias does the same"),
        ({"offset": [0], "multiplier": [1, 1]}, "offset must have shape (2,), not (1,)"),
        ({"multiplier": [0, 1 << 22]}, "multiplier must be in [0, 4194303], not 0 to 4194304"),
    ],
)
def test_requantise_wrong(wrong, message):
    arguments = {"low": [0, 0], "high": [9, 9], "bias": [0, 0], "shift": [0, 0]} | wrong
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        Requantise(**arguments)


@pytest.mark.parametrize(("count", "levels"), [(1, 0), (2, 1), (3, 2), (5, 3), (9, 4)])
def test_adder_tree(count, levels):
    m = Module()
    terms = [Signal(signed(8), name=f"t{i}") for i in range(count)]
    total = adder_tree(m, terms, bits=12)
    values = np.random.default_rng(count).integers(-128, 128, (20, count))
    values[:2] = [[-128], [127]]
    results = []

    async def testbench(ctx):
        for cycle in range(20 + levels):
            for term, value in zip(terms, values[min(cycle, 19)], strict=True):
                ctx.set(term, int(value))
            results.append(ctx.get(total))
            await ctx.tick()

    if levels == 0:
        assert total is terms[0]
        return
    simulate(m, testbench)
    np.testing.assert_array_equal(results[levels:], values.sum(1))


@pytest.mark.parametrize("cycles", [0, 1, 3])
def test_delay(cycles):
    """Only the clock cycles count in which the registers are enabled."""
    m = Module()
    value, en = Signal(signed(8)), Signal()
    delayed = delay(m, value, cycles, name="delayed", en=en)
    m.d.sync += Signal().eq(en)
    enabled = [1, 0, 1, 1, 0, 0, 1, 1, 1, 1]
    results, expected, entered = [], [], [-99] * cycles

    async def testbench(ctx):
        for cycle, enable in enumerate(enabled):
            ctx.set(value, -cycle)
            ctx.set(en, enable)
            results.append(ctx.get(delayed))
            expected.append(entered[-cycles] if cycles else -cycle)
            if enable:
                entered.append(-cycle)
            await ctx.tick()

    simulate(m, testbench)
    known = slice(expected.count(-99), None)  # a register has any value at first
    assert results[known] == expected[known] and len(results[known]) > 4


def test_dot_range():
    low, high = dot_range(np.array([[1, -2], [0, 0], [-128, -128]], np.int8))
    assert low.tolist() == [-128 - 254, 0, -2 * 128 * 127]
    assert high.tolist() == [127 + 256, 0, 2 * 128 * 128]


@pytest.mark.parametrize("bits", range(1, 8))
@pytest.mark.parametrize("is_signed", [True, False])
def test_saturate(bits, is_signed):
    codes = Codes(max(bits, 2) if is_signed else bits, is_signed)
    value, results = Signal(signed(6)), []
    m = Module()
    result = Signal(Shape(codes.bits, codes.signed))
    m.d.comb += result.eq(saturate(value, codes))

    async def testbench(ctx):
        for x in range(-32, 32):
            ctx.set(value, x)
            results.append(ctx.get(result))
            await ctx.tick()

    m.d.sync += Signal().eq(0)
    simulate(m, testbench)
    assert results == [min(max(x, codes.low), codes.high) for x in range(-32, 32)]
