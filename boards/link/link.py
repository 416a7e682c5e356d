"""The device side of the host protocol (``docs/reference/host-protocol.md``), for any link that carries bytes."""

from amaranth.hdl import Module, Mux, ResetInserter, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from psahw.gateware.check import check_int
from psahw.gateware.counters import READER
from psahw.gateware.stream import Queue
from psahw.host.protocol import LINK_LOSSES

from .cobs import FRAME_BYTE
from .dispatcher import TICKET, Dispatcher
from .frames import FrameReceiver, FrameSender
from .image_buffer import ImageBuffer
from .replier import TIMES, Replier
from .stopwatch import Stopwatch
from .uart import CHARACTER

__all__ = ["PORTS", "WINDOW", "Link"]

PORTS = ("image", "result", "counters", "reset", "activity", "error")
"""Ports of every link towards the accelerator and the LEDs. All its other ports are pins."""

WINDOW = 4
"""Images that a link over a UART holds: an image takes 10 ms at 3 Mbaud, and a USB bridge may add 16 ms."""
ANSWERS = 16  # tickets that can wait for their turn


class Link(wiring.Component):
    """Serve the requests of a host: receive images, return results and counters.

    ::

        rx -> FrameReceiver -> Dispatcher -> ImageBuffer -> image ... result
                                  |  tickets                            |
        tx <- FrameSender  <- Replier <---------------------------------+

    An image enters the accelerator after its checksum has been checked, without gaps and at the
    accelerator's own rate. Received bytes never have to wait, so no request can block the link. A
    soft reset empties the accelerator and the image buffer.

    Parameters
    ----------
    hello
        Payload of the hello message, whole 32-bit words. Its window must be ``window``.
    bus_bytes
        Length of a beat of the accelerator in bytes, a divisor of ``frame_bytes``.
    frame_bytes
        Length of an image in bytes.
    result
        Payload of the accelerator's results, see `psahw.boards.link.replier.Replier`.
    window
        Number of images that the link and the accelerator can hold at once.

    Raises
    ------
    TypeError
        If a number is not an integer.
    ValueError
        If a number is less than 1, ``bus_bytes`` does not divide ``frame_bytes``, ``hello`` is
        empty or not whole words, or ``result`` has more than 256 classes or logits of more than 32
        bits.

    Members
    -------
    rx : stream of `psahw.boards.link.uart.CHARACTER`
        Bytes from the host.
    tx : stream of bytes
        Bytes to the host.
    image : stream of ``bus_bytes`` bytes
        Images for the accelerator.
    result : stream of ``result``
        Results of the accelerator.
    counters : Out(`psahw.gateware.counters.READER`)
        Counters of the accelerator.
    lost : In(1)
        High for one cycle if bytes were lost before they reached ``rx``. The link counts these
        events together with the characters at ``rx`` that are marked with ``error``.
    reset : Out(1)
        Reset of the accelerator: active high, driven by a register.
    activity : Out(1)
        High for one cycle when the answer with a result begins.
    error : Out(1)
        High for one cycle when the report of an error begins.
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
                "rx": In(stream.Signature(CHARACTER)),
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
        # Registers divide a path from a received byte to all that depends on the verdict about its frame.
        m.d.comb += receiver.o.ready.eq(1)
        m.d.sync += [dispatcher.i.valid.eq(receiver.o.valid), dispatcher.i.payload.eq(receiver.o.payload)]
        wiring.connect(m, dispatcher.o, tickets.i)
        wiring.connect(m, tickets.o, replier.i)
        # The choice of a byte of an answer, and all that depends on the byte, take a clock cycle each.
        m.submodules.body = body = Queue(shape=FRAME_BYTE, depth=3, style="distributed")
        wiring.connect(m, replier.o, body.i)
        wiring.connect(m, body.o, sender.i)
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
            replier.sent.eq(buffer.sent),
            stopwatch.begin.eq(buffer.begin),
            *(getattr(stopwatch, name).eq(getattr(replier, name)) for name in ("offered", "next_image")),
            *(getattr(replier, name).eq(getattr(stopwatch, name)) for name in TIMES),
            replier.reset.eq(dispatcher.reset),
            dispatcher.flush.eq(replier.flush),
            *(getattr(self, name).eq(getattr(replier, name)) for name in ("activity", "error")),
            self.reset.eq(replier.flush),
        ]
        return m
