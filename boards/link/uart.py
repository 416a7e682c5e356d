"""A UART as stream components: eight data bits, no parity, one stop bit.

Bit k of a character begins ``round(k · clock / baud)`` clock cycles after the character does, so
rounding errors never add up. The baud rate may be up to 1/8 of the clock frequency, or 1/4 if both
ends use the same clock.
"""

from fractions import Fraction
from itertools import pairwise

from amaranth.hdl import Array, Cat, Module, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.cdc import FFSynchronizer
from amaranth.lib.wiring import In, Out

__all__ = [
    "CHARACTER",
    "CHARACTER_BITS",
    "MIN_CYCLES_PER_BIT",
    "SHORTEST_BIT",
    "Receiver",
    "Transmitter",
    "bit_times",
]

CHARACTER_BITS = 10  # start bit, eight data bits (least significant first), stop bit
MIN_CYCLES_PER_BIT = 8
"""Shortest bit on a board, in clock cycles: the other end has a clock of its own, which may deviate by 3.3 %."""
SHORTEST_BIT = 4
"""Shortest bit in simulation, in clock cycles: the other end's rate may deviate by 1.3 %."""

CHARACTER = data.StructLayout({"byte": 8, "error": 1})
"""A received character.

``byte`` holds its data bits. ``error`` means that the character was malformed, or that one or more
characters before it were lost.
"""


def bit_times(clock_hz: float | Fraction, baud: int, *, offset: Fraction = Fraction(0)) -> list[int]:
    """Return the clock cycles between the moments ``round((k + offset) · clock / baud)`` of a character.

    The first number counts from the beginning of the character.

    Parameters
    ----------
    clock_hz
        Clock frequency in Hz.
    baud
        Bits per second.
    offset
        Position of the moments within a bit: 0 for its beginning, 1/2 for its middle.

    Raises
    ------
    ValueError
        If a bit is shorter than `SHORTEST_BIT` clock cycles.
    """
    period = Fraction(clock_hz) / baud
    if period < SHORTEST_BIT:
        raise ValueError(
            f"baud must be at most clock_hz / {SHORTEST_BIT} = "
            f"{float(Fraction(clock_hz)) / SHORTEST_BIT:.0f}, not {baud!r}"
        )
    first = 0 if offset else 1
    moments = [0, *(round((k + offset) * period) for k in range(first, first + CHARACTER_BITS))]
    return [after - before for before, after in pairwise(moments)]


class Receiver(wiring.Component):
    """UART receiver.

    The line is synchronised and filtered by a majority vote over three successive clock cycles,
    which suppresses disturbances of one cycle. A start bit counts only if the line is still low in
    its middle. Every bit is sampled in its middle, so the sender's rate may deviate by
    ``(1/2 - 1.5 / T) / 9.5`` with T clock cycles per bit: 3.3 % for T = 8 and 1.3 % for T = 4. A
    line that stays low (a break) is one malformed character.

    Parameters
    ----------
    clock_hz
        Clock frequency in Hz.
    baud
        Bits per second.

    Raises
    ------
    ValueError
        If a bit is shorter than `SHORTEST_BIT` clock cycles.

    Members
    -------
    rx : In(1)
        The line: asynchronous, high when idle.
    o : stream of `CHARACTER`
        Received characters. A character that ends while the previous one has not been taken is
        lost; the next one is then marked with ``error``.
    """

    def __init__(self, *, clock_hz: float | Fraction, baud: int):
        self._waits = bit_times(clock_hz, baud, offset=Fraction(1, 2))
        super().__init__({"rx": In(1, init=1), "o": Out(stream.Signature(CHARACTER))})

    def elaborate(self, platform):
        m = Module()
        rx, line = Signal(init=1), Signal(init=1)
        recent = Signal(3, init=0b111)
        m.submodules.synchroniser = FFSynchronizer(self.rx, rx, init=1)
        m.d.sync += [
            recent.eq(Cat(rx, recent)),
            line.eq((recent[0] & recent[1]) | (recent[0] & recent[2]) | (recent[1] & recent[2])),
        ]

        wait = Array(cycles - 1 for cycles in self._waits)
        timer = Signal(range(max(self._waits)))
        sample = Signal(range(CHARACTER_BITS))
        bits, lost, done = Signal(8), Signal(), Signal()

        with m.FSM():
            with m.State("IDLE"):
                m.d.sync += [timer.eq(wait[0]), sample.eq(0)]
                with m.If(~line):
                    m.next = "CHARACTER"
            with m.State("CHARACTER"):
                m.d.sync += timer.eq(timer - 1)
                with m.If(timer == 0):
                    m.d.sync += [timer.eq(wait[sample + 1]), sample.eq(sample + 1)]
                    with m.If((sample == 0) & line):
                        m.next = "IDLE"
                    with m.Elif(sample == CHARACTER_BITS - 1):
                        m.d.comb += done.eq(1)
                        with m.If(line):  # do not wait for the end of the stop bit: the next start bit may be early
                            m.next = "IDLE"
                        with m.Else():
                            m.next = "BREAK"
                    with m.Else():
                        m.d.sync += bits.eq(Cat(bits[1:], line))
            with m.State("BREAK"), m.If(line):
                m.next = "IDLE"

        with m.If(self.o.ready):
            m.d.sync += self.o.valid.eq(0)
        with m.If(done):
            with m.If(self.o.valid & ~self.o.ready):
                m.d.sync += lost.eq(1)
            with m.Else():
                m.d.sync += [
                    self.o.valid.eq(1),
                    self.o.payload.byte.eq(bits),
                    self.o.payload.error.eq(~line | lost),
                    lost.eq(0),
                ]
        return m


class Transmitter(wiring.Component):
    """UART transmitter.

    Characters follow each other without a pause as long as ``i`` offers them.

    Parameters
    ----------
    clock_hz
        Clock frequency in Hz.
    baud
        Bits per second.

    Raises
    ------
    ValueError
        If a bit is shorter than `SHORTEST_BIT` clock cycles.

    Members
    -------
    i : stream of bytes
        Characters to send.
    tx : Out(1)
        The line: driven by a register, high when idle.
    """

    def __init__(self, *, clock_hz: float | Fraction, baud: int):
        self._waits = bit_times(clock_hz, baud)
        super().__init__({"i": In(stream.Signature(8)), "tx": Out(1, init=1)})

    def elaborate(self, platform):
        m = Module()
        wait = Array(cycles - 1 for cycles in self._waits)
        timer = Signal(range(max(self._waits)))
        bit = Signal(range(CHARACTER_BITS))
        rest = Signal(CHARACTER_BITS - 1)
        busy = Signal()
        m.d.comb += self.i.ready.eq(~busy)
        with m.If(~busy):
            m.d.sync += [timer.eq(wait[0]), bit.eq(0)]
            with m.If(self.i.valid):
                m.d.sync += [busy.eq(1), self.tx.eq(0), rest.eq(Cat(self.i.payload, 1))]
        with m.Else():
            m.d.sync += timer.eq(timer - 1)
            with m.If(timer == 0):
                m.d.sync += [timer.eq(wait[bit + 1]), bit.eq(bit + 1)]
                with m.If(bit == CHARACTER_BITS - 1):
                    m.d.sync += busy.eq(0)
                with m.Else():
                    m.d.sync += [self.tx.eq(rest[0]), rest.eq(rest >> 1)]
        return m
