"""The MAC: receiver and transmitter, compared with independently computed frames."""

import random
from itertools import pairwise

import pytest
from amaranth.sim import Simulator

from psahw.boards.ethernet.mac_receiver import MacReceiver
from psahw.boards.ethernet.mac_transmitter import MacTransmitter
from tests.boards.ethernet.frames import fcs, on_the_wire, received

RANDOM = random.Random(3)


def content(length):
    """Return random bytes."""
    return RANDOM.randbytes(length)


def receive(cycles, ready=lambda cycle: True):
    """Return (frame, good) of every received frame, and the cycles from the fall of RX_DV to each end."""
    dut, frames, current, fell, latencies = MacReceiver(), [], bytearray(), None, []

    async def testbench(ctx):
        nonlocal current, fell
        await ctx.tick()  # the line has been idle
        for cycle, (byte, valid, error) in enumerate([*cycles, *[(0, 0, 0)] * 20]):
            ctx.set(dut.gmii, {"byte": byte, "valid": valid, "error": error})
            ctx.set(dut.o.ready, ready(cycle))
            fell = cycle if not valid and fell is None else None if valid else fell
            if ctx.get(dut.o.valid) and ready(cycle):
                if ctx.get(dut.o.payload.end):
                    frames.append((bytes(current), bool(ctx.get(dut.o.payload.good))))
                    latencies.append(cycle - (fell if fell is not None else cycle))
                    current = bytearray()
                else:
                    current.append(ctx.get(dut.o.payload.byte))
            await ctx.tick()

    simulator = Simulator(dut)
    simulator.add_clock(8e-9)
    simulator.add_testbench(testbench)
    simulator.run()
    assert not current
    return frames, latencies


@pytest.mark.parametrize("preamble", [0, 1, 7, 9])
@pytest.mark.parametrize("gap", [2, 8, 12])
def test_frames_back_to_back(gap, preamble):
    """Gap and preamble may shrink on their way (IEEE 802.3, 35.2.3.2.2 and 4A.4.2)."""
    frames = [content(length) for length in (60, 61, 700, 60)]
    wire = [cycle for frame in frames for cycle in on_the_wire(frame, gap=gap, preamble=preamble)]
    verdicts, latencies = receive(wire)
    assert verdicts == [(frame, True) for frame in frames]
    assert latencies == [1] * len(frames)


@pytest.mark.parametrize(("length", "good"), [(59, False), (60, True), (1514, True), (1515, False), (4000, False)])
def test_lengths(length, good):
    frame, after = content(length), content(60)
    verdicts, _ = receive(on_the_wire(frame) + on_the_wire(after))
    assert [verdict for _, verdict in verdicts] == [good, True]
    assert verdicts[1][0] == after
    assert not good or verdicts[0][0] == frame
    assert len(verdicts[0][0]) <= 1515


@pytest.mark.parametrize("short", range(6))
def test_frames_of_a_few_bytes(short):
    after = content(60)
    wire = [(0x55, 1, 0)] * 7 + [(0xD5, 1, 0)] + [(1, 1, 0)] * short + [(0, 0, 0)] * 12
    verdicts, _ = receive(wire + on_the_wire(after))
    assert verdicts == [(b"\1" * max(short - 4, 0), False), (after, True)]


def test_every_damaged_byte_is_detected():
    frame, after = content(60), content(60)
    for at in range(8, 72):
        wire = on_the_wire(frame)
        byte, *rest = wire[at]
        wire[at] = (byte ^ 1 << at % 8, *rest)
        verdicts, _ = receive(wire + on_the_wire(after))
        assert [good for _, good in verdicts] == [False, True]
        assert verdicts[1][0] == after


@pytest.mark.parametrize("at", [8, 40, 71])
def test_an_error_at_the_phy(at):
    wire = on_the_wire(content(60))
    wire[at] = (wire[at][0], 1, 1)
    after = content(60)
    verdicts, _ = receive(wire + on_the_wire(after))
    assert verdicts == [(verdicts[0][0], False), (after, True)]


@pytest.mark.parametrize("noise", [[(0x12, 1, 0)] * 40, [(0x55, 1, 0)] * 40, [(0x55, 1, 1), *[(0xD5, 1, 0)] * 9]])
def test_noise_without_a_preamble(noise):
    after = content(60)
    verdicts, _ = receive([*noise, (0, 0, 0), *on_the_wire(after)])
    assert verdicts == [(after, True)]


def test_truncated_frames():
    frame, after = content(100), content(60)
    for length in (1, 63, 64, 80, 103):
        verdicts, _ = receive([*on_the_wire(frame)[: 8 + length], *[(0, 0, 0)] * 12, *on_the_wire(after)])
        assert verdicts[0][1] is False and verdicts[1:] == [(after, True)]


def test_a_byte_that_is_not_taken_invalidates_its_frame():
    """A frame is invalid if one of its bytes is not taken, or if the next frame overtakes its end.

    The frame after it is not affected.
    """
    frames = [content(60) for _ in range(3)]
    wire = [cycle for frame in frames for cycle in on_the_wire(frame)]
    verdicts, _ = receive(wire, lambda cycle: cycle != 30)
    assert [good for _, good in verdicts] == [False, True, True]
    verdicts, _ = receive(wire, lambda cycle: not 72 <= cycle < 100)
    assert verdicts == [(frames[0], True), (frames[2], True)]


def transmit(frames, *, hole=None):
    """Return the PHY's cycles while frames are sent; the source pauses before byte ``hole`` of each frame."""
    dut, cycles = MacTransmitter(), []

    async def source(ctx):
        for frame in frames:
            for at, byte in enumerate(frame):
                if at == hole:
                    ctx.set(dut.i.valid, 0)
                    await ctx.tick()
                ctx.set(dut.i.valid, 1)
                ctx.set(dut.i.payload, {"byte": byte, "last": at == len(frame) - 1})
                await ctx.tick().until(dut.i.ready)
        ctx.set(dut.i.valid, 0)
        await ctx.tick().repeat(200)

    async def watch(ctx):
        while True:
            cycles.append(tuple(ctx.get(dut.gmii[name]) for name in ("byte", "valid", "error")))
            await ctx.tick()

    simulator = Simulator(dut)
    simulator.add_clock(8e-9)
    simulator.add_testbench(source)
    simulator.add_testbench(watch, background=True)
    simulator.run()
    return cycles


def test_transmit():
    frames = [content(length) for length in (60, 1514, 61)]
    assert received(transmit(frames)) == frames


@pytest.mark.parametrize("length", [1, 2, 42, 58, 59, 60, 61])
def test_padding(length):
    frames = [content(length), content(length)]
    assert received(transmit(frames)) == [frame.ljust(60, b"\0") for frame in frames]


def test_cycles_of_a_frame():
    """A frame of n bytes takes n + 24 cycles, twelve of which are the gap.

    Its first byte reaches the PHY ten cycles after it was offered.
    """
    cycles = transmit([content(64)] * 3)
    valid = [valid for _, valid, _ in cycles]
    starts = [at for at in range(1, len(valid)) if valid[at] and not valid[at - 1]]
    assert [after - before for before, after in pairwise(starts)] == [64 + 24] * 2
    assert starts[0] + 8 == 10


def test_a_source_that_pauses_is_an_error_at_the_phy():
    cycles = transmit([content(80)], hole=30)
    assert sum(error for _, _, error in cycles) == 1


def test_transmit_to_receive():
    frames = [content(length) for length in (60, 900, 1514)]
    verdicts, _ = receive(transmit(frames))
    assert verdicts == [(frame, True) for frame in frames]


def test_check_value_of_the_independent_crc():
    """The check value of CRC-32/ISO-HDLC (reveng catalogue)."""
    assert fcs(b"123456789") == (0xCBF43926).to_bytes(4, "little")
