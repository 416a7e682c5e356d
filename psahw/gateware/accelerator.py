"""The whole classifier: image bytes in, class and logits out, counters beside it."""

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
    """Layers in a row, each with its own hardware, and counters of what they do.

    Parameters
    ----------
    stages : components by name, from input bytes to the result, each with streams ``i`` and ``o``

    Members
    -------
    i : stream of image bytes in raster order, (row, column, colour); the first byte in the low bits
    o : stream of results, one beat a frame; see `psahw.gateware.argmax.Argmax`
    counters : ``addr``, and a cycle later ``data``; ``clear``. Addresses: see `Counters`; the stall counters
        are in the order of `stall_names`
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
