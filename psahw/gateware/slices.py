"""Components side by side, each with its share of a wide stream's lanes."""

from collections.abc import Sequence

from amaranth.hdl import Module
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

__all__ = ["Slices"]


def _together(part: stream.Signature, count: int) -> stream.Signature:
    """Return the signature of a stream with ``count`` times the lanes of ``part``."""
    lanes = part.members["payload"].shape
    return stream.Signature(data.ArrayLayout(lanes.elem_shape, count * lanes.length))


class Slices(wiring.Component):
    """Puts components side by side, each of which takes its share of a stream's lanes.

    The parts differ in their constants only. Their handshakes do not depend on data, so that they move together, and
    the ``valid`` and ``ready`` of the first part hold for all. Latency and throughput are those of a part.

    Parameters
    ----------
    parts : sequence of wiring.Component
        Components with streams ``i`` and ``o``; at least one.

    Raises
    ------
    ValueError
        If there are no parts.
    TypeError
        If the parts have different payloads.

    Members
    -------
    i, o : In(stream), Out(stream)
        The lanes of all parts, those of the first part lowest.
    """

    def __init__(self, *, parts: Sequence[wiring.Component]):
        if not parts:
            raise ValueError("parts must not be empty")
        self.parts = tuple(parts)
        first, *others = self.parts
        for name in ("i", "o"):
            shape = getattr(first, name).payload.shape()
            for other in others:
                if getattr(other, name).payload.shape() != shape:
                    raise TypeError(f"parts must have the same {name}.payload, not {shape!r} and others")
        count = len(self.parts)
        super().__init__(
            {"i": In(_together(first.i.signature, count)), "o": Out(_together(first.o.signature, count))}
        )

    def elaborate(self, platform):
        m = Module()
        first = self.parts[0]
        i_lanes, o_lanes = len(first.i.payload), len(first.o.payload)
        m.d.comb += [self.i.ready.eq(first.i.ready), self.o.valid.eq(first.o.valid)]
        for n, part in enumerate(self.parts):
            m.submodules[f"slice_{n}"] = part
            m.d.comb += [part.i.valid.eq(self.i.valid), part.o.ready.eq(self.o.ready)]
            m.d.comb += [part.i.payload[k].eq(self.i.payload[n * i_lanes + k]) for k in range(i_lanes)]
            m.d.comb += [self.o.payload[n * o_lanes + k].eq(part.o.payload[k]) for k in range(o_lanes)]
        return m
