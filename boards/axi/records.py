"""Send results as 32-bit words."""

from amaranth.hdl import Module, Mux, Shape, Signal, signed
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from psahw.gateware.check import check_int

from .frames import FLAGS

__all__ = ["WORD", "Records"]

WORD = data.StructLayout({"data": 32, "last": 1})
"""A word of a record: its ``data``, and ``last``, which marks the last word of the record."""


class Records(wiring.Component):
    """Send a record of ``1 + classes`` words for every result, one word per clock cycle.

    The first word contains the class in bits 15..0 and the frame's `psahw.boards.axi.frames.FLAGS`
    from bit 16 on. The other words are the logits, sign-extended to 32 bits.

    Parameters
    ----------
    result
        Payload of the accelerator's results, with at most 65,536 classes and logits of at most 32
        bits.

    Raises
    ------
    ValueError
        If ``result`` has too many classes or bits.

    Members
    -------
    i : stream of ``result``
        Results. Each is taken together with its flags.
    flags : stream of `psahw.boards.axi.frames.FLAGS`
        Flags of the results.
    hold : In(1)
        Take no result. A record that has begun is completed.
    o : stream of `WORD`
        Records.
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
        left = Signal(range(self.classes + 1))  # words after the one that is offered now
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
