"""Make frames of the correct length from packets, and keep the flags of their errors for the results."""

from amaranth.hdl import Module, Mux, Signal, unsigned
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from psahw.gateware.check import check_divides, check_int
from psahw.gateware.count import count
from psahw.gateware.stream import Queue

from .interfaces import Axi4Stream

__all__ = ["FLAGS", "FrameFlags", "Framing", "pixels_layout"]

FLAGS = data.StructLayout({"short": 1, "long": 1, "partial": 1, "error": 1})
"""Errors of a frame.

``short`` and ``long`` mean that TLAST came too early or too late, ``partial`` that TKEEP was low
for some bytes, and ``error`` that a read from memory failed.
"""


def pixels_layout(bus_bytes: int) -> data.StructLayout:
    """Return the layout of a beat: its image ``bytes``, and the ``flags`` of errors that were detected in it."""
    return data.StructLayout({"bytes": data.ArrayLayout(unsigned(8), bus_bytes), "flags": FLAGS})


class Framing(wiring.Component):
    """Convert every packet to a frame of ``frame_bytes`` bytes, without latency.

    A packet that ends early is padded with zeros (flag ``short``). The rest of a packet that does
    not end in time is discarded (flag ``long``). Bytes without TKEEP become zero (flag
    ``partial``). A flag is set on at least one beat of its frame.

    Parameters
    ----------
    bus_bytes
        Length of a beat in bytes, a divisor of ``frame_bytes``.
    frame_bytes
        Length of a frame in bytes.

    Raises
    ------
    TypeError
        If a parameter is not an integer.
    ValueError
        If a parameter is less than 1, or if ``bus_bytes`` does not divide ``frame_bytes``.

    Members
    -------
    i : In(`psahw.boards.axi.interfaces.Axi4Stream`)
        Packets, ``bus_bytes`` bytes wide.
    o : stream of `pixels_layout`
        Frames.
    count_only : In(1)
        Ignore TLAST: a frame ends after ``frame_bytes`` bytes.
    restart : In(1)
        Accept no beat, and begin a new frame. If a part of a packet has been accepted, its rest is
        discarded.
    """

    def __init__(self, *, bus_bytes: int, frame_bytes: int):
        check_int("bus_bytes", bus_bytes)
        check_int("frame_bytes", frame_bytes)
        check_divides("bus_bytes", bus_bytes, "frame_bytes", frame_bytes)
        self.beats = frame_bytes // bus_bytes
        super().__init__(
            {
                "i": In(Axi4Stream(bus_bytes)),
                "o": Out(stream.Signature(pixels_layout(bus_bytes))),
                "count_only": In(1),
                "restart": In(1),
            }
        )

    def elaborate(self, platform):
        m = Module()
        i, o = self.i, self.o
        beat = Signal(range(self.beats))
        last = beat == self.beats - 1
        inside = Signal()  # within a packet
        ends, taken = i.tlast & ~self.count_only, i.tvalid & i.tready

        flags, bytes_ = o.payload.flags, o.payload.bytes
        with m.If(o.valid & o.ready):
            m.d.sync += beat.eq(Mux(last, 0, beat + 1))
        with m.If(taken):
            m.d.sync += inside.eq(~i.tlast)

        with m.FSM():
            with m.State("PASS"):
                m.d.comb += [o.valid.eq(i.tvalid & ~self.restart), i.tready.eq(o.ready & ~self.restart)]
                m.d.comb += [bytes_[k].eq(Mux(keep, i.tdata.word_select(k, 8), 0)) for k, keep in enumerate(i.tkeep)]
                m.d.comb += [
                    flags.short.eq(ends & ~last),
                    flags.long.eq(last & ~i.tlast & ~self.count_only),
                    flags.partial.eq(~i.tkeep.all()),
                    flags.error.eq(0),
                ]
                with m.If(taken & flags.short):
                    m.next = "FILL"
                with m.If((taken & flags.long) | (self.restart & inside & ~self.count_only)):
                    m.next = "DROP"
            with m.State("FILL"):
                m.d.comb += o.valid.eq(~self.restart)
                with m.If(self.restart | (o.ready & last)):
                    m.next = "PASS"
            with m.State("DROP"):
                m.d.comb += i.tready.eq(~self.restart)
                with m.If((taken & i.tlast) | self.count_only):
                    m.next = "PASS"
        with m.If(self.restart):
            m.d.sync += beat.eq(0)
        return m


class FrameFlags(wiring.Component):
    """Separate the flags from the beats, and store those of each frame until its result is available.

    Parameters
    ----------
    bus_bytes
        Length of a beat in bytes, a divisor of ``frame_bytes``.
    frame_bytes
        Length of a frame in bytes.
    frames
        Number of frames whose flags are stored. A further frame waits before its last beat.

    Raises
    ------
    TypeError
        If a parameter is not an integer.
    ValueError
        If a parameter is less than 1, or if ``bus_bytes`` does not divide ``frame_bytes``.

    Members
    -------
    i : stream of `pixels_layout`
        Frames with flags.
    o : stream of ``bus_bytes`` bytes
        The same frames without flags, without latency.
    flags : stream of `FLAGS`
        Flags of each frame, at the earliest two cycles after its last beat.
    done : Out(1)
        High for one cycle when the last beat of a frame is transferred.
    bad : Out(1)
        High together with ``done`` if the frame has a flag.
    """

    def __init__(self, *, bus_bytes: int, frame_bytes: int, frames: int):
        check_int("bus_bytes", bus_bytes)
        check_int("frame_bytes", frame_bytes)
        check_divides("bus_bytes", bus_bytes, "frame_bytes", frame_bytes)
        check_int("frames", frames)
        self.beats, self.frames = frame_bytes // bus_bytes, frames
        payload = pixels_layout(bus_bytes)
        super().__init__(
            {
                "i": In(stream.Signature(payload)),
                "o": Out(stream.Signature(payload["bytes"].shape)),
                "flags": Out(stream.Signature(FLAGS)),
                "done": Out(1),
                "bad": Out(1),
            }
        )

    def elaborate(self, platform):
        m = Module()
        i, o = self.i, self.o
        m.submodules.queue = queue = Queue(shape=FLAGS, depth=self.frames)
        before, now = Signal(FLAGS), Signal(FLAGS)
        room, moved = Signal(), o.valid & o.ready
        (beat,) = count(m, moved, self.beats)
        m.d.comb += [
            room.eq(~beat.last | queue.i.ready),
            o.valid.eq(i.valid & room),
            i.ready.eq(o.ready & room),
            o.payload.eq(i.payload.bytes),
            now.as_value().eq(before.as_value() | i.payload.flags.as_value()),
            queue.i.valid.eq(beat.wrap),
            queue.i.payload.eq(now),
            self.done.eq(beat.wrap),
            self.bad.eq(beat.wrap & now.as_value().any()),
        ]
        with m.If(moved):
            m.d.sync += before.as_value().eq(Mux(beat.last, 0, now.as_value()))
        wiring.connect(m, queue.o, wiring.flipped(self.flags))
        return m
