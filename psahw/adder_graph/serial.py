"""Schedules of digit-serial adder graphs, and their cost.

Numbers travel least significant digit first, ``digit`` bits per clock cycle, and words follow each other without a
gap. An addition takes one cycle and a carry. A shift by whole digits costs only time, and the rest of a shift changes
lanes. (K. K. Parhi, "VLSI Digital Signal Processing Systems", Wiley 1999, chapter 13, on bit-serial and digit-serial
arithmetic.) All sums are exact modulo ``2^word_bits``, so that only the results have to fit a word, and the sums
before them may overflow.

The adders of a `Graph` shift sums to the right where their low bits are zero. A right shift would have to repeat
signs, so here such a value keeps its zeros: it is a power of two times the value of the node.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import NamedTuple

import numpy as np

from ..architecture.ranges import signed_bits
from .graph import Graph
from .parallel import Cost, OutputRow, rows_of

__all__ = [
    "DIGITS", "FAN_OUT", "Operand", "SerialRow", "SerialSchedule", "Step", "digit_serial", "digit_serial_cost", "lag",
]  # fmt: skip

DIGITS = (1, 2, 3, 4, 5, 6, 7, 8)
"""Possible bits per clock cycle."""

FAN_OUT = 32
"""Most loads of one copy of a pulse or window."""

_SWEEPS = 8  # over all additions


class Operand(NamedTuple):
    """``node << shift``. The inputs are the first nodes, then come the additions."""

    node: int
    shift: int


class Step(NamedTuple):
    """``a + b`` or ``a - b``, where at most one of the two is shifted."""

    a: Operand
    b: Operand
    subtract: bool


class SerialRow(NamedTuple):
    """``y = sat((constant ± operand) >> right)``, or the constant alone if ``operand`` is None.

    ``saturates`` is False if ``sat`` never changes the value.
    """

    operand: Operand | None
    negative: bool
    constant: int
    right: int
    saturates: bool


def lag(shift: int, lane: int, digit: int) -> int:
    """Return by how many digits a lane of a word shifted to the left is later than the lane that it copies.

    As many of the first digits in that lane are zeros.
    """
    return -((lane - shift) // digit)


@dataclass(frozen=True, eq=False)
class SerialSchedule:
    """The times of all digits in a digit-serial adder graph.

    Times are clock cycles, counted from the one in which the first digits of the inputs are present.

    Parameters
    ----------
    inputs, in_bits
        Number of inputs, and the bits of the widest.
    digit
        Bits per clock cycle.
    steps
        The additions. Addition ``n`` works in cycles ``start(n)``, ``start(n) + 1``, ...
    rows
        The rows, which begin to add their constants at ``out_time``.
    out_bits, word_bits
        Width of a result and of a word.
    time
        For each node the time at which its first digit is present.
    out_time
        Time at which the additions of the rows begin.
    """

    inputs: int
    in_bits: int
    digit: int
    steps: tuple[Step, ...]
    rows: tuple[SerialRow, ...]
    out_bits: int
    word_bits: int
    time: tuple[int, ...]
    out_time: int

    @property
    def period(self) -> int:
        """Clock cycles from word to word, which is the initiation interval."""
        return -(-self.word_bits // self.digit)

    @property
    def in_digits(self) -> int:
        """Digits of an input, behind which its sign is repeated."""
        return -(-self.in_bits // self.digit)

    def start(self, step: int) -> int:
        """Return the time at which an addition begins."""
        return self.time[self.inputs + step] - 1

    def zeros(self, operand: Operand, lane: int) -> int:
        """Return how many of a lane's first digits are zeros that were shifted in: at most the word."""
        return min(lag(operand.shift, lane, self.digit), self.period)

    def delay(self, operand: Operand, lane: int, start: int) -> int:
        """Return the cycles for which a lane waits for an addition that begins at ``start``.

        The lane must not consist of zeros alone.
        """
        return start - self.time[operand.node] + lag(operand.shift, lane, self.digit)

    @cached_property
    def taps(self) -> dict[tuple[int, int], tuple[int, ...]]:
        """For each (node, lane) the delays at which it is used, in ascending order."""
        delays: dict[tuple[int, int], set[int]] = {}
        uses = [(x, self.start(n)) for n, step in enumerate(self.steps) for x in (step.a, step.b)]
        uses += [(row.operand, self.out_time) for row in self.rows if row.operand]
        for operand, start in uses:
            for lane in range(self.digit):
                if self.zeros(operand, lane) == self.period:
                    continue
                source = operand.node, (lane - operand.shift) % self.digit
                delays.setdefault(source, set()).add(self.delay(operand, lane, start))
        return {source: tuple(sorted(used)) for source, used in delays.items()}


def _without_right_shifts(
    graph: Graph, rows: Sequence[OutputRow], out_bits: int
) -> tuple[list[Step], list[SerialRow]]:
    """Return additions in which node ``v`` of the graph has become ``v << scale[v]``, and the rows of their sums."""
    scale, steps = [0] * len(graph.inputs), []
    for a, b, shift, subtract, right in graph.adders:
        common = max(scale[a], scale[b] - shift)
        steps.append(Step(Operand(a, common - scale[a]), Operand(b, common - scale[b] + shift), subtract))
        scale.append(common + right)
    serial_rows = []
    for row in rows:
        saturates = row.saturates(out_bits)
        if row.node is None:
            serial_rows.append(SerialRow(None, False, row.constant, row.right, saturates))
            continue
        more = max(0, scale[row.node] - row.left)
        operand = Operand(row.node, row.left + more - scale[row.node])
        serial_rows.append(SerialRow(operand, row.negative, row.constant << more, row.right + more, saturates))
    return steps, serial_rows


class _Times:
    """Times of the first digits of all nodes.

    They begin as early as possible. `improve` makes sums later where that saves registers: two operands wait less if
    their sum waits instead.
    """

    def __init__(self, inputs: int, steps: list[Step], rows: list[SerialRow], digit: int) -> None:
        self.inputs, self.steps, self.digit = inputs, steps, digit
        self.time = [0] * inputs
        for step in steps:
            self.time.append(1 + self._ready(step))
        row_operands = [row.operand for row in rows if row.operand]
        self.out_time = max([0, *(self.time[x.node] - self._early(x) for x in row_operands)])
        self.users: list[list[tuple[int | None, int]]] = [[] for _ in self.time]  # (step, or None for a row; early)
        for n, step in enumerate(steps):
            for x in {step.a, step.b}:
                self.users[x.node].append((n, self._early(x)))
        for x in row_operands:
            self.users[x.node].append((None, self._early(x)))

    def _early(self, x: Operand) -> int:
        """Return by how many digits an operand may be later than the addition, because its first ones are zeros."""
        return x.shift // self.digit

    def _ready(self, step: Step) -> int:
        """Return the earliest time at which an addition may begin."""
        return max(self.time[x.node] - self._early(x) for x in (step.a, step.b))

    def _wanted(self, node: int, but: int = -1) -> list[int]:
        """Return the times at which the users of a node want its first digit, without the step ``but``."""
        return [
            (self.out_time if n is None else self.time[self.inputs + n] - 1) + early
            for n, early in self.users[node]
            if n != but
        ]

    def _best(self, n: int) -> int:
        """Return the time of a step's sum at which its operands and the sum wait least."""
        node, step = self.inputs + n, self.steps[n]
        earliest = 1 + self._ready(step)
        latest = min(self._wanted(node), default=earliest)
        if earliest >= latest:
            return self.time[node]
        others = {x: max([self.time[x.node], *self._wanted(x.node, n)]) for x in (step.a, step.b)}

        def waiting(at: int) -> int:
            return sum(max(most, at - 1 + self._early(x)) for x, most in others.items()) - at

        return min((self.time[node], *range(earliest, latest + 1)), key=waiting)

    def improve(self) -> None:
        """Move sums, one at a time, while that saves registers."""
        for _ in range(_SWEEPS):
            before = list(self.time)
            for n in reversed(range(len(self.steps))):
                self.time[self.inputs + n] = self._best(n)
            if self.time == before:
                break


def digit_serial(
    graph: Graph,
    *,
    bias: Sequence[int] | np.ndarray,
    shift: Sequence[int] | np.ndarray,
    out_bits: int = 8,
    digit: int = 1,
) -> SerialSchedule:
    """Return the schedule of ``y = sat(rshift(W·x + bias, shift))``, where ``W`` is the matrix of a graph.

    Parameters
    ----------
    graph
        The graph.
    bias, shift
        A bias, in units of the accumulator, and a shift in [0, 31] for each output.
    out_bits
        Width of a result, to which ``sat`` clips.
    digit
        Bits per clock cycle, one of `DIGITS`.

    Raises
    ------
    ValueError
        If an argument is out of range, or ``bias`` or ``shift`` has a wrong length.
    """
    if digit not in DIGITS:
        raise ValueError(f"digit must be one of {', '.join(map(str, DIGITS))}, not {digit!r}")
    output_rows = rows_of(graph, bias, shift, out_bits)
    steps, rows = _without_right_shifts(graph, output_rows, out_bits)
    word_bits = in_bits = max(signed_bits(low, high) for low, high in graph.inputs)
    for output_row, row in zip(output_rows, rows, strict=True):
        if row.operand:
            more = row.right - output_row.right
            total_bits = signed_bits(output_row.low << more, output_row.high << more)
            word_bits = max(word_bits, total_bits, row.right + out_bits)
    times = _Times(len(graph.inputs), steps, rows, digit)
    times.improve()
    return SerialSchedule(
        inputs=len(graph.inputs),
        in_bits=in_bits,
        digit=digit,
        steps=tuple(steps),
        rows=tuple(rows),
        out_bits=out_bits,
        word_bits=word_bits,
        time=tuple(times.time),
        out_time=times.out_time,
    )


# Shortest run of registers that Yosys puts into a LUT, and the longest that fits one.
_SHIFT_REGISTER, _SHIFT_REGISTER_LENGTH = 3, 32


def _controls(schedule: SerialSchedule) -> Counter[tuple]:
    """Return the number of uses of each control signal.

    The keys are ("pulse", time), ("window", time, length) and ("number", time), for a count of digits.
    """
    used: Counter[tuple] = Counter()
    digit, begin = schedule.digit, schedule.out_time + 1

    def operand(x: Operand, start: int) -> None:
        for lane in range(digit):
            if 0 < (zeros := schedule.zeros(x, lane)) < schedule.period:
                used["window", start, zeros] += 1

    for n, step in enumerate(schedule.steps):
        used["pulse", schedule.start(n) - 1] += 1
        operand(step.a, schedule.start(n))
        operand(step.b, schedule.start(n))
    for row in schedule.rows:
        if row.operand is None:
            continue
        operand(row.operand, schedule.out_time)
        used["pulse", schedule.out_time - 1] += 1
        if schedule.period > 1:
            used["number", schedule.out_time] += 1
        for lane in range(digit):
            numbers = [i for i in range(row.right, row.right + schedule.out_bits) if i % digit == lane]
            if numbers:
                used["window", begin + numbers[0] // digit, len(numbers)] += 1
            above = lag(row.right + schedule.out_bits - 1, lane, digit)
            if row.saturates and above < schedule.period:
                used["window", begin + above, schedule.period - above] += 1
        if row.saturates:
            used["pulse", begin] += 1
    return used


# LUTs with both outputs in use, by bits of a digit: of an addition, of each lane whose first bits are held at 0,
# of the choice of an input's digit, of a row's constant and addition, and of its saturation. They are fitted to
# calibration/graph_engines.json.
_LUTS = {
    1: (1.005, 0.0, 2.5, 2.7, 4.0),
    2: (2.33, 0.0, 2.5, 3.0, 4.1),
    3: (3.9, 0.2, 3.2, 4.5, 4.5),
    4: (5.05, 0.39, 4.0, 6.0, 5.0),
    5: (6.4, 0.42, 5.0, 6.0, 5.2),
    6: (7.7, 0.45, 6.0, 6.0, 5.5),
    7: (9.0, 0.48, 7.0, 6.0, 5.7),
    8: (10.35, 0.5, 8.0, 6.0, 6.0),
}
_WINDOW, _COUNTER = 1.0, 5.0


def _masked(step: Step, digit: int) -> int:
    """Return the number of an addition's operand lanes that begin with zeros."""
    return sum(lag(x.shift, lane, digit) > 0 for x in (step.a, step.b) for lane in range(digit))


def digit_serial_cost(schedule: SerialSchedule) -> Cost:
    """Return the estimated cost of a `psahw.gateware.digit_serial.DigitSerial` on the 7 series."""
    digit, period = schedule.digit, schedule.period
    step, masked, choice, constant, saturation = _LUTS[digit]
    rows = [row for row in schedule.rows if row.operand]
    saturating = sum(row.saturates for row in rows)
    lut = step * len(schedule.steps) + choice * schedule.inputs + constant * len(rows) + saturation * saturating
    ff = (schedule.in_bits + digit) * schedule.inputs + (digit + 1) * (len(schedule.steps) + len(rows))
    ff += schedule.out_bits * len(rows) + 3 * saturating
    for delays in schedule.taps.values():
        for at, use in pairwise((0, *delays)):
            waits = use - at - 1
            if waits >= _SHIFT_REGISTER:
                lut += -(-waits // _SHIFT_REGISTER_LENGTH)
                ff += 1
            else:
                ff += use - at
    ff += schedule.out_time + period + 3
    number_bits = (period - 1).bit_length()
    lut += masked * sum(_masked(step, digit) for step in schedule.steps)
    for (kind, *_), users in _controls(schedule).items():
        copies = -(-users // FAN_OUT)
        ff += copies * (number_bits if kind == "number" else 1)
        lut += copies * {"pulse": 0, "window": _WINDOW, "number": _COUNTER}[kind]
    copies = -(-schedule.inputs // FAN_OUT) if schedule.in_digits > 1 else 0
    bits = schedule.in_digits.bit_length()
    return Cost(round(lut + copies * bits), ff + copies * bits, 2 + schedule.out_time + 1 + period)
