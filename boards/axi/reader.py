"""Read stretches of memory over AXI4, ahead of their use."""

from amaranth.hdl import Module, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from psahw.gateware.check import check_int
from psahw.gateware.stream import Fork, Queue, connect

from .bursts import Bursts, stretch_layout
from .frames import pixels_layout
from .interfaces import BURST
from .unpack import Gearbox, Unpack, word_layout

__all__ = ["Reader", "read_data_layout"]


def read_data_layout(data_bytes: int) -> data.StructLayout:
    """Return the payload of a read data channel: ``data`` and the response ``resp``."""
    return data.StructLayout({"data": 8 * data_bytes, "resp": 2})


class Reader(wiring.Component):
    """Read stretches of memory, and pass on their bytes in beats.

    A burst is requested as soon as there is room for all of its words, so the bus never waits for
    the accelerator.

    Parameters
    ----------
    data_bytes
        Length of a memory word in bytes, a power of two.
    bus_bytes
        Length of a beat in bytes, at most ``data_bytes``. The length of every stretch must be a
        multiple of it.
    beats
        Length of the longest burst in words, a power of two.
    depth
        Number of words that can be stored or requested, at least two bursts. Memory with a latency
        of ``t`` cycles is read at full rate if ``depth`` words last for ``t`` cycles.

    Raises
    ------
    TypeError
        If a parameter is not an integer.
    ValueError
        If a parameter is out of range.

    Members
    -------
    job : stream of `psahw.boards.axi.bursts.stretch_layout`
        Stretches of at least one byte. A stretch is accepted before all words of the previous one
        have arrived.
    ar : stream of `psahw.boards.axi.interfaces.BURST`
        Read address channel. All bursts have the same ID, so their data arrive in order.
    r : stream of `read_data_layout`
        Read data channel; always ready.
    o : stream of `psahw.boards.axi.frames.pixels_layout`
        Bytes of the stretches. The flag ``error`` is set from the first failed read of a stretch to
        its end.
    failed : Out(1)
        High for one cycle when a read fails.
    """

    def __init__(self, *, data_bytes: int, bus_bytes: int, beats: int, depth: int):
        check_int("bus_bytes", bus_bytes, high=data_bytes)
        check_int("depth", depth, 2 * beats)
        self.data_bytes, self.bus_bytes, self.beats, self.depth = data_bytes, bus_bytes, beats, depth
        super().__init__(
            {
                "job": In(stream.Signature(stretch_layout())),
                "ar": Out(stream.Signature(BURST)),
                "r": In(stream.Signature(read_data_layout(data_bytes), always_ready=True)),
                "o": Out(stream.Signature(pixels_layout(bus_bytes))),
                "failed": Out(1),
            }
        )

    def elaborate(self, platform):
        m = Module()
        size = 1 << (self.bus_bytes - 1).bit_length()
        m.submodules.fork = fork = Fork(shape=stretch_layout())
        m.submodules.bursts = bursts = Bursts(data_bytes=self.data_bytes, beats=self.beats)
        m.submodules.jobs = jobs = Queue(shape=stretch_layout(), depth=2)
        m.submodules.words = words = Queue(shape=word_layout(self.data_bytes), depth=self.depth, style="block")
        m.submodules.unpack = unpack = Unpack(data_bytes=self.data_bytes, size=size)
        m.submodules.gearbox = gearbox = Gearbox(size=size, bus_bytes=self.bus_bytes)
        connect(m, wiring.flipped(self.job), fork.i)
        connect(m, fork.o_a, bursts.i)
        connect(m, fork.o_b, jobs.i)
        connect(m, jobs.o, unpack.job)
        connect(m, words.o, unpack.i)
        connect(m, unpack.o, gearbox.i)
        connect(m, gearbox.o, wiring.flipped(self.o))

        room = Signal(range(self.depth + 1), init=self.depth)  # places for words that have not been requested
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
