"""The digit-serial adder graph for ``y = W·x``: few bits of every number a clock."""

from itertools import groupby

from amaranth.hdl import Array, C, Cat, Module, Mux, Signal, signed
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from ..adder_graph.graph import Graph
from ..adder_graph.serial import FAN_OUT, digit_serial, lag
from .arith import delay
from .check import check_int

__all__ = ["DigitSerial"]


class DigitSerial(wiring.Component):
    """``W·x + bias`` of vectors ``x``, ``digit`` bits a clock, and what is left of each row after its shift.

    The graph's additions are a digit wide and keep their carries (`psahw.adder_graph.serial` says when each works)::

        i -> hold -> digit -> ±a + (b << k) -> ... -> constant ± sum -> catch the bits above the shift -> o

    Word follows word every ``interval`` clocks at best. Nothing waits and nothing has an enable: a beat that comes
    in gives one at ``o``, ``latency`` cycles later, for one cycle. ``finish`` makes the result of an element of it;
    a consumer that takes elements one after the other does that once a lane.

    Cost, with one bit a clock: an addition is two functions of the same inputs (at most five), which fit one
    LUT6_2, and two flip-flops. All of it runs off one pulse that goes along with the words: it clears carries, and
    opens the windows in which the low bits of a shifted operand are held at 0.

    Parameters
    ----------
    graph : psahw.adder_graph.Graph, of int8 inputs
    bias : array of int (outputs), in units of the accumulator
    shift : array of int (outputs), 0 to 31
    digit : 1, 2, 4 or 8
    out_bits : int, width of a result
    fan_out : int, loads of one copy of a pulse or window

    Members
    -------
    i : stream of vectors of int8, at least ``interval`` cycles apart; always ready
    o : stream of vectors of (``value`` as wrapped, ``fits``, ``sign``); always taken
    """

    def __init__(self, *, graph, bias, shift, digit, out_bits=8, fan_out=FAN_OUT):
        if not isinstance(graph, Graph):
            raise TypeError(f"graph must be a Graph, not {type(graph).__name__}")
        check_int("fan_out", fan_out)
        for n, (low, high) in enumerate(graph.inputs):
            if low < -128 or high > 127:
                raise ValueError(f"graph.inputs[{n}] must lie in [-128, 127], not {low} to {high}")
        self.schedule = digit_serial(graph, bias=bias, shift=shift, digit=digit, out_bits=out_bits)
        self._fan_out = fan_out
        self.raw = data.StructLayout({"value": signed(out_bits), "fits": 1, "sign": 1})
        vector = data.ArrayLayout(signed(8), len(graph.inputs))
        rows = data.ArrayLayout(self.raw, len(graph.outputs))
        super().__init__(
            {
                "i": In(stream.Signature(vector, always_ready=True)),
                "o": Out(stream.Signature(rows, always_ready=True)),
            }
        )

    @property
    def interval(self) -> int:
        """Cycles from word to word."""
        return self.schedule.period

    @property
    def latency(self) -> int:
        """Cycles from a beat at ``i`` to the one at ``o``: two to the first digit, one for the constants, and one
        after the last digit."""
        return 2 + self.schedule.out_time + 1 + self.schedule.period

    def finish(self, raw):
        """The result of an element of ``o``, saturated."""
        end = Cat((~raw.sign).replicate(len(raw.value) - 1), raw.sign).as_signed()
        return Mux(raw.fits, raw.value, end)

    def elaborate(self, platform):
        m = Module()
        plan = self.schedule
        pulse = _Pulses(m, self.i.valid, self._fan_out)
        lanes = _Delays(m, plan.taps)

        hold = Signal.like(self.i.payload, reset_less=True)
        with m.If(self.i.valid):
            m.d.sync += hold.eq(self.i.payload)
        digits = [_digits(m, pulse, x, plan.digit, f"x_{n}") for n, x in enumerate(hold)]
        lanes.define(range(plan.inputs), _by_lane(digits), "x")

        # A shifted operand starts with zeros, so that an addition may begin before its operand: registers first.
        groups = {
            start: (steps, _registers(len(steps), plan.digit, f"sums_{start}")) for start, steps in self._by_start()
        }
        for start, (steps, totals) in groups.items():
            lanes.define([plan.inputs + n for n in steps], totals, f"sums_{start}")
        for start, (steps, totals) in groups.items():
            a, b = ([plan.steps[n][side] for n in steps] for side in (0, 1))
            a, b = (self._operands(pulse, lanes, operands, start) for operands in (a, b))
            subtract = [plan.steps[n].subtract for n in steps]
            _add(m, totals, a, b, subtract, pulse.each(len(steps), start - 1))

        made = [(n, row) for n, row in enumerate(plan.rows) if row.operand is not None]
        totals = _registers(len(made), plan.digit, "rows")
        if made:
            a = _by_lane([self._constant_digits(pulse, row) for _, row in made])
            b = self._operands(pulse, lanes, [row.operand for _, row in made], plan.out_time)
            negative = [row.negative for _, row in made]
            _add(m, totals, a, b, negative, pulse.each(len(made), plan.out_time - 1))
        results = zip(*totals, strict=True)
        for n, row in enumerate(plan.rows):
            value = self._constant(row) if row.operand is None else self._caught(m, pulse, row, next(results), n)
            m.d.comb += self.o.payload[n].eq(value)
        m.d.comb += self.o.valid.eq(pulse.at(plan.out_time + plan.period + 1))

        return m

    def _by_start(self):
        """Times and the additions that begin then, those first whose sums wait longest."""
        plan, found = self.schedule, {}
        for n in range(len(plan.steps)):
            found.setdefault(plan.start(n), []).append(n)
        for steps in found.values():
            steps.sort(key=lambda n: [plan.taps.get((plan.inputs + n, lane), (0,))[-1] for lane in range(plan.digit)])
            steps.reverse()
        return sorted(found.items())

    def _operands(self, pulse, lanes, operands, start):
        """Lanes of operands as additions that begin at ``start`` see them, zeros shifted in."""
        plan, found = self.schedule, []
        for lane in range(plan.digit):
            bits, windows = [], []
            for x in operands:
                zeros = plan.zeros(x, lane)
                if zeros == plan.period:
                    bits.append(C(0, 1))
                else:
                    source = x.node, (lane - x.shift) % plan.digit
                    bits.append(lanes.at(source, plan.delay(x, lane, start)))
                windows.append(pulse.window(start, zeros) if 0 < zeros < plan.period else C(0, 1))
            found.append(Cat(bits) & ~Cat(windows))
        return found

    def _constant_digits(self, pulse, row):
        plan = self.schedule
        number = pulse.count(plan.out_time, plan.period)
        found = []
        for lane in range(plan.digit):
            bits = [(row.constant >> lane + plan.digit * n) & 1 for n in range(plan.period)]
            found.append(C(bits[0], 1) if len(set(bits)) == 1 else Array(C(bit, 1) for bit in bits)[number])
        return found

    def _constant(self, row):
        limit = 1 << self.schedule.out_bits - 1
        value = min(max(row.constant >> row.right, -limit), limit - 1)
        return Cat(C(value, signed(self.schedule.out_bits)), C(1, 1), C(0, 1))

    def _caught(self, m, pulse, row, total, n):
        """The result's bits of a row, whether those above say no more than its sign, and the total's sign."""
        plan, digit, bits = self.schedule, self.schedule.digit, self.schedule.out_bits
        begin, wanted = plan.out_time + 1, range(row.right, row.right + bits)
        found = {}
        for lane, bit in enumerate(total):
            numbers = [i for i in wanted if i % digit == lane]
            if numbers:
                caught = Signal(len(numbers), name=f"caught_{n}_{lane}", reset_less=True)
                with m.If(pulse.window(begin + numbers[0] // digit, len(numbers))):
                    m.d.sync += caught.eq(Cat(caught, bit)[1:])
                found |= zip(numbers, caught, strict=True)
        value = Cat(found[i] for i in wanted)
        if not row.saturates:
            return Cat(value, C(1, 1), C(0, 1))
        above = row.right + bits - 1  # from this bit on all must be equal
        seen = [
            (bit, pulse.window(begin + lag(above, lane, digit), plan.period - lag(above, lane, digit)))
            for lane, bit in enumerate(total)
            if lag(above, lane, digit) < plan.period
        ]
        restart = pulse.at(begin)
        zeros, ones = (Signal(name=f"{name}_{n}", reset_less=True) for name in ("zeros", "ones"))
        m.d.sync += [
            zeros.eq((restart | zeros) & Cat(~window | ~bit for bit, window in seen).all()),
            ones.eq((restart | ones) & Cat(~window | bit for bit, window in seen).all()),
        ]
        return Cat(value, zeros | ones, delay(m, total[-1], 1, C(1, 1), name=f"sign_{n}"))


def _digits(m, pulse, x, digit, name):
    """A number of 8 bits as lanes, its sign repeated for ever; the first digit is registered at time 0."""
    count = 8 // digit
    groups = [Cat(x[lane + digit * k] for lane in range(digit)) for k in range(count)]
    if count == 1:
        # The sign follows the only digit.
        chosen = Mux(pulse.at(-1), groups[0], x[7].replicate(8))
    else:
        sign = x[7].replicate(digit)
        chosen = Array([*groups, *[sign] * ((1 << count.bit_length()) - count)])[pulse.number(count)]
    bits = Signal(digit, name=name, reset_less=True)
    m.d.sync += bits.eq(chosen)
    return list(bits)


def _by_lane(digits):
    """Vectors of each lane's bits, from lists of them."""
    return [Cat(lane) for lane in zip(*digits, strict=True)]


def _registers(count, digit, name):
    """The lanes of so many sums."""
    return [Signal(count, name=f"{name}_{lane}", reset_less=True) for lane in range(digit)]


def _wire(m, value, name):
    """A name for what is used more than once: an expression is written out for each use."""
    wire = Signal(len(value), name=name)
    m.d.comb += wire.eq(value)
    return wire


def _add(m, totals, a, b, subtract, first):
    """``totals`` become many ``a ± b`` at once, each lane a vector with a bit of every addition; the carries into the
    digits after ``first`` are those of new words."""
    count, digit = len(subtract), len(totals)
    negative = C(sum(bit << n for n, bit in enumerate(subtract)), count)
    carry = Signal(count, name="carry", reset_less=True)
    a = [_wire(m, lane, "a") for lane in a]
    b = [_wire(m, lane ^ negative, "b") for lane in b]
    if digit > 2:
        # A chain of its own for each; the lowest bit makes the carry in.
        ways = zip(carry, zip(*a, strict=True), zip(*b, strict=True), strict=True)
        each = [_wire(m, Cat(c, p) + Cat(c, q), "chain") for c, p, q in ways]
        sums = [Cat(total[lane + 1] for total in each) for lane in range(digit)]
        out = Cat(total[digit + 1] for total in each)
    else:
        sums, out = [], carry
        for p, q in zip(a, b, strict=True):
            sums.append(p ^ q ^ out)
            out = _wire(m, (p & q) | (out & (p ^ q)), "out")
    m.d.sync += [total.eq(lane) for total, lane in zip(totals, sums, strict=True)]
    # A synthesiser makes a reset of a choice between a constant and something else, one for all that share a pulse:
    # the carry's function then has the inputs of the sum's.
    end = 0
    for _, users in groupby(first, key=id):
        begin, end = end, end + len(list(users))
        m.d.sync += carry[begin:end].eq(Mux(first[begin], negative[begin:end], out[begin:end]))


class _Delays:
    """The lanes of every node, and shared lines in which they wait, those of one time side by side. Long waits become
    shift registers, whose outputs are slow (SRL16E: 1.47 ns from the clock) and must not go to an adder; the last
    register of a wait is none because it has a reset (UG474, "Shift Registers")."""

    def __init__(self, m, taps):
        self._m, self._taps = m, taps
        self._found = {}

    def define(self, nodes, lanes, name):
        """``lanes`` are vectors with a bit of each of ``nodes``, which are there at one time."""
        for lane, vector in enumerate(lanes):
            for node, bit in zip(nodes, vector, strict=True):
                self._found[node, lane] = [bit]
            self._wait([(node, lane) for node in nodes], f"{name}_{lane}")

    def _wait(self, sources, name):
        cycles = 0
        while sources := [source for source in sources if self._taps.get(source, (0,))[-1] > cycles]:
            cycles += 1
            for used in (False, True):
                group = [source for source in sources if (cycles in self._taps[source]) == used]
                if not group:
                    continue
                kind = "used" if used else "wait"
                registers = Signal(len(group), name=f"{name}_{kind}_{cycles}", reset_less=not used)
                self._m.d.sync += registers.eq(Cat(self._found[source][-1] for source in group))
                for source, register in zip(group, registers, strict=True):
                    self._found[source].append(register)

    def at(self, source, cycles):
        return self._found[source][cycles]


class _Pulses:
    """The start of a word at any time after it, with a copy for every ``fan_out`` users; time 0 is that of the
    inputs' first digits, two cycles after ``start``."""

    def __init__(self, m, start, fan_out):
        self._m, self._fan_out = m, fan_out
        self._line = [start]
        self._copies, self._windows, self._numbers = {}, {}, {}

    def _plain(self, time):
        while len(self._line) <= time + 2:
            register = Signal(name=f"pulse_{len(self._line)}")
            self._m.d.sync += register.eq(self._line[-1])
            self._line.append(register)
        return self._line[time + 2]

    def _shared(self, key, make):
        """The copy of `key` for one more user."""
        copies, users = self._copies.setdefault(key, ([], [0]))
        if users[0] % self._fan_out == 0:
            copies.append(make(len(copies)))
        users[0] += 1
        return copies[-1]

    def at(self, time):
        """High in the cycle of the first digit at ``time``, from -1 on."""

        def make(n):
            register = Signal(name=f"pulse_at_{time + 2}_{n}", attrs={"keep": 1})
            self._m.d.sync += register.eq(self._plain(time - 1))
            return register

        return self._shared(("pulse", time), make)

    def each(self, count, time):
        """The same for each of so many users."""
        return [self.at(time) for _ in range(count)]

    def window(self, time, length):
        """High from the first digit at ``time`` on, for so many digits."""

        def make(n):
            register = Signal(name=f"window_{time + 2}_{length}_{n}", attrs={"keep": 1})
            opens, closes = self._plain(time - 1), self._plain(time + length - 1)
            self._m.d.sync += register.eq(opens | (register & ~closes))
            return register

        return self._shared(("window", time, length), make)

    def number(self, count):
        """The number of the digit that is registered next at time 0, ``count`` for all beyond."""

        def make(n):
            number = Signal(range(count + 1), name=f"digit_{n}", attrs={"keep": 1})
            with self._m.If(self._plain(-2)):
                self._m.d.sync += number.eq(0)
            with self._m.Elif(number != count):
                self._m.d.sync += number.eq(number + 1)
            return number

        return self._shared(("number", count), make)

    def count(self, time, period):
        """The number of a word's digit, whose first one is there at ``time``."""

        def make(n):
            number = Signal(range(period), name=f"number_{time + 2}_{n}", attrs={"keep": 1})
            self._m.d.sync += number.eq(Mux(self._plain(time - 1), 0, number + 1))
            return number

        return self._shared(("count", time), make)
