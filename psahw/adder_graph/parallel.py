"""Pipelines of adder graphs that take a vector per clock cycle, and their cost.

A pipeline computes ``y = sat(rshift(W·x + b, s))``. It consists of the graph and, for each output, of an addition
of the bias and the rounding constant, and of the shift and the saturation. At most ``depth`` of these steps, which
include the additions of the graph, lie between two registers. A value that is used in a later stage than the one
that computes it waits in registers of its own width, so the stages of the steps decide the number of registers.
`pipeline` starts from two placements, with every step as early and with every step as late as possible, moves
single steps while that saves registers, and takes the better result.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np

from ..architecture.ranges import signed_bits
from .graph import Graph, Output

__all__ = ["DEPTHS", "Cost", "OutputRow", "Pipeline", "adder_graph_cost", "pipeline", "rows_of"]

DEPTHS = (1, 2, 3)
"""Steps between two registers that a plan can have."""

_SWEEPS = 8  # over all steps; later ones hardly move any
_SHIFT_REGISTER = 3  # shortest run of registers that Yosys puts into a LUT
_SATURATION = 1.1  # LUTs per bit of a result that can saturate: its own, and a part of the comparison
_ADDER = 0.4  # LUTs per adder besides those of its bits: Yosys finds 0.36 to 0.5

_Integers = Sequence[int] | np.ndarray


class OutputRow(NamedTuple):
    """``y = sat(((±node << left) + constant) >> right)``, or the constant alone if ``node`` is None.

    The sum before the shift to the right lies in [``low``, ``high``].
    """

    node: int | None
    left: int
    negative: bool
    constant: int
    right: int
    low: int
    high: int

    @property
    def adds(self) -> bool:
        """True if the row needs an adder."""
        return self.node is not None and (self.negative or self.constant != 0)

    def saturates(self, bits: int) -> bool:
        """Return whether a result of ``bits`` bits can saturate."""
        return signed_bits(self.low >> self.right, self.high >> self.right) > bits


class Cost(NamedTuple):
    """Estimated LUTs and flip-flops of an adder graph, and its latency in clock cycles."""

    lut: int
    ff: int
    latency: int


def _row(output: Output | None, ranges: Sequence[tuple[int, int]], bias: int, shift: int) -> OutputRow:
    """Return the row of an output, from the ranges of the graph's nodes."""
    constant = bias + (1 << shift >> 1)
    if output is None:
        return OutputRow(None, 0, False, constant, shift, constant, constant)
    common = min(output.shift, shift)  # the graph's shift to the left and the row's to the right cancel
    left, constant = output.shift - common, constant >> common
    low, high = (end << left for end in ranges[output.node])
    if output.negative:
        low, high = -high, -low
    return OutputRow(output.node, left, output.negative, constant, shift - common, low + constant, high + constant)


def rows_of(graph: Graph, bias: _Integers, shift: _Integers, out_bits: int) -> tuple[OutputRow, ...]:
    """Return the row of each output of a graph, with a bias and a shift for each.

    Raises ValueError for a wrong number of biases or shifts, a shift outside [0, 31] or less than two ``out_bits``.
    """
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
    """An adder graph with its rows, in pipeline stages.

    The values are numbered: first the graph's nodes, then for each row its sum, if it adds, and its result.

    Parameters
    ----------
    graph, rows, out_bits
        The graph, its rows, and the width of a result.
    operands
        For each value the values that it is computed from.
    bits
        Width of each value. A constant result, which needs no registers, has 0.
    stage
        Pipeline stage that computes each value: 0 for the inputs, 1 in front of the first registers, and so on. A
        value crosses one row of registers to the next stage.
    results
        For each row the number of its result.
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
        """Clock cycles from an input beat to its result, which comes from registers."""
        return max(self.stage) + 1

    @cached_property
    def uses(self) -> tuple[tuple[int, ...], ...]:
        """For each value the stages that use it, in ascending order, once for each use."""
        stages: list[list[int]] = [[] for _ in self.operands]
        for value, operands in enumerate(self.operands):
            for operand in operands:
                stages[operand].append(self.stage[value])
        for value in self.results:
            stages[value].append(self.latency)
        return tuple(tuple(sorted(uses)) for uses in stages)

    def copies(self, value: int, stage: int, fan_out: int | None) -> int:
        """Return how many equal registers hold a value at the start of a stage.

        The value must wait or be used there. No register has more than ``fan_out`` loads, which are the steps in that
        stage and the register of the next; None sets no limit.
        """
        uses = self.uses[value]
        loads = uses.count(stage) + (uses[-1] > stage)
        return 1 if fan_out is None else -(-loads // fan_out)

    @property
    def adder_bits(self) -> int:
        """Bits of all adders, each of which is a LUT.

        Bits of one operand below the lowest bit of the other pass beside the adder and do not count.
        """
        first, graph = len(self.graph.inputs), self.graph
        total = sum(self.bits[n] + adder.right - adder.shift for n, adder in enumerate(graph.adders, first))
        for row in self.rows:
            if row.adds:
                skipped = 0 if row.negative else _trailing_zeros(row.constant)
                total += signed_bits(row.low, row.high) - max(row.left, skipped)
        return total

    @property
    def unseen_bits(self) -> int:
        """Bits of adders for which Yosys finds no LUT, although a placer needs one for each bit of a carry chain.

        They are the sums of two sign bits, which equal the bit below, and bits of a constant that change nothing.
        """
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
    """Return the number of low zero bits of a value, and 0 for 0."""
    return (value & -value).bit_length() - 1 if value else 0


def _steps(
    graph: Graph, rows: Sequence[OutputRow], out_bits: int
) -> tuple[list[tuple[int, ...]], list[int], list[int]]:
    """Return the operands and the bits of all values, and the numbers of the results."""
    operands: list[tuple[int, ...]] = [() for _ in graph.inputs]
    operands += [(adder.a, adder.b) for adder in graph.adders]
    bits = [signed_bits(*ends) for ends in graph.ranges]
    results = []
    for row in rows:
        last = row.node
        if row.adds and last is not None:
            operands.append((last,))
            bits.append(signed_bits(row.low, row.high))
            last = len(bits) - 1
        operands.append(() if last is None else (last,))
        bits.append(0 if last is None else out_bits)
        results.append(len(bits) - 1)
    return operands, bits, results


class _Placement:
    """Places of all steps, and the pipeline stages that follow from them.

    A place is a number of steps from the input; ``depth`` consecutive places make a stage. The values ``ends`` are
    used behind the last stage.
    """

    def __init__(
        self,
        place: Sequence[int],
        *,
        operands: list[tuple[int, ...]],
        users: list[list[int]],
        bits: list[int],
        ends: frozenset[int],
        depth: int,
        last_stage: int,
    ) -> None:
        self._place = list(place)
        self._operands, self._users, self._bits = operands, users, bits
        self._depth, self._last_place = depth, last_stage * depth
        self.stage = [self._stage_of(p) for p in place]
        self._latest_use = [
            max([last_stage + 1] * (v in ends) + [self.stage[u] for u in users[v]], default=0)
            for v in range(len(self._place))
        ]

    def _stage_of(self, place: int) -> int:
        """Return the stage of a place."""
        return -(-place // self._depth)

    @property
    def registers(self) -> int:
        """Register bits in which values wait for their last use."""
        return sum(b * (to - at) for b, to, at in zip(self._bits, self._latest_use, self.stage, strict=True))

    def _move(self, v: int) -> bool:
        """Move a step to the place between its operands and its users that saves most registers, if any does."""
        place, bits, users = self._place, self._bits, self._users
        low = max(place[u] for u in self._operands[v]) + 1
        high = min((place[u] for u in users[v]), default=self._last_place + 1) - 1
        if low >= high:
            return False
        other_use = {u: max((self.stage[w] for w in users[u] if w != v), default=0) for u in self._operands[v]}

        def waiting(at: int) -> int:
            stage = self._stage_of(at)
            return sum(bits[u] * max(stage, use) for u, use in other_use.items()) - bits[v] * stage

        # The present place comes first, so that it is taken unless another one is better.
        best = min(dict.fromkeys([place[v], *range(low, high + 1)]), key=waiting)
        if best == place[v]:
            return False
        place[v], self.stage[v] = best, self._stage_of(best)
        for u, use in other_use.items():
            self._latest_use[u] = max(use, self.stage[v])
        return True

    def improve(self) -> None:
        """Move steps, one at a time and as far as their neighbours allow, while that saves registers."""
        order = [v for v in reversed(range(len(self._place))) if self._operands[v]]
        for _ in range(_SWEEPS):
            moves = [self._move(v) for v in order]
            if not any(moves):
                break


def pipeline(graph: Graph, *, bias: _Integers, shift: _Integers, out_bits: int = 8, depth: int = 1) -> Pipeline:
    """Return the pipeline of ``y = sat(rshift(W·x + bias, shift))``, where ``W`` is the matrix of a graph.

    Parameters
    ----------
    graph
        The graph.
    bias, shift
        A bias, in units of the accumulator, and a shift in [0, 31] for each output.
    out_bits
        Width of a result, to which ``sat`` clips.
    depth
        Largest number of steps between two registers.

    Raises
    ------
    ValueError
        If an argument is out of range, or ``bias`` or ``shift`` has a wrong length.
    """
    if depth < 1:
        raise ValueError(f"depth must be at least 1, not {depth}")
    rows = rows_of(graph, bias, shift, out_bits)
    operands, bits, results = _steps(graph, rows, out_bits)
    users: list[list[int]] = [[] for _ in operands]
    for v, used in enumerate(operands):
        for u in set(used):
            users[u].append(v)
    early = [0] * len(operands)
    for v, used in enumerate(operands):
        if v >= len(graph.inputs):
            early[v] = 1 + max((early[u] for u in used), default=0)
    last_stage = -(-max(early) // depth)
    late = list(early)
    for v in reversed(range(len(operands))):
        if operands[v]:
            late[v] = min((late[u] - 1 for u in users[v]), default=last_stage * depth)
    placements = [
        _Placement(
            place,
            operands=operands,
            users=users,
            bits=bits,
            ends=frozenset(results),
            depth=depth,
            last_stage=last_stage,
        )
        for place in (early, late)
    ]
    for placement in placements:
        placement.improve()
    best = min(placements, key=lambda placement: placement.registers)
    return Pipeline(graph, rows, tuple(operands), tuple(bits), tuple(best.stage), tuple(results), out_bits)


def _bits_used(pipelined: Pipeline) -> Iterator[tuple[int, list[int]]]:
    """Yield, for each bit of the inputs, adders and saturations, its stage and the stages that use it.

    The low bits of a sum that pass beside its adder are still bits of the operand.
    """
    stage, graph = pipelined.stage, pipelined.graph
    computed_in: dict[tuple[int, int], int] = {}
    used_in: dict[tuple[int, int], set[int]] = {}
    bits: list[list[tuple[int, int]]] = []  # of each value, lowest first: (value that computes it, number in that)

    def use(value: int, first: int, at: int) -> None:
        for bit in bits[value][first:]:
            used_in.setdefault(bit, set()).add(at)

    def define(value: int, passed: Sequence[tuple[int, int]] = ()) -> None:
        bits.append([*passed, *((value, n) for n in range(len(passed), pipelined.bits[value]))])
        computed_in.update((bit, stage[value]) for bit in bits[value][len(passed) :])

    for value in range(len(graph.inputs)):
        define(value)
    for value, adder in enumerate(graph.adders, len(graph.inputs)):
        use(adder.a, adder.shift, stage[value])
        use(adder.b, 0, stage[value])
        low = bits[adder.a]
        low = [*low, *[low[-1]] * (adder.shift - len(low))][adder.right : adder.shift]
        define(value, low[: pipelined.bits[value]])
    for row, result in zip(pipelined.rows, pipelined.results, strict=True):
        if row.node is not None and row.adds:
            beside = 0 if row.negative or row.left else _trailing_zeros(row.constant)
            use(row.node, beside, stage[result - 1])
            define(result - 1, bits[row.node][:beside])
            use(result - 1, row.right, stage[result])
        elif row.node is not None:
            use(row.node, max(0, row.right - row.left), stage[result])
        define(result)
        use(result, 0, pipelined.latency)
    return ((at, sorted(used_in.get(bit, ()))) for bit, at in computed_in.items())


def adder_graph_cost(pipelined: Pipeline, fan_out: int | None = None) -> Cost:
    """Return the estimated cost of a pipeline on the 7 series, with registers copied for ``fan_out``.

    A bit of an adder is a LUT, and so is a run of ``_SHIFT_REGISTER`` or more registers between two uses of a bit.
    """
    lut, ff = float(pipelined.adder_bits - pipelined.unseen_bits), pipelined.latency
    for at, uses in _bits_used(pipelined):
        for use in uses:
            if use - at >= _SHIFT_REGISTER:
                lut += 1
            else:
                ff += use - at
            at = use
    for value, bits in enumerate(pipelined.bits):
        for stage in sorted(set(pipelined.uses[value])) if fan_out else ():
            ff += bits * (pipelined.copies(value, stage, fan_out) - 1)
    lut += _ADDER * len(pipelined.graph.adders)
    lut += _SATURATION * pipelined.out_bits * sum(row.saturates(pipelined.out_bits) for row in pipelined.rows)
    return Cost(round(lut), ff, pipelined.latency)
