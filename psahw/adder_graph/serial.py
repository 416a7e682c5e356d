"""When each digit of a digit-serial adder graph is computed.

Numbers travel least significant digit first, ``digit`` bits a clock, and words follow each other without a gap. An
addition takes one clock and a carry; a shift by whole digits costs nothing but time, the rest of it changes lanes.
(K. K. Parhi, "VLSI Digital Signal Processing Systems", Wiley 1999, chapter 13, on bit-serial and digit-serial
arithmetic.) Everything is exact modulo ``2^word_bits``, so only results have to fit a word: what lies between may
overflow.

The graph shifts sums to the right where their low bits are zero; here such a value keeps its zeros, as a power of two
times itself, for a right shift would have to repeat signs.
"""

from collections import Counter
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import NamedTuple

from ..architecture.ranges import signed_bits
from .graph import Graph
from .parallel import Cost, rows_of

__all__ = [
    "DIGITS",
    "FAN_OUT",
    "Operand",
    "SerialRow",
    "SerialSchedule",
    "Step",
    "digit_serial",
    "digit_serial_cost",
    "lag",
]

DIGITS = (1, 2, 4, 8)
"""Bits a clock."""

FAN_OUT = 32
"""Loads of one copy of a pulse or window."""

_SWEEPS = 8  # through all additions


class Operand(NamedTuple):
    """``node << shift``; nodes are the inputs, then the additions."""

    node: int
    shift: int


class Step(NamedTuple):
    """``a + b`` or ``a - b``; one of them is not shifted."""

    a: Operand
    b: Operand
    subtract: bool


class SerialRow(NamedTuple):
    """``y = sat((constant ± operand) >> right)``; without an operand it is the constant. ``saturates`` says whether
    ``sat`` ever changes anything."""

    operand: Operand | None
    negative: bool
    constant: int
    right: int
    saturates: bool


def lag(shift: int, lane: int, digit: int) -> int:
    """Digits by which a lane of a word shifted to the left comes after the lane that it is a copy of; as many of its
    first digits are zeros."""
    return -((lane - shift) // digit)


@dataclass(frozen=True, eq=False)
class SerialSchedule:
    """``time[v]`` is the clock in which the first digit of node ``v`` is there, counted from that of the inputs.
    Addition ``n`` adds in clocks ``start(n)``, ``start(n) + 1``, ...; the rows add their constants from ``out_time``
    on."""

    inputs: int
    digit: int
    steps: tuple[Step, ...]
    rows: tuple[SerialRow, ...]
    out_bits: int
    word_bits: int
    time: tuple[int, ...]
    out_time: int

    @property
    def period(self) -> int:
        """Clocks from word to word."""
        return -(-self.word_bits // self.digit)

    def start(self, step: int) -> int:
        return self.time[self.inputs + step] - 1

    def zeros(self, operand: Operand, lane: int) -> int:
        """How many of a lane's first digits are zeros that were shifted in: at most the word."""
        return min(lag(operand.shift, lane, self.digit), self.period)

    def delay(self, operand: Operand, lane: int, start: int) -> int:
        """Clocks that a lane waits for an addition that begins at ``start``, unless it is all zeros."""
        return start - self.time[operand.node] + lag(operand.shift, lane, self.digit)

    @cached_property
    def taps(self) -> dict[tuple[int, int], tuple[int, ...]]:
        """For each (node, lane) the delays at which it is used, ascending."""
        found: dict[tuple[int, int], set[int]] = {}
        uses = [(x, self.start(n)) for n, step in enumerate(self.steps) for x in (step.a, step.b)]
        uses += [(row.operand, self.out_time) for row in self.rows if row.operand]
        for operand, start in uses:
            for lane in range(self.digit):
                if self.zeros(operand, lane) == self.period:
                    continue
                source = operand.node, (lane - operand.shift) % self.digit
                found.setdefault(source, set()).add(self.delay(operand, lane, start))
        return {source: tuple(sorted(delays)) for source, delays in found.items()}


def _without_right_shifts(graph: Graph, rows) -> tuple[list[Step], list[SerialRow]]:
    """Node ``v`` of the graph becomes ``v << scale[v]``."""
    scale, steps = [0] * len(graph.inputs), []
    for a, b, shift, subtract, right in graph.adders:
        common = max(scale[a], scale[b] - shift)
        steps.append(Step(Operand(a, common - scale[a]), Operand(b, common - scale[b] + shift), subtract))
        scale.append(common + right)
    made = []
    for row, saturates in rows:
        if row.node is None:
            made.append(SerialRow(None, False, row.constant, row.right, saturates))
            continue
        more = max(0, scale[row.node] - row.left)
        operand = Operand(row.node, row.left + more - scale[row.node])
        made.append(SerialRow(operand, row.negative, row.constant << more, row.right + more, saturates))
    return steps, made


class _Times:
    """When the first digit of every node is there: as early as can be, and later where that saves waiting (two
    operands wait less if their sum waits instead)."""

    def __init__(self, inputs: int, steps: list[Step], rows: list[SerialRow], digit: int):
        self.inputs, self.steps, self.digit = inputs, steps, digit
        self.time = [0] * inputs
        for step in steps:
            self.time.append(1 + self._ready(step))
        self.ends = [row.operand for row in rows if row.operand]
        self.out_time = max([0, *(self.time[x.node] - self._early(x) for x in self.ends)])
        self.users: list[list[tuple[int | None, int]]] = [[] for _ in self.time]  # (step or None: a row, early)
        for n, step in enumerate(steps):
            for x in {step.a, step.b}:
                self.users[x.node].append((n, self._early(x)))
        for x in self.ends:
            self.users[x.node].append((None, self._early(x)))

    def _early(self, x: Operand) -> int:
        """Digits that an operand may be later than the addition: its first ones are zeros."""
        return x.shift // self.digit

    def _ready(self, step: Step) -> int:
        return max(0, *(self.time[x.node] - self._early(x) for x in (step.a, step.b)))

    def _wanted(self, node: int, but: int = -1) -> list[int]:
        """The clocks in which each use wants the first digit, without that by step ``but``, if that is one."""
        return [
            (self.out_time if n is None else self.time[self.inputs + n] - 1) + early
            for n, early in self.users[node]
            if n != but
        ]

    def _best(self, n: int) -> int:
        node, step = self.inputs + n, self.steps[n]
        earliest = 1 + self._ready(step)
        latest = min(self._wanted(node), default=earliest)
        if earliest >= latest:
            return self.time[node]
        others = {x: max([self.time[x.node], *self._wanted(x.node, n)]) for x in (step.a, step.b)}

        def waiting(at):
            return sum(max(most, at - 1 + self._early(x)) for x, most in others.items()) - at

        return min((self.time[node], *range(earliest, latest + 1)), key=waiting)

    def improve(self) -> None:
        for sweep in range(_SWEEPS):
            before = list(self.time)
            order = range(len(self.steps))
            for n in order if sweep % 2 else reversed(order):
                self.time[self.inputs + n] = self._best(n)
            if self.time == before:
                break


def digit_serial(graph: Graph, *, bias, shift, out_bits: int = 8, digit: int = 1) -> SerialSchedule:
    """The schedule of ``y = sat(rshift(W·x + bias, shift))``, ``digit`` bits a clock.

    ``bias`` and ``shift`` have a value for each output. Raises ValueError for a wrong number of them, a shift outside
    [0, 31], or a digit that is not in `DIGITS`.
    """
    if digit not in DIGITS:
        raise ValueError(f"digit must be one of {', '.join(map(str, DIGITS))}, not {digit!r}")
    plain = rows_of(graph, bias, shift, out_bits)
    steps, rows = _without_right_shifts(graph, [(row, row.saturates(out_bits)) for row in plain])
    word = max(signed_bits(low, high) for low, high in graph.inputs)
    for row, made in zip(plain, rows, strict=True):
        if made.operand:
            more = made.right - row.right
            word = max(word, signed_bits(row.low << more, row.high << more), made.right + out_bits)
    times = _Times(len(graph.inputs), steps, rows, digit)
    times.improve()
    return SerialSchedule(
        inputs=len(graph.inputs),
        digit=digit,
        steps=tuple(steps),
        rows=tuple(rows),
        out_bits=out_bits,
        word_bits=word,
        time=tuple(times.time),
        out_time=times.out_time,
    )


_SHIFT_REGISTER, _SHIFT_REGISTER_LENGTH = 3, 32  # registers in a row that Yosys puts into a LUT, and that fit one


def _controls(made: SerialSchedule) -> Counter:
    """How often each control signal is used, by what it is: ("pulse",), ("window", length), ("number", bits)."""
    used: Counter = Counter()
    digit, begin = made.digit, made.out_time + 1

    def operand(x: Operand, start: int):
        for lane in range(digit):
            if 0 < (zeros := made.zeros(x, lane)) < made.period:
                used["window", start, zeros] += 1

    for n, step in enumerate(made.steps):
        used["pulse", made.start(n) - 1] += 1
        operand(step.a, made.start(n))
        operand(step.b, made.start(n))
    for row in made.rows:
        if row.operand is None:
            continue
        operand(row.operand, made.out_time)
        used["pulse", made.out_time - 1] += 1
        used["number", made.out_time] += 1
        for lane in range(digit):
            numbers = [i for i in range(row.right, row.right + made.out_bits) if i % digit == lane]
            if numbers:
                used["window", begin + numbers[0] // digit, len(numbers)] += 1
            above = lag(row.right + made.out_bits - 1, lane, digit)
            if row.saturates and above < made.period:
                used["window", begin + above, made.period - above] += 1
        if row.saturates:
            used["pulse", begin] += 1
    return used


# LUTs, both outputs used, by bits of a digit: of an addition, of each lane whose first bits are held at 0, of an
# input's choice of a digit, of a row's constant and addition, of its saturation. Fitted to
# calibration/graph_engines.json.
_LUTS = {
    1: (1.005, 0.0, 2.5, 2.7, 4.0),
    2: (2.33, 0.0, 2.5, 3.0, 4.1),
    4: (5.05, 0.39, 4.0, 6.0, 5.0),
    8: (10.35, 0.5, 8.0, 6.0, 6.0),
}
_WINDOW, _COUNTER = 1.0, 5.0


def _masked(step: Step, digit: int) -> int:
    return sum(lag(x.shift, lane, digit) > 0 for x in (step.a, step.b) for lane in range(digit))


def digit_serial_cost(made: SerialSchedule) -> Cost:
    """Of a `psahw.gateware.digit_serial.DigitSerial` on the 7 series."""
    digit = made.digit
    step, masked, choice, constant, saturation = _LUTS[digit]
    rows = [row for row in made.rows if row.operand]
    saturating = sum(row.saturates for row in rows)
    lut = step * len(made.steps) + choice * made.inputs + constant * len(rows) + saturation * saturating
    ff = (8 + digit) * made.inputs + (digit + 1) * (len(made.steps) + len(rows))
    ff += made.out_bits * len(rows) + 3 * saturating
    for delays in made.taps.values():
        for at, use in pairwise((0, *delays)):
            waits = use - at - 1
            if waits >= _SHIFT_REGISTER:
                lut += -(-waits // _SHIFT_REGISTER_LENGTH)
                ff += 1
            else:
                ff += max(0, use - at)
    ff += made.out_time + made.period + 3
    number_bits = (made.period - 1).bit_length()
    lut += masked * sum(_masked(step, digit) for step in made.steps)
    for (kind, *_), users in _controls(made).items():
        copies = -(-users // FAN_OUT)
        ff += copies * (number_bits if kind == "number" else 1)
        lut += copies * {"pulse": 0, "window": _WINDOW, "number": _COUNTER}[kind]
    copies = -(-made.inputs // FAN_OUT) if digit < 8 else 0
    bits = (8 // digit).bit_length()
    return Cost(round(lut + copies * bits), ff + copies * bits, 2 + made.out_time + 1 + made.period)
