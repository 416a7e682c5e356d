"""A UART, 8N1, as stream components.

Bit k of a character begins ``round(k · clock / baud)`` cycles after its start, so rounding never adds up and
any baud rate of at most an eighth of the clock will do, and a quarter where both ends share one.
"""

from fractions import Fraction
from itertools import pairwise

from amaranth.hdl import Array, Cat, Module, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.cdc import FFSynchronizer
from amaranth.lib.wiring import In, Out

__all__ = ["CHARACTER_BITS", "MIN_CYCLES_PER_BIT", "RECEIVED", "SHORTEST_BIT", "Receiver", "Transmitter", "bit_times"]

CHARACTER_BITS = 10  # start, eight data bits, least significant first, stop
MIN_CYCLES_PER_BIT = 8
"""On boards, where the other end has a clock of its own."""
SHORTEST_BIT = 4
"""Cycles in which a bit can be told from the next if the other end's rate is the same to 1.3 %: in simulation."""

RECEIVED = data.StructLayout({"byte": 8, "error": 1})
"""A character as received; ``error``: it was malformed, or one or more before it were lost."""


def bit_times(clock_hz: float | Fraction, baud: int, *, offset: Fraction = Fraction(0)) -> list[int]:
    """Cycles between successive moments ``round((k + offset) · clock / baud)`` of a character, the first counted
    from its beginning.

    Raises ValueError if a bit is shorter than `SHORTEST_BIT` cycles.
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
    """Characters from a serial line.

    The line is synchronised and filtered by a majority of three successive cycles, so that a disturbance of
    one cycle is not seen; a start bit that is no longer low in its middle is not one. Bits are sampled in
    their middle: a sender's rate may deviate by ``(1/2 - 1.5 / T) / 9.5`` with T cycles a bit, 3.3 % at T = 8,
    1.3 % at T = 4. A line that stays low (break) is one malformed character.

    Members
    -------
    rx : the line, asynchronous, idle high
    o : stream of `RECEIVED`; a character not taken before the next one ends costs that next one
    """

    def __init__(self, *, clock_hz: float | Fraction, baud: int):
        self._waits = bit_times(clock_hz, baud, offset=Fraction(1, 2))
        super().__init__({"rx": In(1, init=1), "o": Out(stream.Signature(RECEIVED))})

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
                        with m.If(line):  # at once: a fast sender's next start bit is near
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
    """Characters to a serial line, back to back while there are any.

    Members
    -------
    i : stream of bytes
    tx : the line, from a register, idle high
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
