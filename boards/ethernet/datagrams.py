"""Cut a stream of bytes into datagrams."""

from amaranth.hdl import Module, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from psahw.gateware.check import check_int
from psahw.gateware.stream import Queue

__all__ = ["QUEUED", "Datagrams"]

QUEUED = 2
"""Datagrams of maximum length that the queue of bytes holds."""
WAITING = 4  # datagrams of any length that can wait to be sent


class Datagrams(wiring.Component):
    """Store bytes until the length of their datagram is known.

    A datagram ends when it is full. It also ends after the zero byte that ends a frame of the host
    protocol, if no further byte is offered. Answers therefore leave without delay, and answers that
    arrive faster than they can be sent share a datagram. The end of a datagram costs one cycle in
    which no byte is taken.

    Parameters
    ----------
    longest
        Maximum length of a datagram in bytes, at least 2.

    Raises
    ------
    TypeError
        If ``longest`` is not an integer.
    ValueError
        If ``longest`` is less than 2.

    Members
    -------
    i : stream of bytes
        Bytes to send.
    o : stream of bytes
        The same bytes; the queue holds `QUEUED` datagrams of maximum length.
    lengths : stream of ``range(longest + 1)``
        Lengths of the datagrams in bytes. When a length is offered, all bytes of its datagram are
        in the queue.
    """

    def __init__(self, *, longest: int):
        check_int("longest", longest, 2)
        self.longest = longest
        super().__init__(
            {
                "i": In(stream.Signature(8)),
                "o": Out(stream.Signature(8)),
                "lengths": Out(stream.Signature(range(longest + 1))),
            }
        )

    def elaborate(self, platform):
        m = Module()
        i = self.i
        m.submodules.bytes = contents = Queue(shape=8, depth=QUEUED * self.longest, style="block")
        m.submodules.lengths = lengths = Queue(shape=range(self.longest + 1), depth=WAITING, style="distributed")
        wiring.connect(m, contents.o, wiring.flipped(self.o))
        wiring.connect(m, lengths.o, wiring.flipped(self.lengths))
        count = Signal(range(self.longest + 1))
        inside = Signal()  # within a frame: the last byte was not zero
        ended = Signal()  # a frame has ended, and only zeros have followed
        m.d.comb += [contents.i.payload.eq(i.payload), lengths.i.payload.eq(count)]
        with m.FSM():
            with m.State("GATHER"):
                m.d.comb += [contents.i.valid.eq(i.valid), i.ready.eq(contents.i.ready)]
                with m.If(i.valid & i.ready):
                    m.d.sync += [
                        count.eq(count + 1),
                        inside.eq(i.payload != 0),
                        ended.eq((i.payload == 0) & (inside | ended)),
                    ]
                    with m.If(count == self.longest - 1):
                        m.next = "CUT"
                with m.Elif(~i.valid & ended):
                    m.next = "CUT"
            with m.State("CUT"):
                m.d.comb += lengths.i.valid.eq(1)
                with m.If(lengths.i.ready):
                    m.d.sync += [count.eq(0), ended.eq(0)]
                    m.next = "GATHER"
        return m
