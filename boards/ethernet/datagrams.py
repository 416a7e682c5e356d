"""Cuts a stream of bytes into datagrams."""

from amaranth.hdl import Module, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from psahw.gateware.check import check_int
from psahw.gateware.stream import Queue

__all__ = ["QUEUED", "Datagrams"]

QUEUED = 2  # datagrams of the longest kind
WAITING = 4  # datagrams, of any length


class Datagrams(wiring.Component):
    """Bytes that wait until it is known how many of them make a datagram.

    A datagram ends behind the zero byte that ends a frame of the host protocol when no further byte is offered, or
    when it is full. So answers leave without delay, and those that come faster than they can be sent leave together.
    A datagram costs one cycle in which no byte is taken.

    Parameters
    ----------
    longest : bytes of a datagram, at least 2

    Members
    -------
    i : stream of bytes
    o : stream of the same, those of `QUEUED` datagrams at most
    lengths : stream of datagrams' lengths in bytes; all of a datagram's are at ``o`` no later than it
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
        inside = Signal()  # a frame: the last byte was not zero
        ended = Signal()  # one has, and only zeros have come since
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
