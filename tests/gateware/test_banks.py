# amaranth: UnusedElaboratable=no
"""Random accesses to banked memories against an array."""

import re

import numpy as np
import pytest
from amaranth.sim import Simulator

from psahw.architecture.codes import INT8, Codes
from psahw.gateware.banks import Banks

SHAPES = [
    dict(depth=7, i_lanes=1, o_lanes=1),
    dict(depth=24, i_lanes=2, o_lanes=4),
    dict(depth=24, i_lanes=2, o_lanes=4, i_align=2),
    dict(depth=24, i_lanes=4, o_lanes=4, i_align=4, o_align=4),
    dict(depth=24, i_lanes=4, o_lanes=2, i_align=4, o_align=2),
    dict(depth=24, i_lanes=3, o_lanes=4, o_align=2),
    dict(depth=32, i_lanes=6, o_lanes=1, i_align=2),
    dict(depth=40, i_lanes=2, o_lanes=4, i_align=2, step=5),
    dict(depth=40, i_lanes=4, o_lanes=3, step=9),
    dict(depth=96, i_lanes=3, o_lanes=18),
    dict(depth=96, i_lanes=20, o_lanes=4),
    dict(depth=96, i_lanes=17, o_lanes=17),
    dict(depth=96, i_lanes=32, o_lanes=2),
    dict(depth=96, i_lanes=6, o_lanes=20, i_align=6, o_align=10),
    dict(depth=160, i_lanes=16, o_lanes=5, step=17),
    dict(depth=16, i_lanes=2, o_lanes=2, codes=Codes(3)),
    dict(depth=16, i_lanes=4, o_lanes=8, i_align=4, o_align=8, style="distributed"),
]


@pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: "-".join(map(str, shape.values())))
def test_random_access(shape):
    """Elements equal those of an array, except for those that are written in the cycle in which they are read."""
    dut, rng = Banks(**shape), np.random.default_rng(1)
    depth, i_lanes, o_lanes, step = shape["depth"], shape["i_lanes"], shape["o_lanes"], shape.get("step", 1)
    limit = 1 << shape.get("codes", INT8).bits - 1
    memory, compared = np.zeros(depth, int), 0

    def address(span, align):
        return int(rng.integers(0, (depth - span) // align + 1)) * align

    async def testbench(ctx):
        nonlocal compared
        fetched = known, expected = np.zeros(o_lanes, bool), np.zeros(o_lanes, int)
        for cycle in range(150):
            if cycle > 1:
                assert np.array_equal(np.array(list(ctx.get(dut.r_data)))[known], expected[known])
                compared += known.sum()
            w_en, r_en = rng.random(2) < (0.7, 0.7) if cycle else (True, True)
            w_addr = address(i_lanes, shape.get("i_align", 1))
            r_addr = address((o_lanes - 1) * step + 1, shape.get("o_align", 1))
            values = rng.integers(-limit, limit, i_lanes)
            ctx.set(dut.w_en, int(w_en))
            ctx.set(dut.w_addr, w_addr)
            ctx.set(dut.w_data, values.tolist())
            ctx.set(dut.r_en, int(r_en))
            ctx.set(dut.r_addr, r_addr)
            read = r_addr + np.arange(o_lanes) * step
            if r_en:
                known, expected = fetched
                written = np.isin(read, w_addr + np.arange(i_lanes)) & w_en
                fetched = ~written, memory[read].copy()
            if w_en:
                memory[w_addr : w_addr + i_lanes] = values
            await ctx.tick()

    simulator = Simulator(dut)
    simulator.add_clock(1e-6)
    simulator.add_testbench(testbench)
    simulator.run()
    assert compared > 50 * o_lanes


def test_addresses_wrap():
    dut = Banks(depth=16, i_lanes=1, o_lanes=4)

    async def testbench(ctx):
        ctx.set(dut.w_en, 1)
        for n in range(16):
            ctx.set(dut.w_addr, n)
            ctx.set(dut.w_data, [n])
            await ctx.tick()
        ctx.set(dut.w_en, 0)
        ctx.set(dut.r_en, 1)
        for n in range(17):
            ctx.set(dut.r_addr, n % 16)
            await ctx.tick()
            if n:
                assert list(ctx.get(dut.r_data)) == [(n - 1 + lane) % 16 for lane in range(4)]

    simulator = Simulator(dut)
    simulator.add_clock(1e-6)
    simulator.add_testbench(testbench)
    simulator.run()


@pytest.mark.parametrize(
    "change, message",
    [
        ({"i_lanes": 0}, "i_lanes must be at least 1, not 0"),
        ({"depth": 18}, "depth must be a multiple of 4, the number of banks, not 18"),
        ({"step": 2}, "step must be 1 modulo 4, the number of banks, not 2"),
        ({"style": "auto"}, "style must be 'block' or 'distributed', not 'auto'"),
    ],
)
def test_init_wrong(change, message):
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        Banks(**{"depth": 16, "i_lanes": 2, "o_lanes": 4} | change)
