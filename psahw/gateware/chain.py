"""A chain of components: the output stream of each is the input stream of the next."""

from amaranth.hdl import Module
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from .stream import connect

__all__ = ["Chain"]


class Chain(wiring.Component):
    """Connects components one behind the other.

    The connections are wires: latency and throughput are those of the parts.

    Parameters
    ----------
    parts : dict of str to wiring.Component
        Components with streams ``i`` and ``o`` by name, in data order; at least one.

    Raises
    ------
    ValueError
        If there are no parts.
    TypeError
        When it is elaborated, if two successive parts disagree about the payload.

    Members
    -------
    i : In(stream)
        The first part's input.
    o : Out(stream)
        The last part's output.
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
