# amaranth: UnusedElaboratable=no
"""Sums of one row and of two rows, up to the greatest lengths, against integers."""

import itertools

import numpy as np
import pytest
from amaranth.hdl import Elaboratable, Module, Signal, signed
from amaranth.sim import Simulator
from hypothesis import given, settings
from hypothesis import strategies as st

from psahw.architecture.ranges import signed_bits
from psahw.gateware.mac_unit import mac_pair, mac_unit


class Bench(Elaboratable):
    """A pair of units that share a multiplier, beside two units with the same inputs."""

    def __init__(self, split=17, bits=17, high_bits=22):
        self.split, self.bits = split, (bits, high_bits)
        self.first, self.last = Signal(), Signal()
        self.x, self.lower, self.upper, self.taken = (Signal(signed(8)) for _ in range(4))
        self.out = [Signal(signed(32)) for _ in range(4)]

    def elaborate(self, platform):
        m = Module()
        low, high = mac_pair(
            m,
            self.lower,
            self.taken,
            self.x,
            self.first,
            self.last,
            split=self.split,
            bits=self.bits,
            name="pair",
        )
        m.d.comb += [self.out[0].eq(low), self.out[1].eq(high), self.taken.eq(self.upper - (self.lower < 0))]
        for k, (w, bits) in enumerate(zip((self.lower, self.upper), self.bits, strict=True)):
            total = mac_unit(m, w, self.x, self.first, self.last, bits=bits, name=f"unit_{k}")
            m.d.comb += self.out[2 + k].eq(total)
        return m


def run(dut, terms, ends):
    """Return the four sums after each end.

    ``terms`` is an array (n, 3) of x, lower and upper weight; ``ends`` is true at the last term of each sum.
    """
    sums_at_ends = []
    firsts = np.concatenate(([True], ends[:-1]))

    async def testbench(ctx):
        for step in range(len(terms) + 4):
            term = terms[min(step, len(terms) - 1)]
            for signal, value in zip((dut.x, dut.lower, dut.upper), term.tolist(), strict=True):
                ctx.set(signal, value)
            ctx.set(dut.first, bool(0 <= step - 2 < len(terms) and firsts[step - 2]))
            ctx.set(dut.last, bool(0 <= step - 3 < len(terms) and ends[step - 3]))
            if step >= 4 and ends[step - 4]:
                sums_at_ends.append([ctx.get(signal) for signal in dut.out])
            await ctx.tick()

    simulator = Simulator(dut)
    simulator.add_clock(1e-6)
    simulator.add_testbench(testbench)
    simulator.run()
    return np.array(sums_at_ends)


def expected(terms, ends):
    sums = np.add.reduceat(terms[:, :1] * terms[:, 1:], np.concatenate(([0], np.flatnonzero(ends)[:-1] + 1)))
    return np.concatenate((sums, sums), axis=1)


def test_products_at_the_ends_of_all_ranges():
    ends = (-128, -127, -65, -64, -2, -1, 0, 1, 2, 63, 64, 126, 127)
    terms = np.array([t for t in itertools.product(ends, repeat=3) if not (t[2] == -128 and t[1] < 0)])
    single = np.ones(len(terms), bool)
    np.testing.assert_array_equal(run(Bench(), terms, single), expected(terms, single))


@st.composite
def sums(draw):
    """Draw the terms of three sums whose absolute lower weights add up to 511 each, and where the sums end."""
    rng = np.random.default_rng(draw(st.integers(0, 10_000)))
    parts = []
    for _ in range(3):
        size = draw(st.integers(5, 60))
        lower = np.diff(np.sort(rng.integers(0, 512, size - 1)), prepend=0, append=511)
        lower = np.clip(lower, 0, 127) * rng.choice((-1, 1), size)
        # Clipped amounts go to weights that have room.
        for k in range(size):
            room = 511 - np.abs(lower).sum()
            lower[k] += (1 if lower[k] >= 0 else -1) * min(room, 127 - abs(lower[k]))
        kind = draw(st.sampled_from(["least", "greatest", "random"]))
        x = np.where(lower > 0, -128, 127) if kind == "least" else np.where(lower > 0, 127, -128)
        x = rng.integers(-128, 128, size) if kind == "random" else x
        upper = rng.choice((-127, 127, 0), size) if draw(st.booleans()) else np.where(x < 0, -127, 127)
        parts.append(np.stack((x, lower, upper), 1))
    ends = np.concatenate([np.arange(len(part)) == len(part) - 1 for part in parts])
    return np.concatenate(parts), ends


@settings(max_examples=40, deadline=None)
@given(sums())
def test_long_sums_at_the_limit(drawn):
    terms, ends = drawn
    np.testing.assert_array_equal(run(Bench(), terms, ends), expected(terms, ends))


@pytest.mark.parametrize("bits", [17, 16, 12])
def test_a_lower_sum_of_fewer_bits(bits):
    """A lower sum that is narrower than the split may reach both ends of its range."""
    size = {17: 4, 16: 2, 12: 1}[bits]
    for x, weight in ((-128, 127), (127, 127), (127, -127)):
        weight = weight if bits > 12 else int(np.sign(weight)) * 15
        terms = np.array([[x, weight, -x // 2]] * size)
        ends = np.arange(size) == size - 1
        assert signed_bits(*[int(x * weight * size)] * 2) <= bits
        np.testing.assert_array_equal(run(Bench(bits=bits), terms, ends), expected(terms, ends))


def test_a_lower_sum_that_is_too_wide():
    with pytest.raises(ValueError, match=r"^bits must be at most 17 for the lower sum, not 18$"):
        Bench(bits=18).elaborate(None)
