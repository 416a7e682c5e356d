"""Streams between the clock domains of a link and of the accelerator."""

from amaranth.hdl import Module, Shape, ShapeLike
from amaranth.lib import stream, wiring
from amaranth.lib.fifo import AsyncFIFOBuffered
from amaranth.lib.wiring import In, Out

__all__ = ["Crossing"]


class Crossing(wiring.Component):
    """A stream that crosses from one clock domain to another, through a queue.

    If both domains are the same, the ports are connected directly, without latency.

    Parameters
    ----------
    shape
        Payload of both streams.
    i_domain, o_domain
        Clock domains of ``i`` and ``o``.
    depth
        Minimum capacity of the queue in beats.

    Members
    -------
    i : stream of ``shape``
        In the domain ``i_domain``.
    o : stream of ``shape``
        In the domain ``o_domain``.
    """

    def __init__(self, shape: ShapeLike, *, i_domain: str, o_domain: str, depth: int = 16):
        self.shape, self.i_domain, self.o_domain, self.depth = shape, i_domain, o_domain, depth
        super().__init__({"i": In(stream.Signature(shape)), "o": Out(stream.Signature(shape))})

    def elaborate(self, platform):
        m = Module()
        if self.i_domain == self.o_domain:
            wiring.connect(m, wiring.flipped(self.i), wiring.flipped(self.o))
            return m
        m.submodules.queue = queue = AsyncFIFOBuffered(
            width=Shape.cast(self.shape).width, depth=self.depth, w_domain=self.i_domain, r_domain=self.o_domain
        )
        wiring.connect(m, wiring.flipped(self.i), queue.w_stream)
        wiring.connect(m, queue.r_stream, wiring.flipped(self.o))
        return m
