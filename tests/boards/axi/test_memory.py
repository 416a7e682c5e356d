# amaranth: UnusedElaboratable=no
"""Bursts, pieces and words of memory, compared with bytes in Python, and cycle by cycle where time matters."""

import re
from collections import deque

import numpy as np
import pytest
from amaranth.sim import Simulator
from hypothesis import given, settings
from hypothesis import strategies as st

from psahw.boards.axi.bursts import PAGE, Bursts
from psahw.boards.axi.interfaces import Axi4, Axi4Lite, Axi4Stream
from psahw.boards.axi.kernel import Kernel, read_depth
from psahw.boards.axi.pack import Pack
from psahw.boards.axi.reader import Reader
from psahw.boards.axi.unpack import Gearbox, Unpack
from psahw.boards.axi.writer import Writer
from tests.boards.axi.designs import manifest
from tests.boards.stub import Stub
from tests.gateware.streams import run_streams

STALLS = st.lists(st.booleans(), max_size=7).filter(lambda pattern: not all(pattern) or not pattern)


def packed(layout, **values):
    """Return the bits of a payload."""
    return layout.const(values).as_value().value


@settings(max_examples=40, deadline=None)
@given(
    addr=st.integers(0, 3 * PAGE) | st.integers((1 << 64) - 3 * PAGE, (1 << 64) - 2 * PAGE),
    size=st.integers(1, 2 * PAGE),
    shape=st.sampled_from([(4, 16), (8, 256), (64, 64), (64, 16), (16, 2)]),
    stalls=STALLS,
)
def test_bursts_cover_a_stretch(addr, size, shape, stalls):
    data_bytes, beats = shape
    dut = Bursts(data_bytes=data_bytes, beats=beats)
    job = packed(dut.i.payload.shape(), addr=addr, bytes=size)
    beats_out = run_streams(dut, {"i": [job]}, ["o"], stalls={"o": stalls}, quiet=20).beats["o"]
    layout = dut.o.payload.shape()
    bursts = [layout.from_bits(bits) for bits in beats_out]
    at = addr // data_bytes * data_bytes
    for burst in bursts:
        assert burst.addr == at and at // PAGE == (at + (burst.len + 1) * data_bytes - 1) // PAGE
        at += (burst.len + 1) * data_bytes
        assert burst.len < beats and burst.last == (at >= addr + size)
    assert at - data_bytes < addr + size <= at
    # every burst but the last one is as long as the limits allow
    assert all((b.addr + (b.len + 1) * data_bytes) % (beats * data_bytes) == 0 for b in bursts[:-1])


class Memory:
    """Memory that answers the reads of a `Reader` after ``latency`` cycles, at most one word per clock cycle."""

    def __init__(self, content, data_bytes, latency):
        self.content, self.data_bytes, self.latency = content, data_bytes, latency
        self.waiting, self.cycle = deque(), 0

    def step(self, ctx, reader):
        """Simulate one cycle before its edge."""
        if ctx.get(reader.ar.valid):
            addr, length = ctx.get(reader.ar.payload.addr), ctx.get(reader.ar.payload.len) + 1
            self.waiting.extend((self.cycle + self.latency, addr + k * self.data_bytes) for k in range(length))
        ready = bool(self.waiting) and self.waiting[0][0] <= self.cycle
        ctx.set(reader.r.valid, ready)
        if ready:
            addr = self.waiting.popleft()[1]
            word = self.content[addr : addr + self.data_bytes].ljust(self.data_bytes, b"\0")
            ctx.set(reader.r.payload.data, int.from_bytes(word, "little"))
        self.cycle += 1


def read(reader, jobs, memory, stalls=(), limit=20_000):
    """Return the bytes that a reader passes on, and the cycles of its beats."""
    total, out, cycles = sum(size for _, size in jobs), bytearray(), []

    async def testbench(ctx):
        left = deque(jobs)
        ctx.set(reader.ar.ready, 1)
        for cycle in range(limit):
            ctx.set(reader.job.valid, bool(left))
            if left:
                ctx.set(reader.job.payload, {"addr": left[0][0], "bytes": left[0][1]})
            ready = not (stalls and stalls[cycle % len(stalls)])
            ctx.set(reader.o.ready, ready)
            memory.step(ctx, reader)
            if left and ctx.get(reader.job.ready):
                left.popleft()
            if ready and ctx.get(reader.o.valid):
                out.extend(ctx.get(reader.o.payload.bytes.as_value()).to_bytes(reader.bus_bytes, "little"))
                cycles.append(cycle)
            assert ctx.get(reader.r.ready)
            if len(out) >= total:
                return
            await ctx.tick()

    simulator = Simulator(reader)
    simulator.add_clock(1e-6)
    simulator.add_testbench(testbench)
    simulator.run()
    return bytes(out), cycles


@settings(max_examples=15, deadline=None)
@given(
    shape=st.sampled_from([(8, 8), (8, 5), (16, 3), (64, 7), (4, 1), (16, 16)]),
    jobs=st.lists(st.tuples(st.integers(0, 5000), st.integers(1, 60)), min_size=1, max_size=3),
    latency=st.integers(1, 40),
    stalls=STALLS,
)
def test_reader(shape, jobs, latency, stalls):
    data_bytes, bus_bytes = shape
    content = np.random.default_rng(1).bytes(8192)
    jobs = [(addr, beats * bus_bytes) for addr, beats in jobs]
    reader = Reader(data_bytes=data_bytes, bus_bytes=bus_bytes, beats=4, depth=16)
    out, _ = read(reader, jobs, Memory(content, data_bytes, latency), stalls)
    assert out == b"".join(content[addr : addr + size] for addr, size in jobs)


@pytest.mark.parametrize("latency", [1, 200, 512])
def test_reader_hides_the_latency_of_memory(latency):
    """A beat of 8 bytes is transferred in every cycle after the first one.

    A depth of `read_depth` is sufficient for a latency of 512 cycles.
    """
    about = manifest(bus_bytes=8, image=(32, 32), interval=384)
    depth = read_depth(about, 64, 16)
    reader = Reader(data_bytes=64, bus_bytes=8, beats=16, depth=depth)
    content = np.random.default_rng(2).bytes(2 * 8192)
    out, cycles = read(reader, [(13, 8000)], Memory(content, 64, latency))
    assert out == content[13:8013]
    assert cycles[-1] - cycles[0] == len(cycles) - 1 == 999


def test_a_shallower_reader_waits_for_memory():
    """With half of the words, the reader has to wait for memory."""
    reader = Reader(data_bytes=64, bus_bytes=8, beats=16, depth=48)
    content = np.random.default_rng(2).bytes(2 * 8192)
    out, cycles = read(reader, [(13, 8000)], Memory(content, 64, 512))
    assert out == content[13:8013]
    assert cycles[-1] - cycles[0] > 1.2 * len(cycles)


@settings(max_examples=40, deadline=None)
@given(
    data_bytes=st.sampled_from([4, 8, 64]),
    jobs=st.lists(st.tuples(st.integers(0, 200), st.integers(1, 5)), min_size=1, max_size=3),
    words=st.integers(1, 5),
    stalls=st.tuples(STALLS, STALLS),
)
def test_pack(data_bytes, jobs, words, stalls):
    """Every byte of a record is written to its address, and no other byte is written."""
    dut, rng = Pack(data_bytes=data_bytes), np.random.default_rng(3)
    i, job = dut.i.payload.shape(), dut.job.payload.shape()
    values = [[int(x) for x in rng.integers(0, 1 << 32, words)] for _ in range(sum(records for _, records in jobs))]
    beats = [packed(i, data=x, last=k == words - 1) for record in values for k, x in enumerate(record)]
    run = run_streams(
        dut,
        {"job": [packed(job, addr=addr, records=records) for addr, records in jobs], "i": beats},
        ["o"],
        stalls={"i": stalls[0], "o": stalls[1]},
    )
    words_out = [dut.o.payload.shape().from_bits(bits) for bits in run.beats["o"]]
    record = iter(values)
    for addr, records in jobs:
        content = b"".join(x.to_bytes(4, "little") for _ in range(records) for x in next(record))
        memory, expected = {}, {addr + k: byte for k, byte in enumerate(content)}
        first, last = addr // data_bytes, (addr + len(content) - 1) // data_bytes
        for place in range(first, last + 1):
            word = words_out.pop(0)
            for lane in range(data_bytes):
                if word.strb >> lane & 1:
                    memory[place * data_bytes + lane] = word.data >> 8 * lane & 255
        assert memory == expected
    assert not words_out


@pytest.mark.parametrize(
    ("construct", "error", "message"),
    [
        (lambda: Axi4(12), ValueError, "data_bytes must be a power of two, not 12"),
        (lambda: Axi4(256), ValueError, "data_bytes must be in [4, 128], not 256"),
        (lambda: Axi4Lite(2), ValueError, "address_bits must be in [3, 64], not 2"),
        (lambda: Axi4Stream(0), ValueError, "data_bytes must be at least 1, not 0"),
        (lambda: Bursts(data_bytes=64, beats=128), ValueError, "beats must be in [1, 64], not 128"),
        (lambda: Bursts(data_bytes=6, beats=2), ValueError, "data_bytes must be a power of two, not 6"),
        (lambda: Unpack(data_bytes=8, size=16), ValueError, "size must be in [1, 8], not 16"),
        (lambda: Unpack(data_bytes=8, size=3), ValueError, "size must be a power of two, not 3"),
        (lambda: Gearbox(size=4, bus_bytes=5), ValueError, "bus_bytes must be in [1, 4], not 5"),
        (lambda: Reader(data_bytes=8, bus_bytes=4, beats=8, depth=9), ValueError, "depth must be at least 16, not 9"),
        (lambda: Pack(data_bytes=2), ValueError, "data_bytes must be at least 4, not 2"),
        (lambda: Writer(data_bytes=8, beats=1), ValueError, "beats must be at least 2, not 1"),
        (lambda: _kernel(data_bytes=2), ValueError, "data_bytes must be in [4, 128], not 2"),
        (lambda: _kernel(beats=512), ValueError, "beats must be in [2, 64], not 512"),
        (lambda: _kernel(beats="16"), TypeError, "beats must be an integer, not '16'"),
        (lambda: _kernel(bus_bytes=96, data_bytes=64), ValueError, "bus_bytes must be in [1, 64], not 96"),
    ],
)  # fmt: skip
def test_init_wrong_parameter(construct, error, message):
    with pytest.raises(error, match=f"^{re.escape(message)}$"):
        construct()


def _kernel(*, bus_bytes=4, **options):
    stub = Stub(bus_bytes=bus_bytes, frame_bytes=bus_bytes * 4)
    return Kernel(stub.signature, manifest(bus_bytes=bus_bytes, image=(4, 32)), **options)
