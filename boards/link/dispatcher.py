"""Dispatch requests from received frames: store an image, issue a ticket for an answer, or request a reset."""

from amaranth.hdl import Cat, Module, Mux, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from psahw.gateware.check import check_int
from psahw.host.protocol import HEADER, Fault, Kind

from .cobs import DECODED_BYTE

__all__ = ["TICKET", "Dispatcher"]

REPEAT = 2  # bytes of an image's repetition count

TICKET = data.StructLayout({"kind": 8, "sequence": 8, "argument": 16})
"""An answer that is to be sent in its turn.

``kind`` is a `psahw.host.protocol.Kind`, and ``sequence`` is the request's sequence number.
``argument`` depends on the kind: the repetitions of an image, the address of a counter, or the
`psahw.host.protocol.Fault` of an error.
"""


class Dispatcher(wiring.Component):
    """Read the bodies of frames, and act on a request once its frame has ended without a fault.

    The bytes of an image are written into the buffer while they arrive; the image is committed when
    its frame has ended well. The dispatcher never waits. It answers a request that finds no room
    with an error ticket. If there is no room for this ticket either, one ``LOST`` error follows
    when there is.

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
        Bodies from `psahw.boards.link.frames.FrameReceiver`; always ready.
    o : stream of `TICKET`
        Tickets. A ticket that is not taken in the cycle in which it is offered is lost.
    byte, put, restart, free, keep, repeat
        Connect to the ports of the same names of `psahw.boards.link.image_buffer.ImageBuffer`.
    flush : In(1)
        The accelerator and the buffer are being reset. The image that is being received is
        discarded.
    reset : Out(1)
        High from a reset request until ``flush``.
    reset_sequence : Out(8)
        Sequence number of the reset request.
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
                "reset_sequence": Out(8),
            }
        )

    def elaborate(self, platform):
        m = Module()
        i = self.i.payload
        image_length = HEADER + REPEAT + self.frame_bytes
        kind, sequence, argument = Signal(8), Signal(8), Signal(16)
        count = Signal(range(image_length + 2))  # bytes of the body so far; stops one byte beyond the longest body
        slot = Signal()  # the buffer has a free slot for the image
        ended, fault = Signal(), Signal(8)
        lost = Signal()

        with m.If(self.i.valid & ~i.end):
            m.d.sync += count.eq(Mux(count > image_length, count, count + 1))
            with m.Switch(count):
                with m.Case(0):
                    m.d.sync += [kind.eq(i.byte), sequence.eq(0), argument.eq(0)]
                with m.Case(1):
                    m.d.sync += [sequence.eq(i.byte), slot.eq(self.free)]
                with m.Case(2):
                    m.d.sync += argument.eq(i.byte)
                with m.Case(3):
                    m.d.sync += argument.eq(Cat(argument[:8], i.byte))
        inside = (count >= HEADER + REPEAT) & (count < image_length)
        m.d.comb += [
            self.byte.eq(i.byte),
            self.restart.eq(self.i.valid & (count == 0)),
            self.put.eq(self.i.valid & ~i.end & slot & (kind == Kind.IMAGE) & inside),
        ]

        m.d.sync += ended.eq(self.i.valid & i.end)
        with m.If(self.i.valid & i.end):
            m.d.sync += [count.eq(0), slot.eq(0), fault.eq(i.fault)]
            with m.If(i.fault == 0):
                m.d.sync += fault.eq(self._fault(kind, count, argument, slot))
            with m.Else():
                m.d.sync += sequence.eq(0)
        with m.If(self.flush):
            m.d.sync += [slot.eq(0), self.reset.eq(0)]

        self._issue(m, ended, kind, sequence, argument, fault, lost)
        return m

    def _fault(self, kind, count, argument, slot):
        """Return the fault of a request in a good frame, or zero if the request can be served."""
        image = HEADER + REPEAT + self.frame_bytes
        lengths = {Kind.HELLO: HEADER, Kind.IMAGE: image, Kind.COUNTER: HEADER + 1, Kind.CLEAR: HEADER}
        lengths[Kind.RESET] = HEADER
        fault = Fault.UNKNOWN
        for known, length in lengths.items():
            refused, wrong = 0, count != length
            if known == Kind.IMAGE:
                refused, wrong = Mux(slot, 0, Fault.BUSY), wrong | (argument == 0)
            fault = Mux(kind == known, Mux(wrong, Fault.LENGTH, refused), fault)
        return fault

    def _issue(self, m, ended, kind, sequence, argument, fault, lost):
        """Issue the ticket for a body that has ended."""
        o = self.o
        reset = (kind == Kind.RESET) & (fault == 0)
        m.d.comb += self.repeat.eq(argument)
        with m.If(ended):
            m.d.sync += [kind.eq(0), sequence.eq(0)]  # so that a body without a header does not inherit them
            m.d.comb += [
                o.valid.eq(~reset),
                o.payload.kind.eq(Mux(fault == 0, kind, Kind.ERROR)),
                o.payload.sequence.eq(sequence),
                o.payload.argument.eq(Mux(fault == 0, argument, fault)),
                self.keep.eq(o.ready & (kind == Kind.IMAGE) & (fault == 0)),
            ]
            with m.If(reset):
                m.d.sync += [self.reset.eq(1), self.reset_sequence.eq(sequence)]
            with m.Elif(~o.ready):
                m.d.sync += lost.eq(1)
        with m.Else():
            m.d.comb += [o.valid.eq(lost), o.payload.kind.eq(Kind.ERROR), o.payload.argument.eq(Fault.LOST)]
            with m.If(o.ready):
                m.d.sync += lost.eq(0)
