"""The residual connection's adder."""

from amaranth.hdl import Module, Mux
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from .check import check_int
from .stream import vector_signature

__all__ = ["Add"]


class Add(wiring.Component):
    """``o = sat8(a + b)`` for each lane, one cycle after the later of the two beats. Full rate.

    Each input's ``ready`` depends combinationally on the other's ``valid`` and on ``o.ready``.
    """

    def __init__(self, *, lanes: int):
        check_int("lanes", lanes)
        self.lanes = lanes
        signature = vector_signature(lanes)
        super().__init__({"a": In(signature), "b": In(signature), "o": Out(signature)})

    def elaborate(self, platform):
        m = Module()
        a, b, o = self.a, self.b, self.o
        en = ~o.valid | o.ready
        m.d.comb += [a.ready.eq(en & b.valid), b.ready.eq(en & a.valid)]
        with m.If(en):
            m.d.sync += o.valid.eq(a.valid & b.valid)
            for x, y, to in zip(a.payload, b.payload, o.payload, strict=True):
                total = x + y
                m.d.sync += to.eq(Mux(total > 127, 127, Mux(total < -128, -128, total)))
        return m
