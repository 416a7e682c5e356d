"""Extract bytes from memory words, from any byte address and of any number."""

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from psahw.gateware.check import check_int

from .bursts import STRETCH_BITS, stretch_layout
from .frames import pixels_layout

__all__ = ["Gearbox", "Unpack", "piece_layout", "word_layout"]


def word_layout(data_bytes: int) -> data.StructLayout:
    """Return the layout of a memory word that was read: its ``data``, and ``error`` if the read failed."""
    return data.StructLayout({"data": 8 * data_bytes, "error": 1})


def piece_layout(size: int) -> data.StructLayout:
    """Return the layout of a piece of a memory word.

    Its fields are ``size`` bytes of ``data``, ``error`` if a read failed, and the number of bytes
    to use: ``count`` bytes after the first ``skip`` bytes.
    """
    return data.StructLayout({"data": 8 * size, "error": 1, "skip": range(size), "count": range(size + 1)})


class Unpack(wiring.Component):
    """Cut the words of a stretch into pieces, and mark which of their bytes belong to the stretch.

    The unit produces one piece per clock cycle, with a latency of one cycle.

    Parameters
    ----------
    data_bytes
        Length of a memory word in bytes, a power of two.
    size
        Length of a piece in bytes, a power of two that is at most ``data_bytes``.

    Raises
    ------
    TypeError
        If a parameter is not an integer.
    ValueError
        If a parameter is out of range or not a power of two.

    Members
    -------
    job : stream of `psahw.boards.axi.bursts.stretch_layout`
        Stretches of at least one byte.
    i : stream of `word_layout`
        The words that contain the stretches.
    o : stream of `piece_layout`
        Pieces. ``error`` is set from the first failed read of a stretch to its end.
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
                "job": In(stream.Signature(stretch_layout())),
                "i": In(stream.Signature(word_layout(data_bytes))),
                "o": Out(stream.Signature(piece_layout(size))),
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
                final = job.payload.bytes + first - 1  # position of the last byte, relative to the first piece
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
    """Join the bytes of pieces to beats of ``bus_bytes`` bytes, one beat per clock cycle.

    Parameters
    ----------
    size
        Length of a piece in bytes, at least ``bus_bytes``.
    bus_bytes
        Length of a beat in bytes. The length of every stretch must be a multiple of it.

    Raises
    ------
    TypeError
        If a parameter is not an integer.
    ValueError
        If a parameter is out of range.

    Members
    -------
    i : stream of `piece_layout`
        Pieces.
    o : stream of `psahw.boards.axi.frames.pixels_layout`
        Beats, with a latency of one cycle. The flag ``error`` is that of the piece that completed
        the beat.
    """

    def __init__(self, *, size: int, bus_bytes: int):
        check_int("size", size)
        check_int("bus_bytes", bus_bytes, high=size)
        self.size, self.bus_bytes = size, bus_bytes
        super().__init__(
            {"i": In(stream.Signature(piece_layout(size))), "o": Out(stream.Signature(pixels_layout(bus_bytes)))}
        )

    def elaborate(self, platform):
        m = Module()
        i, o, size, bus = self.i, self.o, self.size, self.bus_bytes
        capacity = size + bus - 1
        store, level = Signal(8 * capacity), Signal(range(capacity + 1))
        kept, rest = Signal(8 * bus), Signal(range(capacity + 1))  # bytes that remain when a beat has been taken
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
            # the first byte to use moves to position `rest`
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
