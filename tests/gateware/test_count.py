# amaranth: UnusedElaboratable=no
"""Counters, fill levels and the pacing of vectors against models in plain Python."""

import re

import numpy as np
import pytest
from amaranth.hdl import Module
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out
from amaranth.sim import Simulator
from hypothesis import given, settings
from hypothesis import strategies as st

from psahw.gateware.count import Cadence, count, level


class Nested(wiring.Component):
    """Nested counters with ports."""

    def __init__(self, *lengths):
        self.lengths = lengths
        super().__init__({"value": Out(8).array(len(lengths)), "flags": Out(2).array(len(lengths)), "en": In(1)})

    def elaborate(self, platform):
        m = Module()
        for k, counter in enumerate(count(m, self.en, *self.lengths)):
            m.d.comb += [self.value[k].eq(counter.value), self.flags[k].eq(counter.last | counter.wrap << 1)]
        return m


class Held(wiring.Component):
    """A fill level with ports."""

    put: In(1)
    take: In(1)
    value: Out(4)
    room: Out(1)
    some: Out(1)

    def __init__(self, depth):
        self.depth = depth
        super().__init__()

    def elaborate(self, platform):
        m = Module()
        held = level(m, self.put, self.take, self.depth)
        m.d.comb += [self.value.eq(held.value), self.room.eq(held.room), self.some.eq(held.some)]
        return m


def simulate(dut, testbench):
    simulator = Simulator(dut)
    simulator.add_clock(1e-6)
    simulator.add_testbench(testbench)
    simulator.run()


@pytest.mark.parametrize("depth", [1, 2, 3, 5, 8])
def test_level(depth):
    """The level follows an integer, also where put and take come together, at every level that admits both."""
    dut, rng, seen = Held(depth), np.random.default_rng(depth), set()

    async def testbench(ctx):
        held = 0
        for _ in range(600):
            assert (ctx.get(dut.value), ctx.get(dut.room), ctx.get(dut.some)) == (held, held < depth, held > 0)
            put, take = bool(rng.integers(2)) and held < depth, bool(rng.integers(2)) and held > 0
            seen.add((held, put, take))
            ctx.set(dut.put, put)
            ctx.set(dut.take, take)
            await ctx.tick()
            held += put - take

    simulate(dut, testbench)
    inside = {(held, put, take) for held in range(1, depth) for put in (False, True) for take in (False, True)}
    assert seen >= inside | {(0, True, False), (depth, False, True)}


@pytest.mark.parametrize("lengths", [(1,), (2,), (5,), (3, 2), (2, 1, 3), (1, 4), (3, 1, 2, 2)])
def test_count(lengths):
    """The counters are the digits, lowest first, of a number that grows with every step."""
    dut = Nested(*lengths)
    rng = np.random.default_rng(1)

    async def testbench(ctx):
        steps = 0
        for _ in range(3 * int(np.prod(lengths)) + 10):
            en = int(rng.random() < 0.7)
            ctx.set(dut.en, en)
            rest, below_last = steps, bool(en)
            for k, length in enumerate(lengths):
                rest, digit = divmod(rest, length)
                last = digit == length - 1
                below_last = below_last and last
                assert ctx.get(dut.value[k]) == digit
                assert ctx.get(dut.flags[k]) == last + 2 * below_last
            steps += en
            await ctx.tick()

    simulate(dut, testbench)


def issued(beats, period, go, en):
    """Return, for each clock cycle, whether a beat is issued according to the documentation."""
    result, beat, begun = [], 0, -period
    for cycle, (may_begin, enabled) in enumerate(zip(go, en, strict=True)):
        issue = enabled and (beat > 0 or (may_begin and cycle >= begun + period))
        if issue:
            begun = cycle if beat == 0 else begun
            beat = (beat + 1) % beats
        result.append(bool(issue))
    return result


FLAGS = st.lists(st.tuples(st.booleans(), st.booleans()), min_size=1, max_size=40)


def simulate_cadence(beats, period, go, en):
    dut, issues = Cadence(beats=beats, period=period), []

    async def testbench(ctx):
        for may_begin, enabled in zip(go, en, strict=True):
            ctx.set(dut.go, may_begin)
            ctx.set(dut.en, enabled)
            issues.append(bool(ctx.get(dut.issue)))
            await ctx.tick()

    simulate(dut, testbench)
    return issues


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 4), st.integers(1, 6), FLAGS)
def test_cadence(beats, period, flags):
    go, en = zip(*flags, strict=True)
    assert simulate_cadence(beats, period, go, en) == issued(beats, period, go, en)


def test_cadence_literal():
    """Three beats are issued every five cycles; the third vector is late, so that the fourth is late, too."""
    issues = simulate_cadence(3, 5, go=[1] * 9 + [0] * 4 + [1] * 7, en=[1] * 20)
    assert "".join("-x"[x] for x in issues) == "xxx--xxx-----xxx--xx"


@pytest.mark.parametrize("name", ["beats", "period"])
def test_cadence_wrong(name):
    with pytest.raises(ValueError, match=f"^{re.escape(f'{name} must be at least 1, not 0')}$"):
        Cadence(**{"beats": 1, "period": 1} | {name: 0})
