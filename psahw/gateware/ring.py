"""The input buffer of a MAC array, from which vectors are read several times before they are freed."""

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from ..architecture.codes import INT8, Codes
from .check import check_int
from .count import count, level
from .ram import ram
from .stream import vector_signature

__all__ = ["VectorRing"]


class VectorRing(wiring.Component):
    """Holds vectors of ``steps`` beats, each of which is read ``passes`` times.

    The beats of a vector are freed one by one as they are read for the last time.

    Latency: a beat that comes in clock cycle c can be read from c + 1 on, and ``x`` follows ``read`` by one clock
    cycle. The place of a beat is free in the clock cycle after its last read. Throughput: one write and one read per
    clock cycle.

    Parameters
    ----------
    lanes : int
        Elements of a beat.
    steps : int
        Beats of a vector.
    passes : int
        How often a vector is read.
    depth : int
        Beats that the ring holds, at least ``steps``.
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
    i : In(stream of ``lanes`` codes)
        ``ready`` comes from registers only.
    whole : Out(1)
        A complete vector is in the ring; stays high until its last beat has been read for the last time.
    read : In(1)
        Read the next beat; allowed only while ``whole`` is high.
    first, last : Out(1)
        The beat being read is the first or the last one of a pass.
    x : Out(ArrayLayout(codes, lanes))
        The beat that was read.
    """

    def __init__(self, *, lanes: int, steps: int, passes: int, depth: int, codes: Codes = INT8):
        for name, value in (("lanes", lanes), ("steps", steps), ("passes", passes)):
            check_int(name, value)
        check_int("depth", depth, steps)
        self._steps, self._passes, self._depth = steps, passes, depth
        beat = vector_signature(lanes, codes)
        super().__init__(
            {
                "i": In(beat),
                "whole": Out(1),
                "read": In(1),
                "first": Out(1),
                "last": Out(1),
                "x": Out(beat.members["payload"].shape),
            }
        )

    def elaborate(self, platform):
        m = Module()

        # A step reads what was written before, and frees its place for a later clock cycle.
        m.submodules.memory = memory = ram(shape=self.x.shape(), depth=self._depth, style="distributed")
        write, read = memory.write_port(), memory.read_port()

        put, step = self.i.valid & self.i.ready, self.read
        (i_beat,) = count(m, put, self._steps)
        o_beat, o_pass = count(m, step, self._steps, self._passes)
        beats = level(m, put, step & o_pass.last, self._depth, name="beats")
        # The ring holds at most the last beat of one vector, and complete vectors behind it.
        vectors = level(m, i_beat.wrap, o_pass.wrap, (self._depth - 1) // self._steps + 1, name="vectors")
        m.d.comb += [
            self.i.ready.eq(beats.room),
            self.whole.eq(vectors.some),
            self.first.eq(o_beat.value == 0),
            self.last.eq(o_beat.last),
        ]

        (slot,) = count(m, put, self._depth)
        start, here = Signal.like(read.addr), Signal.like(read.addr)
        after = Mux(here == self._depth - 1, 0, here + 1)
        with m.If(step):
            m.d.sync += here.eq(Mux(o_beat.last & ~o_pass.last, start, after))
            with m.If(o_pass.wrap):
                m.d.sync += start.eq(after)
        m.d.comb += [
            write.addr.eq(slot.value),
            write.data.eq(self.i.payload),
            write.en.eq(put),
            read.addr.eq(here),
            self.x.eq(read.data),
        ]

        return m
