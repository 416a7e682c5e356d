"""Answer requests in the order in which they were accepted, images when their results are available."""

from amaranth.hdl import Array, Module, Mux, Shape, Signal, unsigned
from amaranth.lib import data, stream, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from psahw.gateware.counters import READER
from psahw.host.protocol import ANSWER, MAX_CLASSES, SEQUENCE_BYTES, SHORT_KINDS, Kind

from .cobs import FRAME_BYTE
from .dispatcher import TICKET

__all__ = ["Replier"]

RESET_CYCLES = 4
FETCH_CYCLES = 4  # from an index to its word; a counter takes up to two
MAX_LOGIT_BITS = 32
TIMES = ("latency", "span", "stamp")


class Replier(wiring.Component):
    """Write the bodies of answers: kind, sequence number, and 32-bit words.

    A result is taken from the accelerator when its answer has been sent. The answer begins when
    the whole image has been sent to the accelerator, so that there is room for another after it. Of
    a repeated image, all results except the last are discarded. A reset is carried out between two
    answers, so no answer mixes values from before and after it. Its own answer is a ticket like any
    other.

    Parameters
    ----------
    hello
        Payload of the hello message, whole 32-bit words.
    result
        Payload of the accelerator's results:
        ``{"logits": ArrayLayout(signed(bits), classes), "class_index": ...}`` with at most 256
        classes and logits of at most 32 bits.

    Raises
    ------
    ValueError
        If ``hello`` is empty or not whole words, or if ``result`` has too many classes or bits.

    Members
    -------
    i : stream of `psahw.boards.link.dispatcher.TICKET`
        Answers to send.
    o : stream of `psahw.boards.link.cobs.FRAME_BYTE`
        Bodies of the answers.
    result : stream of ``result``
        Results of the accelerator.
    counters : Out(`psahw.gateware.counters.READER`)
        Counters of the accelerator and the link.
    sent : In(1)
        Connect to the port of the same name of `psahw.boards.link.image_buffer.ImageBuffer`.
    latency, span, stamp, offered, next_image
        Connect to the ports of the same names of `psahw.boards.link.stopwatch.Stopwatch`.
    reset
        Connect to the port of the same name of `psahw.boards.link.dispatcher.Dispatcher`.
    flush : Out(1)
        High for four cycles to reset the accelerator and everything that belongs to the images in
        it.
    activity : Out(1)
        High for one cycle when the answer with a result begins.
    error : Out(1)
        High for one cycle when the report of an error begins.
    """

    def __init__(self, *, hello: bytes, result: data.StructLayout):
        logits = result["logits"].shape
        width = Shape.cast(logits.elem_shape).width
        if not hello or len(hello) % 4:
            raise ValueError(f"hello must be whole 32-bit words, not {len(hello)} bytes")
        if logits.length > MAX_CLASSES:
            raise ValueError(f"result must have at most {MAX_CLASSES} classes, not {logits.length}")
        if width > MAX_LOGIT_BITS:
            raise ValueError(f"result must have logits of at most {MAX_LOGIT_BITS} bits, not {width}")
        self.classes = logits.length
        self._hello = [int.from_bytes(hello[k : k + 4], "little") for k in range(0, len(hello), 4)]
        super().__init__(
            {
                "i": In(stream.Signature(TICKET)),
                "o": Out(stream.Signature(FRAME_BYTE)),
                "result": In(stream.Signature(result)),
                "counters": Out(READER),
                "sent": In(1),
                **{name: In(32) for name in TIMES},
                "offered": Out(1),
                "next_image": Out(1),
                "reset": In(1),
                "flush": Out(1),
                "activity": Out(1),
                "error": Out(1),
            }
        )

    def elaborate(self, platform):
        m = Module()
        result_words = 1 + len(TIMES) + self.classes
        index = Signal(range(max(result_words, len(self._hello))))
        word, part = Signal(32), Signal(2)
        words = Signal(range(max(result_words, len(self._hello)) + 1))
        waiting = Signal(range(max(RESET_CYCLES, FETCH_CYCLES)))
        last_word = index == words - 1
        o, ticket = self.o, self.i.payload
        kind = ticket.kind
        sequence_end = part == Mux(kind.matches(*SHORT_KINDS), 0, SEQUENCE_BYTES - 1)

        fetched = self._word(m, kind, index)
        taken, begins, last = self._results(m)
        m.d.comb += self.counters.addr.eq(ticket.argument)
        m.d.sync += [self.flush.eq(0), self.counters.clear.eq(0)]
        with m.FSM():
            with m.State("IDLE"):
                m.d.sync += [index.eq(0), waiting.eq(0), part.eq(0)]
                with m.If(self.reset):
                    m.next = "RESET"
                with m.Elif(self.i.valid):
                    m.next = "KIND"
                    with m.Switch(kind):
                        with m.Case(Kind.HELLO):
                            m.d.sync += words.eq(len(self._hello))
                        with m.Case(Kind.IMAGE):
                            m.d.sync += words.eq(result_words)
                            m.d.comb += begins.eq(1)
                            m.next = "RESULT"
                        with m.Case(Kind.CLEAR, Kind.RESET, Kind.OPEN):
                            m.d.sync += words.eq(0)
                            m.d.sync += self.counters.clear.eq(kind == Kind.CLEAR)
                        with m.Default():  # a counter or an error
                            m.d.sync += words.eq(1)
                            m.d.comb += self.error.eq(kind == Kind.ERROR)
            with m.State("RESULT"):
                with m.If(self.reset):
                    m.next = "IDLE"
                with m.Elif(last & self.sent):
                    m.d.comb += self.activity.eq(1)
                    m.next = "KIND"
                with m.Else():
                    m.d.comb += taken.eq(self.result.valid & ~last)
            with m.State("RESET"):
                m.d.sync += [waiting.eq(waiting + 1), self.flush.eq(1)]
                with m.If(waiting == RESET_CYCLES - 1):
                    m.next = "IDLE"
            with m.State("KIND"):
                m.d.comb += [o.valid.eq(1), o.payload.byte.eq(kind | ANSWER)]
                with m.If(o.ready):
                    m.next = "SEQUENCE"
            with m.State("SEQUENCE"):
                m.d.comb += [
                    o.valid.eq(1),
                    o.payload.byte.eq(ticket.sequence.word_select(part, 8)),
                    o.payload.last.eq(sequence_end & (words == 0)),
                ]
                m.d.sync += waiting.eq(0)
                with m.If(o.ready):
                    m.d.sync += part.eq(Mux(sequence_end, 0, part + 1))
                    with m.If(sequence_end):
                        m.next = "FETCH"
                        with m.If(words == 0):
                            m.next = "DONE"
            with m.State("FETCH"):
                m.d.sync += [waiting.eq(waiting + 1), word.eq(fetched)]
                with m.If(waiting == FETCH_CYCLES - 1):
                    m.next = "WORD"
            with m.State("WORD"):
                m.d.comb += [o.valid.eq(1), o.payload.byte.eq(word[:8]), o.payload.last.eq(last_word & (part == 3))]
                with m.If(o.ready):
                    m.d.sync += [word.eq(word >> 8), part.eq(part + 1), waiting.eq(0)]
                    with m.If(part == 3):
                        m.d.sync += index.eq(index + 1)
                        m.next = "FETCH"
                        with m.If(last_word):
                            m.next = "DONE"
            with m.State("DONE"):
                m.d.comb += [self.i.ready.eq(1), self.next_image.eq(kind == Kind.IMAGE)]
                m.next = "IDLE"
        return m

    def _results(self, m):
        """Discard all results of an image except the last.

        Returns
        -------
        taken
            Signal to set in a cycle in which a result is to be discarded.
        begins
            Signal to set in the cycle before the image's results are waited for.
        last
            Expression that is true while the image's last result is offered.
        """
        taken, begins, shown = Signal(), Signal(), Signal()
        # A register says that one result is left, because this decides whether the accelerator may go on.
        left, one_left = Signal.like(self.i.payload.argument), Signal()
        result = self.result
        m.d.comb += [result.ready.eq(taken | self.next_image), self.offered.eq(result.valid & ~shown)]
        m.d.sync += shown.eq(result.valid & ~result.ready)
        with m.If(begins):
            m.d.sync += [left.eq(self.i.payload.argument), one_left.eq(self.i.payload.argument == 1)]
        with m.Elif(taken):
            m.d.sync += [left.eq(left - 1), one_left.eq(left == 2)]
        return taken, begins, result.valid & one_left

    def _word(self, m, kind, index):
        """Return the word at ``index`` of an answer."""
        m.submodules.hello = hello = Memory(shape=unsigned(32), depth=len(self._hello), init=self._hello)
        port = hello.read_port()
        m.d.comb += port.addr.eq(index)
        word = Signal(32)
        payload = self.result.payload
        results = Array([payload.class_index, *(getattr(self, name) for name in TIMES), *payload.logits])
        with m.Switch(kind):
            with m.Case(Kind.HELLO):
                m.d.comb += word.eq(port.data)
            with m.Case(Kind.IMAGE):
                m.d.comb += word.eq(results[index])
            with m.Case(Kind.COUNTER):
                m.d.comb += word.eq(self.counters.data)
            with m.Default():
                m.d.comb += word.eq(self.i.payload.argument)
        return word
