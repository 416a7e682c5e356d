"""Bench of the dispatcher of a link.

Numbers of kinds and faults are those of ``docs/reference/host-protocol.md``.
"""

from types import SimpleNamespace

from amaranth.asserts import AnySeq
from amaranth.hdl import Cat, Mux, Signal, Value

from psahw.boards.link.dispatcher import REPEAT, Dispatcher
from psahw.host.protocol import HEADER

from .contract import Bench

__all__ = ["DispatcherBench"]

HELLO, IMAGE, COUNTER, CLEAR, RESET, OPEN, ERROR = 1, 2, 3, 4, 5, 6, 0x7F
FRAMING, LENGTH, UNKNOWN, BUSY, LOST = 2, 4, 5, 6, 7


class DispatcherBench(Bench):
    """A `Dispatcher` writes into the image buffer as the buffer demands, whatever comes.

    Bytes and ends of frames may follow each other in every clock cycle, except that nothing comes in the first one
    after an end, and no byte in the second, see `FrameReceiverBench`. A slot that was free stays free until an image
    is kept, or until the buffer is reset.

    The tickets are those that the protocol demands: numbers are compared as whole numbers of 32 bits.
    """

    component: Dispatcher

    def build(self, m, internals):
        dispatcher, size = self.component, self.component.frame_bytes
        i = dispatcher.i
        free, ended = Signal(), Signal(2)
        m.d.sync += ended.eq(Cat(i.valid & i.payload.end, ended))
        m.d.comb += [
            i.valid.eq(AnySeq(1) & ~ended[0] & (i.payload.end | ~ended[1])),
            Value.cast(i.payload).eq(AnySeq(len(Value.cast(i.payload)))),
            dispatcher.o.ready.eq(AnySeq(1)),
            dispatcher.flush.eq(AnySeq(1)),
            dispatcher.free.eq(free | AnySeq(1)),
        ]
        m.d.sync += free.eq(dispatcher.free & ~dispatcher.keep & ~dispatcher.flush)
        begun, written = Signal(), Signal(range(size + 2))
        with m.If(dispatcher.restart):
            m.d.sync += [begun.eq(1), written.eq(0)]
        with m.Elif(dispatcher.put & (written <= size)):
            m.d.sync += written.eq(written + 1)
        with m.If(dispatcher.keep):
            m.d.sync += begun.eq(0)
        longest = HEADER + REPEAT + size
        body, whole = Signal(range(longest + 2)), Signal()  # bytes of the frame; the one that ended was an image's
        with m.If(i.valid & i.payload.end):
            m.d.sync += [body.eq(0), whole.eq((body == longest) & (i.payload.fault == 0))]
        with m.Elif(i.valid & (body <= longest)):
            m.d.sync += body.eq(body + 1)
        self.require(m, "counts", ~dispatcher.keep | whole)
        self.require(m, "counts", ~dispatcher.put | (begun & dispatcher.free & (written < size)))
        mine = (i.payload.byte == dispatcher.byte) & (body == HEADER + REPEAT + written)
        self.require(m, "order", ~dispatcher.put | (i.valid & ~i.payload.end & mine))
        self.require(m, "counts", ~dispatcher.keep | (begun & ~dispatcher.restart & (written == size)))
        self.require(m, "counts", ~dispatcher.keep | (dispatcher.o.ready & dispatcher.o.valid))
        self.require(m, "counts", ~dispatcher.keep | (dispatcher.o.payload.kind == IMAGE))
        self.require(m, "counts", ~dispatcher.keep | (dispatcher.repeat != 0))
        self.require(m, "counts", ~dispatcher.keep | (dispatcher.repeat != 0))
        if {"offers", "order"} & {*self.properties}:
            self._tickets(m, internals)
            inside = internals(dispatcher)
            first = HEADER + REPEAT
            self.invariant(m, (body == inside.count) & ((body == 0) | (body > first) | (written == 0)))
            self.invariant(m, ~inside.inside | (written == body - first))

    def _tickets(self, m, internals):
        """Require that a ticket is offered two clock cycles after the end of each frame that deserves one."""
        dispatcher, o = self.component, self.component.o
        ready, flush = o.ready, dispatcher.flush
        frame = self._frame(m)
        difference, newer = Signal(32), Signal()
        latest, low = Signal(32), Signal(8)
        reset, confirm, opened, lost = (Signal(name=name) for name in ("reset", "confirm", "opened", "lost"))
        m.d.comb += [difference.eq(frame.sequence - latest), newer.eq((difference != 0) & (difference < 1 << 16))]
        resets = frame.ended & (frame.fault == 0) & ((frame.kind == RESET) | (frame.kind == OPEN))
        serve = frame.ended & ~resets & (newer | ~frame.numbered) & ~reset & ~confirm
        with m.If(resets | serve):
            m.d.sync += low.eq(frame.sequence)
            with m.If(frame.numbered):
                m.d.sync += latest.eq(frame.sequence)
        with m.If(resets):
            m.d.sync += [reset.eq(1), confirm.eq(0), opened.eq(frame.kind == OPEN)]
        with m.Elif(flush & reset):
            m.d.sync += [reset.eq(0), confirm.eq(1)]
        with m.Elif(ready & ~flush):
            m.d.sync += confirm.eq(0)
        issue, image, numbered = Signal(), Signal(), Signal()
        m.d.sync += [
            issue.eq(serve),
            image.eq(serve & (frame.kind == IMAGE) & (frame.fault == 0)),
            numbered.eq(frame.numbered),
        ]
        with m.If(flush | (ready & ~issue)):
            m.d.sync += lost.eq(0)
        with m.Elif(~ready & issue):
            m.d.sync += lost.eq(1)

        def ticket(**fields):
            return Cat(o.payload[name] == value for name, value in fields.items()).all()

        good = frame.fault == 0
        kind, argument = Mux(good, frame.kind, ERROR), Mux(good, frame.argument, frame.fault)
        same_number = Mux(numbered, o.payload.sequence == latest, o.payload.sequence[:8] == low)
        self.require(m, "offers", o.valid == Mux(confirm, ~flush, issue | lost))
        self.require(m, "order", ~confirm | ticket(kind=Mux(opened, OPEN, RESET)))
        self.require(m, "order", ~confirm | Mux(opened, o.payload.sequence == latest, o.payload.sequence[:8] == low))
        self.require(m, "order", ~issue | (ticket(kind=kind, argument=argument) & same_number))
        self.require(m, "order", confirm | issue | ticket(kind=ERROR, argument=LOST))
        self.require(m, "order", dispatcher.keep == (image & ready))
        self.require(m, "order", ~dispatcher.keep | (dispatcher.repeat == frame.argument))
        self.require(m, "order", dispatcher.reset == reset)

        inside, compare = internals(dispatcher), internals(dispatcher, "_compare")
        self._same(m, inside, frame)
        self.invariant(m, (inside.latest == latest) & (inside.low == low) & (inside.confirm == confirm))
        self.invariant(m, (inside.issue == issue) & (inside.image == image))
        self.invariant(m, internals(dispatcher, "_reset").opened == opened)
        self.invariant(m, internals(dispatcher, "_issue").lost == lost)
        self.invariant(m, ~(reset & confirm) & ~((reset | confirm) & issue) & ~(confirm & lost))
        self.invariant(m, ~(opened & (reset | confirm)) | (low == latest[:8]))
        # Of a frame that has ended, all four bytes have been compared, and of one that comes, those that have come
        # but for the last one, which is compared in the clock cycle after it.
        bytes_ = [difference.word_select(n, 8).any() for n in range(4)]
        ahead, far = Cat(bytes_[:2]).any(), Cat(bytes_[2:]).any()
        self.invariant(m, ~(frame.ended & frame.numbered) | ((compare.ahead == ahead) & (compare.far == far)))
        for come in range(1, HEADER + 1):
            done = [come - 1 - waits for waits in (0, 1)]
            now = (frame.count == come) if come < HEADER else (frame.count >= HEADER)
            for waits, compared in enumerate(done):
                here = now & (compare.compared == waits)
                if compared < 0:
                    self.invariant(m, ~here)
                    continue
                self.invariant(m, ~here | (compare.ahead == Cat(bytes_[: min(compared, 2)], 0).any()))
                self.invariant(m, ~here | (compare.far == Cat(bytes_[2:compared], 0).any()))
                if waits:
                    last = difference.word_select(compared, 8)
                    self.invariant(m, ~here | ((compare.difference == last) & (compare.upper == (compared >= 2))))
            bits = 8 * (come - 1)
            self.invariant(m, ~now | (compare.borrow == (frame.sequence[:bits] < latest[:bits])))

    def _frame(self, m):
        """Return the fields of the frame that comes, or that has ended in the last clock cycle but one at most."""
        dispatcher, size = self.component, self.component.frame_bytes
        i, longest = dispatcher.i.payload, HEADER + REPEAT + size
        count, kind, sequence, argument = Signal(range(longest + 2)), Signal(8), Signal(32), Signal(16)
        slot, ended, numbered, fault = Signal(), Signal(), Signal(), Signal(8)
        byte, end = dispatcher.i.valid & ~i.end, dispatcher.i.valid & i.end
        with m.If(byte):
            m.d.sync += count.eq(Mux(count > longest, count, count + 1))
            with m.If(count == 0):
                m.d.sync += [kind.eq(i.byte), argument.eq(0)]
            with m.If(count == 1):
                m.d.sync += slot.eq(dispatcher.free)
            for n in range(4):
                with m.If(count == 1 + n):
                    m.d.sync += sequence.word_select(n, 8).eq(i.byte)
            with m.If(count == HEADER):
                m.d.sync += argument.eq(i.byte)
            with m.If(count == HEADER + 1):
                m.d.sync += argument[8:].eq(i.byte)
        short = (kind == HELLO) | (kind == RESET)
        own = Mux(short, LENGTH, UNKNOWN)
        for known, length in {COUNTER: HEADER + 1, CLEAR: HEADER, OPEN: HEADER}.items():
            own = Mux(kind == known, Mux(count == length, 0, LENGTH), own)
        image = Mux((count != longest) | (argument == 0), LENGTH, Mux(slot, 0, BUSY))
        own = Mux(kind == IMAGE, image, own)
        own = Mux(count < HEADER, Mux(short & (count == 2), 0, FRAMING), own)
        m.d.sync += ended.eq(end)
        with m.If(end):
            m.d.sync += [count.eq(0), numbered.eq((i.fault == 0) & (count >= HEADER))]
            m.d.sync += fault.eq(Mux(i.fault != 0, i.fault, own))
        with m.If(end | dispatcher.flush):
            m.d.sync += slot.eq(0)
        return SimpleNamespace(
            count=count, kind=kind, sequence=sequence, argument=argument, slot=slot, ended=ended, numbered=numbered,
            fault=fault,
        )  # fmt: skip

    def _same(self, m, inside, frame):
        """State that the dispatcher has the same frame."""
        for name in ("count", "kind", "sequence", "argument", "slot", "ended", "fault", "numbered"):
            self.invariant(m, getattr(inside, name) == getattr(frame, name))
        first = HEADER + REPEAT
        image = (frame.count >= first) & (frame.count < first + self.component.frame_bytes) & (frame.kind == IMAGE)
        self.invariant(m, inside.inside == (frame.slot & image))
