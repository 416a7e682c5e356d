"""Results as words of 32 bits."""

from amaranth.hdl import Module, Mux, Shape, Signal, signed
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from psahw.gateware.check import check_int

from .frames import FLAGS

__all__ = ["WORD", "Records"]

WORD = data.StructLayout({"data": 32, "last": 1})


class Records(wiring.Component):
    """Sends a record of ``1 + classes`` words for every result, the last one marked; full rate.

    The first word has the class in bits 15..0 and the frame's `FLAGS` from bit 16 on, the others are the logits,
    sign-extended.

    Parameters
    ----------
    result : payload of the accelerator's results; at most 65,536 classes, logits of at most 32 bits

    Members
    -------
    i, flags : a result is taken together with its flags
    hold : no result is taken; a record that has begun goes on
    o : stream of `WORD`
    """

    def __init__(self, *, result: data.StructLayout):
        logits = result["logits"].shape
        check_int("classes", logits.length, high=1 << 16)
        check_int("logit_bits", Shape.cast(logits.elem_shape).width, high=32)
        self.classes, self.bits = logits.length, Shape.cast(logits.elem_shape).width
        super().__init__(
            {
                "i": In(stream.Signature(result)),
                "flags": In(stream.Signature(FLAGS)),
                "hold": In(1),
                "o": Out(stream.Signature(WORD)),
            }
        )

    def elaborate(self, platform):
        m = Module()
        i, flags, o = self.i, self.flags, self.o
        logits = Signal(data.ArrayLayout(signed(self.bits), self.classes))
        left = Signal(range(self.classes + 1))  # words after the one that is offered
        free, load = Signal(), Signal()
        m.d.comb += [
            free.eq(~o.valid | (o.ready & o.payload.last)),
            load.eq(free & i.valid & flags.valid & ~self.hold),
            i.ready.eq(free & flags.valid & ~self.hold),
            flags.ready.eq(free & i.valid & ~self.hold),
            o.payload.last.eq(left == 0),
        ]
        with m.If(load):
            m.d.sync += [
                logits.eq(i.payload.logits),
                o.payload.data.eq(i.payload.class_index | (flags.payload.as_value() << 16)),
                left.eq(self.classes),
                o.valid.eq(1),
            ]
        with m.Elif(o.valid & o.ready):
            m.d.sync += [to.eq(x) for to, x in zip(logits, [*[*logits][1:], logits[0]], strict=True)]
            m.d.sync += [o.payload.data.eq(logits[0]), left.eq(Mux(o.payload.last, 0, left - 1))]
            m.d.sync += o.valid.eq(~o.payload.last)
        return m
