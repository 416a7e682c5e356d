"""The answers: each ticket in its turn, an image's when its result is there."""

from amaranth.hdl import Array, Module, Shape, Signal, unsigned
from amaranth.lib import data, stream, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from psahw.gateware.counters import READER
from psahw.host.protocol import ANSWER, MAX_CLASSES, Kind

from .cobs import LAST
from .dispatcher import TICKET

__all__ = ["Replier"]

RESET_CYCLES = 4
FETCH_CYCLES = 4  # from an address to its word; a counter may take two
MAX_LOGIT_BITS = 32
TIMES = ("latency", "span", "stamp")


class Replier(wiring.Component):
    """Writes the bodies of answers: kind, sequence number, and 32-bit words.

    A result leaves the accelerator when it has been sent; of a repeated image all but the last are passed over. A
    reset is carried out between two answers, never within one, so that no answer mixes before and after.

    Parameters
    ----------
    hello : payload of that answer, whole words
    result : the accelerator's ``{"logits": ArrayLayout(signed(bits), classes), "class_index": ...}``; logits of at
        most 32 bits, at most 256 classes

    Members
    -------
    i : stream of `psahw.boards.link.dispatcher.TICKET`
    o : stream of `psahw.boards.link.cobs.LAST`
    result, counters : to the accelerator
    latency, span, stamp, offered, next_image : to `psahw.boards.link.stopwatch.Stopwatch`
    reset, reset_sequence : from the dispatcher
    flush : high for four cycles: the accelerator and all that is under way are to be reset
    activity, error : for one cycle, when a result or an error report begins
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
                "o": Out(stream.Signature(LAST)),
                "result": In(stream.Signature(result)),
                "counters": Out(READER),
                **{name: In(32) for name in TIMES},
                "offered": Out(1),
                "next_image": Out(1),
                "reset": In(1),
                "reset_sequence": In(8),
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
        kind, sequence, words = Signal(8), Signal(8), Signal(range(max(result_words, len(self._hello)) + 1))
        waiting = Signal(range(max(RESET_CYCLES, FETCH_CYCLES)))
        last_word = index == words - 1
        o, ticket = self.o, self.i.payload

        fetched = self._word(m, kind, index)
        taken, ready = self._results(m)
        m.d.comb += self.counters.addr.eq(ticket.argument)
        m.d.sync += self.flush.eq(0)
        with m.FSM():
            with m.State("IDLE"):
                m.d.sync += [index.eq(0), waiting.eq(0), part.eq(0)]
                m.d.sync += [kind.eq(ticket.kind), sequence.eq(ticket.sequence)]
                with m.If(self.reset):
                    m.d.sync += [kind.eq(Kind.RESET), sequence.eq(self.reset_sequence), words.eq(0)]
                    m.next = "RESET"
                with m.Elif(self.i.valid):
                    m.next = "KIND"
                    with m.Switch(ticket.kind):
                        with m.Case(Kind.HELLO):
                            m.d.sync += words.eq(len(self._hello))
                        with m.Case(Kind.IMAGE):
                            m.d.sync += words.eq(result_words)
                            m.next = "RESULT"
                        with m.Case(Kind.CLEAR):
                            m.d.sync += words.eq(0)
                            m.d.comb += self.counters.clear.eq(1)
                        with m.Default():  # a counter, an error
                            m.d.sync += words.eq(1)
                            m.d.comb += self.error.eq(ticket.kind == Kind.ERROR)
            with m.State("RESULT"):
                with m.If(self.reset):
                    m.next = "IDLE"
                with m.Elif(ready):
                    m.d.comb += self.activity.eq(1)
                    m.next = "KIND"
                with m.Else():
                    m.d.comb += taken.eq(self.result.valid)
            with m.State("RESET"):
                m.d.sync += [waiting.eq(waiting + 1), self.flush.eq(1)]
                with m.If(waiting == RESET_CYCLES - 1):
                    m.next = "KIND"
            with m.State("KIND"):
                m.d.comb += [o.valid.eq(1), o.payload.byte.eq(kind | ANSWER)]
                with m.If(o.ready):
                    m.next = "SEQUENCE"
            with m.State("SEQUENCE"):
                m.d.comb += [o.valid.eq(1), o.payload.byte.eq(sequence), o.payload.last.eq(words == 0)]
                m.d.sync += waiting.eq(0)
                with m.If(o.ready):
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
                m.d.comb += [self.i.ready.eq(kind != Kind.RESET), self.next_image.eq(kind == Kind.IMAGE)]
                m.next = "IDLE"
        return m

    def _results(self, m):
        """A signal to take one that is not an image's last, and whether the last is offered."""
        taken, done, shown = Signal(), Signal(16), Signal()
        result = self.result
        m.d.comb += [result.ready.eq(taken | self.next_image), self.offered.eq(result.valid & ~shown)]
        m.d.sync += shown.eq(result.valid & ~result.ready)
        with m.If(self.next_image | self.flush):
            m.d.sync += done.eq(0)
        with m.Elif(taken):
            m.d.sync += done.eq(done + 1)
        return taken, result.valid & (done == self.i.payload.argument - 1)

    def _word(self, m, kind, index):
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
