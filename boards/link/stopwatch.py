"""Measure when images enter the accelerator and when their results leave it."""

from amaranth.hdl import Array, Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from psahw.gateware.check import check_int

__all__ = ["Stopwatch"]


class Stopwatch(wiring.Component):
    """Measure times in clock cycles modulo 2^32, for images whose results leave in the order in which they entered.

    Parameters
    ----------
    images
        Maximum number of images in the accelerator.

    Raises
    ------
    TypeError
        If ``images`` is not an integer.
    ValueError
        If ``images`` is less than 1.

    Members
    -------
    begin : In(1)
        The first beat of an image is transferred.
    offered : In(1)
        First cycle in which a result is offered.
    next_image : In(1)
        The last result of the image has been taken; the next result belongs to the next image.
    latency : Out(32)
        Cycles from ``begin`` to the image's first result.
    span : Out(32)
        Cycles from the image's first result to its latest one.
    stamp : Out(32)
        Cycle of the image's latest result.
    """

    def __init__(self, *, images: int):
        check_int("images", images)
        self.images = images
        super().__init__(
            {
                "begin": In(1),
                "offered": In(1),
                "next_image": In(1),
                "latency": Out(32),
                "span": Out(32),
                "stamp": Out(32),
            }
        )

    def elaborate(self, platform):
        m = Module()
        now, first = Signal(32, reset_less=True), Signal(32)  # stamps continue through a soft reset
        more = Signal()  # the image has produced a result
        begun = Array(Signal(32, name=f"begun_{k}") for k in range(self.images))
        newest, oldest = Signal(range(self.images)), Signal(range(self.images))
        m.d.sync += now.eq(now + 1)

        def step(place):
            return place.eq(Mux(place == self.images - 1, 0, place + 1))

        with m.If(self.begin):
            m.d.sync += [begun[newest].eq(now), step(newest)]
        with m.If(self.offered):
            m.d.sync += [self.stamp.eq(now), self.span.eq(Mux(more, now - first, 0)), more.eq(1)]
            with m.If(~more):
                m.d.sync += [first.eq(now), self.latency.eq(now - begun[oldest])]
        with m.If(self.next_image):
            m.d.sync += [more.eq(0), step(oldest)]
        return m
