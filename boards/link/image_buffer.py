"""Store images until their checksums have been checked."""

from amaranth.hdl import Array, Cat, Module, Mux, Signal, unsigned
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from psahw.gateware.check import check_divides, check_int
from psahw.gateware.ram import ram
from psahw.gateware.stream import Queue

__all__ = ["ImageBuffer"]

REPEAT_BITS = 16


class ImageBuffer(wiring.Component):
    """A ring of ``slots`` images, which are written byte by byte, and then committed or overwritten.

    Committed images are sent to the accelerator in their order, one beat per clock cycle. A slot is
    occupied from ``keep`` until ``release``, so the buffer and the accelerator together never hold
    more images than there are slots.

    Parameters
    ----------
    slots
        Number of images.
    frame_bytes
        Length of an image in bytes.
    bus_bytes
        Length of a beat in bytes, a divisor of ``frame_bytes``.

    Raises
    ------
    TypeError
        If a parameter is not an integer.
    ValueError
        If a parameter is less than 1, or if ``bus_bytes`` does not divide ``frame_bytes``.

    Members
    -------
    byte : In(8)
        Next byte of the image that is being written.
    put : In(1)
        Write ``byte``; at most ``frame_bytes`` times per image, and only while ``free`` is high.
    restart : In(1)
        The next byte is the first of an image.
    free : Out(1)
        A slot can be written.
    keep : In(1)
        Commit the written image.
    repeat : In(16)
        How often the committed image is sent to the accelerator; not 0.
    release : In(1)
        Free the slot of the oldest committed image, only while ``sent`` is high.
    sent : Out(1)
        All beats of the oldest committed image have been read, for the last time if the image is repeated. The image
        may have its result before that, because a result need not depend on the last beats.
    o : stream of ``bus_bytes`` bytes
        Images for the accelerator.
    begin : Out(1)
        The first beat of an image is transferred, for the first time if the image is repeated.
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
                "sent": Out(1),
                "o": Out(stream.Signature(data.ArrayLayout(unsigned(8), bus_bytes))),
                "begin": Out(1),
            }
        )

    def _next_slot(self, slot):
        """Return the slot after ``slot`` in the ring."""
        return Mux(slot == self.slots - 1, 0, slot + 1)

    def elaborate(self, platform):
        m = Module()
        # An image is read after the last of its bytes has been written.
        m.submodules.memory = memory = ram(shape=self.o.p.shape(), depth=self.slots * self.beats, style="auto")
        taken = Signal(range(self.slots + 1))
        waiting = Signal(range(self.slots + 1))  # committed images that have not been sent
        repeats = Array(Signal(REPEAT_BITS, name=f"repeat_{slot}") for slot in range(self.slots))
        sent = Signal()  # the last beat of an image's last repetition is being read
        m.d.sync += [taken.eq(taken + self.keep - self.release), waiting.eq(waiting + self.keep - sent)]
        m.d.comb += [self.free.eq(taken != self.slots), self.sent.eq(taken != waiting)]
        self._write(m, memory.write_port(), repeats)
        self._read(m, memory.read_port(), repeats, waiting != 0, sent)
        return m

    def _write(self, m, port, repeats):
        """Gather bytes into beats, and write them into the current slot."""
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

    def _read(self, m, port, repeats, waiting, sent):
        """Send the beats of the oldest committed image, ``repeat`` times."""
        slot, base = Signal(range(self.slots)), Signal(len(port.addr))
        beat, done = Signal(range(self.beats)), Signal(REPEAT_BITS)
        last = beat == self.beats - 1
        # The repetitions of an image come from a register, which follows in the clock cycle after the image before.
        repetitions, known = Signal(REPEAT_BITS), Signal()
        m.d.sync += [repetitions.eq(repeats[slot] - 1), known.eq(waiting & ~sent)]
        ready, final = waiting & known, done == repetitions
        # A register holds what comes from the block RAM, which takes long on some devices. Behind the queue, nothing
        # in here depends on the accelerator within a clock cycle.
        beat_shape = data.StructLayout({"bytes": self.o.p.shape(), "first": 1})
        m.submodules.queue = queue = Queue(shape=beat_shape, depth=3, style="distributed")
        read, read_first, held, o = Signal(), Signal(), queue.i, self.o
        take = ~held.valid | held.ready
        move = ~read | take
        m.d.comb += [
            port.en.eq(move),
            port.addr.eq(base + beat),
            sent.eq(move & ready & last & final),
            o.valid.eq(queue.o.valid),
            o.payload.eq(queue.o.payload.bytes),
            queue.o.ready.eq(o.ready),
            self.begin.eq(o.valid & o.ready & queue.o.payload.first),
        ]
        with m.If(take):
            m.d.sync += [held.valid.eq(read), held.payload.first.eq(read_first), held.payload.bytes.eq(port.data)]
        with m.If(move):
            m.d.sync += [read.eq(ready), read_first.eq((beat == 0) & (done == 0))]
            with m.If(ready):
                m.d.sync += beat.eq(Mux(last, 0, beat + 1))
                with m.If(last):
                    m.d.sync += done.eq(Mux(final, 0, done + 1))
        with m.If(sent):
            m.d.sync += [
                slot.eq(self._next_slot(slot)),
                base.eq(Mux(slot == self.slots - 1, 0, base + self.beats)),
            ]
