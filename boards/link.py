"""Host protocol, version 0: bytes to image beats, results to bytes. ``docs/boards.md`` specifies it.

This is all there is of the protocol on the device; any physical link that carries bytes can stand in front.
"""

from enum import IntEnum

from amaranth.hdl import Cat, Module, Mux, Shape, Signal, unsigned
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from psahw.gateware.counters import READER

from .uart import RECEIVED

__all__ = ["Command", "Link", "LinkError"]

RESET_CYCLES = 4
COUNTER_CYCLES = 4  # from a counter's address to its value; the accelerator may take two


class Command(IntEnum):
    """A message's first byte, the same in both directions."""

    IMAGE = ord("I")
    COUNTER = ord("C")
    CLEAR = ord("Z")
    RESET = ord("X")
    ERROR = ord("E")  # from the device only


class LinkError(IntEnum):
    """The byte after `Command.ERROR`."""

    UNKNOWN_COMMAND = 1
    RECEIVE = 2
    TIMEOUT = 3


class Link(wiring.Component):
    """Serves one message at a time.

    A message that breaks off, or contains a byte that the physical link marks as bad, is given up: the link
    waits until nothing has come for ``timeout`` cycles, resets the accelerator if it holds part of an image,
    reports the error, and starts afresh.

    Parameters
    ----------
    bus_bytes : image bytes in a beat, a divisor of ``frame_bytes``
    frame_bytes : bytes of an image
    result : the accelerator's ``{"logits": ArrayLayout(signed(bits), classes), "class_index": ...}``; logits of at
        most 32 bits, at most 256 classes
    timeout : cycles

    Members
    -------
    rx, tx : bytes from and to the host; ``rx`` is a stream of `boards.uart.RECEIVED`
    image, result : to and from the accelerator
    counters : to the accelerator
    reset : to the accelerator, from a register, active high
    activity, error : for one cycle, when a result or an error report begins
    """

    def __init__(self, *, bus_bytes: int, frame_bytes: int, result: data.StructLayout, timeout: int):
        logits = result["logits"].shape
        if frame_bytes % bus_bytes:
            raise ValueError(f"bus_bytes must divide frame_bytes = {frame_bytes}, not {bus_bytes!r}")
        if logits.length > 256:
            raise ValueError(f"result must have at most 256 classes, not {logits.length}")
        if Shape.cast(logits.elem_shape).width > 32:
            raise ValueError(f"result must have logits of at most 32 bits, not {Shape.cast(logits.elem_shape).width}")
        self.bus_bytes, self.frame_bytes, self.timeout = bus_bytes, frame_bytes, timeout
        self.classes = logits.length
        super().__init__(
            {
                "rx": In(stream.Signature(RECEIVED)),
                "tx": Out(stream.Signature(8)),
                "image": Out(stream.Signature(data.ArrayLayout(unsigned(8), bus_bytes))),
                "result": In(stream.Signature(result)),
                "counters": Out(READER),
                "reset": Out(1),
                "activity": Out(1),
                "error": Out(1),
            }
        )

    def elaborate(self, platform):
        m = Module()
        request = Signal(8)  # what the receiving half asks of the replying half
        requested, served = Signal(), Signal()
        code = Signal(8)  # of LinkError
        partial = Signal()  # the accelerator holds part of an image
        self._receive(m, request, requested, served, code, partial)
        self._reply(m, request, requested, served, code, partial)
        return m

    def _receive(self, m, request, requested, served, code, partial):
        rx, image = self.rx, self.image
        count = Signal(range(self.frame_bytes))
        lane = Signal(range(self.bus_bytes))
        quiet = Signal(range(self.timeout))
        expired = quiet == self.timeout - 1
        got, byte = rx.valid & rx.ready, rx.payload.byte

        with m.If(image.ready):
            m.d.sync += image.valid.eq(0)
        m.d.sync += quiet.eq(Mux(rx.valid, 0, quiet + 1))

        def give_up(state, why):
            m.d.sync += code.eq(why)
            m.next = state

        with m.FSM(name="receive"):
            with m.State("COMMAND"):
                m.d.comb += rx.ready.eq(1)
                m.d.sync += [count.eq(0), lane.eq(0), quiet.eq(0), request.eq(byte)]
                with m.If(got & rx.payload.error):
                    give_up("FLUSH", LinkError.RECEIVE)
                with m.Elif(got), m.Switch(byte):
                    with m.Case(Command.IMAGE):
                        m.d.sync += partial.eq(1)
                        m.next = "IMAGE"
                    with m.Case(Command.COUNTER):
                        m.next = "ADDRESS"
                    with m.Case(Command.CLEAR, Command.RESET):
                        m.next = "REQUEST"
                    with m.Default():
                        give_up("FLUSH", LinkError.UNKNOWN_COMMAND)
            with m.State("IMAGE"):
                m.d.comb += rx.ready.eq(~image.valid | image.ready)
                with m.If(got & rx.payload.error):
                    give_up("FLUSH", LinkError.RECEIVE)
                with m.Elif(got):
                    last_lane = lane == self.bus_bytes - 1
                    m.d.sync += [
                        image.payload[lane].eq(byte),
                        image.valid.eq(last_lane),
                        lane.eq(Mux(last_lane, 0, lane + 1)),
                        count.eq(count + 1),
                    ]
                    with m.If(count == self.frame_bytes - 1):
                        m.d.sync += partial.eq(0)
                        m.next = "COMMAND"
                with m.Elif(expired):
                    give_up("ERROR", LinkError.TIMEOUT)
            with m.State("ADDRESS"):
                m.d.comb += rx.ready.eq(1)
                m.d.sync += self.counters.addr.eq(byte)
                with m.If(got & rx.payload.error):
                    give_up("FLUSH", LinkError.RECEIVE)
                with m.Elif(got):
                    m.next = "REQUEST"
                with m.Elif(expired):
                    give_up("ERROR", LinkError.TIMEOUT)
            with m.State("FLUSH"):
                m.d.comb += rx.ready.eq(1)
                with m.If(expired & ~rx.valid):
                    m.next = "ERROR"
            with m.State("ERROR"):
                m.d.sync += request.eq(Command.ERROR)
                m.next = "REQUEST"
            with m.State("REQUEST"):
                m.d.comb += requested.eq(1)
                with m.If(served):
                    with m.If((request == Command.ERROR) | (request == Command.RESET)):
                        m.d.sync += [partial.eq(0), image.valid.eq(0)]
                    m.next = "COMMAND"

    def _reply(self, m, request, requested, served, code, partial):
        tx, result = self.tx, self.result
        waiting = Signal(range(max(RESET_CYCLES, COUNTER_CYCLES)))
        tag, word = Signal(8), Signal(32)
        index = Signal(range(self.classes))
        part = Signal(2)

        m.d.sync += [self.reset.eq(0), part.eq(0)]
        with m.FSM(name="reply"):
            with m.State("IDLE"):
                m.d.sync += [index.eq(0), waiting.eq(0)]
                with m.If(result.valid):
                    m.d.comb += self.activity.eq(1)
                    m.d.sync += tag.eq(Command.IMAGE)
                    m.next = "TAG"
                with m.Elif(requested):
                    m.d.sync += tag.eq(request)
                    with m.Switch(request):
                        with m.Case(Command.COUNTER):
                            m.next = "COUNTER"
                        with m.Case(Command.RESET):
                            m.next = "RESET"
                        with m.Case(Command.ERROR):
                            m.d.comb += self.error.eq(1)
                            with m.If(partial):
                                m.next = "RESET"
                            with m.Else():
                                m.d.comb += served.eq(1)
                                m.next = "TAG"
                        with m.Default():  # Command.CLEAR
                            m.d.comb += [self.counters.clear.eq(1), served.eq(1)]
                            m.next = "TAG"
            with m.State("COUNTER"):
                m.d.sync += [waiting.eq(waiting + 1), word.eq(self.counters.data)]
                with m.If(waiting == COUNTER_CYCLES - 1):
                    m.d.comb += served.eq(1)
                    m.next = "TAG"
            with m.State("RESET"):
                m.d.sync += [waiting.eq(waiting + 1), self.reset.eq(1)]
                with m.If(waiting == RESET_CYCLES - 1):
                    m.d.comb += served.eq(1)
                    m.next = "TAG"
            with m.State("TAG"):
                m.d.comb += [tx.valid.eq(1), tx.payload.eq(tag)]
                with m.If(tx.ready), m.Switch(tag):
                    with m.Case(Command.IMAGE):
                        m.next = "CLASS"
                    with m.Case(Command.COUNTER):
                        m.next = "WORD"
                    with m.Case(Command.ERROR):
                        m.next = "CODE"
                    with m.Default():
                        m.next = "IDLE"
            with m.State("CLASS"):
                m.d.comb += [tx.valid.eq(1), tx.payload.eq(result.payload.class_index)]
                with m.If(tx.ready):
                    m.next = "LOGIT"
            with m.State("LOGIT"):
                m.d.sync += word.eq(result.payload.logits[index])
                m.next = "WORD"
            with m.State("WORD"):
                m.d.comb += [tx.valid.eq(1), tx.payload.eq(word[:8])]
                m.d.sync += part.eq(part + tx.ready)
                with m.If(tx.ready):
                    m.d.sync += word.eq(Cat(word[8:], word[:8]))
                    with m.If(part == 3):
                        with m.If((tag == Command.COUNTER) | (index == self.classes - 1)):
                            m.d.comb += result.ready.eq(tag == Command.IMAGE)
                            m.next = "IDLE"
                        with m.Else():
                            m.d.sync += index.eq(index + 1)
                            m.next = "LOGIT"
            with m.State("CODE"):
                m.d.comb += [tx.valid.eq(1), tx.payload.eq(code)]
                with m.If(tx.ready):
                    m.next = "IDLE"
