"""Several sources of frames, one sink."""

from amaranth.hdl import Array, Module, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from psahw.gateware.check import check_int

from ..link.cobs import LAST

__all__ = ["FrameArbiter"]


class FrameArbiter(wiring.Component):
    """Passes whole frames on; of sources that offer one in the same cycle the first wins.

    One cycle between frames, none within them.

    Members
    -------
    i : streams of `psahw.boards.link.cobs.LAST`, so many
    o : one
    """

    def __init__(self, sources: int):
        check_int("sources", sources)
        self.sources = sources
        super().__init__({"i": In(stream.Signature(LAST)).array(sources), "o": Out(stream.Signature(LAST))})

    def elaborate(self, platform):
        m = Module()
        chosen, busy = Signal(range(self.sources)), Signal()
        source = Array(self.i)[chosen]
        with m.If(busy):
            m.d.comb += [
                self.o.valid.eq(source.valid),
                self.o.payload.eq(source.payload),
                source.ready.eq(self.o.ready),
            ]
            with m.If(self.o.valid & self.o.ready & self.o.payload.last):
                m.d.sync += busy.eq(0)
        with m.Else():
            for index in reversed(range(self.sources)):
                with m.If(self.i[index].valid):
                    m.d.sync += [chosen.eq(index), busy.eq(1)]
        return m
