"""When each addition of an adder graph happens, and what the pipeline costs.

A pipeline is the graph and, for every output, what makes ``y = sat(rshift(W·x + b, s))`` of it: an addition of bias
and rounding constant, then shift and saturation. At most ``depth`` of these steps lie between two registers. A value
that is needed later than it is made waits in registers, as wide as it is; *when* a step happens decides how many.
`pipeline` begins with every step as early and with every step as late as possible, moves single steps while that
saves registers, and takes the better of the two.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np

from ..architecture.ranges import signed_bits
from .graph import Graph

__all__ = ["Cost", "OutputRow", "Pipeline", "adder_graph_cost", "pipeline", "rows_of"]

_SWEEPS = 8  # through all steps; what the last ones find is next to nothing
_SHIFT_REGISTER = 3  # registers in a row that Yosys puts into a LUT
_SATURATION = 1.1  # LUTs for a bit of the result that can saturate: its own, and a part of the comparison
_ADDER = 0.4  # LUTs of an adder beside those of its bits: what Yosys finds, 0.36 to 0.5


class OutputRow(NamedTuple):
    """``y = sat(((±node << left) + constant) >> right)``; the sum before the shift lies in [low, high]. Without a
    node it is the constant."""

    node: int | None
    left: int
    negative: bool
    constant: int
    right: int
    low: int
    high: int

    @property
    def adds(self) -> bool:
        return self.node is not None and (self.negative or self.constant != 0)

    def saturates(self, bits: int) -> bool:
        return signed_bits(self.low >> self.right, self.high >> self.right) > bits


class Cost(NamedTuple):
    """LUTs and flip-flops of a pipeline, estimated, and cycles from input to output."""

    lut: int
    ff: int
    latency: int


def _row(output, ranges, bias: int, shift: int) -> OutputRow:
    constant = bias + (1 << shift >> 1)
    if output is None:
        return OutputRow(None, 0, False, constant, shift, constant, constant)
    common = min(output.shift, shift)  # neither the graph's shift nor the row's is built where they undo each other
    left, constant = output.shift - common, constant >> common
    low, high = (end << left for end in ranges[output.node])
    if output.negative:
        low, high = -high, -low
    return OutputRow(output.node, left, output.negative, constant, shift - common, low + constant, high + constant)


def rows_of(graph: Graph, bias, shift, out_bits: int) -> tuple[OutputRow, ...]:
    """What makes the results of a graph's outputs, with a bias and a shift for each. Raises ValueError for a wrong
    number of them, a shift outside [0, 31] or less than two ``out_bits``."""
    for name, value in (("bias", bias), ("shift", shift)):
        if np.shape(value) != (len(graph.outputs),):
            raise ValueError(f"{name} must have shape ({len(graph.outputs)},), not {np.shape(value)}")
    if min(shift) < 0 or max(shift) > 31:
        raise ValueError(f"shift must be in [0, 31], not {min(shift)} to {max(shift)}")
    if out_bits < 2:
        raise ValueError(f"out_bits must be at least 2, not {out_bits}")
    return tuple(
        _row(output, graph.ranges, int(b), int(s)) for output, b, s in zip(graph.outputs, bias, shift, strict=True)
    )


@dataclass(frozen=True, eq=False)
class Pipeline:
    """Values are numbered: the graph's nodes, then for each row its sum, if it adds, and its result.

    ``stage[v]`` is the one in which value ``v`` is made: 0 for inputs, 1 for what is made of them before the first
    registers, and so on. A value crosses one row of registers to the next stage.
    """

    graph: Graph
    rows: tuple[OutputRow, ...]
    operands: tuple[tuple[int, ...], ...]
    bits: tuple[int, ...]
    stage: tuple[int, ...]
    results: tuple[int, ...]
    out_bits: int

    @property
    def latency(self) -> int:
        """Cycles from a beat at the input to its result at the output, which comes from registers."""
        return max(self.stage) + 1

    @cached_property
    def uses(self) -> tuple[tuple[int, ...], ...]:
        """For each value the stages in which it is used, once for each use: ascending."""
        found = [[] for _ in self.operands]
        for value, operands in enumerate(self.operands):
            for operand in operands:
                found[operand].append(self.stage[value])
        for value in self.results:
            found[value].append(self.latency)
        return tuple(tuple(sorted(stages)) for stages in found)

    def copies(self, value: int, stage: int, fan_out: int | None) -> int:
        """Equal registers that hold a value at the start of a stage, so that none has more than ``fan_out`` loads:
        the steps in that stage and the register of the next."""
        uses = self.uses[value]
        loads = uses.count(stage) + (uses[-1] > stage)
        return 1 if fan_out is None else max(1, -(-loads // fan_out))

    @property
    def adder_bits(self) -> int:
        """Bits of all additions, each a LUT; without those of an operand below the other's lowest."""
        first, graph = len(self.graph.inputs), self.graph
        total = sum(self.bits[n] + adder.right - adder.shift for n, adder in enumerate(graph.adders, first))
        for row in self.rows:
            if row.adds:
                skipped = 0 if row.negative else _trailing_zeros(row.constant)
                total += signed_bits(row.low, row.high) - max(row.left, skipped)
        return total

    @property
    def unseen_bits(self) -> int:
        """Of them those for which Yosys finds no LUT: sums of two signs, as in the bit below, and bits of a constant
        that change nothing. A placer needs one, for each bit of a carry chain wants its own."""
        first, bits = len(self.graph.inputs), self.bits
        total = sum(
            bits[n] + adder.right > max(bits[adder.a], bits[adder.b] + adder.shift)
            for n, adder in enumerate(self.graph.adders, first)
        )
        for row in self.rows:
            if row.adds:
                skipped = row.left if row.negative else max(row.left, _trailing_zeros(row.constant))
                constant = ~row.constant if row.negative else row.constant
                width = signed_bits(row.low, row.high) - skipped
                total += width - ((constant >> skipped) & ((1 << width) - 1)).bit_count()
        return total


def _trailing_zeros(value: int) -> int:
    return (value & -value).bit_length() - 1 if value else 0


def _steps(graph: Graph, rows, out_bits):
    """(operands, bits, results) of all values."""
    operands = [() for _ in graph.inputs] + [(adder.a, adder.b) for adder in graph.adders]
    bits = [signed_bits(*ends) for ends in graph.ranges]
    results = []
    for row in rows:
        last = row.node
        if row.adds:
            operands.append((last,))
            bits.append(signed_bits(row.low, row.high))
            last = len(bits) - 1
        operands.append(() if last is None else (last,))
        bits.append(0 if last is None else out_bits)  # a constant waits nowhere
        results.append(len(bits) - 1)
    return operands, bits, results


def _improve(place, operands, users, bits, ends, depth, last):
    """Moves steps, one at a time and as far as those around it allow, while that saves registers. Places are numbers
    of steps from the input; ``ends`` are the values needed behind the last stage."""
    stage = [-(-p // depth) for p in place]
    leaves = last + 1
    latest = [max([leaves * (v in ends), *(stage[u] for u in users[v])], default=0) for v in range(len(place))]
    order = [v for v in range(len(place)) if operands[v]]
    for sweep in range(_SWEEPS):
        moved = False
        for v in order if sweep % 2 else reversed(order):
            low = max(place[u] for u in operands[v]) + 1
            high = min((place[u] for u in users[v]), default=last * depth + 1) - 1
            if low >= high:
                continue
            others = {u: max((stage[w] for w in users[u] if w != v), default=0) for u in operands[v]}
            candidates = dict.fromkeys([place[v], *range(low, high + 1)])  # where it is, if nothing is better
            best = min(
                candidates,
                key=lambda p: (
                    sum(bits[u] * max(-(-p // depth), o) for u, o in others.items()) - bits[v] * -(-p // depth)
                ),
            )
            if best != place[v]:
                moved = True
                place[v], stage[v] = best, -(-best // depth)
                for u, other in others.items():
                    latest[u] = max(other, stage[v])
        if not moved:
            break
    return stage, sum(b * (to - at) for b, to, at in zip(bits, latest, stage, strict=True))


def pipeline(graph: Graph, *, bias, shift, out_bits: int = 8, depth: int = 1) -> Pipeline:
    """The pipeline of ``y = sat(rshift(W·x + bias, shift))``, with at most ``depth`` steps between registers.

    ``bias`` and ``shift`` have a value for each output; ``sat`` clips to ``out_bits`` bits. Raises ValueError for a
    wrong number of them, or a shift outside [0, 31].
    """
    if depth < 1:
        raise ValueError(f"depth must be at least 1, not {depth}")
    rows = rows_of(graph, bias, shift, out_bits)
    operands, bits, results = _steps(graph, rows, out_bits)
    users = [[] for _ in operands]
    for v, used in enumerate(operands):
        for u in set(used):
            users[u].append(v)
    early = [0] * len(operands)
    for v, used in enumerate(operands):
        if v >= len(graph.inputs):
            early[v] = 1 + max((early[u] for u in used), default=0)
    last = -(-max(early) // depth)
    late = list(early)
    for v in reversed(range(len(operands))):
        if operands[v]:
            late[v] = min((late[u] - 1 for u in users[v]), default=last * depth)
    ends = frozenset(results)
    found = (_improve(place, operands, users, bits, ends, depth, last) for place in (early, late))
    stage, _ = min(found, key=lambda pair: pair[1])
    return Pipeline(graph, rows, tuple(operands), tuple(bits), tuple(stage), tuple(results), out_bits)


def _bits_used(made: Pipeline):
    """For every bit that an adder or saturation makes, and every input bit: (stage, stages in which it is used). The
    low bits of a sum that pass beside its adder stay the bits of the operand."""
    made_in, used_in = {}, {}
    bits = []  # of each value, lowest first: (value that made it, number)

    def use(value, first, stage):
        for bit in bits[value][first:]:
            used_in.setdefault(bit, set()).add(stage)

    def define(value, passed=()):
        bits.append([*passed, *((value, n) for n in range(len(passed), made.bits[value]))])
        made_in.update((bit, made.stage[value]) for bit in bits[value][len(passed) :])

    for value in range(len(made.graph.inputs)):
        define(value)
    for value, adder in enumerate(made.graph.adders, len(made.graph.inputs)):
        use(adder.a, adder.shift, made.stage[value])
        use(adder.b, 0, made.stage[value])
        low = bits[adder.a]
        low = [*low, *[low[-1]] * (adder.shift - len(low))][adder.right : adder.shift]
        define(value, low[: made.bits[value]])
    for row, result in zip(made.rows, made.results, strict=True):
        if row.adds:
            beside = 0 if row.negative or row.left else _trailing_zeros(row.constant)
            use(row.node, beside, made.stage[result - 1])
            define(result - 1, bits[row.node][:beside])
        if row.adds:
            use(result - 1, row.right, made.stage[result])
        elif row.node is not None:
            use(row.node, max(0, row.right - row.left), made.stage[result])
        define(result)
        use(result, 0, made.latency)
    return ((stage, sorted(used_in.get(bit, ()))) for bit, stage in made_in.items())


def adder_graph_cost(made: Pipeline, fan_out: int | None = None) -> Cost:
    """Of a 7 series device: an adder's bit is a LUT, and so are ``_SHIFT_REGISTER`` registers or more in a row
    between two uses of a bit."""
    lut, ff = float(made.adder_bits - made.unseen_bits), made.latency
    for at, uses in _bits_used(made):
        for use in uses:
            if use - at >= _SHIFT_REGISTER:
                lut += 1
            else:
                ff += use - at
            at = use
    for value, bits in enumerate(made.bits):
        for stage in sorted(set(made.uses[value])) if fan_out else ():
            ff += bits * (made.copies(value, stage, fan_out) - 1)
    lut += _ADDER * len(made.graph.adders)
    lut += _SATURATION * made.out_bits * sum(row.saturates(made.out_bits) for row in made.rows)
    return Cost(round(lut), ff, made.latency)
