"""Merge several streams of frames into one."""

from amaranth.hdl import Array, Module, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from psahw.gateware.check import check_int

from ..link.cobs import FRAME_BYTE

__all__ = ["FrameArbiter"]


class FrameArbiter(wiring.Component):
    """Pass on whole frames from several sources.

    If several sources offer a frame in the same cycle, the one with the lowest index wins. One
    cycle passes between two frames; within a frame, one byte can pass per clock cycle.

    Parameters
    ----------
    sources
        Number of sources.

    Raises
    ------
    TypeError
        If ``sources`` is not an integer.
    ValueError
        If ``sources`` is less than 1.

    Members
    -------
    i : array of ``sources`` streams of `psahw.boards.link.cobs.FRAME_BYTE`
        Frames of each source.
    o : stream of `psahw.boards.link.cobs.FRAME_BYTE`
        Frames of all sources.
    """

    def __init__(self, sources: int):
        check_int("sources", sources)
        self.sources = sources
        super().__init__(
            {"i": In(stream.Signature(FRAME_BYTE)).array(sources), "o": Out(stream.Signature(FRAME_BYTE))}
        )

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
