"""Benches of components that have more than one input or output, or other ports than streams."""

from collections.abc import Sequence
from types import SimpleNamespace

import numpy as np
from amaranth.asserts import AnyConst, AnySeq, Initial
from amaranth.hdl import Assume, Cat, Const, Module, Mux, Signal, Value, unsigned
from amaranth.lib import data

from psahw.architecture.codes import INT8, Codes
from psahw.gateware.banks import Banks
from psahw.gateware.counters import Counters
from psahw.gateware.digit_serial import DigitSerial
from psahw.gateware.residual import Add
from psahw.gateware.ring import VectorRing
from psahw.gateware.stream import Fork
from psahw.gateware.taps import DelayTaps

from .contract import Bench, Frames, Internals, Model, Route

__all__ = [
    "AddBench", "BanksBench", "CountersBench", "DelayTapsBench", "ForkBench", "RingBench", "SerialArithmetic",
    "SerialControl", "number", "requantised",
]  # fmt: skip

COPY = Route([[(0, 0)]])
ONE = Frames((1,))


def number(element: Value, codes: Codes) -> Value:
    """Return the number that a code of a type stands for."""
    return element.as_signed() if codes.signed else element


def requantised(total: Value, shift: int, codes: Codes = INT8) -> Value:
    """Return ``sat(rshift(total, shift))``, where ``rshift`` rounds half up, by comparisons with the limits."""
    shifted = (total + ((1 << shift) >> 1)) >> shift
    return Mux(shifted > codes.high, codes.high, Mux(shifted < codes.low, codes.low, shifted))


class ForkBench(Bench):
    """A `Fork`: the contract holds for each output, whatever the other's sink does.

    While the source offers beats and the other sink is ready, an output offers its beat in the next clock cycle at
    the latest: it has then taken the last one.
    """

    component: Fork

    def build(self, m, internals):
        i = self.component.i
        waiting = self.source(m, i)
        arrives = self.flow(m, i, i.valid & ~waiting, 1)
        for o, other in ((self.component.o_a, self.component.o_b), (self.component.o_b, self.component.o_a)):
            self.sink(m, o)
            leaves = self.flow(m, o, o.valid & o.ready, 1)
            self.beats_due(m, arrives, leaves, ONE, capacity=1, patience=0, transparent=True)
            self.never_longer(m, "live", i.valid & other.ready & ~o.valid, 1)
            self.ordered(m, COPY, arrives, leaves, 2)


class AddBench(Bench):
    """An `Add`, which takes a beat from both inputs in the same clock cycle, or from none.

    ``a_codes``, ``b_codes`` and ``o_codes`` are the types of its elements; those of the inputs are equally wide.
    """

    component: Add

    def __init__(
        self,
        component: Add,
        properties: Sequence[str],
        *,
        a_codes: Codes = INT8,
        b_codes: Codes = INT8,
        o_codes: Codes = INT8,
    ):
        super().__init__(component, properties)
        self.a_codes, self.b_codes, self.o_codes = a_codes, b_codes, o_codes

    def build(self, m, internals):
        a, b, o = self.component.a, self.component.b, self.component.o
        self.source(m, a)
        self.source(m, b)
        self.sink(m, o)
        taken = a.valid & a.ready
        self.require(m, "counts", taken == (b.valid & b.ready))
        both = Signal(data.ArrayLayout(unsigned(self.a_codes.bits), 2))
        m.d.comb += both.eq(Cat(a.payload, b.payload))
        arrives = self.flow(m, SimpleNamespace(payload=both), taken, 1)
        leaves = self.flow(m, o, o.valid & o.ready, 1)
        self.beats_due(m, arrives, leaves, ONE, capacity=2, patience=1, transparent=False)
        self.never_longer(m, "live", a.valid & b.valid & ~o.valid, 2)
        self.frames_leave(m, leaves.ends)

        def total(x):
            a, b = number(x[0][0], self.a_codes), number(x[0][1], self.b_codes)
            return [[requantised(a + b, 0, self.o_codes)]]

        self.ordered(m, Model(total), arrives, leaves, 2)


class RingBench(Bench):
    """A `VectorRing`: ``whole`` is high exactly while reads of a complete vector remain, and each reads its beat.

    The reader reads whenever it likes and may.
    """

    component: VectorRing

    def __init__(self, component: VectorRing, properties: Sequence[str], *, steps: int, passes: int, depth: int):
        super().__init__(component, properties)
        self.steps, self.passes, self.depth = steps, passes, depth

    def build(self, m, internals):
        ring, steps, reads = self.component, self.steps, self.steps * self.passes
        frames = Frames((*[0] * (steps - 1), reads))
        self.source(m, ring.i)
        m.d.comb += ring.read.eq(AnySeq(1) & ring.whole)
        arrives = self.flow(m, ring.i, ring.i.valid & ring.i.ready, steps)
        reader = SimpleNamespace(valid=ring.whole, payload=ring.x)
        read = self.flow(m, reader, ring.read, reads)
        capacity = (self.depth // steps + 1) * reads
        self.beats_due(m, arrives, read, frames, capacity=capacity, patience=0, transparent=False)
        place = read.place if steps > 1 else 0
        step = sum((place >= n * steps for n in range(1, self.passes)), 0) * steps
        self.require(m, "counts", ~ring.whole | (ring.first == (place == step)))
        self.require(m, "counts", ~ring.whole | (ring.last == (place == step + steps - 1)))
        self.never_longer(m, "live", ring.i.valid & ~ring.whole, steps)
        inside = internals(ring)  # see `psahw.gateware.ram`
        self.require(m, "counts", ~(inside.put & inside.step & (inside.write.addr == inside.read.addr)))

        offered = Signal()  # ``x`` is the beat that was read
        m.d.sync += offered.eq(ring.read)
        held = SimpleNamespace(valid=offered, payload=ring.x)
        leaves = self.flow(m, held, offered, reads)
        order = Route([[(step, 0)] for _ in range(self.passes) for step in range(steps)])
        self.ordered(m, order, arrives, leaves, self.depth // steps + 2)


class BanksBench(Bench):
    """`Banks`: an element that is read is the one that was last written to its address.

    Writes end at the last element. Reads wrap, as the component's docstring says.
    """

    component: Banks

    def build(self, m, internals):
        banks, layout = self.component, self.component.layout
        depth = layout.depth
        w_addr = self._address(m, depth - layout.i_lanes + 1, layout.i_align)
        r_addr = self._address(m, depth, layout.o_align)
        m.d.comb += [
            banks.w_en.eq(AnySeq(1)),
            banks.w_addr.eq(w_addr),
            Value.cast(banks.w_data).eq(AnySeq(len(Value.cast(banks.w_data)))),
            banks.r_en.eq(AnySeq(1)),
            banks.r_addr.eq(r_addr),
        ]
        followed = Signal(range(depth))
        m.d.comb += followed.eq(AnyConst(len(followed)))
        known, value = Signal(), Signal(8)
        for lane in range(layout.i_lanes):
            with m.If(banks.w_en & (w_addr + lane == followed)):
                m.d.sync += [known.eq(1), value.eq(banks.w_data[lane])]
        for lane in range(layout.o_lanes):
            reads, wanted = Signal(2, name=f"reads_{lane}"), Signal(data.ArrayLayout(8, 2), name=f"wanted_{lane}")
            with m.If(banks.r_en):
                m.d.sync += [
                    reads.eq(Cat(known & ((r_addr + lane * layout.step)[: len(followed)] == followed), reads)),
                    wanted.eq(Cat(value, wanted)),
                ]
            self.require(m, "order", ~reads[1] | (Value.cast(banks.r_data[lane]).as_unsigned() == wanted[1]))

    def _address(self, m, end, align):
        """Return any address below ``end`` that is a multiple of ``align``."""
        address = Signal(range(end))
        places = -(-end // align)
        number = AnySeq(max((places - 1).bit_length(), 1))
        m.d.comb += address.eq(Mux(number < places, number, 0) * align)
        return address


class DelayTapsBench(Bench):
    """`DelayTaps`: tap k holds the value that was pushed ``k·distance`` pushes before the last one."""

    component: DelayTaps

    def __init__(self, component: DelayTaps, properties: Sequence[str], *, width: int, distance: int, taps: int):
        super().__init__(component, properties)
        self.width, self.distance, self.taps = width, distance, taps

    def build(self, m, internals):
        line = self.component
        m.d.comb += [line.push.eq(AnySeq(1)), line.i.eq(AnySeq(self.width))]
        chosen, value = Signal(), Signal(self.width)
        since = Signal(range(self.taps * self.distance + 2))  # pushes since that of the chosen value
        with m.If(line.push & chosen & (since <= self.taps * self.distance)):
            m.d.sync += since.eq(since + 1)
        with m.If(AnySeq(1) & line.push & ~chosen):
            m.d.sync += [chosen.eq(1), value.eq(line.i)]
        for tap in range(self.taps + 1):
            held = line.o.word_select(tap, self.width)
            self.require(m, "order", ~(chosen & (since == tap * self.distance)) | (held == value))
        if self.distance > 1:
            inside = internals(line)  # see `psahw.gateware.ram`
            collides = inside.write.en & inside.read.en & (inside.write.addr == inside.read.addr)
            self.require(m, "order", ~collides)


class CountersBench(Bench):
    """`Counters`: each counts its event since it was cleared, and is read two clock cycles after its address."""

    component: Counters

    def build(self, m, internals):
        counters = self.component
        m.d.comb += [
            counters.frame.eq(AnySeq(1)),
            counters.stall.eq(AnySeq(counters.stages)),
            counters.clear.eq(AnySeq(1)),
            counters.addr.eq(AnySeq(8)),
        ]
        chosen, anything = Signal(8), AnyConst(8)
        m.d.comb += chosen.eq(Mux(anything < counters.stages + 2, anything, 0))
        expected, selected, wanted = Signal(32), Signal(2), [Signal(32, name=f"wanted_{n}") for n in range(2)]
        events = Cat(counters.frame, 1, counters.stall)
        m.d.sync += [
            expected.eq(Mux(counters.clear, 0, expected + events.bit_select(chosen, 1))),
            selected.eq(Cat(counters.addr == chosen, selected)),
            Cat(*wanted).eq(Cat(expected, *wanted)),
        ]
        counted = Value.cast(internals(counters).counters).word_select(chosen, 32)
        self.invariant(m, counted == expected)
        self.require(m, "counts", ~selected[1] | (counters.data == wanted[1]))


class _SerialBench(Bench):
    """A `DigitSerial` that gets vectors, and loads other numbers, at its initiation interval at the earliest."""

    component: DigitSerial

    def build(self, m, internals):
        graph, self.before = self.component, Signal(self.component.latency + self.component.interval)
        x = AnySeq(len(Value.cast(graph.i.payload)))
        recent = self.before[: graph.interval - 1].any()
        m.d.comb += [graph.i.valid.eq(AnySeq(1) & ~recent), Value.cast(graph.i.payload).eq(x)]
        m.d.comb += graph.load.eq(graph.i.valid | (AnySeq(1) & ~recent))
        m.d.sync += self.before.eq(Cat(graph.i.valid, self.before))

    def history(self, internals: Internals) -> list[Value]:
        """Return conditions that tie all control signals to the clock cycles in which vectors came.

        Bit ``n`` of ``before`` says whether one came ``n + 1`` clock cycles ago.
        """
        graph, before = self.component, self.before
        pulse = internals(graph).pulse
        conditions = [
            ~(before[n] & before[n + 1 : n + graph.interval].any()) for n in range(len(before) - graph.interval)
        ]
        conditions += [register == before[n] for n, register in enumerate(pulse._line[1:])]
        for (kind, *when), (copies, _) in pulse._copies.items():
            if kind == "window":
                time, length = when
                conditions += [copy == before[time + 1 : time + 1 + length].any() for copy in copies]
            if kind == "pulse":
                conditions += [copy == before[when[0] + 1] for copy in copies]
        return conditions


class SerialControl(_SerialBench):
    """Every control signal of a `DigitSerial` is a function of the last clock cycles, and ``o.valid`` is a delay."""

    def build(self, m, internals):
        super().build(m, internals)
        for condition in self.history(internals):
            self.require(m, "counts", condition)
        self.require(m, "counts", self.component.o.valid == self.before[self.component.latency - 1])


class SerialArithmetic(_SerialBench):
    """A `DigitSerial` computes ``sat(rshift(W·x + bias, shift))`` from any state that `SerialControl` allows.

    The vector comes in the first clock cycle, in which every register may hold anything that does not contradict the
    invariants of `SerialControl`, such as the remains of any vectors before it. Others may follow. Its result must be
    there ``latency`` clock cycles later. Every vector of the circuit comes in such a state, so that the depth of this
    proof does not bound what it shows.

    On the way, every digit of every sum is compared with that of the whole number when it is there. The solver may
    then take for granted what was shown for earlier digits.

    Parameters
    ----------
    component, properties
        As in `Bench`.
    weight, bias, shift
        What the component must compute.
    rows
        Rows whose results are compared.
    products
        Compare with ``W·x``. Otherwise compare with the sums of the schedule as whole numbers; that these are ``W·x``
        is checked without a solver, since both are linear and exact.
    """

    resets = False

    def __init__(
        self,
        component: DigitSerial,
        properties: Sequence[str],
        *,
        weight: np.ndarray,
        bias: Sequence[int],
        shift: Sequence[int],
        rows: Sequence[int],
        products: bool,
    ):
        super().__init__(component, properties)
        self.weight, self.bias, self.shift, self.rows, self.products = weight, bias, shift, rows, products
        self.cycles = component.latency + 1

    def build(self, m, internals):
        super().build(m, internals)
        circuit, schedule = self.component, self.component.schedule
        kept, age = Signal.like(circuit.i.payload), Signal(range(circuit.latency + 2))
        with m.If(Initial()):
            m.d.comb += [Assume(condition) for condition in (circuit.i.valid, *self.history(internals))]
            m.d.sync += [kept.eq(circuit.i.payload), age.eq(1)]
        with m.Elif(age <= circuit.latency):
            m.d.sync += age.eq(age + 1)

        nodes, forms = self._nodes(m, kept)
        lines = internals(circuit).lanes._lines
        for node, word in enumerate(nodes):
            long = Cat(word, word[-1].replicate(schedule.word_bits + schedule.digit))
            for n in range(schedule.period):
                bits = long[n * schedule.digit : (n + 1) * schedule.digit]
                lanes = Cat(value[bit] for value, bit in (lines[node, lane][0] for lane in range(schedule.digit)))
                self.require(m, "order", (age != 2 + schedule.time[node] + n) | (lanes == bits))
        for row in self.rows:
            total = self._product(row, kept) if self.products else self._sum(row, nodes, forms)
            wanted = requantised(total + int(self.bias[row]), int(self.shift[row]))
            result = circuit.finish(circuit.o.payload[row])
            self.require(m, "order", (age != circuit.latency) | (result == wanted))

    def _nodes(self, m: Module, x) -> tuple[list[Signal], list[np.ndarray]]:
        """Return the inputs and all sums of the schedule as whole numbers, and as linear forms in the inputs."""
        nodes, forms = [], []

        def add(value, form):
            nodes.append(Signal(value.shape(), name=f"node_{len(nodes)}"))
            forms.append(form)
            m.d.comb += nodes[-1].eq(value)

        for element, form in zip(x, np.eye(len(x), dtype=object), strict=True):
            add(element, form)
        for a, b, subtract in self.component.schedule.steps:
            (left, left_form), (right, right_form) = (
                (nodes[operand.node] << operand.shift, forms[operand.node] * 2**operand.shift) for operand in (a, b)
            )
            if subtract:
                add(left - right, left_form - right_form)
            else:
                add(left + right, left_form + right_form)
        return nodes, forms

    def _sum(self, row: int, nodes: list[Signal], forms: list[np.ndarray]) -> Value:
        """Return a row of ``W·x`` as the multiple of a sum that it is; raise ValueError if it is none."""
        operand, negative = (getattr(self.component.schedule.rows[row], name) for name in ("operand", "negative"))
        if operand is None:
            if any(self.weight[row]):
                raise ValueError(f"row {row} must not be constant")
            return Const(0)
        sign = -1 if negative else 1
        for left in range(64):
            for right in (0,) if left else range(64):
                if (forms[operand.node] * sign * 2**left == np.array(self.weight[row], object) * 2**right).all():
                    return (sign * nodes[operand.node] << left) >> right
        raise ValueError(f"row {row} must be a multiple of node {operand.node}")

    def _product(self, row: int, x) -> Value:
        """Return a row of ``W·x``."""
        return sum((int(weight) * element for weight, element in zip(self.weight[row], x, strict=True)), Const(0))
