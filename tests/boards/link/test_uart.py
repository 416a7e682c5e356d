# amaranth: UnusedElaboratable=no
import random
from fractions import Fraction

import pytest
from amaranth.sim import Simulator

from psahw.boards.link.options import UartOptions
from psahw.boards.link.uart import Receiver, Transmitter, bit_times
from psahw.errors import UserError

TEXT = bytes(random.Random(1).sample(range(256), 8)) + b"\x00\xff\x55\xaa"


def levels(byte, stop=1):
    """Return the levels of a character's bits."""
    return [0, *((byte >> k & 1) for k in range(8)), stop]


def waveform(characters, period, *, idle=3.0, gap=0.0):
    """Return the level of the line in every clock cycle.

    ``characters`` are lists of levels, and ``period`` is the length of a bit in cycles, which may
    be fractional. The line is idle for ``idle`` bits at first, and for ``gap`` bits after each
    character.
    """
    edges, time = [], idle * period
    for bits in characters:
        for level in bits:
            edges.append((time, level))
            time += period
        edges.append((time, 1))
        time += gap * period
    line, level, index = [], 1, 0
    for cycle in range(int(time + 3 * period)):
        while index < len(edges) and edges[index][0] <= cycle:
            level, index = edges[index][1], index + 1
        line.append(level)
    return line


def receive(line, *, period=16, ready=lambda cycle: True):
    """Return what a receiver makes of the line, as a list of (byte, error)."""
    dut, received = Receiver(clock_hz=period * 1000, baud=1000), []

    async def testbench(ctx):
        for cycle, level in enumerate(line):
            ctx.set(dut.rx, level)
            ctx.set(dut.o.ready, ready(cycle))
            if ctx.get(dut.o.valid) and ready(cycle):
                received.append((ctx.get(dut.o.payload.byte), ctx.get(dut.o.payload.error)))
            await ctx.tick()

    simulator = Simulator(dut)
    simulator.add_clock(1e-6)
    simulator.add_testbench(testbench)
    simulator.run()
    return received


def good(characters):
    return [(byte, 0) for byte in characters]


@pytest.mark.parametrize(
    ("clock_hz", "baud"), [(143e6, 3_000_000), (80e6, 3_000_000), (200e6, 921_600), (8e6, 1_000_000)]
)
def test_bit_times_never_drift(clock_hz, baud):
    edge = Fraction(0)
    for k, cycles in enumerate(bit_times(clock_hz, baud), 1):
        edge += cycles
        assert abs(edge - k * Fraction(clock_hz) / baud) <= Fraction(1, 2)


def test_baud_too_fast():
    with pytest.raises(ValueError, match=r"^baud must be at most clock_hz / 4 = 2000000, not 2000001$"):
        bit_times(8e6, 2_000_001)


def test_baud_too_fast_for_a_board():
    """A bit must have eight clock cycles there, and four if both ends use one clock."""
    UartOptions(3_000_000).check_clock(24e6)
    with pytest.raises(UserError, match=r"it must be at least 24 MHz, or --baud at most 2999999$"):
        UartOptions(3_000_000).check_clock(23_999_999)
    assert bit_times(8e6, 2_000_000) == [4] * 10


@pytest.mark.parametrize("period", [8, Fraction(104, 10), 16, Fraction(143, 3)])
@pytest.mark.parametrize("deviation", [-0.03, 0, 0.03])
def test_receive(period, deviation):
    line = waveform([levels(byte) for byte in TEXT], float(period) * (1 + deviation))
    assert receive(line, period=period) == good(TEXT)


@pytest.mark.parametrize("deviation", [-0.01, 0, 0.01])
def test_receive_the_shortest_bits(deviation):
    line = waveform([levels(byte) for byte in TEXT], 4 * (1 + deviation))
    assert receive(line, period=4) == good(TEXT)


@pytest.mark.parametrize("deviation", [-0.1, 0.1])
def test_receive_detects_a_wrong_baud_rate(deviation):
    received = receive(waveform([levels(0x00)], 16 * (1 + deviation)))
    assert received != good([0x00])


def test_receive_ignores_glitches():
    line = waveform([levels(byte) for byte in TEXT], 16)
    for cycle in range(5, len(line), 16):  # one cycle in every bit
        line[cycle] ^= 1
    assert receive(line) == good(TEXT)


@pytest.mark.parametrize("period", [4, 8])
def test_a_line_that_nothing_drives_is_idle(period):
    dut = Receiver(clock_hz=1000 * period, baud=1000)

    async def testbench(ctx):
        for _ in range(200):
            assert not ctx.get(dut.o.valid)
            await ctx.tick()

    simulator = Simulator(dut)
    simulator.add_clock(1e-6)
    simulator.add_testbench(testbench)
    simulator.run()


def test_both_ends_fit_each_other():
    """The line connects them, and one gives what the other takes."""
    receiver, transmitter = Receiver(clock_hz=8000, baud=1000), Transmitter(clock_hz=8000, baud=1000)
    assert receiver.rx.shape() == transmitter.tx.shape()
    assert receiver.o.p.byte.shape() == transmitter.i.p.shape()


@pytest.mark.parametrize("byte", [0x00, 0x55, 0xFF])
def test_receive_ignores_a_glitch_in_any_cycle(byte):
    """The n-th of the characters is disturbed in its n-th clock cycle, the bits' sampling points among them."""
    period, bits = 8, 10
    line = waveform([levels(byte)] * (period * bits), period, idle=3, gap=2)
    length = period * (bits + 2)
    for cycle in range(period * bits):
        line[3 * period + cycle * length + cycle] ^= 1
    assert receive(line, period=period) == good([byte] * (period * bits))


def test_receive_ignores_a_short_start_bit():
    line = [1] * 40 + [0] * 6 + [1] * 40
    assert receive(line + waveform([levels(0x5A)], 16)) == good([0x5A])


def test_receive_detects_a_missing_stop_bit():
    received = receive(waveform([levels(0x41), levels(0x42, stop=0), levels(0x43)], 16, gap=2))
    assert [error for _, error in received] == [0, 1, 0]
    assert (received[0][0], received[2][0]) == (0x41, 0x43)


def test_receive_break_is_one_error():
    received = receive([1] * 40 + [0] * 1000 + [1] * 40 + waveform([levels(0x33)], 16))
    assert received == [(0, 1), (0x33, 0)]


def test_receive_overrun_keeps_the_first_and_marks_the_next():
    line = waveform([levels(byte) for byte in b"abcd"], 16)
    third_done = int((3 + 29.9) * 16)
    assert receive(line, ready=lambda cycle: cycle > third_done) == [(ord("a"), 0), (ord("d"), 1)]


def transmit(characters, period):
    """Return the level of the line in every clock cycle while ``characters`` are sent."""
    dut, line = Transmitter(clock_hz=period * 1000, baud=1000), []

    async def source(ctx):
        for byte in characters:
            ctx.set(dut.i.valid, 1)
            ctx.set(dut.i.payload, byte)
            await ctx.tick().until(dut.i.ready)
        ctx.set(dut.i.valid, 0)

    async def watch(ctx):
        for _ in range(int((10 * len(characters) + 2) * period) + 2 * len(characters)):
            line.append(ctx.get(dut.tx))
            await ctx.tick()

    simulator = Simulator(dut)
    simulator.add_clock(1e-6)
    simulator.add_testbench(source)
    simulator.add_testbench(watch)
    simulator.run()
    return line


@pytest.mark.parametrize("period", [4, 8, Fraction(104, 10), Fraction(143, 3)])
def test_transmit(period):
    line, at = transmit(TEXT, period), 0
    for byte in TEXT:
        start = line.index(0, at)
        assert start - at <= period + 2, "characters must follow each other without a pause"
        samples = [line[start + round((k + 0.5) * period)] for k in range(10)]
        assert samples == levels(byte)
        at = start + round(9.5 * period)
    assert line[0] == 1
    assert all(line[at:])


@pytest.mark.parametrize("period", [4, Fraction(104, 10), Fraction(143, 3)])
def test_edges_of_a_character(period):
    """Bit k begins ``round(k·T)`` cycles after the character, and every bit of U differs from the one before."""
    line = transmit([ord("U")], period)
    edges = [cycle for cycle in range(1, len(line)) if line[cycle] != line[cycle - 1]]
    assert edges == [edges[0] + round(k * period) for k in range(10)]


def test_transmit_to_receive():
    line = transmit(TEXT, 8)
    assert receive([1] * 20 + line + [1] * 20, period=8) == good(TEXT)
