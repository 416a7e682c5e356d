# amaranth: UnusedElaboratable=no
"""The input buffer of MAC arrays against a list of the beats that it holds."""

import re

import numpy as np
import pytest
from amaranth.sim import Simulator
from hypothesis import given, settings
from hypothesis import strategies as st

from psahw.gateware.ring import VectorRing

FLAGS = st.lists(st.booleans(), min_size=1, max_size=9).filter(any)


def simulate(dut, *, steps, passes, depth, offer, read, cycles):
    """Read whenever ``read`` and the ring allow it; return the number of reads and the most beats held.

    Every clock cycle is checked against a list of the beats held.
    """
    beats = np.random.default_rng(1).integers(-128, 128, (cycles, 2)).tolist()
    held, reads_of_vector, total, largest = [], 0, 0, 0

    async def testbench(ctx):
        nonlocal reads_of_vector, total, largest
        taken, offered, expected = 0, False, None
        for cycle in range(cycles):
            if expected is not None:
                assert list(ctx.get(dut.x)) == expected
            offered = offered or offer[cycle % len(offer)]
            ctx.set(dut.i.valid, offered)
            ctx.set(dut.i.payload, beats[taken])
            present = len(held) >= steps - max(reads_of_vector - (passes - 1) * steps, 0)
            assert ctx.get(dut.whole) == present
            assert ctx.get(dut.i.ready) == (len(held) < depth)
            step = present and read[cycle % len(read)]
            ctx.set(dut.read, step)
            expected = None
            put = offered and len(held) < depth
            if step:
                assert ctx.get(dut.first) == (reads_of_vector % steps == 0)
                assert ctx.get(dut.last) == (reads_of_vector % steps == steps - 1)
                in_last = reads_of_vector >= (passes - 1) * steps
                expected = held[0] if in_last else held[reads_of_vector % steps]
                if in_last:
                    held.pop(0)
                reads_of_vector = (reads_of_vector + 1) % (passes * steps)
                total += 1
            if put:
                held.append(beats[taken])
                taken, offered = taken + 1, False
            largest = max(largest, len(held))
            await ctx.tick()

    simulator = Simulator(dut)
    simulator.add_clock(1e-6)
    simulator.add_testbench(testbench)
    simulator.run()
    return total, largest


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 4), st.integers(1, 3), st.integers(0, 6), FLAGS, FLAGS)
def test_any_order(steps, passes, more, offer, read):
    shape = dict(steps=steps, passes=passes, depth=steps + more)
    simulate(VectorRing(lanes=2, **shape), **shape, offer=offer, read=read, cycles=80)


@pytest.mark.parametrize("steps, passes", [(1, 1), (3, 1), (3, 2), (4, 3)])
def test_reads_without_a_gap(steps, passes):
    shape = dict(steps=steps, passes=passes, depth=2 * steps)
    total, _ = simulate(VectorRing(lanes=2, **shape), **shape, offer=[1], read=[1], cycles=100)
    assert total == 100 - steps


def test_fills_to_its_depth():
    shape = dict(steps=3, passes=2, depth=5)
    _, largest = simulate(VectorRing(lanes=2, **shape), **shape, offer=[1], read=[0], cycles=20)
    assert largest == 5


@pytest.mark.parametrize("name", ["lanes", "steps", "passes"])
def test_init_wrong(name):
    with pytest.raises(ValueError, match=f"^{re.escape(f'{name} must be at least 1, not 0')}$"):
        VectorRing(**{"lanes": 1, "steps": 1, "passes": 1, "depth": 4} | {name: 0})


def test_init_depth_below_a_vector():
    with pytest.raises(ValueError, match=r"^depth must be at least 3, not 2$"):
        VectorRing(lanes=1, steps=3, passes=1, depth=2)
