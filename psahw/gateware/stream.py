"""Vectors on streams: their signature, connecting them, changing their width, storing and copying them."""

from amaranth.hdl import Module, Mux, Shape, ShapeLike, Signal, Value, signed
from amaranth.lib import data, stream, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from .check import check_choice, check_int
from .count import count, level

__all__ = ["Fork", "Gather", "Queue", "Skid", "connect", "vector_signature"]


def vector_signature(lanes: int, bits: int = 8) -> stream.Signature:
    """A stream of ``lanes`` two's complement elements of ``bits`` bits a beat, lowest index in lane 0."""
    return stream.Signature(data.ArrayLayout(signed(bits), lanes))


def connect(m: Module, source, sink):
    """``wiring.connect`` for streams, but payloads must have the same shape.

    Amaranth 0.5 connects any two layouts of equal width. A component's own port is passed
    flipped: ``connect(m, wiring.flipped(self.i), inner.i)``. Raises TypeError for unequal shapes.
    """
    if source.payload.shape() != sink.payload.shape():
        raise TypeError(
            f"source and sink must have the same payload shape, not {source.payload.shape()!r} "
            f"and {sink.payload.shape()!r}"
        )
    wiring.connect(m, source, sink)


class Queue(wiring.Component):
    """First in, first out; holds exactly ``depth`` beats. Full rate from depth 3 on.

    A beat leaves at the earliest two cycles after it came: one into the memory, one into the output
    register, which counts towards the depth. ``i.ready`` is ``level != depth``, itself a register, so a
    beat that comes and one that leaves in the same cycle both need room (`psahw.architecture.timing.fifo_depth`).
    (lib.fifo.SyncFIFOBuffered has the same timing, but leaves its memory's kind to the synthesiser, is faster
    at depth 1, and at depth 2 does not hold two beats that come in successive cycles.)

    Parameters
    ----------
    shape : payload of both streams
    depth : beats, at least 1
    style : ``"block"`` or ``"distributed"`` memory, or ``"auto"``: the synthesiser's choice

    Members
    -------
    i, o : streams of ``shape``
    level : beats held, including the one offered at ``o``
    """

    def __init__(self, *, shape: ShapeLike, depth: int, style: str = "auto"):
        check_int("depth", depth)
        check_choice("style", style, "auto", "block", "distributed")
        Shape.cast(shape)
        self.shape, self.depth, self.style = shape, depth, style
        super().__init__(
            {
                "i": In(stream.Signature(shape)),
                "o": Out(stream.Signature(shape)),
                "level": Out(range(depth + 1)),
            }
        )

    def elaborate(self, platform):
        m = Module()
        rows = max(self.depth - 1, 2)
        m.submodules.memory = memory = Memory(shape=self.shape, depth=rows, init=[], attrs={"ram_style": self.style})
        write, read = memory.write_port(), memory.read_port()
        put, get, load = Signal(), Signal(), Signal()
        held = level(m, put, get, self.depth, name="held")
        stored = level(m, put, load, rows, name="stored")  # in the memory; one more may be at the output
        m.d.comb += [
            self.level.eq(held.value),
            self.i.ready.eq(held.room),
            put.eq(self.i.valid & self.i.ready),
            get.eq(self.o.valid & self.o.ready),
            load.eq(stored.some & (~self.o.valid | self.o.ready)),
            write.en.eq(put),
            write.data.eq(self.i.payload),
            read.en.eq(load),
            self.o.payload.eq(read.data),
        ]
        m.d.sync += self.o.valid.eq(load | (self.o.valid & ~get))
        for port, step in ((write, put), (read, load)):
            with m.If(step):
                m.d.sync += port.addr.eq(Mux(port.addr == rows - 1, 0, port.addr + 1))
        return m


class Skid(wiring.Component):
    """Cuts the path of ``ready``: ``i.ready`` comes from a register. Full rate, without latency.

    A beat that finds ``o`` stalled is kept; the next one waits until it has gone. So ``o`` depends combinationally on
    ``i``, but nothing at ``i`` on ``o``: without such a cut a stall would have to pass through every stage of the
    pipeline within one cycle.
    """

    def __init__(self, *, shape: ShapeLike):
        Shape.cast(shape)
        self.shape = shape
        super().__init__({"i": In(stream.Signature(shape)), "o": Out(stream.Signature(shape))})

    def elaborate(self, platform):
        m = Module()
        ready = Signal(init=1)  # nothing is kept
        kept = Signal(self.shape, reset_less=True)
        m.d.comb += [
            self.i.ready.eq(ready),
            self.o.valid.eq(self.i.valid | ~ready),
            self.o.payload.eq(Mux(ready, self.i.payload, kept)),
        ]
        m.d.sync += ready.eq(self.o.ready | ~self.o.valid)
        with m.If(ready):
            m.d.sync += kept.eq(self.i.payload)
        return m


class Gather(wiring.Component):
    """Makes one beat of ``lanes·ratio`` elements from ``ratio`` beats of ``lanes``; the first is the lowest.

    Out one cycle after the last beat of the group. Full rate. With ``beats``, vectors of so many begin a group each:
    the last group of a vector is shorter if ``ratio`` does not divide it, and its upper elements are undefined.
    """

    def __init__(self, *, lanes: int, ratio: int, beats: int | None = None, bits: int = 8):
        check_int("lanes", lanes)
        check_int("ratio", ratio)
        if beats is not None:
            check_int("beats", beats, ratio)
        self.lanes, self.ratio, self.beats = lanes, ratio, beats
        super().__init__({"i": In(vector_signature(lanes, bits)), "o": Out(vector_signature(lanes * ratio, bits))})

    def elaborate(self, platform):
        m = Module()
        part = Signal(range(self.ratio))
        last = part == self.ratio - 1
        put = self.i.valid & self.i.ready
        if self.beats is not None and self.beats % self.ratio:
            (beat,) = count(m, put, self.beats)
            last = last | beat.last
        parts = Signal(data.ArrayLayout(self.i.payload.shape(), self.ratio))
        m.d.comb += [self.i.ready.eq(~self.o.valid | self.o.ready), Value.cast(self.o.payload).eq(parts)]
        with m.If(self.i.ready):
            m.d.sync += self.o.valid.eq(self.i.valid & last)
            with m.If(self.i.valid):
                m.d.sync += [parts[part].eq(self.i.payload), part.eq(Mux(last, 0, part + 1))]
        return m


class Fork(wiring.Component):
    """Copies every beat of ``i`` to ``o_a`` and ``o_b``, without latency.

    Each copy is offered until it is taken, whatever the other side does; ``i`` moves on when both are. The
    outputs' ``valid`` depends on no ``ready``; ``i.ready`` depends on both.
    """

    def __init__(self, *, shape: ShapeLike):
        Shape.cast(shape)
        self.shape = shape
        signature = stream.Signature(shape)
        super().__init__({"i": In(signature), "o_a": Out(signature), "o_b": Out(signature)})

    def elaborate(self, platform):
        m = Module()
        outputs = (self.o_a, self.o_b)
        taken = [Signal(name=f"taken_{name}") for name in "ab"]  # of the beat at i, in an earlier cycle
        for o, before in zip(outputs, taken, strict=True):
            m.d.comb += [o.payload.eq(self.i.payload), o.valid.eq(self.i.valid & ~before)]
            m.d.sync += before.eq(self.i.valid & ~self.i.ready & (before | o.ready))
        m.d.comb += self.i.ready.eq((taken[0] | self.o_a.ready) & (taken[1] | self.o_b.ready))
        return m
