# amaranth: UnusedElaboratable=no
"""Performance counters against sums of their events."""

import re

import numpy as np
import pytest
from amaranth.sim import Simulator

from psahw.gateware.counters import Counters


def simulate(dut, testbench):
    simulator = Simulator(dut)
    simulator.add_clock(1e-6)
    simulator.add_testbench(testbench)
    simulator.run()


async def read(ctx, dut, addr):
    ctx.set(dut.addr, addr)
    await ctx.tick().repeat(2)
    return ctx.get(dut.data)


def test_counts():
    dut, rng = Counters(stages=3), np.random.default_rng(1)
    stalls, frames = rng.integers(0, 8, 50).tolist(), rng.integers(0, 2, 50).tolist()

    async def testbench(ctx):
        for stall, frame in zip(stalls, frames, strict=True):
            ctx.set(dut.stall, stall)
            ctx.set(dut.frame, frame)
            await ctx.tick()
        ctx.set(dut.stall, 0)
        ctx.set(dut.frame, 0)
        assert await read(ctx, dut, 0) == sum(frames)
        assert await read(ctx, dut, 1) == 52  # two clock cycles of reading
        for stage in range(3):
            assert await read(ctx, dut, 2 + stage) == sum(x >> stage & 1 for x in stalls)

    simulate(dut, testbench)


@pytest.mark.parametrize("stages", [6, 7, 20, 254])
def test_every_address(stages):
    """Stage n stalls n + 1 times, and this is what its address selects."""
    dut = Counters(stages=stages)

    async def testbench(ctx):
        for cycle in range(stages):
            ctx.set(dut.stall, sum(1 << n for n in range(cycle, stages)))
            await ctx.tick()
        ctx.set(dut.stall, 0)
        for stage in range(stages):
            assert await read(ctx, dut, 2 + stage) == stage + 1

    simulate(dut, testbench)


def test_clear():
    dut = Counters(stages=1)

    async def testbench(ctx):
        ctx.set(dut.stall, 1)
        await ctx.tick().repeat(10)
        ctx.set(dut.clear, 1)
        await ctx.tick()
        ctx.set(dut.clear, 0)
        assert await read(ctx, dut, 1) == 0
        assert await read(ctx, dut, 2) == 2

    simulate(dut, testbench)


def test_init_wrong_stages():
    with pytest.raises(ValueError, match=f"^{re.escape('stages must be in [1, 254], not 0')}$"):
        Counters(stages=0)
