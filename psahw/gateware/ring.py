"""The MAC array's input buffer: vectors that are read several times before they go."""

from amaranth.hdl import Module, Mux, Signal, signed
from amaranth.lib import data, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from .check import check_int
from .count import count, level
from .stream import vector_signature

__all__ = ["VectorRing"]


class VectorRing(wiring.Component):
    """Holds ``depth`` beats; a vector of ``steps`` beats is read ``passes`` times, and its beats are freed one by
    one as they are read for the last time.

    A beat that comes in cycle c can be read from c + 1, its room is free again in the cycle after its last
    read. ``x`` follows ``read`` by one cycle.

    Members
    -------
    i : stream of ``lanes`` int8; ``ready`` comes from registers only
    whole : a complete vector is here; stays high until its last beat has been read for the last time
    read : the next beat is read; only while ``whole`` is high
    first, last : the beat read is the first or last one of a pass
    en : enables ``x``
    x : the beat
    """

    def __init__(self, *, lanes: int, steps: int, passes: int, depth: int):
        for name, value in (("lanes", lanes), ("steps", steps), ("passes", passes)):
            check_int(name, value)
        check_int("depth", depth, steps)
        self._steps, self._passes, self._depth = steps, passes, depth
        beat = vector_signature(lanes)
        super().__init__(
            {
                "i": In(beat),
                "whole": Out(1),
                "read": In(1),
                "first": Out(1),
                "last": Out(1),
                "en": In(1),
                "x": Out(data.ArrayLayout(signed(8), lanes)),
            }
        )

    def elaborate(self, platform):
        m = Module()

        m.submodules.memory = memory = Memory(
            shape=self.x.shape(), depth=self._depth, init=[], attrs={"ram_style": "distributed"}
        )
        write, read = memory.write_port(), memory.read_port()

        put, step = self.i.valid & self.i.ready, self.read
        (i_beat,) = count(m, put, self._steps)
        o_beat, o_pass = count(m, step, self._steps, self._passes)
        beats = level(m, put, step & o_pass.last, self._depth, name="beats")
        # At most the last beat of one vector and whole ones behind it.
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
            read.en.eq(self.en),
            self.x.eq(read.data),
        ]

        return m
