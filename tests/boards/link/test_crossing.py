import pytest
from amaranth.hdl import ClockDomain, Module
from amaranth.sim import Simulator

from psahw.boards.link.crossing import Crossing


@pytest.mark.parametrize("periods", [(1e-6, 1.7e-6), (2.3e-6, 1e-6)])
@pytest.mark.parametrize("stall", [0, 3])
def test_between_clocks(periods, stall):
    dut, sent, received = Crossing(8, i_domain="a", o_domain="b"), list(range(100)), []
    m = Module()
    m.domains += [ClockDomain("a"), ClockDomain("b")]
    m.submodules.dut = dut

    async def source(ctx):
        for value in sent:
            ctx.set(dut.i.valid, 1)
            ctx.set(dut.i.payload, value)
            await ctx.tick("a").until(dut.i.ready)
        ctx.set(dut.i.valid, 0)

    async def sink(ctx):
        while len(received) < len(sent):
            ctx.set(dut.o.ready, 0)
            await ctx.tick("b").repeat(stall + 1)
            ctx.set(dut.o.ready, 1)
            (payload,) = await ctx.tick("b").sample(dut.o.payload).until(dut.o.valid)
            received.append(payload)

    simulator = Simulator(m)
    for domain, period in zip("ab", periods, strict=True):
        simulator.add_clock(period, domain=domain)
    simulator.add_testbench(source)
    simulator.add_testbench(sink)
    simulator.run()
    assert received == sent
