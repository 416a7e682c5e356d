"""A stand-in for the accelerator, with the same signature, which classifies an image by the sum of its bytes."""

from amaranth.hdl import Module, Mux, Signal, signed, unsigned
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

__all__ = ["CLASSES", "Stub", "answer", "result_layout"]

CLASSES = 5


def result_layout(classes: int = CLASSES, bits: int = 20) -> data.StructLayout:
    """Return the payload of a result."""
    return data.StructLayout({"logits": data.ArrayLayout(signed(bits), classes), "class_index": range(classes)})


def answer(image: bytes) -> tuple[int, list[int]]:
    """Return the class and the logits that `Stub` computes for an image."""
    total = sum(image)
    return total % 4, [total + 1 if k == total % 4 else -total * k for k in range(CLASSES)]


class Stub(wiring.Component):
    """Return one result per ``frame_bytes`` bytes.

    Counter 0 holds the number of frames; every other counter holds its own address.

    Parameters
    ----------
    bus_bytes
        Length of a beat in bytes.
    frame_bytes
        Length of an image in bytes.
    pause
        Minimum number of cycles between two beats that are not taken. No frame begins while a
        result is offered.
    latency
        A result is offered ``1 + latency`` cycles after the last beat that counts.
    rest
        Number of beats at the end of a frame that do not count: the result may be offered and taken before them.
    """

    def __init__(self, *, bus_bytes: int, frame_bytes: int, pause: int = 0, latency: int = 0, rest: int = 0):
        self.beats, self.bus_bytes, self.pause, self.latency = frame_bytes // bus_bytes, bus_bytes, pause, latency
        self.rest = rest
        counters = wiring.Signature({"addr": Out(8), "data": In(32), "clear": Out(1)})
        super().__init__(
            {
                "i": In(stream.Signature(data.ArrayLayout(unsigned(8), bus_bytes))),
                "o": Out(stream.Signature(result_layout())),
                "counters": In(counters),
            }
        )

    def elaborate(self, platform):
        m = Module()
        beat, total, frames = Signal(range(self.beats)), Signal(16), Signal(32)
        counts = beat < self.beats - self.rest
        pause = Signal(range(max(self.pause, 1) + 1))
        done = self.o.valid & self.o.ready
        left, thinking = Signal(range(self.latency + 1)), Signal()
        m.d.comb += self.i.ready.eq((pause == 0) & ((beat != 0) | ~(self.o.valid | thinking)))
        with m.If(pause != 0):
            m.d.sync += pause.eq(pause - 1)
        with m.If(self.i.valid & self.i.ready):
            added = sum((self.i.payload[lane] for lane in range(self.bus_bytes)), start=total)
            m.d.sync += [total.eq(Mux(counts, added, total)), beat.eq(beat + 1), pause.eq(self.pause)]
            with m.If(beat == self.beats - 1):
                m.d.sync += beat.eq(0)
            with m.If(beat == self.beats - 1 - self.rest):
                m.d.sync += [left.eq(self.latency), thinking.eq(self.latency != 0)]
                m.d.sync += self.o.valid.eq(self.latency == 0)
        with m.If(thinking):
            m.d.sync += left.eq(left - 1)
            with m.If(left == 1):
                m.d.sync += [thinking.eq(0), self.o.valid.eq(1)]
        with m.If(done):
            m.d.sync += [self.o.valid.eq(0), total.eq(0), frames.eq(frames + 1)]
        with m.If(self.counters.clear):
            m.d.sync += frames.eq(0)
        chosen = Signal(32)
        m.d.sync += [
            chosen.eq(Mux(self.counters.addr == 0, frames, self.counters.addr)),
            self.counters.data.eq(chosen),
        ]
        m.d.comb += self.o.payload.class_index.eq(total[:2])
        for k in range(CLASSES):  # the greatest logit is that of the class
            m.d.comb += self.o.payload.logits[k].eq(Mux(total[:2] == k, total + 1, -total * k))
        return m
