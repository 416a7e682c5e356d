"""Where a datagram's bytes wait until its frame is known to be good."""

from amaranth.hdl import Module, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from psahw.gateware.check import check_int

__all__ = ["PacketBuffer"]


class PacketBuffer(wiring.Component):
    """A ring of bytes that are written on trial, and then kept or forgotten.

    A byte is offered at the earliest two cycles after it has been kept. Full rate.

    Parameters
    ----------
    depth : bytes, a power of two

    Members
    -------
    byte, put : the next byte
    keep, forget : all bytes since the last of either; not in a cycle with ``put``
    o : stream of bytes, those that were kept
    dropped : for one cycle: what was to be kept found no room, and is forgotten
    """

    def __init__(self, *, depth: int):
        check_int("depth", depth, 4)
        if depth & (depth - 1):
            raise ValueError(f"depth must be a power of two, not {depth}")
        self.depth = depth
        super().__init__(
            {
                "byte": In(8),
                "put": In(1),
                "keep": In(1),
                "forget": In(1),
                "o": Out(stream.Signature(8)),
                "dropped": Out(1),
            }
        )

    def elaborate(self, platform):
        m = Module()
        m.submodules.memory = memory = Memory(shape=8, depth=self.depth, init=[], attrs={"ram_style": "block"})
        write, read = memory.write_port(), memory.read_port()
        # One bit more than an address: full and empty differ.
        written, kept, taken = (
            Signal(range(2 * self.depth)),
            Signal(range(2 * self.depth)),
            Signal(range(2 * self.depth)),
        )
        full, lost = (written - taken)[: len(taken)] == self.depth, Signal()
        load = (kept != taken) & (~self.o.valid | self.o.ready)
        m.d.comb += [
            write.addr.eq(written),
            write.data.eq(self.byte),
            write.en.eq(self.put & ~full),
            read.addr.eq(taken),
            read.en.eq(load),
            self.o.payload.eq(read.data),
            self.dropped.eq(self.keep & lost),
        ]
        m.d.sync += [written.eq(written + write.en), taken.eq(taken + load), lost.eq(lost | (self.put & full))]
        m.d.sync += self.o.valid.eq(load | (self.o.valid & ~self.o.ready))
        with m.If(self.keep | self.forget):
            m.d.sync += lost.eq(0)
            with m.If(self.keep & ~lost):
                m.d.sync += kept.eq(written)
            with m.Else():
                m.d.sync += written.eq(kept)
        return m
