"""Dispatch requests from received frames: store an image, issue a ticket for an answer, or request a reset."""

from amaranth.hdl import Cat, Module, Mux, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from psahw.gateware.check import check_int
from psahw.host.protocol import AHEAD_BYTES, HEADER, SEQUENCE_BYTES, SHORT_HEADER, SHORT_KINDS, Fault, Kind

from .cobs import DECODED_BYTE

__all__ = ["TICKET", "Dispatcher"]

REPEAT = 2  # bytes of an image's repetition count

TICKET = data.StructLayout({"kind": 8, "sequence": 8 * SEQUENCE_BYTES, "argument": 16})
"""An answer that is to be sent in its turn.

``kind`` is a `psahw.host.protocol.Kind`, and ``sequence`` is the request's sequence number. Only the
lowest byte counts for a hello and a reset, and none for an error that names no request.
``argument`` depends on the kind: the repetitions of an image, the address of a counter, or the
`psahw.host.protocol.Fault` of an error.
"""


class Dispatcher(wiring.Component):
    """Read the bodies of frames, and act on a request once its frame has ended without a fault.

    The bytes of an image are written into the buffer while they arrive; the image is committed when
    its frame has ended well. The dispatcher never waits. It answers a request that finds no room
    with an error ticket. If there is no room for this ticket either, one ``LOST`` error follows
    when there is.

    A request is served only if its sequence number exceeds that of the latest request by 1 to
    `psahw.host.protocol.MAX_AHEAD`, modulo 2^32, so that duplicates and late requests have no
    effect. The numbers are compared byte by byte while they arrive.

    Parameters
    ----------
    frame_bytes
        Length of an image in bytes.

    Raises
    ------
    TypeError
        If ``frame_bytes`` is not an integer.
    ValueError
        If ``frame_bytes`` is less than 1.

    Members
    -------
    i : stream of `psahw.boards.link.cobs.DECODED_BYTE`
        Bodies from `psahw.boards.link.frames.FrameReceiver`; always ready. Nothing may come in the cycle after the
        end of a frame, and no byte in the one after that.
    o : stream of `TICKET`
        Tickets. A ticket that is not taken in the cycle in which it is offered is lost, except that
        of a reset.
    byte, put, restart, free, keep, repeat
        Connect to the ports of the same names of `psahw.boards.link.image_buffer.ImageBuffer`.
    flush : In(1)
        The accelerator, the buffer and the queue of tickets are being reset. The image that is
        being received is discarded.
    reset : Out(1)
        High from the request of a reset until ``flush``. The ticket for its answer is offered after
        ``flush``; requests that arrive before it are ignored.
    """

    def __init__(self, *, frame_bytes: int):
        check_int("frame_bytes", frame_bytes)
        self.frame_bytes = frame_bytes
        super().__init__(
            {
                "i": In(stream.Signature(DECODED_BYTE, always_ready=True)),
                "o": Out(stream.Signature(TICKET)),
                "byte": Out(8),
                "put": Out(1),
                "restart": Out(1),
                "free": In(1),
                "keep": Out(1),
                "repeat": Out(16),
                "flush": In(1),
                "reset": Out(1),
            }
        )

    def elaborate(self, platform):
        m = Module()
        i = self.i.payload
        image_length = HEADER + REPEAT + self.frame_bytes
        kind, sequence, argument = Signal(8), Signal(8 * SEQUENCE_BYTES), Signal(16)
        count = Signal(range(image_length + 2))  # bytes of the body so far; stops one byte beyond the longest body
        slot = Signal()  # the buffer has a free slot for the image
        inside = Signal()  # the next byte is one of an image, for which there is a slot
        ended, whole, received, own = Signal(), Signal(), Signal(3), Signal(3)

        with m.If(self.i.valid & ~i.end):
            m.d.sync += count.eq(Mux(count > image_length, count, count + 1))
            with m.Switch(count):
                with m.Case(0):
                    m.d.sync += [kind.eq(i.byte), argument.eq(0)]
                with m.Case(1):
                    m.d.sync += slot.eq(self.free)
                with m.Case(HEADER):
                    m.d.sync += argument.eq(i.byte)
                with m.Case(HEADER + 1):
                    m.d.sync += [argument.eq(Cat(argument[:8], i.byte)), inside.eq(slot & (kind == Kind.IMAGE))]
                with m.Case(image_length - 1):
                    m.d.sync += inside.eq(0)
        m.d.comb += [
            self.byte.eq(i.byte),
            self.restart.eq(self.i.valid & ~i.end & (count == 0)),
            self.put.eq(self.i.valid & ~i.end & inside),
            self.repeat.eq(argument),
        ]

        m.d.sync += ended.eq(self.i.valid & i.end)
        with m.If(self.i.valid & i.end):
            m.d.sync += [count.eq(0), slot.eq(0), inside.eq(0), whole.eq(count >= HEADER)]
            m.d.sync += [received.eq(i.fault), own.eq(self._fault(kind, count, argument, slot))]
        with m.If(self.flush):
            m.d.sync += [slot.eq(0), inside.eq(0)]
        fault, numbered = Mux(received == 0, own, received), (received == 0) & whole

        latest = Signal.like(sequence)
        newer = self._compare(m, count, sequence, latest)
        resets = ended & (fault == 0) & ((kind == Kind.RESET) | (kind == Kind.OPEN))
        confirm, confirmed_kind = self._reset(m, resets, kind)
        serve, issue, image, low = Signal(), Signal(), Signal(), Signal(8)
        m.d.comb += serve.eq(ended & ~resets & (newer | ~numbered) & ~self.reset & ~confirm)
        m.d.sync += [issue.eq(serve), image.eq(serve & (kind == Kind.IMAGE) & (fault == 0))]
        with m.If(resets | serve):
            m.d.sync += low.eq(sequence)
            with m.If(numbered):
                m.d.sync += latest.eq(sequence)
        m.d.comb += [self.o.payload.sequence.eq(Cat(low, latest[8:])), self.keep.eq(image & self.o.ready)]
        with m.If(confirm):
            m.d.comb += [self.o.valid.eq(~self.flush), self.o.payload.kind.eq(confirmed_kind)]
        with m.Else():
            self._issue(m, issue, kind, argument, fault)
        return m

    def _compare(self, m, count, sequence, latest):
        """Store the sequence number while it arrives, and return whether it follows ``latest``.

        The bytes of the difference are computed from the lowest to the highest. Those above
        `AHEAD_BYTES` must be zero, and the others must not.
        """
        i = self.i.payload
        place, old = Signal(range(SEQUENCE_BYTES)), Signal(8)
        arrives, compared, upper = Signal(), Signal(), Signal()
        difference, borrow = Signal(8), Signal()
        ahead, far = Signal(), Signal()
        m.d.comb += [
            place.eq(count - 1),
            old.eq(latest.word_select(place, 8)),
            arrives.eq(self.i.valid & ~i.end & (count >= 1) & (count < HEADER)),
        ]
        m.d.sync += [compared.eq(arrives), upper.eq(place >= AHEAD_BYTES)]
        with m.If(arrives):
            m.d.sync += [sequence.word_select(place, 8).eq(i.byte), Cat(difference, borrow).eq(i.byte - old - borrow)]
        with m.If(compared):  # in the next cycle, to shorten the path from the received byte
            m.d.sync += [ahead.eq(ahead | (~upper & difference.any())), far.eq(far | (upper & difference.any()))]
        with m.If(self.i.valid & (count == 0)):
            m.d.sync += [borrow.eq(0), ahead.eq(0), far.eq(0)]
        return ahead & ~far

    def _fault(self, kind, count, argument, slot):
        """Return the fault of a request in a good frame, or zero if the request can be served."""
        image = HEADER + REPEAT + self.frame_bytes
        lengths = {Kind.IMAGE: image, Kind.COUNTER: HEADER + 1, Kind.CLEAR: HEADER, Kind.OPEN: HEADER}
        fault = Mux(kind.matches(*SHORT_KINDS), Fault.LENGTH, Fault.UNKNOWN)
        for known, length in lengths.items():
            refused, wrong = 0, count != length
            if known == Kind.IMAGE:
                refused, wrong = Mux(slot, 0, Fault.BUSY), wrong | (argument == 0)
            fault = Mux(kind == known, Mux(wrong, Fault.LENGTH, refused), fault)
        short = kind.matches(*SHORT_KINDS) & (count == SHORT_HEADER)
        return Mux(count < HEADER, Mux(short, 0, Fault.FRAMING), fault)

    def _reset(self, m, resets, kind):
        """Request a reset, and remember its kind until it has been carried out.

        Returns
        -------
        confirm
            Signal that is high while the ticket for the answer must be offered.
        kind
            Expression for the kind of the request.
        """
        confirm, opened = Signal(), Signal()
        with m.If(resets):
            m.d.sync += [self.reset.eq(1), confirm.eq(0), opened.eq(kind == Kind.OPEN)]
        with m.Elif(self.flush & self.reset):
            m.d.sync += [self.reset.eq(0), confirm.eq(1)]
        with m.Elif(self.o.ready & ~self.flush):
            m.d.sync += confirm.eq(0)
        return confirm, Mux(opened, Kind.OPEN, Kind.RESET)

    def _issue(self, m, issue, kind, argument, fault):
        """Issue the ticket for a request, or the report that tickets were lost."""
        o = self.o
        lost = Signal()
        with m.If(issue):
            m.d.comb += [
                o.valid.eq(1),
                o.payload.kind.eq(Mux(fault == 0, kind, Kind.ERROR)),
                o.payload.argument.eq(Mux(fault == 0, argument, fault)),
            ]
            with m.If(~o.ready):
                m.d.sync += lost.eq(1)
        with m.Else():
            m.d.comb += [o.valid.eq(lost), o.payload.kind.eq(Kind.ERROR), o.payload.argument.eq(Fault.LOST)]
            with m.If(o.ready):
                m.d.sync += lost.eq(0)
        with m.If(self.flush):
            m.d.sync += lost.eq(0)
