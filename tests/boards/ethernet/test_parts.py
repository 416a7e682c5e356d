"""The components of the Ethernet endpoint that have tests of their own."""

import itertools
import random
import struct
from ipaddress import IPv4Address

import pytest
from amaranth.hdl import Module, ResetInserter, Signal
from amaranth.sim import Simulator

from psahw.boards.ethernet.arbiter import FrameArbiter
from psahw.boards.ethernet.checksum import Checksum
from psahw.boards.ethernet.datagrams import Datagrams
from psahw.boards.ethernet.identity import Identity
from psahw.boards.ethernet.ipv4 import Ipv4Sender
from psahw.boards.ethernet.mac_receiver import MacReceiver
from psahw.boards.ethernet.packet_buffer import PacketBuffer
from tests.boards.ethernet.frames import ME, checksum, on_the_wire

RANDOM = random.Random(11)


def simulate(design, *testbenches, background=()):
    """Run testbenches on a design."""
    simulator = Simulator(design)
    simulator.add_clock(8e-9)
    for testbench in testbenches:
        simulator.add_testbench(testbench)
    for testbench in background:
        simulator.add_testbench(testbench, background=True)
    simulator.run()


@pytest.mark.parametrize("length", [0, 1, 2, 3, 20, 21, 500])
def test_checksum(length):
    """Two messages, with a restart between them. Bytes of ones cause the most carries."""
    dut, messages = Checksum(), [RANDOM.randbytes(length), b"\xff" * length]

    async def testbench(ctx):
        for message in messages:
            ctx.set(dut.valid, 1)
            for byte in message:
                ctx.set(dut.byte, byte)
                await ctx.tick()
            ctx.set(dut.valid, 0)
            assert ctx.get(dut.sum) ^ 0xFFFF == checksum(message)
            ctx.set(dut.start, 1)
            await ctx.tick()
            ctx.set(dut.start, 0)

    simulate(dut, testbench)


def test_checksum_of_rfc_1071():
    """The example of RFC 1071, section 3, also checks the tests' own implementation."""
    assert checksum(bytes.fromhex("0001 f203 f4f5 f6f7")) == 0xDDF2 ^ 0xFFFF


def test_packet_buffer_against_a_list():
    """Random packets are kept, forgotten, or too long, while the reader pauses at random."""
    dut, depth = PacketBuffer(depth=32), 32
    committed, read, dropped, counted = [], [], 0, 0

    async def writer(ctx):
        nonlocal dropped
        for _ in range(300):
            packet = RANDOM.randbytes(RANDOM.randrange(0, depth + 4))
            for byte in packet:
                ctx.set(dut.put, 1)
                ctx.set(dut.byte, byte)
                await ctx.tick()
            ctx.set(dut.put, 0)
            verdict = dut.keep if RANDOM.random() < 0.6 else dut.forget
            ctx.set(verdict, 1)
            if verdict is dut.keep and ctx.get(dut.dropped):
                dropped += 1
            elif verdict is dut.keep:
                committed.extend(packet)
            await ctx.tick()
            ctx.set(verdict, 0)
            await ctx.tick().repeat(RANDOM.choice((1, 1, 5, 80)))
        await ctx.tick().repeat(200)

    async def reader(ctx):
        while True:
            ready = RANDOM.random() < 0.7
            ctx.set(dut.o.ready, ready)
            _, _, valid, byte = await ctx.tick().sample(dut.o.valid, dut.o.payload)
            if valid and ready:
                read.append(byte)

    async def count(ctx):
        nonlocal counted
        async for _, _, drop in ctx.tick().sample(dut.dropped):
            counted += drop

    simulate(dut, writer, background=(reader, count))
    assert read == committed and len(committed) > 1000
    assert counted == dropped > 10


def test_packet_buffer_holds_its_depth():
    """The buffer holds ``depth`` bytes, and one more at its output."""
    dut = PacketBuffer(depth=8)

    async def testbench(ctx):
        for length, room in ((8, True), (1, True), (1, False)):
            for _ in range(length):
                ctx.set(dut.put, 1)
                await ctx.tick()
            ctx.set(dut.put, 0)
            ctx.set(dut.keep, 1)
            assert ctx.get(dut.dropped) == (not room)
            await ctx.tick()
            ctx.set(dut.keep, 0)
            await ctx.tick().repeat(3)

    simulate(dut, testbench)


@pytest.mark.parametrize("stall", [0, 2])
def test_arbiter(stall):
    """The frames of three sources arrive complete, and those of each source in their order."""
    dut = FrameArbiter(3)
    frames = [[bytes([source]) + RANDOM.randbytes(RANDOM.randrange(6)) for _ in range(20)] for source in range(3)]
    merged, current = [[], [], []], bytearray()

    def sender(index):
        async def testbench(ctx):
            port = dut.i[index]
            for frame in frames[index]:
                for at, byte in enumerate(frame):
                    ctx.set(port.valid, 1)
                    ctx.set(port.payload, {"byte": byte, "last": at == len(frame) - 1})
                    await ctx.tick().until(port.ready)
                ctx.set(port.valid, 0)
                await ctx.tick().repeat(RANDOM.randrange(1, 9))
            await ctx.tick().repeat(50)

        return testbench

    async def sink(ctx):
        nonlocal current
        for cycle in itertools.count():
            ready = cycle % (stall + 1) == 0
            ctx.set(dut.o.ready, ready)
            _, _, valid, payload = await ctx.tick().sample(dut.o.valid, dut.o.payload)
            if valid and ready:
                current.append(payload.byte)
                if payload.last:
                    merged[current[0]].append(bytes(current))
                    current = bytearray()

    simulate(dut, *(sender(index) for index in range(3)), background=(sink,))
    assert merged == frames


def test_a_reset_within_a_frame():
    """After a reset, the rest of the frame is ignored even if it looks like a frame; the next frame is received."""
    inner = RANDOM.randbytes(60)
    disguised = bytes(30) + bytes(cell[0] for cell in on_the_wire(inner, gap=0))
    dut, reset, verdicts = MacReceiver(), Signal(), []
    m = Module()
    m.submodules.dut = ResetInserter(reset)(dut)

    async def testbench(ctx):
        await ctx.tick()
        for cycle, (byte, valid, error) in enumerate(on_the_wire(disguised) + on_the_wire(inner)):
            ctx.set(reset, 20 <= cycle < 24)
            ctx.set(dut.gmii, {"byte": byte, "valid": valid, "error": error})
            ctx.set(dut.o.ready, 1)
            if ctx.get(dut.o.valid) and ctx.get(dut.o.payload.end) and not ctx.get(reset):
                verdicts.append(ctx.get(dut.o.payload.good))
            await ctx.tick()

    simulate(m, testbench)
    assert verdicts == [1]


@pytest.mark.parametrize(
    ("construct", "error", "message"),
    [
        (lambda: PacketBuffer(depth=2), ValueError, "depth must be at least 4, not 2"),
        (lambda: PacketBuffer(depth=48), ValueError, "depth must be a power of two, not 48"),
        (lambda: PacketBuffer(depth=4.0), TypeError, "depth must be an integer, not 4.0"),
        (lambda: FrameArbiter(0), ValueError, "sources must be at least 1, not 0"),
        (lambda: Datagrams(longest=1), ValueError, "longest must be at least 2, not 1"),
        (lambda: Ipv4Sender(ME, protocol=256), ValueError, r"protocol must be in \[0, 255\], not 256"),
        (lambda: Identity(IPv4Address("10.0.0.1"), 0), ValueError, r"port must be in \[1, 65535\], not 0"),
        (
            lambda: Identity(IPv4Address("224.0.0.1")),
            ValueError,
            "address must belong to a single station, not 224.0.0.1",
        ),
    ],
)
def test_init_wrong(construct, error, message):
    with pytest.raises(error, match=f"^{message}$"):
        construct()


def test_mac_address():
    """The MAC address is locally administered, of a single station, and contains the IPv4 address."""
    mac = Identity(IPv4Address("192.168.1.50")).mac
    assert struct.pack(">Q", mac)[2:] == bytes([2, 0, 192, 168, 1, 50])
