"""Streams of vectors: their signature, their connection, and components that store, widen or copy them."""

from amaranth.hdl import Module, Mux, Shape, ShapeLike, Signal, Value
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from ..architecture.codes import INT8, Codes
from .check import check_choice, check_int
from .count import count, level
from .ram import ram

__all__ = ["Fork", "Gather", "Queue", "Skid", "connect", "vector_signature"]


def vector_signature(lanes: int, codes: Codes = INT8) -> stream.Signature:
    """Return the signature of a stream of ``lanes`` codes of a type, the lowest index in lane 0."""
    return stream.Signature(data.ArrayLayout(Shape(codes.bits, codes.signed), lanes))


def connect(m: Module, source, sink):
    """Connect two streams whose payloads have the same shape; raise TypeError otherwise.

    Amaranth 0.5's ``wiring.connect`` accepts any two layouts of equal width. Pass the port of the component that is
    being elaborated flipped: ``connect(m, wiring.flipped(self.i), inner.i)``.
    """
    if source.payload.shape() != sink.payload.shape():
        raise TypeError(
            f"source and sink must have the same payload shape, not {source.payload.shape()!r} "
            f"and {sink.payload.shape()!r}"
        )
    wiring.connect(m, source, sink)


class Queue(wiring.Component):
    """A first-in, first-out buffer that holds exactly ``depth`` beats.

    Latency: two clock cycles, one into the memory and one into the output register, which counts towards the depth.
    Throughput: one beat per clock cycle from a depth of 3 on. Backpressure: ``i.ready`` is a register that is equal
    to ``level != depth``, so that a beat that comes and one that leaves in the same clock cycle both need a place
    (`psahw.architecture.timing.fifo_depth`).

    ``lib.fifo.SyncFIFOBuffered`` has the same timing, but it leaves the kind of memory to the synthesiser, is faster
    at a depth of 1, and at a depth of 2 does not hold two beats that come in successive clock cycles.

    Parameters
    ----------
    shape : ShapeLike
        Payload of both streams.
    depth : int
        Beats that the queue holds, at least 1.
    style : str
        ``"block"`` or ``"distributed"`` memory, or ``"auto"`` to leave it to the synthesiser.

    Raises
    ------
    TypeError
        If ``shape`` is not a shape, or ``depth`` is not an integer.
    ValueError
        If ``depth`` is less than 1, or the style is unknown.

    Members
    -------
    i, o : In(stream of ``shape``), Out(stream of ``shape``)
        Beats in and out.
    level : Out(range(depth + 1))
        Beats held, including the one that is offered at ``o``.
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
        # No word is read while it is written: the memory is full only if a beat waits at the output, too.
        m.submodules.memory = memory = ram(shape=self.shape, depth=rows, style=self.style)
        write, read = memory.write_port(), memory.read_port()
        put, get, load = Signal(), Signal(), Signal()
        held = level(m, put, get, self.depth, name="held")
        stored = level(m, put, load, rows, name="stored")  # beats in the memory; one more may be at the output
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
    """A skid buffer, which cuts the path of ``ready``.

    A beat that finds ``o`` stalled is kept, and the next one waits until it has gone. ``o`` depends combinationally
    on ``i``, but nothing at ``i`` depends combinationally on ``o``. Without such cuts, a stall would have to pass
    through every stage of the pipeline within one clock cycle.

    Latency: none. Throughput: one beat per clock cycle. Backpressure: ``i.ready`` comes from a register.

    Parameters
    ----------
    shape : ShapeLike
        Payload of both streams.

    Raises
    ------
    TypeError
        If ``shape`` is not a shape.

    Members
    -------
    i, o : In(stream of ``shape``), Out(stream of ``shape``)
        Beats in and out.
    """

    def __init__(self, *, shape: ShapeLike):
        Shape.cast(shape)
        self.shape = shape
        super().__init__({"i": In(stream.Signature(shape)), "o": Out(stream.Signature(shape))})

    def elaborate(self, platform):
        m = Module()
        ready = Signal(init=1)  # high while no beat is kept
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
    """Makes one beat of ``lanes·ratio`` elements from each group of ``ratio`` beats of ``lanes``.

    The first beat of a group becomes the lowest lanes. With ``beats``, each vector of that many beats begins with a
    new group; its last group is shorter if ``ratio`` does not divide ``beats``, and has undefined upper lanes.

    Latency: one clock cycle from the last beat of a group. Throughput: one input beat per clock cycle.

    Parameters
    ----------
    lanes : int
        Elements of an input beat.
    ratio : int
        Input beats per output beat.
    beats : int or None
        Input beats per vector, at least ``ratio``; None if ``ratio`` divides them.
    codes : Codes
        Type of an element.

    Raises
    ------
    TypeError
        If a number is not an integer.
    ValueError
        If a parameter is too small.

    Members
    -------
    i : In(stream of ``lanes`` elements)
        Narrow beats.
    o : Out(stream of ``lanes·ratio`` elements)
        Wide beats.
    """

    def __init__(self, *, lanes: int, ratio: int, beats: int | None = None, codes: Codes = INT8):
        check_int("lanes", lanes)
        check_int("ratio", ratio)
        if beats is not None:
            check_int("beats", beats, ratio)
        self.lanes, self.ratio, self.beats = lanes, ratio, beats
        super().__init__({"i": In(vector_signature(lanes, codes)), "o": Out(vector_signature(lanes * ratio, codes))})

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
    """Copies every beat of ``i`` to ``o_a`` and ``o_b``.

    Each copy is offered until it is taken, whatever the other consumer does; ``i`` moves on when both are taken.

    Latency: none. Throughput: one beat per clock cycle. Backpressure: ``i.ready`` depends combinationally on both
    outputs' ``ready``; no ``valid`` depends on a ``ready``.

    Parameters
    ----------
    shape : ShapeLike
        Payload of all streams.

    Raises
    ------
    TypeError
        If ``shape`` is not a shape.

    Members
    -------
    i : In(stream of ``shape``)
        Beats to copy.
    o_a, o_b : Out(stream of ``shape``)
        The copies.
    """

    def __init__(self, *, shape: ShapeLike):
        Shape.cast(shape)
        self.shape = shape
        signature = stream.Signature(shape)
        super().__init__({"i": In(signature), "o_a": Out(signature), "o_b": Out(signature)})

    def elaborate(self, platform):
        m = Module()
        outputs = (self.o_a, self.o_b)
        taken = [Signal(name=f"taken_{name}") for name in "ab"]  # in an earlier clock cycle, of the beat at i
        for o, before in zip(outputs, taken, strict=True):
            m.d.comb += [o.payload.eq(self.i.payload), o.valid.eq(self.i.valid & ~before)]
            m.d.sync += before.eq(self.i.valid & ~self.i.ready & (before | o.ready))
        m.d.comb += self.i.ready.eq((taken[0] | self.o_a.ready) & (taken[1] | self.o_b.ready))
        return m
