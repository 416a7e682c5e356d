"""Consistent overhead byte stuffing (COBS): frames of arbitrary bytes, delimited by zero bytes.

Source: S. Cheshire and M. Baker, IEEE/ACM Transactions on Networking 7(2), 1999. A frame is encoded
as blocks. A block consists of a code ``n`` and ``n - 1`` bytes that are not zero; it stands for
these bytes followed by a zero byte, except that no zero byte follows if ``n`` is 255 or the frame
ends.
"""

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from psahw.host.protocol import Fault

from .uart import CHARACTER

__all__ = ["DECODED_BYTE", "FRAME_BYTE", "CobsDecoder", "CobsEncoder"]

LONGEST = 254  # bytes in the longest block, without its code

DECODED_BYTE = data.StructLayout({"byte": 8, "end": 1, "fault": 3})
"""A byte of a received frame, or the end of the frame.

If ``end`` is 0, ``byte`` is the frame's next byte. If ``end`` is 1, ``byte`` has no meaning, and
``fault`` is 0 for a good frame or the `psahw.host.protocol.Fault` that made it invalid.
"""

FRAME_BYTE = data.StructLayout({"byte": 8, "last": 1})
"""A byte of a frame to send. ``last`` marks the last byte of the frame."""


class CobsDecoder(wiring.Component):
    """Decode frames from received characters, one byte per clock cycle and without latency.

    A zero byte always ends a frame, so damage before it affects no other frame. Frames without any
    byte are ignored. A character that is marked with ``error`` invalidates its frame.

    Members
    -------
    i : stream of `psahw.boards.link.uart.CHARACTER`
        Encoded frames.
    o : stream of `DECODED_BYTE`
        Decoded frames, with the faults ``RECEIVE`` (a character had an error) and ``FRAMING`` (the
        frame ended within a block).
    """

    def __init__(self):
        super().__init__({"i": In(stream.Signature(CHARACTER)), "o": Out(stream.Signature(DECODED_BYTE))})

    def elaborate(self, platform):
        m = Module()
        i, o = self.i, self.o
        left = Signal(8)  # remaining bytes of the block
        begun, spoilt = Signal(), Signal()
        zero = Signal()  # a zero byte follows the block, unless the frame ends
        end = (i.payload.byte == 0) & ~i.payload.error
        code = left == 0
        m.d.comb += [
            o.payload.byte.eq(Mux(code, 0, i.payload.byte)),
            o.payload.end.eq(end),
            o.payload.fault.eq(Mux(spoilt, Fault.RECEIVE, Mux(left != 0, Fault.FRAMING, 0))),
            o.valid.eq(i.valid & ~i.payload.error & Mux(end, begun, ~code | zero)),
            i.ready.eq(o.ready | ~o.valid),
        ]
        with m.If(i.valid & i.ready):
            with m.If(end):
                m.d.sync += [left.eq(0), begun.eq(0), spoilt.eq(0), zero.eq(0)]
            with m.Else():
                m.d.sync += [begun.eq(1), spoilt.eq(spoilt | i.payload.error)]
                with m.If(code):
                    m.d.sync += [left.eq(i.payload.byte - 1), zero.eq(i.payload.byte != LONGEST + 1)]
                with m.Else():
                    m.d.sync += left.eq(left - 1)
        return m


class CobsEncoder(wiring.Component):
    """Encode frames, with a zero byte before and after each of them.

    The encoder stores up to one block of at most 254 bytes, until its length is known. It spends
    about two cycles per byte: one to store and one to send it.

    Members
    -------
    i : stream of `FRAME_BYTE`
        Frames to encode.
    o : stream of bytes
        Encoded frames and their delimiters.
    """

    def __init__(self):
        super().__init__({"i": In(stream.Signature(FRAME_BYTE)), "o": Out(stream.Signature(8))})

    def elaborate(self, platform):
        m = Module()
        i, o = self.i, self.o
        m.submodules.block = block = Memory(shape=8, depth=256, init=[])
        write, read = block.write_port(), block.read_port(domain="comb")
        length, sent = Signal(8), Signal(8)
        last = Signal()  # the block contains the frame's last byte
        tail = Signal()  # the frame's last byte is zero, so an empty block follows

        zero = i.payload.byte == 0
        put = i.valid & i.ready
        m.d.comb += [
            write.en.eq(put & ~zero),
            write.addr.eq(length),
            write.data.eq(i.payload.byte),
            read.addr.eq(sent),
        ]
        with m.FSM():
            with m.State("BEGIN"):
                m.d.comb += o.valid.eq(i.valid)  # the delimiter before the frame
                m.d.sync += [length.eq(0), sent.eq(0)]
                with m.If(i.valid & o.ready):
                    m.next = "GATHER"
            with m.State("GATHER"):
                m.d.comb += i.ready.eq(1)
                with m.If(i.valid):
                    m.d.sync += [length.eq(length + ~zero), last.eq(i.payload.last), tail.eq(i.payload.last & zero)]
                    with m.If(zero | i.payload.last | (length == LONGEST - 1)):
                        m.next = "CODE"
            with m.State("CODE"):
                m.d.comb += [o.valid.eq(1), o.payload.eq(length + 1)]
                with m.If(o.ready):
                    m.next = "BYTES"
            with m.State("BYTES"):
                m.d.comb += [o.valid.eq(sent != length), o.payload.eq(read.data)]
                with m.If(sent == length):
                    m.d.sync += [length.eq(0), sent.eq(0), tail.eq(0)]
                    with m.If(tail):
                        m.next = "CODE"
                    with m.Elif(last):
                        m.next = "END"
                    with m.Else():
                        m.next = "GATHER"
                with m.Elif(o.ready):
                    m.d.sync += sent.eq(sent + 1)
            with m.State("END"):
                m.d.comb += o.valid.eq(1)  # the delimiter after the frame
                with m.If(o.ready):
                    m.next = "BEGIN"
        return m
