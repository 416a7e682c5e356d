"""Benches of parts of a link to a host."""

from amaranth.asserts import AnyConst, AnySeq
from amaranth.hdl import Array, Const, Elaboratable, Fragment, Module, Mux, Signal, Value
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from psahw.boards.link import cobs
from psahw.boards.link.image_buffer import ImageBuffer
from psahw.boards.link.replier import Replier
from psahw.host.protocol import ANSWER, HEADER, SHORT_HEADER, SHORT_KINDS, Kind

from .contract import Bench
from .frames import short_blocks

__all__ = [
    "CobsBench", "CobsRoundTrip", "ImageBufferBench", "ReplierBench",
]  # fmt: skip


class _WithShortBlocks(Elaboratable):
    """A part of `psahw.boards.link.cobs`, with blocks of at most ``longest`` bytes."""

    def __init__(self, part, longest: int):
        self.part, self.longest = part, longest

    def elaborate(self, platform):
        with short_blocks(self.longest):
            return Fragment.get(self.part, platform)


class CobsRoundTrip(wiring.Component):
    """A `CobsEncoder` and the `CobsDecoder` behind it, with blocks of at most ``longest`` bytes."""

    def __init__(self, *, longest: int):
        self.longest = longest
        super().__init__({"i": In(stream.Signature(cobs.FRAME_BYTE)), "o": Out(stream.Signature(cobs.DECODED_BYTE))})

    def elaborate(self, platform):
        m = Module()
        encoder, decoder = cobs.CobsEncoder(), cobs.CobsDecoder()
        m.submodules.encoder = _WithShortBlocks(encoder, self.longest)
        m.submodules.decoder = _WithShortBlocks(decoder, self.longest)
        wiring.connect(m, wiring.flipped(self.i), encoder.i)
        m.d.comb += [
            decoder.i.valid.eq(encoder.o.valid),
            decoder.i.payload.byte.eq(encoder.o.payload),
            encoder.o.ready.eq(decoder.i.ready),
        ]
        wiring.connect(m, decoder.o, wiring.flipped(self.o))
        return m


class CobsBench(Bench):
    """Frames leave a `CobsRoundTrip` as they came, with an end behind each.

    A byte is due when its block is complete. The zero behind a block is due with the block after it, because a frame
    could end there.
    """

    component: CobsRoundTrip

    def build(self, m, internals):
        i, o, longest = self.component.i, self.component.o, self.component.longest
        self.source(m, i)
        self.sink(m, o)
        taken, leaves = Signal(), Signal()
        m.d.comb += [taken.eq(i.valid & i.ready), leaves.eq(o.valid & o.ready)]
        zero, last = i.payload.byte == 0, i.payload.last
        held, behind = (
            Signal(range(longest + 1)),
            Signal(),
        )  # bytes of the block; a zero that is due with the next block
        complete, gain = zero | last | (held == longest - 1), Signal(range(longest + 5))
        due = Signal(range(longest + 8))
        with m.If(taken & complete):
            m.d.comb += gain.eq(behind + held + Mux(last, 2, ~zero))
            m.d.sync += [held.eq(0), behind.eq(zero & ~last)]
        with m.Elif(taken):
            m.d.sync += held.eq(held + 1)
        m.d.sync += due.eq(due + gain - leaves)
        self.invariant(m, due <= longest + 3)
        self.require(m, "counts", ~o.valid | (due != 0))
        self.never_longer(m, "offers", (due != 0) & ~o.valid, 4)
        self.never_longer(m, "live", i.valid & ~o.valid, longest + 6)
        self.frames_leave(m, leaves & o.payload.end)

        flight = Signal(range(2 * longest + 8))
        m.d.sync += flight.eq(flight + Mux(taken, 1 + last, 0) - leaves)
        self.require(m, "order", flight <= 2 * longest + 5)
        chosen, done, end = Signal(), Signal(), Signal()
        ahead, byte, is_last = Signal.like(flight), Signal(8), Signal()
        with m.If(AnySeq(1) & taken & ~chosen):
            m.d.sync += [chosen.eq(1), ahead.eq(flight - leaves), byte.eq(i.payload.byte), is_last.eq(last)]
        mine = chosen & ~done & (ahead == 0)
        with m.If(leaves & chosen & ~done):
            with m.If(ahead != 0):
                m.d.sync += ahead.eq(ahead - 1)
            with m.Else():
                m.d.sync += [end.eq(1), done.eq(end | ~is_last)]
        self.require(m, "order", ~(o.valid & o.payload.end) | (o.payload.fault == 0))
        self.require(m, "order", ~(o.valid & mine) | (o.payload.end == end))
        self.require(m, "order", ~(o.valid & mine & ~end) | (o.payload.byte == byte))


class ImageBufferBench(Bench):
    """Committed images leave an `ImageBuffer` byte by byte, in their order, and as often as they must.

    The writer begins anew whenever it likes, and keeps to what the buffer's docstring demands. Images are sent once
    or twice.
    """

    component: ImageBuffer

    def build(self, m, internals):
        buffer, o = self.component, self.component.o
        size, beats = buffer.beats * buffer.bus_bytes, buffer.beats
        self.sink(m, o)
        begun, written = Signal(), Signal(range(size + 1))
        restart, put, keep, repeat = Signal(), Signal(), Signal(), Signal(range(3))
        m.d.comb += [
            restart.eq(AnySeq(1)),
            put.eq(AnySeq(1) & begun & ~restart & buffer.free & (written != size)),
            keep.eq(AnySeq(1) & begun & ~restart & ~put & buffer.free & (written == size)),
            repeat.eq(Mux(AnySeq(1), 1, 2)),
            buffer.restart.eq(restart),
            buffer.put.eq(put),
            buffer.byte.eq(AnySeq(8)),
            buffer.keep.eq(keep),
            buffer.repeat.eq(Mux(keep, repeat, AnySeq(16))),
            buffer.release.eq(AnySeq(1) & buffer.sent),
        ]
        m.d.sync += [begun.eq(restart | (begun & ~keep)), written.eq(Mux(restart, 0, written + put))]

        leaves = self.flow(m, o, o.valid & o.ready, beats)
        # A slot is free when its image has been read. Up to five beats are between the memory and the output then.
        most = 2 * buffer.slots + 1 + 5 // beats
        frames = Signal(range(most + 3))  # frames that are committed and have not left
        m.d.sync += frames.eq(frames + Mux(keep, repeat, 0) - leaves.ends)
        self.invariant(m, frames <= most + 1)
        self.require(m, "counts", ~o.valid | (frames != 0))
        self.never_longer(m, "offers", (frames != 0) & ~o.valid, 5)

        place = Signal(range(size))  # the byte that is followed
        anything = AnyConst(size.bit_length())
        m.d.comb += place.eq(Mux(anything < size, anything, 0))
        writing, chosen = Signal(), Signal()
        byte, ahead, mine = Signal(8), Signal.like(frames), Signal(range(3))
        with m.If(restart & ~chosen):
            m.d.sync += writing.eq(AnySeq(1))
        with m.If(put & writing & (written == place)):
            m.d.sync += byte.eq(buffer.byte)
        with m.If(keep & writing):
            m.d.sync += [writing.eq(0), chosen.eq(1), mine.eq(repeat), ahead.eq(frames - leaves.ends)]
        with m.If(leaves.ends & chosen):
            with m.If(ahead != 0):
                m.d.sync += ahead.eq(ahead - 1)
            with m.Elif(mine != 0):
                m.d.sync += mine.eq(mine - 1)
        beat, lane = (Array(divmod(n, buffer.bus_bytes)[field] for n in range(size))[place] for field in (0, 1))
        shown = chosen & (ahead == 0) & (mine != 0) & o.valid & (leaves.place == beat)
        self.require(m, "order", ~shown | (Value.cast(o.payload).word_select(lane, 8) == byte))


class ReplierBench(Bench):
    """The answers of a `Replier` have the form of the host protocol, and each belongs to its ticket.

    Tickets are arbitrary and kept until they are taken, and so are results. A flush resets the queues that they come
    from, which are empty in the clock cycle after it. An image is sent once or twice.
    """

    component: Replier

    def build(self, m, internals):
        replier, o, ticket = self.component, self.component.o, self.component.i.payload
        self.sink(m, o)
        flushed = Signal()
        m.d.sync += flushed.eq(replier.flush)
        for port in (replier.i, replier.result):
            payload = Value.cast(port.payload)
            waiting, kept = Signal(), Signal(len(payload))
            m.d.comb += [
                port.valid.eq(waiting | (AnySeq(1) & ~flushed)),
                payload.eq(Mux(waiting, kept, AnySeq(len(payload)))),
            ]
            m.d.sync += [waiting.eq(port.valid & ~port.ready & ~replier.flush), kept.eq(payload)]
        reset = Signal()
        m.d.comb += [replier.reset.eq(reset | AnySeq(1)), replier.sent.eq(AnySeq(1))]
        m.d.sync += reset.eq(replier.reset & ~replier.flush)

        words = {Kind.HELLO: len(replier._hello), Kind.IMAGE: 4 + replier.classes, Kind.COUNTER: 1, Kind.ERROR: 1}
        short, length = ticket.kind.matches(*SHORT_KINDS), Const(1)
        for kind in (Kind.CLEAR, Kind.RESET, Kind.OPEN):
            length = Mux(ticket.kind == kind, 0, length)
        for kind, number in words.items():
            length = Mux(ticket.kind == kind, number, length)
        header, longest = Mux(short, SHORT_HEADER, HEADER), HEADER + 4 * max(words.values())
        place, whole = Signal(range(longest + 2)), Signal()  # the byte of the body; a body has been sent
        leaves = o.valid & o.ready
        with m.If(leaves):
            m.d.sync += [place.eq(Mux(o.payload.last, 0, place + 1)), whole.eq(o.payload.last)]
        with m.If(replier.i.ready):
            m.d.sync += whole.eq(0)
        self.require(m, "counts", ~o.valid | (replier.i.valid & ~whole))
        self.require(m, "counts", ~o.valid | (o.payload.last == (place == header + (length << 2) - 1)))
        self.require(m, "counts", ~replier.i.ready | whole)
        self.require(m, "counts", ~replier.next_image | replier.result.valid)
        self.require(m, "order", ~(o.valid & (place == 0)) | (o.payload.byte == (ticket.kind | ANSWER)))
        numbered = o.valid & (place != 0) & (place < header)
        self.require(m, "order", ~numbered | (o.payload.byte == ticket.sequence.word_select((place - 1)[:2], 8)))
        error = o.valid & (ticket.kind == Kind.ERROR) & (place == HEADER)
        self.require(m, "order", ~error | (o.payload.byte == ticket.argument[:8]))
        index = replier.result.payload.class_index
        classified = o.valid & (ticket.kind == Kind.IMAGE) & (place == HEADER)
        self.require(m, "order", ~classified | (o.payload.byte == index))
        once_or_twice = (ticket.kind != Kind.IMAGE) | (ticket.argument == 1) | (ticket.argument == 2)
        ready = (
            replier.i.valid & once_or_twice & replier.result.valid & replier.sent & ~replier.reset & ~replier.flush
        )
        self.never_longer(m, "live", ready & ~o.valid, 8)
