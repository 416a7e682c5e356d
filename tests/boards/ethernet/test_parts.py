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
    simulator = Simulator(design)
    simulator.add_clock(8e-9)
    for testbench in testbenches:
        simulator.add_testbench(testbench)
    for testbench in background:
        simulator.add_testbench(testbench, background=True)
    simulator.run()


@pytest.mark.parametrize("length", [0, 1, 2, 3, 20, 21, 500])
def test_checksum(length):
    """Two messages, the second begun anew; ones carry the most."""
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
    """Its example of section 3, by which the tests' own sum is checked, too."""
    assert checksum(bytes.fromhex("0001 f203 f4f5 f6f7")) == 0xDDF2 ^ 0xFFFF


def test_packet_buffer_against_a_list():
    """Random packets, kept, forgotten, or too large, and a reader that pauses at random."""
    dut, depth = PacketBuffer(depth=32), 32
    kept, read, dropped, counted = [], [], 0, 0

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
                kept.extend(packet)
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
    assert read == kept and len(kept) > 1000
    assert counted == dropped > 10


def test_packet_buffer_holds_its_depth():
    """And one byte at its output."""
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
    """Frames of three sources come out whole, those of each in their order."""
    dut = FrameArbiter(3)
    frames = [[bytes([source]) + RANDOM.randbytes(RANDOM.randrange(6)) for _ in range(20)] for source in range(3)]
    found, current = [[], [], []], bytearray()

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
                    found[current[0]].append(bytes(current))
                    current = bytearray()

    simulate(dut, *(sender(index) for index in range(3)), background=(sink,))
    assert found == frames


def test_a_reset_within_a_frame():
    """What is left of the frame is not believed, though it may look like one; the next one is."""
    inner = RANDOM.randbytes(60)
    disguised = bytes(30) + bytes(cell[0] for cell in on_the_wire(inner, gap=0))
    dut, reset, found = MacReceiver(), Signal(), []
    m = Module()
    m.submodules.dut = ResetInserter(reset)(dut)

    async def testbench(ctx):
        await ctx.tick()
        for cycle, (byte, valid, error) in enumerate(on_the_wire(disguised) + on_the_wire(inner)):
            ctx.set(reset, 20 <= cycle < 24)
            ctx.set(dut.gmii, {"byte": byte, "valid": valid, "error": error})
            ctx.set(dut.o.ready, 1)
            if ctx.get(dut.o.valid) and ctx.get(dut.o.payload.end) and not ctx.get(reset):
                found.append(ctx.get(dut.o.payload.good))
            await ctx.tick()

    simulate(m, testbench)
    assert found == [1]


@pytest.mark.parametrize(
    ("make", "error", "message"),
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
def test_init_wrong(make, error, message):
    with pytest.raises(error, match=f"^{message}$"):
        make()


def test_mac_address():
    """Locally administered, of one station, with the address in it."""
    mac = Identity(IPv4Address("192.168.1.50")).mac
    assert struct.pack(">Q", mac)[2:] == bytes([2, 0, 192, 168, 1, 50])
