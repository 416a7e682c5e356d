"""Where an image waits until its checksum is known to be good."""

from amaranth.hdl import Array, Cat, Module, Mux, Signal, unsigned
from amaranth.lib import data, stream, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from psahw.gateware.check import check_divides, check_int

__all__ = ["ImageBuffer"]

REPEAT_BITS = 16


class ImageBuffer(wiring.Component):
    """A ring of ``slots`` images, each written byte by byte, kept or overwritten, and sent on whole.

    A slot is taken from `keep` until `release`: there are never more images here and in the accelerator than slots.

    Parameters
    ----------
    slots : images
    frame_bytes : bytes of an image
    bus_bytes : bytes of a beat, a divisor of ``frame_bytes``

    Members
    -------
    byte, put : the next byte of the image being written; at most ``frame_bytes``, and only while ``free``
    restart : the next byte is an image's first
    free : a slot is there to be written
    keep, repeat : the written image is complete, and goes into the accelerator ``repeat`` times, which is not 0
    release : the image that was kept first needs its slot no more
    o : stream of image bytes, a beat of the accelerator's
    begin : an image's first beat moves, the first time
    """

    def __init__(self, *, slots: int, frame_bytes: int, bus_bytes: int):
        check_int("slots", slots)
        check_int("frame_bytes", frame_bytes)
        check_int("bus_bytes", bus_bytes)
        check_divides("bus_bytes", bus_bytes, "frame_bytes", frame_bytes)
        self.slots, self.beats, self.bus_bytes = slots, frame_bytes // bus_bytes, bus_bytes
        super().__init__(
            {
                "byte": In(8),
                "put": In(1),
                "restart": In(1),
                "free": Out(1),
                "keep": In(1),
                "repeat": In(REPEAT_BITS),
                "release": In(1),
                "o": Out(stream.Signature(data.ArrayLayout(unsigned(8), bus_bytes))),
                "begin": Out(1),
            }
        )

    def _next_slot(self, slot):
        return Mux(slot == self.slots - 1, 0, slot + 1)

    def elaborate(self, platform):
        m = Module()
        beat = data.ArrayLayout(unsigned(8), self.bus_bytes)
        m.submodules.memory = memory = Memory(shape=beat, depth=self.slots * self.beats, init=[])
        taken = Signal(range(self.slots + 1))
        waiting = Signal(range(self.slots + 1))  # kept, and not yet sent on
        repeats = Array(Signal(REPEAT_BITS, name=f"repeat_{slot}") for slot in range(self.slots))
        sent = Signal()  # an image is sent on for the last time
        m.d.sync += [taken.eq(taken + self.keep - self.release), waiting.eq(waiting + self.keep - sent)]
        m.d.comb += self.free.eq(taken != self.slots)
        self._write(m, memory.write_port(), repeats)
        self._read(m, memory.read_port(), repeats, waiting != 0, sent)
        return m

    def _write(self, m, port, repeats):
        slot, base = Signal(range(self.slots)), Signal(len(port.addr))
        lane, gathered = Signal(range(self.bus_bytes)), Signal(8 * (self.bus_bytes - 1))
        last = lane == self.bus_bytes - 1
        m.d.comb += [port.data.eq(Cat(gathered, self.byte)), port.en.eq(self.put & last)]
        with m.If(self.put):
            m.d.sync += [lane.eq(Mux(last, 0, lane + 1)), gathered.eq(Cat(gathered, self.byte)[8:])]
            with m.If(last):
                m.d.sync += port.addr.eq(port.addr + 1)
        with m.If(self.restart):
            m.d.sync += [lane.eq(0), port.addr.eq(base)]
        with m.If(self.keep):
            m.d.sync += [
                repeats[slot].eq(self.repeat),
                slot.eq(self._next_slot(slot)),
                base.eq(Mux(slot == self.slots - 1, 0, base + self.beats)),
            ]

    def _read(self, m, port, repeats, ready, sent):
        slot, base = Signal(range(self.slots)), Signal(len(port.addr))
        beat, done = Signal(range(self.beats)), Signal(REPEAT_BITS)
        first, last = Signal(), beat == self.beats - 1
        final = done + 1 == repeats[slot]
        o = self.o
        move = ~o.valid | o.ready
        m.d.comb += [
            port.en.eq(move),
            port.addr.eq(base + beat),
            o.payload.eq(port.data),
            self.begin.eq(o.valid & o.ready & first),
            sent.eq(move & ready & last & final),
        ]
        with m.If(move):
            m.d.sync += [o.valid.eq(ready), first.eq((beat == 0) & (done == 0))]
            with m.If(ready):
                m.d.sync += beat.eq(Mux(last, 0, beat + 1))
                with m.If(last):
                    m.d.sync += done.eq(Mux(final, 0, done + 1))
        with m.If(sent):
            m.d.sync += [
                slot.eq(self._next_slot(slot)),
                base.eq(Mux(slot == self.slots - 1, 0, base + self.beats)),
            ]
