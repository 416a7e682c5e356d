"""Selection of the class with the greatest logit."""

from amaranth.hdl import Const, Module, Mux, Signal, signed
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from ..architecture.codes import Codes
from .arith import as_signed, delay
from .check import check_divides, check_int
from .count import count
from .stream import vector_signature

__all__ = ["Argmax", "result_layout"]


def result_layout(classes: int, bits: int) -> data.StructLayout:
    """Return the layout of a frame's result: its logits, and the index of the first of the greatest."""
    return data.StructLayout({"logits": data.ArrayLayout(signed(bits), classes), "class_index": range(classes)})


class Argmax(wiring.Component):
    """Collects the logits of a frame and finds the first of the greatest.

    If a beat has several logits, a tree with a register after every level finds the greatest of each beat.

    Latency: one clock cycle from the last beat of a frame to its result, and one for each level of the tree.
    Throughput: one beat per clock cycle. The pipeline stalls as a whole.

    Parameters
    ----------
    classes : int
        Logits per frame.
    codes : Codes
        Type of a logit. The result holds signed ones, which have a bit more if this type is unsigned.
    lanes : int
        Logits of a beat; divides ``classes``.

    Raises
    ------
    TypeError
        If a number is not an integer.
    ValueError
        If a number is too small, or ``lanes`` does not divide.

    Members
    -------
    i : In(stream of ``lanes`` logits)
        ``classes / lanes`` beats per frame.
    o : Out(stream of `result_layout`)
        One beat per frame.
    """

    def __init__(self, *, classes: int, codes: Codes, lanes: int = 1):
        check_int("classes", classes)
        check_int("lanes", lanes)
        check_divides("lanes", lanes, "classes", classes)
        self.classes, self.bits, self.lanes = classes, codes.bits + (not codes.signed), lanes
        result = stream.Signature(result_layout(classes, self.bits))
        super().__init__({"i": In(vector_signature(lanes, codes)), "o": Out(result)})

    def elaborate(self, platform):
        m = Module()

        i, o, lanes = self.i, self.o, self.lanes
        en = ~o.valid | o.ready
        m.d.comb += i.ready.eq(en)
        valid, logits, (greatest, place) = self._greatest(m, en)
        put, best = valid & en, Signal(signed(self.bits))
        (beat,) = count(m, put, self.classes // lanes)
        with m.If(en):
            m.d.sync += o.valid.eq(beat.wrap)
        with m.If(put):
            # The logits move down by a beat: after the last beat of a frame, its first is at the bottom.
            kept = [*o.payload.logits][lanes:]
            m.d.sync += [to.eq(x) for to, x in zip(o.payload.logits, [*kept, *logits], strict=True)]
            with m.If((beat.value == 0) | (greatest > best)):
                m.d.sync += [best.eq(greatest), o.payload.class_index.eq(beat.value * lanes + place)]

        return m

    def _greatest(self, m, en):
        """Return the beat that leaves the tree: whether it is there, its logits, and (greatest, place) of them."""
        valid, logits = self.i.valid, [as_signed(logit) for logit in self.i.payload]
        rivals = [(logit, Const(lane)) for lane, logit in enumerate(logits)]
        for level in range((self.lanes - 1).bit_length()):
            before, valid = valid, Signal(name=f"valid_{level}")
            with m.If(en):
                m.d.sync += valid.eq(before)
            logits = [delay(m, logit, 1, name=f"logit_{level}_{lane}", en=en) for lane, logit in enumerate(logits)]
            rivals = [self._winner(m, en, rivals[n : n + 2], f"{level}_{n // 2}") for n in range(0, len(rivals), 2)]
        return valid, logits, rivals[0]

    def _winner(self, m, en, rivals, name):
        """Return the first of the greatest of one or two (logit, place), one clock cycle later."""
        (logit, place), (other, other_place) = rivals[0], rivals[-1]
        greatest = Signal(signed(self.bits), name=f"greatest_{name}", reset_less=True)
        winner = Signal(range(self.lanes), name=f"place_{name}", reset_less=True)
        with m.If(en):
            m.d.sync += [
                greatest.eq(Mux(other > logit, other, logit)),
                winner.eq(Mux(other > logit, other_place, place)),
            ]
        return greatest, winner
