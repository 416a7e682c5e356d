"""Benches of parts of the Ethernet link."""

from amaranth.asserts import AnySeq
from amaranth.hdl import Cat, Mux, Signal, Value

from psahw.boards.ethernet.arbiter import FrameArbiter
from psahw.boards.ethernet.packet_buffer import PacketBuffer

from .contract import Bench

__all__ = ["FrameArbiterBench", "PacketBufferBench"]


class FrameArbiterBench(Bench):
    """Beats pass a `FrameArbiter` from one source at a time, which does not change within a frame."""

    component: FrameArbiter

    def build(self, m, internals):
        sources, o = self.component.i, self.component.o
        for source in sources:
            self.source(m, source)
        self.sink(m, o)
        moved, taken = o.valid & o.ready, Cat(source.valid & source.ready for source in sources)
        owner, inside = Signal(len(taken)), Signal()
        with m.If(moved):
            m.d.sync += [owner.eq(taken), inside.eq(~o.payload.last)]
        self.require(m, "counts", moved == taken.any())
        self.require(m, "counts", (taken & (taken - 1)[: len(taken)]) == 0)
        self.require(m, "order", ~(moved & inside) | (taken == owner))
        for n, source in enumerate(sources):
            same = Value.cast(o.payload) == Value.cast(source.payload)
            self.require(m, "order", ~(moved & taken[n]) | same)
        everything = Cat(source.valid for source in sources).all()
        self.never_longer(m, "live", everything & ~o.valid, 1)


class PacketBufferBench(Bench):
    """Committed bytes leave a `PacketBuffer` in their order, and discarded ones do not.

    The writer keeps to what the buffer's docstring demands.
    """

    component: PacketBuffer

    def build(self, m, internals):
        buffer, o, depth = self.component, self.component.o, self.component.depth
        self.sink(m, o)
        what = AnySeq(2)
        m.d.comb += [
            buffer.put.eq(what == 1),
            buffer.keep.eq(what == 2),
            buffer.forget.eq(what == 3),
            buffer.byte.eq(AnySeq(8)),
        ]
        # Bytes that are committed and have not left, and those that are written and not committed. A byte that is
        # offered has left the ring.
        waiting, written, lost = Signal(range(2 * depth)), Signal(range(2 * depth)), Signal()
        leaves, kept = o.valid & o.ready, Signal()
        m.d.comb += kept.eq(buffer.keep & ~buffer.dropped)
        m.d.sync += waiting.eq(waiting - leaves + Mux(kept, written, 0))
        full = waiting - o.valid + written >= depth
        with m.If(buffer.keep | buffer.forget):
            m.d.sync += [written.eq(0), lost.eq(0)]
        with m.Elif(buffer.put & full):
            m.d.sync += lost.eq(1)
        with m.Elif(buffer.put):
            m.d.sync += written.eq(written + 1)
        inside = internals(buffer)
        self.invariant(m, written == (inside.written - inside.kept)[: len(written)])
        self.invariant(m, waiting == (inside.kept - inside.taken)[: len(waiting)] + o.valid)
        self.invariant(m, waiting + written <= depth + o.valid)
        self.invariant(m, lost == inside.lost)
        self.require(m, "counts", buffer.dropped == (buffer.keep & lost))
        self.require(m, "counts", ~o.valid | (waiting != 0))
        self.never_longer(m, "offers", (waiting != 0) & ~o.valid, 1)
        self.frames_leave(m, leaves)

        chosen, committed, done = Signal(), Signal(), Signal()
        ahead, byte = Signal.like(waiting), Signal(8)
        with m.If(AnySeq(1) & buffer.put & ~full & ~lost & ~chosen & ~done):
            m.d.sync += [chosen.eq(1), ahead.eq(written), byte.eq(buffer.byte)]
        with m.If(chosen & ~committed & (kept | buffer.keep | buffer.forget)):
            m.d.sync += [committed.eq(kept), chosen.eq(kept), ahead.eq(waiting - leaves + ahead)]
        with m.If(committed & leaves & ~done):
            m.d.sync += [ahead.eq(ahead - 1), done.eq(ahead == 0)]
        self.require(m, "order", ~(committed & ~done & (ahead == 0) & o.valid) | (o.payload == byte))
