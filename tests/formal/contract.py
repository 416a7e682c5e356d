"""The stream contract as assertions around a component, for a model checker.

A `Bench` connects a component to sources and sinks that may do anything that the contract of a stream allows: a
source offers any beat in any clock cycle and keeps it until it is taken, a sink is ready whenever it likes. The first
clock cycle is a reset from an arbitrary state, so that whatever is proven also holds after a reset in the middle of a
frame. Nothing else is assumed.

The properties of `PROPERTIES` are:

- *stable*: an offered payload does not change, and ``valid`` stays high, until the beat is taken;
- *offers*: a beat that is due is offered within a stated number of clock cycles, whether or not the sink is ready;
- *counts*: no beat is offered that is not due, where the beats due are a function of the input beats so far. With
  *offers* it follows that the numbers are equal once the component has drained;
- *order*: the beats of a frame are a function of this frame's input alone. The model checker chooses the frame;
- *live*: while all sources offer beats, the component offers one within a stated number of clock cycles.
"""

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import SimpleNamespace

from amaranth.asserts import AnyConst, AnySeq, Initial
from amaranth.hdl import (
    Array,
    Assert,
    Cat,
    ClockDomain,
    Const,
    Elaboratable,
    Fragment,
    Module,
    Mux,
    Shape,
    Signal,
    Value,
)
from amaranth.lib import data
from amaranth.lib.wiring import In

__all__ = [
    "ANY", "PADDING", "PROPERTIES", "TWICE", "Bench", "Flow", "Frames", "Internals", "Model", "Route",
    "StableBench", "StreamBench", "between", "elements", "popcount",
]  # fmt: skip

PROPERTIES = ("stable", "offers", "counts", "order", "live")

TWICE = "twice"
"""Instead of properties: no second frame leaves. A bounded proof must look at a run that violates this."""

PADDING = "padding"
"""In a `Route`: the element lies outside the grid."""
ANY = "any"
"""In a `Route`: nothing is said about the element."""


def elements(payload) -> list[Value]:
    """Return the elements of a payload that is an array, or the payload itself."""
    value, shape = Value.cast(payload), payload.shape()
    if not isinstance(shape, data.ArrayLayout):
        return [value]
    return [value.word_select(lane, len(value) // shape.length) for lane in range(shape.length)]


def _few_bits(element: Value, bits: int, *, signed: bool) -> Value:
    """Return an arbitrary number of ``bits`` bits, as wide as an element."""
    value = AnySeq(bits)
    return Cat(value, (value[-1] if signed else Const(0, 1)).replicate(len(element) - bits))


def between(low: int, high: int) -> Value:
    """Return an arbitrary number in [low, high], another one in each clock cycle."""
    number = AnySeq(high.bit_length())
    return Mux((number < low) | (number > high), low, number)


def popcount(*values: Value) -> Value:
    """Return how many bits of some values are high."""
    first, *others = [bit for value in values for bit in value]
    return sum(others, first)


@dataclass(frozen=True)
class Frames:
    """How many output beats the input beats of a frame make.

    ``due[k]`` is the number of a frame's output beats that are due once its input beats 0 to ``k`` have come. A frame
    is the shortest run of input beats with which everything repeats, which need not be a frame of the network.
    """

    due: tuple[int, ...]

    @property
    def i_beats(self) -> int:
        """Input beats of a frame."""
        return len(self.due)

    @property
    def o_beats(self) -> int:
        """Output beats of a frame."""
        return self.due[-1]

    @property
    def gains(self) -> list[int]:
        """Output beats that each input beat adds to those that are due."""
        return [after - before for before, after in zip((0, *self.due), self.due, strict=False)]


@dataclass(frozen=True)
class Route:
    """An order in which each output element is a copy, or a function, of one input element.

    ``sources[beat][lane]`` is the (beat, lane) of the input element, `PADDING` or `ANY`. ``bits`` are the bits that
    are compared; None for all. ``function(beat, lane, value)`` returns what the output element must be. ``padding``
    is the code that stands at the places with `PADDING`.
    """

    sources: Sequence[Sequence[tuple[int, int] | str]]
    bits: slice | None = None
    function: Callable[[int, int, Value], Value] | None = None
    padding: int = 0


@dataclass(frozen=True)
class Model:
    """An order in which the output of a frame is a function of all its elements.

    ``function(x)`` gets the input elements as ``x[beat][lane]`` and returns the output elements in the same form, as
    values or integers; None stands for any value.
    """

    function: Callable[[list[list[Value]]], Sequence[Sequence[Value | int | None]]]


@dataclass(frozen=True)
class Flow:
    """A stream as it is seen from outside.

    ``step`` is high in a clock cycle in which a beat counts, and ``place`` is the number of this beat in its frame of
    ``beats`` beats.
    """

    stream: object
    step: Value
    place: Value
    beats: int

    @property
    def begins(self) -> Value:
        """High with the first beat of a frame."""
        return self.step & (self.place == 0)

    @property
    def ends(self) -> Value:
        """High with the last beat of a frame."""
        return self.step & (self.place == self.beats - 1)


class Internals:
    """The local variables of the components' methods that were called, for invariants about registers inside.

    ``internals(component).level`` is the variable ``level`` of ``component.elaborate``. Another method is named:
    ``internals(component, "_read").base``. If there were several calls, the variables are those of the first that
    returned.
    """

    def __init__(self):
        self._variables = {}

    def elaborate(self, component: Elaboratable, platform) -> Fragment:
        """Return a component's fragment, and remember the variables of its method and of its submodules' methods."""

        def watch(frame, event, _):
            component = frame.f_locals.get("self")
            if event == "return" and isinstance(component, Elaboratable):
                self._variables.setdefault((id(component), frame.f_code.co_name), SimpleNamespace(**frame.f_locals))

        before = sys.getprofile()
        sys.setprofile(watch)
        try:
            return Fragment.get(component, platform)
        finally:
            sys.setprofile(before)

    def __call__(self, component: Elaboratable, method: str = "elaborate") -> SimpleNamespace:
        return self._variables[id(component), method]

    def state(self, component: Elaboratable, *names: str, machine: str = "fsm") -> Value:
        """Return whether a state machine of the module ``m`` of ``component.elaborate`` is in one of some states."""
        fsm = self(component).m._generated[machine]
        return fsm.state.matches(*(fsm.encoding[name] for name in names))


class Bench(Elaboratable):
    """A component between arbitrary sources and sinks; `build` adds the assertions.

    Parameters
    ----------
    component
        The component to prove something about.
    properties
        Those of `PROPERTIES` that become assertions, or `TWICE` alone.
    """

    resets = True
    """The component is reset in the first clock cycle."""
    helped = True
    """Invariants are asserted as well as the properties, which spares the model checker finding them by itself."""
    cycles = 0
    """Clock cycles in which everything happens, if the bench begins in any state that can be reached; otherwise 0."""

    def __init__(self, component, properties: Sequence[str]):
        unknown = {*properties} - {*PROPERTIES, TWICE}
        if unknown:
            raise ValueError(f"properties must be from {', '.join(PROPERTIES)}, not {', '.join(sorted(unknown))}")
        self.component, self.properties = component, tuple(properties)
        self.domain = ClockDomain("sync")

    def elaborate(self, platform):
        m = Module()
        m.domains.sync = self.domain
        m.d.comb += self.domain.rst.eq(Initial() if self.resets else 0)
        internals = Internals()
        m.submodules.component = internals.elaborate(self.component, platform)
        self.build(m, internals)
        return m

    def build(self, m: Module, internals: Internals):
        """Connect the streams, and add the assertions."""
        raise NotImplementedError

    def invariant(self, m: Module, condition: Value):
        """Assert a condition in every clock cycle after the reset, if the proof is `helped`."""
        if self.helped:
            self._always(m, condition)

    def require(self, m: Module, name: str, condition: Value):
        """Assert a condition in every clock cycle after the reset, if it belongs to one of the wanted properties."""
        if name in self.properties:
            self._always(m, condition)

    def _always(self, m, condition):
        with m.If(~Initial()):
            m.d.comb += Assert(condition)

    def frames_leave(self, m: Module, end: Value):
        """Assert `TWICE`; ``end`` is high in a clock cycle in which a frame has left."""
        if TWICE in self.properties:
            left = Signal()
            m.d.sync += left.eq(left | end)
            self.require(m, TWICE, ~(left & end))

    def never_longer(self, m: Module, name: str, condition: Value, cycles: int):
        """Require that a condition never holds in more than ``cycles`` successive clock cycles."""
        if name not in self.properties:
            return
        # A register per clock cycle instead of a counter, so that facts about the component are short clauses.
        held = Const(1)
        for cycle in range(cycles):
            before, held = held, Signal(name=f"{name}_{cycle}")
            m.d.sync += held.eq(before & condition)
        self.require(m, name, ~(held & condition))

    def source(self, m: Module, stream, bits: int | None = None, fresh: Value | None = None) -> Value:
        """Connect an arbitrary source to an input; return whether its beat was offered before.

        Elements are numbers of ``bits`` bits, or anything if None. ``fresh`` is the payload of a beat when it is
        first offered, if that is not just anything.
        """
        payload = Value.cast(stream.payload)
        waiting, kept = Signal(), Signal(len(payload))
        if fresh is None:
            fresh = AnySeq(len(payload))
        if bits is not None:
            signed = Shape.cast(stream.payload.shape().elem_shape).signed
            fresh = Cat(_few_bits(element, bits, signed=signed) for element in elements(stream.payload))
        m.d.comb += [stream.valid.eq(waiting | AnySeq(1)), payload.eq(Mux(waiting, kept, fresh))]
        m.d.sync += [waiting.eq(stream.valid & ~stream.ready), kept.eq(payload)]
        return waiting

    def sink(self, m: Module, stream):
        """Connect an arbitrary sink to an output, and require that offered beats are stable."""
        m.d.comb += stream.ready.eq(AnySeq(1))
        self.stable(m, stream)

    def stable(self, m: Module, stream):
        """Require that offered beats of a stream are stable."""
        payload = Value.cast(stream.payload)
        offered, kept = Signal(), Signal(len(payload))
        m.d.sync += [offered.eq(stream.valid & ~stream.ready), kept.eq(payload)]
        self.require(m, "stable", ~offered | (stream.valid & (payload == kept)))

    def flow(self, m: Module, stream, step: Value, beats: int) -> Flow:
        """Count the beats of a stream; ``step`` is high in a clock cycle in which one counts."""
        now, place = Signal(), Signal(range(beats))
        m.d.comb += now.eq(step)
        with m.If(now):
            m.d.sync += place.eq(Mux(place == beats - 1, 0, place + 1))
        return Flow(stream, now, place, beats)

    def beats_due(
        self, m: Module, i: Flow, o: Flow, frames: Frames, *, capacity: int, patience: int, transparent: bool,
        waiting: Sequence[int] = (),
    ):  # fmt: skip
        """Require that the beats of an output are *counted* and *offered*; return how many are due.

        The parameters are those of `StreamBench`.
        """
        gains = frames.gains
        gain, due = Signal(range(max(gains) + 1)), Signal(range(capacity + max(gains) + 1))
        m.d.comb += gain.eq(Mux(i.step, Array(gains)[i.place], 0))
        m.d.sync += due.eq(due + gain - o.step)
        now = due + gain if transparent else due
        self.invariant(m, due <= capacity)
        self.require(m, "counts", ~o.stream.valid | (now != 0))
        may_wait = Array(waiting)[i.place] if waiting else 0
        self.never_longer(m, "offers", (now > may_wait) & ~o.stream.valid, patience)
        return due

    def ordered(self, m: Module, order: Route | Model, i: Flow, o: Flow, frames: int):
        """Require that the output of a frame is what ``order`` says.

        The model checker chooses when to follow a frame, and which element of it. ``frames`` is the largest number of
        frames that have begun to come and have not left.
        """
        if "order" not in self.properties:
            return
        flight = Signal(range(frames + 2))
        m.d.sync += flight.eq(flight + i.begins - o.ends)
        self.invariant(m, flight <= frames)

        choose, chosen, done, reading = Signal(), Signal(), Signal(), Signal()
        ahead, ahead_now = (
            Signal(range(frames + 2)),
            Signal(range(frames + 2)),
        )  # frames that leave before the chosen one
        m.d.comb += [choose.eq(AnySeq(1) & i.begins & ~chosen), ahead_now.eq(Mux(choose, flight, ahead))]
        m.d.sync += [
            chosen.eq(chosen | choose),
            reading.eq((choose | reading) & ~i.ends),
            ahead.eq(ahead_now - (o.ends & (ahead_now != 0))),
        ]
        leaves = Signal()  # a beat of the chosen frame is offered
        m.d.comb += leaves.eq((chosen | choose) & ~done & (ahead_now == 0) & o.stream.valid)
        with m.If(leaves & o.ends):
            m.d.sync += done.eq(1)
        compare = self._route if isinstance(order, Route) else self._model
        compare(m, order, i, o, (choose | reading) & i.step, leaves)

    def _route(self, m, order, i, o, reads, leaves):
        """Compare an element of the chosen frame with the one that it comes from; the model checker chooses it."""
        table = [
            (beat, lane, (0, 0) if source == PADDING else source, source == PADDING)
            for beat, lanes in enumerate(order.sources)
            for lane, source in enumerate(lanes)
            if source != ANY
        ]
        entry, anything = Signal(range(len(table))), AnyConst(len(table).bit_length())
        m.d.comb += entry.eq(Mux(anything < len(table), anything, 0))
        o_beat, o_lane, outside = (Array(line[field] for line in table)[entry] for field in (0, 1, 3))
        i_beat, i_lane = (Array(line[2][field] for line in table)[entry] for field in (0, 1))

        bits = order.bits or slice(None)
        read = Array(element[bits] for element in elements(i.stream.payload))[i_lane]
        kept, now = Signal(len(read)), Signal(len(read))
        came, came_now = Signal(), Signal()
        m.d.comb += [came_now.eq(came | (reads & (i.place == i_beat))), now.eq(Mux(came_now & ~came, read, kept))]
        m.d.sync += [came.eq(came_now), kept.eq(now)]
        wanted = Mux(outside, order.padding, now)
        if order.function is not None:
            wanted = Array(order.function(beat, lane, now) for beat, lane, *_ in table)[entry]
        written = Array(element[bits] for element in elements(o.stream.payload))[o_lane]
        self.require(m, "order", ~(leaves & (o.place == o_beat)) | ((outside | came_now) & (written == wanted)))

    def _model(self, m, order, i, o, reads, leaves):
        """Compare all elements of the chosen frame with those that the function makes of its input."""
        now = []
        for beat in range(i.beats):
            for lane, read in enumerate(elements(i.stream.payload)):
                kept, value = (Signal(len(read), name=f"{name}_{beat}_{lane}") for name in ("kept", "now"))
                m.d.comb += value.eq(Mux(reads & (i.place == beat), read, kept))
                m.d.sync += kept.eq(value)
                now.append(value)
        lanes = len(now) // i.beats
        wanted = order.function([now[beat * lanes : (beat + 1) * lanes] for beat in range(i.beats)])
        for beat, row in enumerate(wanted):
            for written, value in zip(elements(o.stream.payload), row, strict=True):
                if value is not None:
                    equal = written == Value.cast(value)[: len(written)]
                    self.require(m, "order", ~(leaves & (o.place == beat)) | equal)


class StreamBench(Bench):
    """A component with one input and one output.

    Parameters
    ----------
    component, properties
        As in `Bench`.
    frames
        Output beats of a frame by its input beats.
    capacity
        The largest number of beats that are due and have not left.
    patience
        Clock cycles in which a beat may be due without being offered.
    interval
        Clock cycles for which the source may offer beats without seeing an output beat offered.
    order
        What the output is; None if *order* is not among the properties.
    transparent
        A beat counts from when it is offered at ``i``, not from when it is taken. This is so in components that pass
        beats on within the clock cycle.
    waiting
        The beats that are due and may wait for the next input beat, by the number of the frame's input beats that
        have come. Empty if none may.
    invariants
        A function of (internals, beats due) that returns conditions. It may use ``place``, the number of the next
        input beat in its frame. They are asserted like the properties, and spare the model checker finding them by
        itself.
    bits
        The elements of the source are numbers of so many bits; None for any elements.
    """

    def __init__(
        self,
        component,
        properties: Sequence[str],
        *,
        frames: Frames,
        capacity: int,
        patience: int,
        interval: int,
        order: Route | Model | None = None,
        transparent: bool = False,
        waiting: Sequence[int] = (),
        invariants: Callable[[Internals, Value], Sequence[Value]] | None = None,
        bits: int | None = None,
    ):
        super().__init__(component, properties)
        self.frames, self.capacity, self.patience, self.interval = frames, capacity, patience, interval
        self.routing, self.transparent, self.invariants, self.bits = order, transparent, invariants, bits
        self.waiting = waiting

    def build(self, m, internals):
        frames = self.frames
        waiting = self.source(m, self.component.i, self.bits)
        self.sink(m, self.component.o)
        arrives = self.component.i.valid & (~waiting if self.transparent else self.component.i.ready)
        i = self.flow(m, self.component.i, arrives, frames.i_beats)
        o = self.flow(m, self.component.o, self.component.o.valid & self.component.o.ready, frames.o_beats)
        self.place = i.place
        if {"counts", "offers"} & {*self.properties} or self.invariants:
            due = self.beats_due(
                m, i, o, frames, capacity=self.capacity, patience=self.patience, transparent=self.transparent,
                waiting=self.waiting,
            )  # fmt: skip
            for condition in self.invariants(internals, due) if self.invariants else ():
                self.invariant(m, condition)
        self.never_longer(m, "live", i.stream.valid & ~o.stream.valid, self.interval)
        self.frames_leave(m, o.ends)
        if self.routing is not None:
            self.ordered(m, self.routing, i, o, self.capacity // frames.o_beats + 2)


class StableBench(Bench):
    """Any component: the beats of its output streams are stable, whatever comes in through its other ports."""

    def build(self, m, internals):
        for name, member in self.component.signature.members.items():
            port = getattr(self.component, name)
            if member.is_port:
                if member.flow == In:
                    m.d.comb += Value.cast(port).eq(AnySeq(len(Value.cast(port))))
            elif member.flow == In:
                self.source(m, port)
            else:
                self.sink(m, port)
