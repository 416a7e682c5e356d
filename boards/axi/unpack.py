"""Bytes out of memory words: any first byte, any number."""

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from psahw.gateware.check import check_int

from .bursts import STRETCH_BITS, stretch
from .frames import pixels

__all__ = ["Gearbox", "Unpack", "piece", "word"]


def word(data_bytes: int) -> data.StructLayout:
    """What memory answers: a word, and whether the read failed."""
    return data.StructLayout({"data": 8 * data_bytes, "error": 1})


def piece(size: int) -> data.StructLayout:
    """``size`` bytes, of which ``count`` count, after the first ``skip``."""
    return data.StructLayout({"data": 8 * size, "error": 1, "skip": range(size), "count": range(size + 1)})


class Unpack(wiring.Component):
    """Cuts the words of a stretch into pieces and says which of their bytes belong to it; a piece a cycle.

    Parameters
    ----------
    data_bytes : of a word, a power of two
    size : bytes of a piece, a power of two that is not greater

    Members
    -------
    job : stream of `psahw.boards.axi.bursts.stretch`, each of one byte at least
    i : stream of `word`: those that hold the stretch
    o : stream of `piece`, one cycle later; ``error`` stays from the first failed read of a stretch to its end
    """

    def __init__(self, *, data_bytes: int, size: int):
        check_int("data_bytes", data_bytes)
        check_int("size", size, high=data_bytes)
        for name, value in (("data_bytes", data_bytes), ("size", size)):
            if value & (value - 1):
                raise ValueError(f"{name} must be a power of two, not {value}")
        self.data_bytes, self.size = data_bytes, size
        super().__init__(
            {
                "job": In(stream.Signature(stretch())),
                "i": In(stream.Signature(word(data_bytes))),
                "o": Out(stream.Signature(piece(size))),
            }
        )

    def elaborate(self, platform):
        m = Module()
        job, i, o = self.job, self.i, self.o
        pieces, shift = self.data_bytes // self.size, self.size.bit_length() - 1
        place = Signal(range(pieces))
        left = Signal(STRETCH_BITS - shift + 1)  # pieces after this one
        skip, end = Signal(range(self.size)), Signal(range(self.size + 1))
        failed, en, go = Signal(), Signal(), Signal()
        last = left == 0

        m.d.comb += en.eq(~o.valid | o.ready)
        with m.If(en):
            m.d.sync += o.valid.eq(go)
        with m.FSM():
            with m.State("JOB"):
                m.d.comb += job.ready.eq(1)
                first = job.payload.addr[:shift] if shift else 0
                final = job.payload.bytes + first - 1  # place of the last byte, from the first piece's first
                m.d.sync += [
                    place.eq(job.payload.addr[shift:]),
                    left.eq(final >> shift),
                    skip.eq(first),
                    end.eq((final[:shift] if shift else 0) + 1),
                    failed.eq(0),
                ]
                with m.If(job.valid):
                    m.next = "WORDS"
            with m.State("WORDS"):
                m.d.comb += [go.eq(i.valid), i.ready.eq(en & (last | (place == pieces - 1)))]
                with m.If(en & i.valid):
                    m.d.sync += [
                        o.payload.data.eq(i.payload.data.word_select(place, 8 * self.size)),
                        o.payload.error.eq(i.payload.error | failed),
                        o.payload.skip.eq(skip),
                        o.payload.count.eq(Mux(last, end, self.size) - skip),
                        failed.eq(i.payload.error | failed),
                        skip.eq(0),
                        left.eq(left - 1),
                        place.eq(place + 1),
                    ]
                    with m.If(last):
                        m.next = "JOB"
        return m


class Gearbox(wiring.Component):
    """Strings the bytes of pieces together, into beats of ``bus_bytes``; a beat a cycle.

    Parameters
    ----------
    size : of the pieces, at least ``bus_bytes``
    bus_bytes : of a beat; a stretch is a multiple of it

    Members
    -------
    i : stream of `piece`
    o : stream of `psahw.boards.axi.frames.pixels`, one cycle later; flag ``error`` if the piece that completed the beat
        has it
    """

    def __init__(self, *, size: int, bus_bytes: int):
        check_int("size", size)
        check_int("bus_bytes", bus_bytes, high=size)
        self.size, self.bus_bytes = size, bus_bytes
        super().__init__({"i": In(stream.Signature(piece(size))), "o": Out(stream.Signature(pixels(bus_bytes)))})

    def elaborate(self, platform):
        m = Module()
        i, o, size, bus = self.i, self.o, self.size, self.bus_bytes
        capacity = size + bus - 1
        store, level = Signal(8 * capacity), Signal(range(capacity + 1))
        kept, rest = Signal(8 * bus), Signal(range(capacity + 1))  # what is left when a beat has gone
        mine, place, failed = Signal(8 * size), Signal(range(size + bus)), Signal()

        taken = o.valid & o.ready
        m.d.comb += [
            o.valid.eq(level >= bus),
            o.payload.bytes.as_value().eq(store[: 8 * bus]),
            o.payload.flags.as_value().eq(0),
            o.payload.flags.error.eq(failed),
            rest.eq(Mux(taken, level - bus, level)),
            kept.eq(Mux(taken, store >> 8 * bus, store)),
            i.ready.eq(rest < bus),
            # the first byte that counts goes to place `rest`
            place.eq(size + rest - i.payload.skip),
        ]
        end = Signal(range(size + 1))
        m.d.comb += end.eq(i.payload.skip + i.payload.count)
        for k in range(size):
            begun = i.payload.skip <= k if k < size - 1 else 1
            counts = begun & (end > k)
            m.d.comb += mine[8 * k : 8 * k + 8].eq(Mux(counts, i.payload.data[8 * k : 8 * k + 8], 0))
        with m.If(taken):
            m.d.sync += [store.eq(store >> 8 * bus), level.eq(rest)]
        with m.If(i.valid & i.ready):
            moved = Signal(8 * (2 * size + bus - 1))
            m.d.comb += moved.eq(mine << (place << 3))
            m.d.sync += [
                store.eq(kept | (moved >> 8 * size)),
                level.eq(rest + i.payload.count),
                failed.eq(i.payload.error),
            ]
        return m
