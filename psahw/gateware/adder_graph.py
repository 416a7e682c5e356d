"""The adder graph for ``y = W·x``, which takes a vector per clock cycle: no multipliers, no weight memory."""

import numpy as np
from amaranth.hdl import Cat, Const, Module, Signal, signed
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from ..adder_graph.graph import Graph
from ..adder_graph.parallel import pipeline
from ..architecture.codes import Codes
from .arith import saturate
from .check import check_int
from .stream import vector_signature

__all__ = ["AdderGraph"]


def _above(value, bits):
    """Return ``value >> bits``, without the bits that only repeat its sign."""
    return value[min(bits, len(value) - 1) :].as_signed()


def _sum(a, b, shift, subtract=False):
    """Return ``a ± (b << shift)``; the low bits of ``a`` pass beside the adder."""
    low = Cat(a, a[-1].replicate(shift))[:shift]
    upper = _above(a, shift)
    return Cat(low, upper - b if subtract else upper + b).as_signed()


class AdderGraph(wiring.Component):
    """Computes ``y = sat(rshift(W·x + bias, shift))`` for every vector ``x``, where ``W`` is the matrix of the graph.

    A pipeline with at most ``depth`` additions between registers (`psahw.adder_graph.parallel`). Every value is as
    wide as its range::

        i -> x -> ±a + (b << k) -> ... -> ± sum + (bias + 2^(shift-1)) -> >> shift, saturate -> wait for the last -> o

    Latency: `latency` clock cycles from an input beat to its output beat; the first stage works on ``i`` itself.
    Throughput: one vector per clock cycle (an initiation interval of 1).

    Backpressure: the whole pipeline moves as one, with ``en = ~o.valid | o.ready``. This stall needs no LUTs, since
    registers and shift registers have an enable anyway. A pipeline that runs on needs a buffer for the ``latency``
    vectors that are under way, or a second output register and its multiplexer. The price is a net that reaches every
    register: a global buffer.

    Parameters
    ----------
    graph : psahw.adder_graph.Graph
        The ranges of its inputs hold for every ``x``, and fit ``in_bits``.
    bias : array of int (outputs)
        In units of the accumulator.
    shift : array of int (outputs)
        Bits to shift each result by, 0 to 31.
    in_bits, out_bits : int
        Widths of an input and of an output.
    depth : int
        Most additions between two registers.
    fan_out : int or None
        Most loads (adders and registers) of one register; a register with more is duplicated.

    Raises
    ------
    TypeError
        If ``graph`` is not a `Graph`, or a number is not an integer.
    ValueError
        If a number is out of its range, an array has the wrong length, or an input's range exceeds ``in_bits``.

    Members
    -------
    i : In(stream of vectors of signed ``in_bits``)
        One lane per input of the graph.
    o : Out(stream of vectors of signed ``out_bits``)
        One lane per output of the graph.
    """

    def __init__(self, *, graph, bias, shift, in_bits=8, out_bits=8, depth=1, fan_out=None):
        if not isinstance(graph, Graph):
            raise TypeError(f"graph must be a Graph, not {type(graph).__name__}")
        check_int("in_bits", in_bits)
        check_int("out_bits", out_bits, 2)
        check_int("depth", depth)
        if fan_out is not None:
            check_int("fan_out", fan_out)
        limit = 1 << in_bits - 1
        for n, (low, high) in enumerate(graph.inputs):
            if low < -limit or high >= limit:
                raise ValueError(f"graph.inputs[{n}] must lie in [{-limit}, {limit - 1}], not {low} to {high}")
        self._pipeline = pipeline(graph, bias=bias, shift=shift, out_bits=out_bits, depth=depth)
        self._fan_out = fan_out
        super().__init__(
            {
                "i": In(vector_signature(len(graph.inputs), Codes(in_bits))),
                "o": Out(vector_signature(len(graph.outputs), Codes(out_bits))),
            }
        )

    @property
    def latency(self) -> int:
        """Clock cycles from an input beat to its output beat."""
        return self._pipeline.latency

    def elaborate(self, platform):
        m = Module()

        pipelined, graph = self._pipeline, self._pipeline.graph
        en = ~self.o.valid | self.o.ready
        valid = Signal(self.latency - 1)
        m.d.comb += self.i.ready.eq(en)
        with m.If(en):
            m.d.sync += Cat(valid, self.o.valid).eq(Cat(self.i.valid, valid))

        values = _Values(pipelined, self._fan_out)
        for value, x in enumerate(self.i.payload):
            values.keep(value, x[: pipelined.bits[value]].as_signed())
        for value, adder in enumerate(graph.adders, len(graph.inputs)):
            a, b = (values.at(operand, pipelined.stage[value]) for operand in pipelined.operands[value])
            values.define(m, value, _above(_sum(a, b, adder.shift, adder.subtract), adder.right))
        for lane, (row, result) in enumerate(zip(pipelined.rows, pipelined.results, strict=True)):
            if row.node is None:
                limit = 1 << pipelined.out_bits - 1
                constant = int(np.clip(row.constant >> row.right, -limit, limit - 1))
                m.d.comb += self.o.payload[lane].eq(constant)
                continue
            if row.adds:
                sum_ = result - 1
                values.define(m, sum_, _offset(row, values.at(row.node, pipelined.stage[sum_])))
                total = values.at(sum_, pipelined.stage[result])
            else:
                total = values.at(row.node, pipelined.stage[result]) << row.left
            values.define(m, result, saturate(_above(total, row.right), Codes(pipelined.out_bits)))
            m.d.comb += self.o.payload[lane].eq(values.at(result, self.latency))
        with m.If(en):
            m.d.sync += values.moves

        return m


class _Values:
    """The values of a pipeline, and the registers in which each of them waits until its last use.

    ``moves`` are the assignments to these registers.
    """

    def __init__(self, pipelined, fan_out):
        self._pipeline, self._fan_out = pipelined, fan_out
        self._signals = {}  # by (value, stage), lists of equal signals
        self.moves = []

    def define(self, m, value, x):
        """Give a value a signal of its width that is equal to ``x``, and create the registers in which it waits."""
        signal = Signal(signed(self._pipeline.bits[value]), name=f"value_{value}")
        m.d.comb += signal.eq(x)
        self.keep(value, signal)

    def keep(self, value, x):
        """Create the registers in which a value that ``x`` already holds waits until its last use."""
        first = self._pipeline.stage[value]
        self._signals[value, first] = [x]
        for stage in range(first + 1, max(self._pipeline.uses[value], default=0) + 1):
            source = self.at(value, stage - 1)
            copies = self._pipeline.copies(value, stage, self._fan_out)
            registers = [
                Signal(
                    signed(len(x)),
                    name=f"value_{value}_{stage}_{n}",
                    reset_less=True,
                    attrs={"keep": "TRUE"} if copies > 1 else {},
                )
                for n in range(copies)
            ]
            self.moves += [register.eq(source) for register in registers]
            self._signals[value, stage] = registers

    def at(self, value, stage):
        """Return a value at the start of a stage, or in the stage that computes it; equal registers take turns."""
        signals = self._signals[value, stage]
        signals.append(signals.pop(0))
        return signals[-1]


def _offset(row, x):
    """Return ``(±x << left) + constant``."""
    if row.negative:
        return row.constant - (x << row.left)
    if row.left:
        return (x << row.left) + row.constant
    zeros = (row.constant & -row.constant).bit_length() - 1
    return _sum(x, Const(row.constant >> zeros), zeros)
