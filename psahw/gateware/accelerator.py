"""The accelerator: image bytes in, class and logits out, with performance counters."""

from amaranth.hdl import Module
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from .chain import Chain
from .counters import READER, Counters
from .stream import connect

__all__ = ["CHAIN", "Accelerator"]

CHAIN = "chain"
"""Name of the submodule that holds the stages."""


class Accelerator(wiring.Component):
    """A whole classifier: a chain of stages, each with its own hardware, and counters of their activity.

    Latency and throughput are those of the chain; the counters do not affect it.

    Parameters
    ----------
    stages : dict of str to wiring.Component
        The stages from input bytes to result, each with streams ``i`` and ``o``, in data order.

    Raises
    ------
    ValueError
        If there are no stages, or more than `Counters` can count.
    TypeError
        When it is elaborated, if two successive stages disagree about the payload.

    Attributes
    ----------
    stall_names : tuple of str
        Names of the stages in the order of their stall counters.

    Members
    -------
    i : In(stream of image bytes)
        Bytes in (row, column, colour) order, the first byte of a beat in the low bits.
    o : Out(stream of results)
        One beat per frame; see `psahw.gateware.argmax.result_layout`.
    counters : In(READER)
        ``data`` follows ``addr`` by two clock cycles; ``clear`` zeroes all counters. `Counters` has the addresses.
    """

    def __init__(self, *, stages: dict[str, wiring.Component]):
        self.chain = Chain(parts=stages)
        self.stall_names = tuple(stages)
        self._counters = Counters(stages=len(stages))
        super().__init__(
            {
                "i": In(self.chain.i.signature.flip()),
                "o": Out(self.chain.o.signature),
                "counters": In(READER),
            }
        )

    def elaborate(self, platform):
        m = Module()
        m.submodules[CHAIN] = self.chain
        m.submodules.counters = counters = self._counters
        connect(m, wiring.flipped(self.i), self.chain.i)
        connect(m, self.chain.o, wiring.flipped(self.o))
        outputs = [part.o for part in self.chain.parts.values()]
        m.d.comb += [
            counters.frame.eq(self.o.valid & self.o.ready),
            counters.addr.eq(self.counters.addr),
            counters.clear.eq(self.counters.clear),
            self.counters.data.eq(counters.data),
        ]
        m.d.comb += [counters.stall[k].eq(o.valid & ~o.ready) for k, o in enumerate(outputs)]
        return m
