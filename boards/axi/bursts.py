"""Divide stretches of memory into AXI bursts."""

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from psahw.gateware.check import check_int

from .interfaces import ADDRESS_BITS, BURST

__all__ = ["PAGE", "STRETCH_BITS", "Bursts", "stretch_layout"]

PAGE = 4096  # bytes; a burst must not cross a boundary of 4 KB (Arm IHI 0022E, A3.4.1)
STRETCH_BITS = 48  # bits of a stretch's length in bytes


def stretch_layout(**fields) -> data.StructLayout:
    """Return the layout of a stretch of memory.

    Its fields are the byte address ``addr``, the length ``bytes`` in bytes, and any ``fields`` that
    a job has in addition.
    """
    return data.StructLayout({"addr": ADDRESS_BITS, "bytes": STRETCH_BITS, **fields})


class Bursts(wiring.Component):
    """Cut stretches of memory at multiples of ``beats`` words, so that no burst crosses a page of 4 KB.

    A burst takes two cycles. Its address is that of a whole word: the first word of a stretch may
    begin before the stretch, and its last word may end after it.

    Parameters
    ----------
    data_bytes
        Length of a memory word in bytes, a power of two.
    beats
        Length of the longest burst in words, a power of two. A burst has at most 256 words and
        4,096 bytes.

    Raises
    ------
    TypeError
        If a parameter is not an integer.
    ValueError
        If a parameter is out of range or not a power of two.

    Members
    -------
    i : stream of `stretch_layout`
        Stretches of at least one byte.
    o : stream of `psahw.boards.axi.interfaces.BURST` and ``last``
        Bursts. ``last`` marks the last burst of a stretch.
    """

    def __init__(self, *, data_bytes: int, beats: int):
        check_int("data_bytes", data_bytes)
        check_int("beats", beats, high=min(256, PAGE // data_bytes))
        for name, value in (("data_bytes", data_bytes), ("beats", beats)):
            if value & (value - 1):
                raise ValueError(f"{name} must be a power of two, not {value}")
        self.data_bytes, self.beats = data_bytes, beats
        burst = data.StructLayout({**{name: field.shape for name, field in BURST}, "last": 1})
        super().__init__({"i": In(stream.Signature(stretch_layout())), "o": Out(stream.Signature(burst))})

    def elaborate(self, platform):
        m = Module()
        i, o = self.i, self.o
        shift, mask = self.data_bytes.bit_length() - 1, self.beats - 1
        word = Signal(ADDRESS_BITS - shift)
        left = Signal(STRETCH_BITS - shift + 1)  # remaining words of the stretch
        room = Signal(range(self.beats + 1))  # words up to the next multiple of `beats`
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
