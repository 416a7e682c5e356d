"""Nested counters, fill levels, and the pacing of vectors at a fixed period."""

from typing import NamedTuple

from amaranth.hdl import Module, Mux, Signal, Value
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from .check import check_int

__all__ = ["Cadence", "Counter", "Level", "count", "level"]


class Counter(NamedTuple):
    """A counter from 0 to ``length - 1``.

    ``last`` is high while ``value`` is ``length - 1``, ``wrap`` in the clock cycle of the step that makes it 0 again.
    """

    value: Signal
    last: Value
    wrap: Value


def count(m: Module, step: Value, *lengths: int) -> list[Counter]:
    """Return nested counters of the given lengths, the innermost first.

    The innermost counter counts clock cycles in which ``step`` is high; each other one counts the wraps of the one
    inside it.
    """
    counters = []
    for length in lengths:
        value = Signal(range(length), name=f"count_{len(counters)}")
        last = value == length - 1
        with m.If(step):
            m.d.sync += value.eq(Mux(last, 0, value + 1))
        step = step & last
        counters.append(Counter(value, last, step))
    return counters


class Level(NamedTuple):
    """A fill level from 0 to a depth. All three fields are registers.

    ``room`` is high while ``value`` is below the depth, ``some`` while it is not 0.
    """

    value: Signal
    room: Signal
    some: Signal


def level(m: Module, put: Value, take: Value, depth: int, *, name: str = "level") -> Level:
    """Return the fill level of a buffer with ``depth`` places; ``put`` adds one, ``take`` removes one.

    ``room`` and ``some`` are registers, so that a chain of ``ready`` or ``valid`` begins without logic. ``take`` and
    ``put`` may come late: they choose between precomputed next values.
    """
    value = Signal(range(depth + 1), name=name)
    room, some = Signal(init=1, name=f"{name}_room"), Signal(name=f"{name}_some")

    def following(register, more, less):
        m.d.sync += register.eq(Mux(take, Mux(put, register, less), Mux(put, more, register)))

    following(value, value + 1, value - 1)
    following(room, value != depth - 1, 1)
    following(some, 1, value != 1)
    return Level(value, room, some)


class Cadence(wiring.Component):
    """Paces the beats of vectors.

    A vector begins when ``go`` is high, at the earliest ``period`` clock cycles after the one before; its other beats
    follow, one per clock cycle. The period goes on while ``en`` is low, but nothing is issued.

    Latency: none; ``issue`` depends combinationally on ``go`` and ``en``. Throughput: one beat per clock cycle; the
    initiation interval is ``max(period, beats)`` clock cycles per vector.

    Parameters
    ----------
    beats : int
        Beats per vector.
    period : int
        Clock cycles from the first beat of a vector to the first beat of the next.

    Raises
    ------
    TypeError
        If a parameter is not an integer.
    ValueError
        If a parameter is less than 1.

    Members
    -------
    go : In(1)
        The next vector may begin; ignored while a vector is being issued.
    en : In(1)
        A beat may be issued.
    issue : Out(1)
        A beat is issued in this clock cycle.
    """

    go: In(1)
    en: In(1)
    issue: Out(1)

    def __init__(self, *, beats: int, period: int):
        check_int("beats", beats)
        check_int("period", period)
        self.beats, self.period = beats, period
        super().__init__()

    def elaborate(self, platform):
        m = Module()
        wait = Signal(range(self.period))
        (beat,) = count(m, self.issue, self.beats)
        first = beat.value == 0
        m.d.comb += self.issue.eq(self.en & (~first | (self.go & (wait == 0))))
        with m.If(self.issue & first):
            m.d.sync += wait.eq(self.period - 1)
        with m.Elif(wait != 0):
            m.d.sync += wait.eq(wait - 1)
        return m
