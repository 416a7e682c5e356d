"""Consistent overhead byte stuffing: frames of any bytes on a stream in which a zero byte ends a frame.

S. Cheshire and M. Baker, IEEE/ACM Transactions on Networking 7(2), 1999. A block is a code ``n`` and ``n - 1`` bytes
that are not zero; a zero follows them unless n = 255 or the frame ends.
"""

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from psahw.host.protocol import Fault

from .uart import RECEIVED

__all__ = ["LAST", "UNSTUFFED", "CobsDecoder", "CobsEncoder"]

LONGEST = 254  # bytes of a block, without its code

UNSTUFFED = data.StructLayout({"byte": 8, "end": 1, "fault": 3})
"""A byte of a frame, or its end, which has no byte: then ``fault`` is zero or why the frame is not good."""

LAST = data.StructLayout({"byte": 8, "last": 1})
"""A byte of a frame to send; ``last``: its last one."""


class CobsDecoder(wiring.Component):
    """Frames out of received characters, byte by byte, without latency.

    A zero byte always ends a frame, so that whatever came before it costs no other frame; frames without any byte are
    passed over. A character marked as malformed, or behind a lost one, spoils its frame.

    Members
    -------
    i : stream of `psahw.boards.link.uart.RECEIVED`
    o : stream of `UNSTUFFED`, faults ``RECEIVE`` and ``FRAMING``
    """

    def __init__(self):
        super().__init__({"i": In(stream.Signature(RECEIVED)), "o": Out(stream.Signature(UNSTUFFED))})

    def elaborate(self, platform):
        m = Module()
        i, o = self.i, self.o
        left = Signal(8)  # bytes of the block that are still to come
        begun, spoilt = Signal(), Signal()
        zero = Signal()  # one follows the block, unless the frame ends
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
    """Bytes to send out of frames: a zero byte before and after each, the rest without zeros.

    Holds a block, at most 254 bytes, until its length is known.

    Members
    -------
    i : stream of `LAST`
    o : stream of bytes
    """

    def __init__(self):
        super().__init__({"i": In(stream.Signature(LAST)), "o": Out(stream.Signature(8))})

    def elaborate(self, platform):
        m = Module()
        i, o = self.i, self.o
        m.submodules.block = block = Memory(shape=8, depth=256, init=[])
        write, read = block.write_port(), block.read_port(domain="comb")
        length, sent = Signal(8), Signal(8)
        last = Signal()  # the frame's last byte is in the block
        tail = Signal()  # and it is a zero: an empty block follows

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
                m.d.comb += o.valid.eq(i.valid)  # a zero
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
                m.d.comb += o.valid.eq(1)  # a zero
                with m.If(o.ready):
                    m.next = "BEGIN"
        return m
