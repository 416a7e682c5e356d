"""The digit-serial adder graph for ``y = W·x``, which takes a few bits of every number per clock cycle."""

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
    """Computes ``(W·x + bias) >> shift`` for vectors ``x``, ``digit`` bits per clock cycle.

    The additions are a digit wide and keep their carries (`psahw.adder_graph.serial` gives the time of each)::

        i -> hold -> digit -> ±a + (b << k) -> ... -> constant ± sum -> catch the bits above the shift -> o

    The results are not saturated yet. `finish` does that to one element; a consumer that takes elements one after the
    other needs it once per lane, and not once per element.

    Latency: `latency` clock cycles from a beat of ``i`` to its beat of ``o``, which lasts one clock cycle.
    Throughput: the initiation interval is `interval` clock cycles per vector. There is no backpressure. Only
    the registers of the vector and of the results have an enable.

    Cost with one bit per clock cycle: an addition is two functions of the same inputs (at most five), which fit one
    LUT6_2, and two flip-flops. One pulse that travels along with the words controls everything: it clears the
    carries, and opens the windows in which the low bits of a shifted operand are held at 0.

    Parameters
    ----------
    graph : psahw.adder_graph.Graph
        The ranges of its inputs hold for every ``x``.
    bias : array of int (outputs)
        In units of the accumulator.
    shift : array of int (outputs)
        Bits to shift each result by, 0 to 31.
    digit : int
        Bits per clock cycle, 1 to 8.
    out_bits : int
        Width of a result.
    fan_out : int
        Most loads of one copy of a pulse or window.

    Raises
    ------
    TypeError
        If ``graph`` is not a `Graph`, or a number is not an integer.
    ValueError
        If a number is out of its range, an array has the wrong length, or the graph has no inputs.

    Members
    -------
    i : In(stream of vectors of signed numbers as wide as the widest input)
        Beats at least `interval` clock cycles apart; always ready.
    load : In(1)
        Enables the registers of the vector. It must be high with every beat of ``i``, and low in the ``interval - 1``
        clock cycles after it. At other times it may have any value. It is separate from ``i.valid``, so that a
        register can drive all of these enables.
    o : Out(stream of vectors of ``raw``)
        For each output its ``value``, wrapped to ``out_bits``, whether it ``fits`` them, and its ``sign``; always
        taken.
    """

    def __init__(self, *, graph, bias, shift, digit, out_bits=8, fan_out=FAN_OUT):
        if not isinstance(graph, Graph):
            raise TypeError(f"graph must be a Graph, not {type(graph).__name__}")
        check_int("fan_out", fan_out)
        self.schedule = digit_serial(graph, bias=bias, shift=shift, digit=digit, out_bits=out_bits)
        self._fan_out = fan_out
        self.raw = data.StructLayout({"value": signed(out_bits), "fits": 1, "sign": 1})
        vector = data.ArrayLayout(signed(self.schedule.in_bits), len(graph.inputs))
        rows = data.ArrayLayout(self.raw, len(graph.outputs))
        super().__init__(
            {
                "i": In(stream.Signature(vector, always_ready=True)),
                "load": In(1),
                "o": Out(stream.Signature(rows, always_ready=True)),
            }
        )

    @property
    def interval(self) -> int:
        """Clock cycles from word to word."""
        return self.schedule.period

    @property
    def latency(self) -> int:
        """Clock cycles from a beat of ``i`` to its beat of ``o``.

        Two pass before the first digit, one for the constants, and one after the last digit.
        """
        return 2 + self.schedule.out_time + 1 + self.schedule.period

    def finish(self, raw):
        """Return the saturated result of an element of ``o``."""
        end = Cat((~raw.sign).replicate(len(raw.value) - 1), raw.sign).as_signed()
        return Mux(raw.fits, raw.value, end)

    def elaborate(self, platform):
        m = Module()
        schedule = self.schedule
        pulse = _Pulses(m, self.i.valid, self._fan_out)
        lanes = _Delays(m, schedule.taps)

        hold = Signal.like(self.i.payload, reset_less=True)
        with m.If(self.load):
            m.d.sync += hold.eq(self.i.payload)
        digits = [_digits(m, pulse, x, schedule, f"x_{n}") for n, x in enumerate(hold)]
        lanes.define(range(schedule.inputs), list(zip(*map(_pairs, digits), strict=True)), "x")

        # A shifted operand starts with zeros, so that an addition may begin before its operand is there. All
        # registers are therefore created before their inputs.
        groups = {
            start: (steps, _registers(len(steps), schedule.digit, f"sums_{start}"))
            for start, steps in self._by_start()
        }
        for start, (steps, totals) in groups.items():
            lanes.define([schedule.inputs + n for n in steps], list(map(_pairs, totals)), f"sums_{start}")
        for start, (steps, totals) in groups.items():
            a, b = ([schedule.steps[n][side] for n in steps] for side in (0, 1))
            a, b = (self._operands(pulse, lanes, operands, start) for operands in (a, b))
            subtract = [schedule.steps[n].subtract for n in steps]
            _add(m, totals, a, b, subtract, pulse.register_at_each(len(steps), start - 1))

        variable = [row for row in schedule.rows if row.operand is not None]
        totals = _registers(len(variable), schedule.digit, "rows")
        if variable:
            a = _by_lane([self._constant_digits(pulse, row) for row in variable])
            b = self._operands(pulse, lanes, [row.operand for row in variable], schedule.out_time)
            negative = [row.negative for row in variable]
            _add(m, totals, a, b, negative, pulse.register_at_each(len(variable), schedule.out_time - 1))
        results = zip(*totals, strict=True)
        for n, row in enumerate(schedule.rows):
            value = self._constant(row) if row.operand is None else self._caught(m, pulse, row, next(results), n)
            m.d.comb += self.o.payload[n].eq(value)
        m.d.comb += self.o.valid.eq(pulse.register_at(schedule.out_time + schedule.period + 1))

        return m

    def _by_start(self):
        """Return pairs of a time and the additions that begin then, those first whose sums wait longest."""
        schedule, starting = self.schedule, {}

        def longest_waits(step):
            node = schedule.inputs + step
            return [schedule.taps.get((node, lane), (0,))[-1] for lane in range(schedule.digit)]

        for step in range(len(schedule.steps)):
            starting.setdefault(schedule.start(step), []).append(step)
        for steps in starting.values():
            steps.sort(key=longest_waits)
            steps.reverse()
        return sorted(starting.items())

    def _operands(self, pulse, lanes, operands, start):
        """Return the lanes of operands as additions that begin at ``start`` see them, with zeros shifted in.

        The windows that hold the zeros are registers, which this creates as needed.
        """
        schedule, vectors = self.schedule, []
        for lane in range(schedule.digit):
            bits, windows = [], []
            for x in operands:
                zeros = schedule.zeros(x, lane)
                if zeros == schedule.period:
                    bits.append(_ZERO)
                else:
                    source = x.node, (lane - x.shift) % schedule.digit
                    bits.append(lanes.at(source, schedule.delay(x, lane, start)))
                windows.append((pulse.register_window(start, zeros), 0) if 0 < zeros < schedule.period else _ZERO)
            vectors.append(_joined(bits) & ~_joined(windows))
        return vectors

    def _constant_digits(self, pulse, row):
        """Return the lanes of a row's constant, chosen by a digit counter that this creates as needed."""
        schedule = self.schedule
        # A counter of a single digit would have no bits.
        number = pulse.register_count(schedule.out_time, schedule.period) if schedule.period > 1 else None
        lanes = []
        for lane in range(schedule.digit):
            bits = [(row.constant >> lane + schedule.digit * n) & 1 for n in range(schedule.period)]
            if len(set(bits)) == 1:
                lanes.append(C(bits[0], 1))
            else:
                # An Array would end with a comparison, for numbers that do not occur.
                table = C(sum(bit << n for n, bit in enumerate(bits)), 1 << len(number))
                lanes.append(table.bit_select(number, 1))
        return lanes

    def _constant(self, row):
        """Return the element of ``o`` for a row that is a constant."""
        limit = 1 << self.schedule.out_bits - 1
        value = min(max(row.constant >> row.right, -limit), limit - 1)
        return Cat(C(value, signed(self.schedule.out_bits)), C(1, 1), C(0, 1))

    def _caught(self, m, pulse, row, total, n):
        """Return the element of ``o`` for a row, from its total's lanes; create the registers that collect it.

        ``value`` is caught in shift registers while its digits pass. ``fits`` is high if all bits above it equal its
        sign: if all of them were zeros, or all were ones.
        """
        schedule, digit, bits = self.schedule, self.schedule.digit, self.schedule.out_bits
        begin, wanted = schedule.out_time + 1, range(row.right, row.right + bits)
        bits_by_number = {}
        for lane, bit in enumerate(total):
            numbers = [i for i in wanted if i % digit == lane]
            if numbers:
                caught = Signal(len(numbers), name=f"caught_{n}_{lane}", reset_less=True)
                with m.If(pulse.register_window(begin + numbers[0] // digit, len(numbers))):
                    m.d.sync += caught.eq(Cat(caught, bit)[1:])
                bits_by_number |= zip(numbers, caught, strict=True)
        value = Cat(bits_by_number[i] for i in wanted)
        if not row.saturates:
            return Cat(value, C(1, 1), C(0, 1))
        above = row.right + bits - 1  # from this bit on all must be equal
        seen = [
            (bit, pulse.register_window(begin + lag(above, lane, digit), schedule.period - lag(above, lane, digit)))
            for lane, bit in enumerate(total)
            if lag(above, lane, digit) < schedule.period
        ]
        restart = pulse.register_at(begin)
        zeros, ones = (Signal(name=f"{name}_{n}", reset_less=True) for name in ("zeros", "ones"))
        m.d.sync += [
            zeros.eq((restart | zeros) & Cat(~window | ~bit for bit, window in seen).all()),
            ones.eq((restart | ones) & Cat(~window | bit for bit, window in seen).all()),
        ]
        return Cat(value, zeros | ones, delay(m, total[-1], 1, name=f"sign_{n}"))


def _digits(m, pulse, x, schedule, name):
    """Return the lanes of a number as a vector, whose sign is repeated until `load` is high; create their registers.

    The first digit is in the registers at time 0.
    """
    digit, count = schedule.digit, schedule.in_digits
    groups = [Cat(x[min(lane + digit * k, len(x) - 1)] for lane in range(digit)) for k in range(count)]
    sign = x[-1].replicate(digit)
    if count > 1 and (len(x) - 1) % digit == 0:  # the last digit consists of the sign
        groups.pop()
    if len(groups) == 1:
        # The sign follows the only digit.
        chosen = Mux(pulse.register_at(-1), groups[0], sign)
    else:
        number = pulse.register_number(len(groups))
        places = 1 << len(number)
        chosen = Array([*groups, *[sign] * (places - len(groups))])[number]
    bits = Signal(digit, name=name, reset_less=True)
    m.d.sync += bits.eq(chosen)
    return bits


def _by_lane(digits):
    """Return one vector per lane, from numbers that are lists of lanes."""
    return [Cat(lane) for lane in zip(*digits, strict=True)]


_ZERO = C(0, 1), 0
"""The constant bit as a pair of a value and the number of its bit."""


def _pairs(vector):
    """Return pairs of a value and the number of a bit, for all of its bits."""
    return [(vector, n) for n in range(len(vector))]


def _joined(pairs):
    """Return the concatenation of bits, pairs of a value and the number of the bit.

    Neighbours become one slice, with which Amaranth takes a fraction of the time.
    """
    parts, end = [], 0
    while end < len(pairs):
        begin, (value, first) = end, pairs[end]
        end += 1
        if value is _ZERO[0]:
            while end < len(pairs) and pairs[end] is _ZERO:
                end += 1
            parts.append(C(0, end - begin))
        else:
            while end < len(pairs) and pairs[end][0] is value and pairs[end][1] == first + end - begin:
                end += 1
            parts.append(value[first : first + end - begin])
    return Cat(parts)


def _registers(count, digit, name):
    """Create the registers of ``count`` sums; return one vector per lane."""
    return [Signal(count, name=f"{name}_{lane}", reset_less=True) for lane in range(digit)]


def _wire(m, value, name):
    """Give a value a signal of its own, because Amaranth writes an expression out once for each use."""
    wire = Signal(len(value), name=name)
    m.d.comb += wire.eq(value)
    return wire


def _add(m, totals, a, b, subtract, first):
    """Assign many sums ``a ± b`` at once to the registers ``totals``; create the registers of their carries.

    Each lane is a vector with a bit of every addition. ``first`` has a pulse for each addition; the carries into the
    digits after a pulse are those of new words.
    """
    count, digit = len(subtract), len(totals)
    negative = C(sum(bit << n for n, bit in enumerate(subtract)), count)
    carry = Signal(count, name="carry", reset_less=True)
    a = [_wire(m, lane, "a") for lane in a]
    b = [_wire(m, lane ^ negative, "b") for lane in b]
    if digit > 2:
        # Every addition has a carry chain of its own, in which the lowest bit makes the carry in.
        additions = zip(carry, zip(*a, strict=True), zip(*b, strict=True), strict=True)
        chains = [_wire(m, Cat(c, p) + Cat(c, q), "chain") for c, p, q in additions]
        sums = [Cat(chain[lane + 1] for chain in chains) for lane in range(digit)]
        out = Cat(chain[digit + 1] for chain in chains)
    else:
        sums, out = [], carry
        for p, q in zip(a, b, strict=True):
            sums.append(p ^ q ^ out)
            out = _wire(m, (p & q) | (out & (p ^ q)), "out")
    m.d.sync += [total.eq(lane) for total, lane in zip(totals, sums, strict=True)]
    # A synthesiser turns a choice between a constant and something else into a reset, one for all that share a pulse.
    # The function of the carry then has the same inputs as that of the sum.
    end = 0
    for _, users in groupby(first, key=id):
        begin, end = end, end + len(list(users))
        m.d.sync += carry[begin:end].eq(Mux(first[begin], negative[begin:end], out[begin:end]))


class _Delays:
    """The lanes of every node, and the delay lines in which they wait, side by side with others of the same time.

    Long waits become shift registers, whose outputs are slow (SRL16E: 1.47 ns from the clock) and must not go to an
    adder. The last register of a wait therefore has a reset, which a shift register cannot have (UG474, "Shift
    Registers").
    """

    def __init__(self, m, taps):
        self._m, self._taps = m, taps
        self._lines = {}  # by (node, lane), the lane without delay and after each cycle

    def define(self, nodes, lanes, name):
        """Give ``nodes`` their lanes, and create the registers in which these wait.

        ``lanes`` have a bit of each of the nodes, whose digits come at the same time: a value, and the number of the
        bit.
        """
        for lane, bits in enumerate(lanes):
            for node, bit in zip(nodes, bits, strict=True):
                self._lines[node, lane] = [bit]
            self._wait([(node, lane) for node in nodes], f"{name}_{lane}")

    def _wait(self, sources, name):
        """Create the registers in which the lanes ``sources`` wait."""
        cycles = 0
        while sources := [source for source in sources if self._taps.get(source, (0,))[-1] > cycles]:
            cycles += 1
            for used in (False, True):
                group = [source for source in sources if (cycles in self._taps[source]) == used]
                if not group:
                    continue
                kind = "used" if used else "wait"
                registers = Signal(len(group), name=f"{name}_{kind}_{cycles}", reset_less=not used)
                self._m.d.sync += registers.eq(_joined([self._lines[source][-1] for source in group]))
                for source, register in zip(group, _pairs(registers), strict=True):
                    self._lines[source].append(register)

    def at(self, source, cycles):
        """Return a lane, (node, lane), ``cycles`` clock cycles after it was there, as a value and a number."""
        return self._lines[source][cycles]


class _Pulses:
    """Control signals at any time after the start of a word, each with a copy for every ``fan_out`` users.

    Time 0 is that of the inputs' first digits, two clock cycles after ``start``. Methods whose names begin with
    ``register`` create registers: a copy of the signal if the last one has its full fan-out, and the delay line of
    ``start`` up to its time.
    """

    def __init__(self, m, start, fan_out):
        self._m, self._fan_out = m, fan_out
        self._line = [start]
        self._copies = {}  # by kind and time, a list of equal signals and the number of users

    def _register_line(self, time):
        """Create the delay line of ``start`` up to ``time``, and return its output there."""
        while len(self._line) <= time + 2:
            register = Signal(name=f"pulse_{len(self._line)}")
            self._m.d.sync += register.eq(self._line[-1])
            self._line.append(register)
        return self._line[time + 2]

    def _copy(self, key, create):
        """Return the copy of a signal for one more user; ``create(n)`` creates the registers of copy ``n``."""
        copies, users = self._copies.setdefault(key, ([], [0]))
        if users[0] % self._fan_out == 0:
            copies.append(create(len(copies)))
        users[0] += 1
        return copies[-1]

    def register_at(self, time):
        """Return a register that is high in the cycle of the first digit at ``time``, which is at least -1."""

        def create(n):
            register = Signal(name=f"pulse_at_{time + 2}_{n}", attrs={"keep": "TRUE"})
            self._m.d.sync += register.eq(self._register_line(time - 1))
            return register

        return self._copy(("pulse", time), create)

    def register_at_each(self, count, time):
        """Return `register_at` for each of ``count`` users."""
        return [self.register_at(time) for _ in range(count)]

    def register_window(self, time, length):
        """Return a register that is high for ``length`` digits, from the first digit at ``time`` on."""

        def create(n):
            register = Signal(name=f"window_{time + 2}_{length}_{n}", attrs={"keep": "TRUE"})
            opens, closes = self._register_line(time - 1), self._register_line(time + length - 1)
            self._m.d.sync += register.eq(opens | (register & ~closes))
            return register

        return self._copy(("window", time, length), create)

    def register_number(self, count):
        """Return a counter of the digits that enter the registers of time 0, which stays at ``count`` after them."""

        def create(n):
            number = Signal(range(count + 1), name=f"digit_{n}", attrs={"keep": "TRUE"})
            with self._m.If(self._register_line(-2)):
                self._m.d.sync += number.eq(0)
            with self._m.Elif(number != count):
                self._m.d.sync += number.eq(number + 1)
            return number

        return self._copy(("number", count), create)

    def register_count(self, time, period):
        """Return a counter of the digits of a word, whose first digit is there at ``time``."""

        def create(n):
            number = Signal(range(period), name=f"number_{time + 2}_{n}", attrs={"keep": "TRUE"})
            self._m.d.sync += number.eq(Mux(self._register_line(time - 1), 0, number + 1))
            return number

        return self._copy(("count", time), create)
