"""What software can read of a running accelerator."""

from amaranth.hdl import Array, Module, Signal, unsigned
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from .check import check_int

__all__ = ["READER", "Counters"]

ADDRESS_BITS = 8
READER = wiring.Signature({"addr": Out(ADDRESS_BITS), "data": In(32), "clear": Out(1)})
"""What reads the counters, seen from the reader."""


class Counters(wiring.Component):
    """Counts frames, clock cycles, and for each of ``stages`` stages the cycles in which it stalled.

    Counters have 32 bits and wrap: a cycle counter after 21 s at 200 MHz, so software that reads more often
    than that takes differences modulo 2^32.

    Members
    -------
    frame : high for one cycle a frame
    stall : one bit a stage
    clear : all counters are 0 in the cycle after
    addr : 0 frames, 1 cycles, 2 + n the stall cycles of stage n; beyond that the last one
    data : the counter, one cycle after ``addr``
    """

    def __init__(self, *, stages: int):
        check_int("stages", stages, high=(1 << ADDRESS_BITS) - 2)
        self.stages = stages
        super().__init__(
            {
                "frame": In(1),
                "stall": In(stages),
                "clear": In(1),
                "addr": In(ADDRESS_BITS),
                "data": Out(32),
            }
        )

    def elaborate(self, platform):
        m = Module()
        counters = Signal(data.ArrayLayout(unsigned(32), self.stages + 2))
        events = (self.frame, 1, *self.stall)
        with m.If(self.clear):
            m.d.sync += counters.eq(counters.shape().const([0] * len(events)))
        with m.Else():
            m.d.sync += [to.eq(to + event) for to, event in zip(counters, events, strict=True)]
        m.d.sync += self.data.eq(Array(counters)[self.addr])
        return m
