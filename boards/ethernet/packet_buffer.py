"""Store the bytes of a datagram until its frame has been checked."""

from amaranth.hdl import Module, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from psahw.gateware.check import check_int

__all__ = ["PacketBuffer"]


class PacketBuffer(wiring.Component):
    """A ring of bytes, which are first written and then committed or discarded.

    One byte can be written and one can be read per clock cycle. A byte is offered at the earliest
    two cycles after it has been committed.

    Parameters
    ----------
    depth
        Capacity in bytes, a power of two that is at least 4.

    Raises
    ------
    TypeError
        If ``depth`` is not an integer.
    ValueError
        If ``depth`` is less than 4 or not a power of two.

    Members
    -------
    byte : In(8)
        Byte to write.
    put : In(1)
        Write ``byte``.
    keep : In(1)
        Commit all bytes since the last ``keep`` or ``forget``. Must be low in a cycle with ``put``.
    forget : In(1)
        Discard all bytes since the last ``keep`` or ``forget``. Must be low in a cycle with
        ``put``.
    o : stream of bytes
        Committed bytes.
    dropped : Out(1)
        High in a cycle with ``keep`` if a byte found no room; all bytes are then discarded instead.
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
        # One bit more than an address, to tell a full ring from an empty one.
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
