"""Selection of the class with the greatest logit."""

from amaranth.hdl import Module, Signal, signed
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from .check import check_int
from .count import count
from .stream import vector_signature

__all__ = ["Argmax", "result_layout"]


def result_layout(classes: int, bits: int) -> data.StructLayout:
    """Return the layout of a frame's result: its logits, and the index of the first of the greatest."""
    return data.StructLayout({"logits": data.ArrayLayout(signed(bits), classes), "class_index": range(classes)})


class Argmax(wiring.Component):
    """Collects the logits of a frame and finds the first of the greatest.

    Latency: one clock cycle from the last logit of a frame to its result. Throughput: one logit per clock cycle.

    Parameters
    ----------
    classes : int
        Logits per frame.
    bits : int
        Width of a logit, at least 2.

    Raises
    ------
    TypeError
        If a parameter is not an integer.
    ValueError
        If a parameter is too small.

    Members
    -------
    i : In(stream of one logit)
        ``classes`` beats per frame.
    o : Out(stream of `result_layout`)
        One beat per frame.
    """

    def __init__(self, *, classes: int, bits: int):
        check_int("classes", classes)
        check_int("bits", bits, 2)
        self.classes, self.bits = classes, bits
        result = stream.Signature(result_layout(classes, bits))
        super().__init__({"i": In(vector_signature(1, bits)), "o": Out(result)})

    def elaborate(self, platform):
        m = Module()
        i, o = self.i, self.o
        en, logit = ~o.valid | o.ready, i.payload[0]
        put, best = i.valid & i.ready, Signal(signed(self.bits))
        (index,) = count(m, put, self.classes)
        m.d.comb += i.ready.eq(en)
        with m.If(en):
            m.d.sync += o.valid.eq(index.wrap)
        with m.If(put):
            # The logits move down by one place: after the last of a frame, its first is in place 0.
            m.d.sync += [to.eq(x) for to, x in zip(o.payload.logits, [*[*o.payload.logits][1:], logit], strict=True)]
            with m.If((index.value == 0) | (logit > best)):
                m.d.sync += [best.eq(logit), o.payload.class_index.eq(index.value)]
        return m
