"""The greatest element of each channel over the tokens of a window."""

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from ..architecture.codes import INT8, Codes
from .check import check_divides, check_int
from .count import count
from .stream import vector_signature

__all__ = ["MaxPool"]


class MaxPool(wiring.Component):
    """Computes the maximum over the tokens of a window for each channel.

    The greatest elements so far are in a small memory, one word for each beat of a token; the first token of a window
    starts them anew. They leave while the last token comes.

    Latency: one clock cycle from a beat of the last token to the beat of the result
    (`psahw.architecture.timing.max_pool`). Throughput: one beat per clock cycle.

    Parameters
    ----------
    tokens, channels : int
        Tokens per window, and elements of each.
    lanes : int
        Elements of a beat on both sides; divides ``channels``.
    codes : Codes
        Type of the elements.

    Raises
    ------
    TypeError
        If a number is not an integer.
    ValueError
        If a number is out of its range, or ``lanes`` does not divide.

    Members
    -------
    i : In(stream of ``lanes`` codes)
        ``tokens·channels / lanes`` beats per window.
    o : Out(stream of ``lanes`` codes)
        ``channels / lanes`` beats per window.
    """

    def __init__(self, *, tokens: int, channels: int, lanes: int, codes: Codes = INT8):
        for name, value in (("tokens", tokens), ("channels", channels), ("lanes", lanes)):
            check_int(name, value)
        check_divides("lanes", lanes, "channels", channels)
        self._tokens, self._beats = tokens, channels // lanes
        signature = vector_signature(lanes, codes)
        super().__init__({"i": In(signature), "o": Out(signature)})

    def elaborate(self, platform):
        m = Module()

        i, o = self.i, self.o
        m.submodules.memory = memory = Memory(
            shape=i.payload.shape(), depth=self._beats, init=[], attrs={"ram_style": "distributed"}
        )
        write, read = memory.write_port(), memory.read_port(domain="comb")
        put, en = i.valid & i.ready, ~o.valid | o.ready
        beat, token = count(m, put, self._beats, self._tokens)
        greatest = Signal.like(i.payload)
        m.d.comb += [
            i.ready.eq(en),
            read.addr.eq(beat.value),
            write.addr.eq(beat.value),
            write.data.eq(greatest),
            write.en.eq(put),
        ]
        m.d.comb += [
            to.eq(Mux((token.value == 0) | (x > before), x, before))
            for to, x, before in zip(greatest, i.payload, read.data, strict=True)
        ]
        with m.If(en):
            m.d.sync += [o.valid.eq(put & token.last), o.payload.eq(greatest)]

        return m
