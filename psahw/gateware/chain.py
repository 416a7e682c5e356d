"""Components in a row: each one's output stream is the next one's input."""

from amaranth.hdl import Module
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from .stream import connect

__all__ = ["Chain"]


class Chain(wiring.Component):
    """``parts`` maps names to components with streams ``i`` and ``o``, in data order; at least one.

    No latency of its own. Raises TypeError (from `psahw.gateware.stream.connect`) when it is elaborated if
    neighbours disagree about the payload.
    """

    def __init__(self, *, parts: dict[str, wiring.Component]):
        if not parts:
            raise ValueError("parts must not be empty")
        self.parts = dict(parts)
        first, *_, last = [*self.parts.values(), *self.parts.values()]
        super().__init__({"i": In(first.i.signature.flip()), "o": Out(last.o.signature)})

    def elaborate(self, platform):
        m = Module()
        source = wiring.flipped(self.i)
        for name, part in self.parts.items():
            m.submodules[name] = part
            connect(m, source, part.i)
            source = part.o
        connect(m, source, wiring.flipped(self.o))
        return m
