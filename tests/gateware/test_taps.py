# amaranth: UnusedElaboratable=no
"""Delay lines against a list of the values that were pushed."""

import re

import numpy as np
import pytest
from amaranth.sim import Simulator
from hypothesis import given, settings
from hypothesis import strategies as st

from psahw.gateware.taps import DelayTaps

WIDTH = 5


def simulate(dut, inputs):
    """Return ``o`` in the clock cycle after each (push, i)."""
    outputs = []

    async def testbench(ctx):
        for push, i in inputs:
            ctx.set(dut.push, push)
            ctx.set(dut.i, i)
            await ctx.tick()
            outputs.append(ctx.get(dut.o))

    simulator = Simulator(dut)
    simulator.add_clock(1e-6)
    simulator.add_testbench(testbench)
    simulator.run()
    return outputs


def check(distance, taps, inputs, **kwargs):
    """Compare all defined outputs with a list of the pushed values; return how many there were."""
    outputs = simulate(DelayTaps(width=WIDTH, distance=distance, taps=taps, style="block", **kwargs), inputs)
    pushed, compared = [], 0
    for (push, i), o in zip(inputs, outputs, strict=True):
        if push:
            pushed.append(i)
        for tap in range(taps + 1):
            if len(pushed) > tap * distance:
                assert o >> WIDTH * tap & (1 << WIDTH) - 1 == pushed[-1 - tap * distance]
                compared += 1
    return compared


def inputs(count, seed, gaps=0.0):
    rng = np.random.default_rng(seed)
    return [(int(rng.random() >= gaps), int(i)) for i in rng.integers(0, 1 << WIDTH, count)]


@pytest.mark.parametrize("distance", [1, 2, 3, 5, 8])
@pytest.mark.parametrize("taps", [0, 1, 2, 4])
def test_delays(distance, taps):
    assert check(distance, taps, inputs(120, seed=distance)) > 120 * taps // 2


@pytest.mark.parametrize("distance", [5, 8])
def test_delays_with_gaps(distance):
    """The longer distances, whose memories wrap, with pushes at any time."""
    assert check(distance, 2, inputs(120, seed=distance, gaps=0.4)) > 40


@settings(max_examples=20, deadline=None)
@given(
    st.integers(1, 4),
    st.integers(0, 3),
    st.lists(st.tuples(st.booleans(), st.integers(0, (1 << WIDTH) - 1)), min_size=1, max_size=40),
)
def test_pushes_at_any_time(distance, taps, inputs):
    check(distance, taps, inputs)


def test_holds_without_push():
    steps = [(1, 7), (1, 9), (0, 1), (0, 2), (1, 5)]
    assert [o & 31 for o in simulate(DelayTaps(width=WIDTH, distance=2, taps=1, style="block"), steps)] == [
        7, 9, 9, 9, 5,
    ]  # fmt: skip


@pytest.mark.parametrize(
    "change, message",
    [
        ({"width": 0}, "width must be at least 1, not 0"),
        ({"distance": 0}, "distance must be at least 1, not 0"),
        ({"taps": -1}, "taps must be at least 0, not -1"),
        ({"style": "auto"}, "style must be one of block, distributed, not 'auto'"),
    ],
)
def test_init_wrong(change, message):
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        DelayTaps(**{"width": 5, "distance": 2, "taps": 1, "style": "block"} | change)
