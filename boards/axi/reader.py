"""Reads stretches of memory over AXI4, ahead of what is wanted."""

from amaranth.hdl import Module, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from psahw.gateware.check import check_int
from psahw.gateware.stream import Fork, Queue, connect

from .bursts import Bursts, stretch
from .frames import pixels
from .interfaces import BURST
from .unpack import Gearbox, Unpack, word

__all__ = ["Reader", "read_data"]


def read_data(data_bytes: int) -> data.StructLayout:
    """Payload of a read data channel."""
    return data.StructLayout({"data": 8 * data_bytes, "resp": 2})


class Reader(wiring.Component):
    """A request goes out as soon as there is room for all of its words, so the bus never waits for the accelerator.

    Parameters
    ----------
    data_bytes : of a memory word, a power of two
    bus_bytes : of a beat to the accelerator, at most ``data_bytes``; stretches are multiples of it
    beats : words of the longest burst
    depth : words that are kept or under way, at least two bursts: memory that answers after ``t``
        cycles is read at full rate if ``depth`` words last that long

    Members
    -------
    job : stream of stretches, each of one byte at least; another is taken while words of the one before are to come
    ar, r : channels; all bursts have the same ID, so answers come in order. ``r.ready`` is always high
    o : stream of `psahw.boards.axi.frames.pixels`; flag ``error`` from the first failed read of a stretch to its end
    failed : for a cycle, when a read fails
    """

    def __init__(self, *, data_bytes: int, bus_bytes: int, beats: int, depth: int):
        check_int("bus_bytes", bus_bytes, high=data_bytes)
        check_int("depth", depth, 2 * beats)
        self.data_bytes, self.bus_bytes, self.beats, self.depth = data_bytes, bus_bytes, beats, depth
        super().__init__(
            {
                "job": In(stream.Signature(stretch())),
                "ar": Out(stream.Signature(BURST)),
                "r": In(stream.Signature(read_data(data_bytes), always_ready=True)),
                "o": Out(stream.Signature(pixels(bus_bytes))),
                "failed": Out(1),
            }
        )

    def elaborate(self, platform):
        m = Module()
        size = 1 << (self.bus_bytes - 1).bit_length()
        m.submodules.fork = fork = Fork(shape=stretch())
        m.submodules.bursts = bursts = Bursts(data_bytes=self.data_bytes, beats=self.beats)
        m.submodules.jobs = jobs = Queue(shape=stretch(), depth=2)
        m.submodules.words = words = Queue(shape=word(self.data_bytes), depth=self.depth, style="block")
        m.submodules.unpack = unpack = Unpack(data_bytes=self.data_bytes, size=size)
        m.submodules.gearbox = gearbox = Gearbox(size=size, bus_bytes=self.bus_bytes)
        connect(m, wiring.flipped(self.job), fork.i)
        connect(m, fork.o_a, bursts.i)
        connect(m, fork.o_b, jobs.i)
        connect(m, jobs.o, unpack.job)
        connect(m, words.o, unpack.i)
        connect(m, unpack.o, gearbox.i)
        connect(m, gearbox.o, wiring.flipped(self.o))

        room = Signal(range(self.depth + 1), init=self.depth)  # places for words that nobody has asked for
        length, fits = bursts.o.payload.len + 1, Signal()
        asked, left = self.ar.valid & self.ar.ready, words.o.valid & words.o.ready
        m.d.sync += room.eq(room + left)
        with m.If(asked):
            m.d.sync += room.eq(room + left - length)
        m.d.comb += [
            fits.eq(room >= length),
            self.ar.valid.eq(bursts.o.valid & fits),
            bursts.o.ready.eq(self.ar.ready & fits),
            self.ar.payload.addr.eq(bursts.o.payload.addr),
            self.ar.payload.len.eq(bursts.o.payload.len),
            words.i.valid.eq(self.r.valid),
            words.i.payload.data.eq(self.r.payload.data),
            words.i.payload.error.eq(self.r.payload.resp[1]),  # SLVERR and DECERR
            self.failed.eq(self.r.valid & self.r.payload.resp[1]),
        ]
        return m
