"""Performance counters that software reads from a running accelerator."""

from amaranth.hdl import Array, Module, Signal, unsigned
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import exact_log2

from ..architecture.timing import COUNTERS_PER_GROUP
from .check import check_int

__all__ = ["READER", "Counters"]

ADDRESS_BITS = 8
READER = wiring.Signature({"addr": Out(ADDRESS_BITS), "data": In(32), "clear": Out(1)})
"""The port through which the counters are read, seen from the reader."""


class Counters(wiring.Component):
    """Counts frames, clock cycles, and for each stage the clock cycles in which it stalled.

    The counters have 32 bits and wrap. The one of clock cycles does so after 21 s at 200 MHz, so software that reads
    it more often takes differences modulo 2^32.

    Latency: two clock cycles from ``addr`` to ``data``. Throughput: one counter per clock cycle.

    Parameters
    ----------
    stages : int
        Number of stages, 1 to 254.

    Raises
    ------
    TypeError
        If ``stages`` is not an integer.
    ValueError
        If ``stages`` is out of its range.

    Members
    -------
    frame : In(1)
        High for one clock cycle per frame.
    stall : In(stages)
        Bit ``n`` is high in each clock cycle in which stage ``n`` stalls.
    clear : In(1)
        Sets all counters to 0 in the next clock cycle.
    addr : In(8)
        0 selects frames, 1 clock cycles, 2 + n the stalls of stage n, and anything beyond the last counter.
    data : Out(32)
        What the selected counter was in the clock cycle of ``addr``, two clock cycles later.
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
        # One counter out of each group is chosen first, then a group.
        place_bits = exact_log2(COUNTERS_PER_GROUP)
        groups = [list(counters)[n : n + COUNTERS_PER_GROUP] for n in range(0, len(events), COUNTERS_PER_GROUP)]
        chosen = [Signal(32, name=f"chosen_{n}", reset_less=True) for n in range(len(groups))]
        number = Signal(ADDRESS_BITS - place_bits, reset_less=True)
        m.d.sync += [one.eq(Array(group)[self.addr[:place_bits]]) for one, group in zip(chosen, groups, strict=True)]
        m.d.sync += [number.eq(self.addr[place_bits:]), self.data.eq(Array(chosen)[number])]
        return m
