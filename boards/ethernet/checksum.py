"""The Internet checksum (RFC 1071): the one's complement sum of 16-bit words."""

from amaranth.hdl import Module, Mux, Signal, Value
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

__all__ = ["Checksum", "fold"]


def fold(total: Value) -> Value:
    """Return a sum of a few 16-bit words, with its carries added."""
    once = total[:16] + total[16:]
    return (once[:16] + once[16:])[:16]


class Checksum(wiring.Component):
    """Add bytes in one's complement, one per clock cycle, with a latency of one cycle.

    Members
    -------
    byte : In(8)
        Next byte. The first byte of a word is its upper one; if the last word has one byte, the
        other counts as zero.
    valid : In(1)
        Add ``byte``.
    start : In(1)
        Clear the sum for the next cycle.
    sum : Out(16)
        Sum of all bytes since ``start``. It is 0xFFFF if one of the words is the checksum of the
        others.
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
