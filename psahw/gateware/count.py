"""Nested counters, levels, and the start of vectors at a fixed cadence."""

from typing import NamedTuple

from amaranth.hdl import Module, Mux, Signal, Value
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from .check import check_int

__all__ = ["Cadence", "Counter", "Level", "count", "level"]


class Counter(NamedTuple):
    """``value`` counts 0 .. length - 1; ``wrap`` is high in the cycle of the step that makes it 0 again."""

    value: Signal
    last: Value
    wrap: Value


def count(m: Module, step: Value, *lengths: int) -> list[Counter]:
    """Counters inside each other, the innermost first: it counts ``step``, each other one the wraps of
    the one before."""
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
    """``value`` is 0 .. depth; ``room`` (it is below the depth) and ``some`` (it is not 0) are registers, too."""

    value: Signal
    room: Signal
    some: Signal


def level(m: Module, put: Value, take: Value, depth: int, *, name: str = "level") -> Level:
    """How many of ``depth`` are held: one more after ``put``, one less after ``take``, as many after both.

    Nothing but registers drives ``room`` and ``some``, so that a chain of ``ready`` or ``valid`` begins without
    logic. What comes next is chosen last by ``take`` and ``put``, which may be late.
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
    """Says when the beats of vectors are issued.

    A vector of ``beats`` beats begins when ``go`` is high, ``period`` cycles after the vector before or
    later; its beats follow one a cycle. Time goes on while ``en`` is low, but nothing is issued.

    Members
    -------
    go : the next vector may begin; looked at only when it has not begun
    en : a beat may be issued
    issue : a beat is issued in this cycle, combinational
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
