"""Frames of the right length out of packets, and what was wrong with them, for their results."""

from amaranth.hdl import Module, Mux, Signal, unsigned
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from psahw.gateware.check import check_divides, check_int
from psahw.gateware.count import count
from psahw.gateware.stream import Queue

from .interfaces import Axi4Stream

__all__ = ["FLAGS", "FrameFlags", "Framing", "pixels"]

FLAGS = data.StructLayout({"short": 1, "long": 1, "partial": 1, "error": 1})
"""What was wrong with a frame: TLAST too early; too late; bytes without TKEEP; a read that failed."""


def pixels(bus_bytes: int) -> data.StructLayout:
    """Image bytes of a beat, with the flags that begin with it."""
    return data.StructLayout({"bytes": data.ArrayLayout(unsigned(8), bus_bytes), "flags": FLAGS})


class Framing(wiring.Component):
    """Makes every packet a frame of ``frame_bytes`` bytes.

    A packet that ends early is filled up with zeros (flag ``short``), of one that goes on the rest is dropped
    (``long``), bytes without TKEEP are zero (``partial``). A flag is on one of the frame's beats or more. No latency.

    Members
    -------
    i : AXI4-Stream, ``bus_bytes`` wide
    o : stream of `pixels`
    count_only : TLAST is ignored
    restart : nothing is taken, and the frame begins anew; a packet of which part was taken is dropped to its end
    """

    def __init__(self, *, bus_bytes: int, frame_bytes: int):
        check_int("bus_bytes", bus_bytes)
        check_int("frame_bytes", frame_bytes)
        check_divides("bus_bytes", bus_bytes, "frame_bytes", frame_bytes)
        self.beats = frame_bytes // bus_bytes
        super().__init__(
            {
                "i": In(Axi4Stream(bus_bytes)),
                "o": Out(stream.Signature(pixels(bus_bytes))),
                "count_only": In(1),
                "restart": In(1),
            }
        )

    def elaborate(self, platform):
        m = Module()
        i, o = self.i, self.o
        beat = Signal(range(self.beats))
        last = beat == self.beats - 1
        inside = Signal()  # a packet of which more is to come
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
    """Takes the flags off the beats, and keeps those of a whole frame until its result is there.

    Parameters
    ----------
    bus_bytes, frame_bytes : of a beat and of a frame
    frames : whose flags are kept; a further frame waits before its last beat

    Members
    -------
    i : stream of `pixels`
    o : stream of the bytes alone, in the same cycle
    flags : stream of `FLAGS`, one a frame, two cycles after its last beat or later
    done, bad : a frame has gone through; it has a flag
    """

    def __init__(self, *, bus_bytes: int, frame_bytes: int, frames: int):
        check_int("bus_bytes", bus_bytes)
        check_int("frame_bytes", frame_bytes)
        check_divides("bus_bytes", bus_bytes, "frame_bytes", frame_bytes)
        check_int("frames", frames)
        self.beats, self.frames = frame_bytes // bus_bytes, frames
        payload = pixels(bus_bytes)
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
