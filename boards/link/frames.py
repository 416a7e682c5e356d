"""Frames with a CRC-32: check received bodies, and send bodies with their checksums."""

from amaranth.hdl import Module, Mux, Signal, unsigned
from amaranth.lib import crc, data, stream, wiring
from amaranth.lib.wiring import In, Out

from psahw.gateware.stream import Queue
from psahw.host.protocol import Fault

from .cobs import DECODED_BYTE, FRAME_BYTE, CobsDecoder, CobsEncoder
from .uart import CHARACTER

__all__ = ["FrameReceiver", "FrameSender"]

CHECKSUM = 4  # bytes


def _crc():
    """Return a CRC-32 processor of IEEE 802.3 and zlib."""
    return crc.catalog.CRC32_ISO_HDLC(8).create()


class FrameReceiver(wiring.Component):
    """Decode frames and check their CRC-32.

    The body of a frame is passed on while it arrives; the verdict follows at its end. The four
    bytes of the checksum are held back, so a byte leaves in the cycle in which the fourth byte
    after it arrives. After the end of a frame, nothing is offered for one cycle, and no byte for
    four.

    Members
    -------
    i : stream of `psahw.boards.link.uart.CHARACTER`
        Encoded frames.
    o : stream of `psahw.boards.link.cobs.DECODED_BYTE`
        Bodies, with the faults ``RECEIVE``, ``FRAMING`` and ``CHECKSUM``.
    """

    def __init__(self):
        super().__init__({"i": In(stream.Signature(CHARACTER)), "o": Out(stream.Signature(DECODED_BYTE))})

    def elaborate(self, platform):
        m = Module()
        m.submodules.cobs = decoder = CobsDecoder()
        m.submodules.crc = checksum = _crc()
        wiring.connect(m, wiring.flipped(self.i), decoder.i)
        i, o = decoder.o, self.o
        held = Signal(data.ArrayLayout(unsigned(8), CHECKSUM))
        count = Signal(range(CHECKSUM + 1))
        full = count == CHECKSUM
        took = i.valid & i.ready
        verdict = Mux(full, Mux(checksum.match_detected, 0, Fault.CHECKSUM), Fault.FRAMING)
        m.d.comb += [
            o.valid.eq(i.valid & (full | i.payload.end)),
            o.payload.byte.eq(held[0]),
            o.payload.end.eq(i.payload.end),
            o.payload.fault.eq(Mux(i.payload.fault == 0, verdict, i.payload.fault)),
            i.ready.eq(o.ready | ~o.valid),
            checksum.data.eq(i.payload.byte),
            checksum.valid.eq(took & ~i.payload.end),
            checksum.start.eq(took & i.payload.end),
        ]
        with m.If(took):
            m.d.sync += [held[k].eq(x) for k, x in enumerate([held[1], held[2], held[3], i.payload.byte])]
            m.d.sync += count.eq(Mux(i.payload.end, 0, Mux(full, count, count + 1)))
        return m


class FrameSender(wiring.Component):
    """Append its CRC-32 to every body, and encode it as a frame between zero bytes.

    Members
    -------
    i : stream of `psahw.boards.link.cobs.FRAME_BYTE`
        Bodies.
    o : stream of bytes
        Encoded frames and their delimiters.
    """

    def __init__(self):
        super().__init__({"i": In(stream.Signature(FRAME_BYTE)), "o": Out(stream.Signature(8))})

    def elaborate(self, platform):
        m = Module()
        m.submodules.cobs = encoder = CobsEncoder()
        m.submodules.crc = checksum = _crc()
        # The choice between body and CRC takes a clock cycle, and so does what the encoder does with the byte.
        m.submodules.queue = queue = Queue(shape=FRAME_BYTE, depth=3, style="distributed")
        wiring.connect(m, queue.o, encoder.i)
        wiring.connect(m, encoder.o, wiring.flipped(self.o))
        i, o = self.i, queue.i
        sum_due = Signal()  # the body has been sent
        part = Signal(range(CHECKSUM))
        m.d.comb += [checksum.data.eq(i.payload.byte), checksum.valid.eq(i.valid & i.ready)]
        with m.If(sum_due):
            m.d.comb += [
                o.valid.eq(1),
                o.payload.byte.eq(checksum.crc.word_select(part, 8)),
                o.payload.last.eq(part == CHECKSUM - 1),
                checksum.start.eq(o.ready & o.payload.last),
            ]
            with m.If(o.ready):
                m.d.sync += [part.eq(part + 1), sum_due.eq(~o.payload.last)]
        with m.Else():
            m.d.comb += [o.valid.eq(i.valid), o.payload.byte.eq(i.payload.byte), i.ready.eq(o.ready)]
            m.d.sync += sum_due.eq(i.valid & i.ready & i.payload.last)
        return m
