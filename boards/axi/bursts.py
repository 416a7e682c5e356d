"""A stretch of memory as AXI bursts."""

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from psahw.gateware.check import check_int

from .interfaces import ADDRESS_BITS, BURST

__all__ = ["PAGE", "STRETCH_BITS", "Bursts", "stretch"]

PAGE = 4096  # bytes; no burst may cross such a boundary (Arm IHI 0022E, A3.4.1)
STRETCH_BITS = 48


def stretch(**more) -> data.StructLayout:
    """Byte address of a stretch of memory and its length in bytes; and what else a job has."""
    return data.StructLayout({"addr": ADDRESS_BITS, "bytes": STRETCH_BITS, **more})


class Bursts(wiring.Component):
    """Cuts stretches at multiples of ``beats`` words, so that no burst crosses a page; a burst takes two cycles.

    Addresses are those of whole words: the first word of a stretch may have bytes before it, the last one after.

    Parameters
    ----------
    data_bytes : of a word, a power of two
    beats : of the longest burst, a power of two; a burst of at most 256 words and 4,096 bytes

    Members
    -------
    i : stream of `stretch`, each of one byte at least
    o : stream of `BURST` with ``last``: the stretch ends with this burst
    """

    def __init__(self, *, data_bytes: int, beats: int):
        check_int("data_bytes", data_bytes)
        check_int("beats", beats, high=min(256, PAGE // data_bytes))
        for name, value in (("data_bytes", data_bytes), ("beats", beats)):
            if value & (value - 1):
                raise ValueError(f"{name} must be a power of two, not {value}")
        self.data_bytes, self.beats = data_bytes, beats
        burst = data.StructLayout({**{name: field.shape for name, field in BURST}, "last": 1})
        super().__init__({"i": In(stream.Signature(stretch())), "o": Out(stream.Signature(burst))})

    def elaborate(self, platform):
        m = Module()
        i, o = self.i, self.o
        shift, mask = self.data_bytes.bit_length() - 1, self.beats - 1
        word = Signal(ADDRESS_BITS - shift)
        left = Signal(STRETCH_BITS - shift + 1)  # words of the stretch
        room = Signal(range(self.beats + 1))  # words to the next multiple
        m.d.comb += [room.eq(self.beats - (word & mask)), o.payload.addr.eq(word << shift)]
        with m.FSM():
            with m.State("STRETCH"):
                m.d.comb += i.ready.eq(1)
                offset = i.payload.addr[:shift] if shift else 0
                m.d.sync += [
                    word.eq(i.payload.addr >> shift),
                    left.eq((i.payload.bytes + offset + self.data_bytes - 1) >> shift),
                ]
                with m.If(i.valid):
                    m.next = "MEASURE"
            with m.State("MEASURE"):
                m.d.sync += [
                    o.payload.last.eq(left <= room),
                    o.payload.len.eq(Mux(left <= room, left, room) - 1),
                    o.valid.eq(1),
                ]
                m.next = "OFFER"
            with m.State("OFFER"), m.If(o.ready):
                m.d.sync += [o.valid.eq(0), word.eq((word | mask) + 1), left.eq(left - room)]
                m.next = "MEASURE"
                with m.If(o.payload.last):
                    m.next = "STRETCH"
        return m
