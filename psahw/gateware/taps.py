"""Delay lines in memory, with taps at equal distances."""

from amaranth.hdl import Cat, Module, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from .check import check_int
from .count import count
from .ram import ram
from .rom import STYLES

__all__ = ["DelayTaps"]


class DelayTaps(wiring.Component):
    """Gives the value pushed last, and those ``distance``, ``2·distance``, ... ``taps·distance`` pushes before it.

    One memory of ``distance`` words holds all of them: each word has the values of one place in the line, and goes
    back with the new value in front and without the oldest. At a distance of 1 they are registers. Values that were
    never pushed, or were pushed before a reset, are undefined.

    Latency: one clock cycle. Throughput: one value per clock cycle.

    Parameters
    ----------
    width : int
        Bits of a value.
    distance : int
        Pushes between two taps.
    taps : int
        Number of delayed values, 0 or more.
    style : str
        ``"block"`` or ``"distributed"`` RAM.

    Raises
    ------
    TypeError
        If a number is not an integer.
    ValueError
        If a number is too small, or the style is unknown.

    Members
    -------
    push : In(1)
        ``i`` is the next value.
    i : In(width)
        The value to push.
    o : Out(width·(taps + 1))
        The values, the newest lowest; they stay between pushes.
    """

    def __init__(self, *, width: int, distance: int, taps: int, style: str):
        check_int("width", width)
        check_int("distance", distance)
        check_int("taps", taps, 0)
        if style not in STYLES:
            raise ValueError(f"style must be one of {', '.join(STYLES)}, not {style!r}")
        self._width, self._distance, self._taps, self._style = width, distance, taps, style
        super().__init__({"push": In(1), "i": In(width), "o": Out(width * (taps + 1))})

    def elaborate(self, platform):
        m = Module()

        newest = Signal(self._width, reset_less=True)
        older = Signal(self._width * self._taps, reset_less=True)
        m.d.comb += self.o.eq(Cat(newest, older))
        with m.If(self.push):
            m.d.sync += newest.eq(self.i)
        if self._taps == 0:
            return m
        if self._distance == 1:
            with m.If(self.push):
                m.d.sync += older.eq(self.o)
            return m

        # A word is written in the clock cycle after it was read, in which the next one may be read.
        m.submodules.memory = memory = ram(shape=len(older), depth=self._distance, style=self._style)
        read, write = memory.read_port(), memory.write_port()
        (place,) = count(m, self.push, self._distance)
        m.d.sync += [write.en.eq(self.push), write.addr.eq(place.value)]
        m.d.comb += [
            read.addr.eq(place.value),
            read.en.eq(self.push),
            older.eq(read.data),
            write.data.eq(self.o),
        ]

        return m
