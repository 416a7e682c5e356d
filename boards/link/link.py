"""The device's side of the host protocol (``docs/host-protocol.md``), behind any physical link that carries bytes."""

from amaranth.hdl import Module, Mux, ResetInserter, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from psahw.gateware.check import check_int
from psahw.gateware.counters import READER
from psahw.gateware.stream import Queue
from psahw.host.protocol import LINK_LOSSES

from .dispatcher import TICKET, Dispatcher
from .frames import FrameReceiver, FrameSender
from .image_buffer import ImageBuffer
from .replier import TIMES, Replier
from .stopwatch import Stopwatch
from .uart import RECEIVED

__all__ = ["PORTS", "WINDOW", "Link"]

PORTS = ("image", "result", "counters", "reset", "activity", "error")
"""Those towards the accelerator and the LEDs, which every link has beside its pins."""

WINDOW = 4  # images: at 3 Mbaud an image takes 10 ms, and a USB bridge may keep a result for 16 ms
ANSWERS = 16  # that can wait for their turn


class Link(wiring.Component):
    """Frames of bytes to images and back.

    ::

        rx -> FrameReceiver -> Dispatcher -> ImageBuffer -> image ... result
                                  |  tickets                            |
        tx <- FrameSender  <- Replier <---------------------------------+

    An image enters the accelerator when its checksum has proven good, whole and at the accelerator's own rate.
    Nothing that comes in can make the link wait, so nothing can wedge it. A soft reset empties accelerator and
    buffer.

    Parameters
    ----------
    hello : see `Replier`; its window must be ``window``
    bus_bytes, frame_bytes : see `ImageBuffer`
    result : see `Replier`
    window : images that are held at once

    Members
    -------
    rx, tx : bytes from and to the host; ``rx`` is a stream of `psahw.boards.link.uart.RECEIVED`
    image, result : to and from the accelerator
    counters : to the accelerator
    lost : for one cycle: bytes were lost that never came to ``rx``. They are counted with the damaged ones that did
    reset : to the accelerator, from a register, active high
    activity, error : for one cycle, when a result or an error report begins
    """

    def __init__(
        self, *, hello: bytes, bus_bytes: int, frame_bytes: int, result: data.StructLayout, window: int = WINDOW
    ):
        check_int("window", window)
        self._dispatcher = Dispatcher(frame_bytes=frame_bytes)
        self._buffer = ImageBuffer(slots=window, frame_bytes=frame_bytes, bus_bytes=bus_bytes)
        self._replier = Replier(hello=hello, result=result)
        self._stopwatch = Stopwatch(images=window)
        super().__init__(
            {
                "rx": In(stream.Signature(RECEIVED)),
                "tx": Out(stream.Signature(8)),
                "image": Out(self._buffer.o.signature),
                "result": In(stream.Signature(result)),
                "counters": Out(READER),
                "lost": In(1),
                "reset": Out(1),
                "activity": Out(1),
                "error": Out(1),
            }
        )

    def elaborate(self, platform):
        m = Module()
        dispatcher, buffer, replier, stopwatch = self._dispatcher, self._buffer, self._replier, self._stopwatch
        under_reset = ResetInserter(replier.flush)
        m.submodules.receiver = receiver = FrameReceiver()
        m.submodules.dispatcher = dispatcher
        m.submodules.buffer = under_reset(buffer)
        tickets = Queue(shape=TICKET, depth=ANSWERS, style="distributed")
        m.submodules.tickets = under_reset(tickets)
        m.submodules.stopwatch = under_reset(stopwatch)
        m.submodules.replier = replier
        m.submodules.sender = sender = FrameSender()

        wiring.connect(m, wiring.flipped(self.rx), receiver.i)
        wiring.connect(m, receiver.o, dispatcher.i)
        wiring.connect(m, dispatcher.o, tickets.i)
        wiring.connect(m, tickets.o, replier.i)
        wiring.connect(m, replier.o, sender.i)
        wiring.connect(m, sender.o, wiring.flipped(self.tx))
        wiring.connect(m, buffer.o, wiring.flipped(self.image))
        wiring.connect(m, wiring.flipped(self.result), replier.result)
        losses, counters = Signal(32), replier.counters
        with m.If(counters.clear):
            m.d.sync += losses.eq(0)
        with m.Elif(self.lost | (self.rx.valid & self.rx.ready & self.rx.payload.error)):
            m.d.sync += losses.eq(losses + 1)
        m.d.comb += [
            self.counters.addr.eq(counters.addr),
            self.counters.clear.eq(counters.clear),
            counters.data.eq(Mux(counters.addr == LINK_LOSSES, losses, self.counters.data)),
            *(
                getattr(buffer, name).eq(getattr(dispatcher, name))
                for name in ("byte", "put", "restart", "keep", "repeat")
            ),
            dispatcher.free.eq(buffer.free),
            buffer.release.eq(replier.next_image),
            stopwatch.begin.eq(buffer.begin),
            *(getattr(stopwatch, name).eq(getattr(replier, name)) for name in ("offered", "next_image")),
            *(getattr(replier, name).eq(getattr(stopwatch, name)) for name in TIMES),
            *(getattr(replier, name).eq(getattr(dispatcher, name)) for name in ("reset", "reset_sequence")),
            dispatcher.flush.eq(replier.flush),
            *(getattr(self, name).eq(getattr(replier, name)) for name in ("activity", "error")),
            self.reset.eq(replier.flush),
        ]
        return m
