"""The Internet checksum (RFC 1071): 16-bit words added in one's complement."""

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

__all__ = ["Checksum", "fold"]


def fold(total):
    """A sum of few 16-bit words, with the carries added in."""
    once = total[:16] + total[16:]
    return (once[:16] + once[16:])[:16]


class Checksum(wiring.Component):
    """Adds a byte a cycle; the sum holds it in the next.

    Members
    -------
    byte, valid : the next byte, the upper one of a word first; a last word's missing byte counts as zero
    start : begin anew with the next cycle
    sum : of all bytes since the start. 0xFFFF if one of the words was the others' checksum.
    """

    def __init__(self):
        super().__init__({"byte": In(8), "valid": In(1), "start": In(1), "sum": Out(16)})

    def elaborate(self, platform):
        m = Module()
        lower = Signal()
        total = Signal(17)
        m.d.comb += total.eq(self.sum + Mux(lower, self.byte, self.byte << 8))
        with m.If(self.valid):
            m.d.sync += [self.sum.eq(total[:16] + total[16]), lower.eq(~lower)]
        with m.If(self.start):
            m.d.sync += [self.sum.eq(0), lower.eq(0)]
        return m
