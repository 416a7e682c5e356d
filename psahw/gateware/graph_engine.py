"""An adder graph as a stage of a pipeline: whole vectors in, a few lanes out, at a steady rate."""

from amaranth.hdl import Array, Module, Mux, Signal, Value
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from ..adder_graph.graph import Graph
from ..architecture.codes import INT8, Codes
from ..architecture.timing import graph_latency, graph_words
from .adder_graph import AdderGraph
from .check import check_divides, check_int
from .count import count, level
from .digit_serial import DigitSerial
from .stream import Queue, connect, vector_signature

__all__ = ["PARALLEL_GRAPH", "SERIAL_GRAPH", "GraphEngine"]

_BITS_PER_PLACE = 128
"""Bits of results among which one register chooses."""

PARALLEL_GRAPH, SERIAL_GRAPH = "graph", "serial"
"""Names of the submodule that holds the adder graph: whole vectors per clock cycle, or digits."""


class GraphEngine(wiring.Component):
    """Computes ``y = sat(rshift(W·x + bias, shift))`` with an adder graph that never waits.

    A vector is let in only if there is room for its result behind the graph. The graph therefore needs no enable, and
    a stall reaches no further than the queue::

        i -> room? -> graph -> hold -> o_lanes per clock cycle -> queue -> o

    Latency: beat ``n`` of a result leaves ``latency + n`` clock cycles after its vector came. Throughput: the
    initiation interval is `interval` clock cycles per vector. Backpressure: ``i.ready`` comes from registers only.

    Parameters
    ----------
    graph : psahw.adder_graph.Graph
        The ranges of its inputs hold for every ``x``.
    bias : array of int (outputs)
        In units of the accumulator.
    shift : array of int (outputs)
        Bits to shift each result by, 0 to 31.
    digit : int or None
        Bits per clock cycle of a `DigitSerial`; None for an `AdderGraph`, which takes a vector per clock cycle.
    o_lanes : int
        Lanes of ``o``; divides the outputs.
    i_codes, o_codes : Codes
        Types of an input and of a result. Unsigned results are those of a ReLU: the graph computes one bit more, and
        negative ones become 0.
    depth : int
        Most additions between two registers of an `AdderGraph`.

    Raises
    ------
    TypeError
        If ``graph`` is not a `Graph`, or a number is not an integer.
    ValueError
        If a number is out of its range, or an array has the wrong length.

    Members
    -------
    i : In(stream of vectors of ``i_codes``)
        One lane per input of the graph.
    o : Out(stream of ``o_lanes`` ``o_codes``)
        ``outputs / o_lanes`` beats per vector.
    """

    def __init__(self, *, graph, bias, shift, digit, o_lanes, i_codes=INT8, o_codes=INT8, depth=1):
        if not isinstance(graph, Graph):
            raise TypeError(f"graph must be a Graph, not {type(graph).__name__}")
        outputs = len(graph.outputs)
        check_int("o_lanes", o_lanes)
        check_divides("o_lanes", o_lanes, "outputs", outputs)
        for name, codes in (("i_codes", i_codes), ("o_codes", o_codes)):
            if not isinstance(codes, Codes):
                raise TypeError(f"{name} must be a Codes, not {type(codes).__name__}")
        for n, (low, high) in enumerate(graph.inputs):
            if low < i_codes.low or high > i_codes.high:
                raise ValueError(f"graph.inputs[{n}] must lie in {i_codes}, not {low} to {high}")
        rows = {"graph": graph, "bias": bias, "shift": shift, "out_bits": o_codes.signed_bits}
        if digit is None:
            self._core = AdderGraph(**rows, in_bits=i_codes.signed_bits, depth=depth)
        else:
            self._core = DigitSerial(**rows, digit=digit)
        self._digit, self._beats = digit, outputs // o_lanes
        self._o_lanes, self._o_codes = o_lanes, o_codes
        super().__init__(
            {
                "i": In(vector_signature(len(graph.inputs), i_codes)),
                "o": Out(vector_signature(o_lanes, o_codes)),
            }
        )

    @property
    def graph_interval(self) -> int:
        """Initiation interval of the graph alone, in clock cycles per vector."""
        return 1 if self._digit is None else self._core.interval

    @property
    def graph_latency(self) -> int:
        """Latency of the graph alone, in clock cycles."""
        return self._core.latency

    @property
    def interval(self) -> int:
        """Initiation interval in clock cycles per vector."""
        return max(self.graph_interval, self._beats)

    @property
    def latency(self) -> int:
        """Clock cycles from a vector to the first beat of its result."""
        return graph_latency(self._core.latency)

    @property
    def words(self) -> int:
        """Number of vectors for whose results there is room."""
        return graph_words(self._core.latency, self._beats, self.interval)

    def elaborate(self, platform):
        m = Module()
        core = self._core
        m.submodules[PARALLEL_GRAPH if self._digit is None else SERIAL_GRAPH] = core
        shape = self.o.payload.shape()
        m.submodules.queue = queue = Queue(shape=shape, depth=self.words * self._beats, style="distributed")

        start, done = Signal(), Signal()
        wait, idle = Signal(range(self.interval)), Signal(init=1)  # wait == 0
        held = level(m, start, done, self.words, name="held")
        (beat,) = count(m, self.o.valid & self.o.ready, self._beats)
        m.d.comb += [
            self.i.ready.eq(idle & held.room),
            start.eq(self.i.valid & self.i.ready),
            done.eq(beat.wrap),
            core.i.valid.eq(start),
        ]
        if core.i.payload.shape() == self.i.payload.shape():
            m.d.comb += core.i.payload.eq(self.i.payload)
        else:
            m.d.comb += [wide.eq(x) for wide, x in zip(core.i.payload, self.i.payload, strict=True)]
        idle_registers = [idle]
        if self._digit is None:
            m.d.comb += core.o.ready.eq(1)
        else:
            # The vector's registers have a copy of `idle` as their enable: one register would have too many loads.
            load = Signal(init=1, attrs={"keep": "TRUE"})
            idle_registers.append(load)
            m.d.comb += core.load.eq(load)
        with m.If(start):
            m.d.sync += wait.eq(self.interval - 1)
            m.d.sync += [register.eq(self.interval == 1) for register in idle_registers]
        with m.Elif(~idle):
            m.d.sync += wait.eq(wait - 1)
            m.d.sync += [register.eq(wait == 1) for register in idle_registers]

        hold = Signal.like(core.o.payload, reset_less=True)
        with m.If(core.o.valid):
            m.d.sync += hold.eq(core.o.payload)
        elements = Value.cast(hold)
        # The number of the beat that leaves, with a register for each part of the bits that depend on it.
        width = len(elements) // (self._beats * self._o_lanes)
        parts = min(-(-len(elements) // _BITS_PER_PLACE), self._o_lanes * width)
        keep = {"attrs": {"keep": "TRUE"}} if parts > 1 else {}
        places = [Signal(range(self._beats), name=f"place_{n}", **keep) for n in range(parts)]
        active, place = Signal(), places[0]
        with m.If(core.o.valid):
            m.d.sync += [active.eq(1), *[register.eq(0) for register in places]]
        with m.Elif(active):
            m.d.sync += [active.eq(place != self._beats - 1), *[register.eq(place + 1) for register in places]]

        choose = Signal()
        m.d.sync += choose.eq(active)
        m.d.comb += queue.i.valid.eq(choose)
        for lane in range(self._o_lanes):
            rows = range(lane, self._beats * self._o_lanes, self._o_lanes)
            chosen = Signal(width, name=f"chosen_{lane}", reset_less=True)
            for bit in range(width):
                options = Array(elements[row * width + bit] for row in rows)
                register = places[(lane * width + bit) * len(places) // (self._o_lanes * width)]
                m.d.sync += chosen[bit].eq(options[register])
            # The saturation follows the choice, so that it is built once per lane.
            result = chosen if self._digit is None else core.finish(data.View(core.raw, chosen))
            if not self._o_codes.signed:
                result = Mux(result[-1], 0, result)
            m.d.comb += queue.i.payload[lane].eq(result)
        connect(m, queue.o, wiring.flipped(self.o))

        return m
