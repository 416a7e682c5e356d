"""Engines that can compute the linear layers of a network, for `psahw.planner.candidates`."""

import dataclasses
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np

from ..architecture.codes import Codes
from ..architecture.nodes import Gather, GraphEngine, MacArray, Node
from ..architecture.packing import OPERAND_BITS, laid_out, pairs
from ..architecture.ranges import accumulator_range, signed_bits
from ..network.activations import Activations
from ..network.layers import Linear, TokenMixing
from .graph_options import GraphOption
from .optimiser import Leaf, OneOf
from .rules import Rules, graph_name

__all__ = ["Engines", "Infeasible", "Matrix", "Sums"]

MOST_FOLDINGS = 4
"""Foldings of a MAC array that are offered: those with the fewest multipliers."""

LOOKED_AT = 10
"""Foldings for which the pairs of rows that can share a multiplier are counted, before the best are offered."""


class Infeasible(Exception):
    """A layer for which no candidate keeps the token period. The message names the layer and the reason."""


@dataclass(frozen=True)
class Sums:
    """Widths in bits of a layer's sums and of what the requantiser adds to them, and the span of its shifts."""

    acc_bits: int
    offset_bits: int
    shift_range: int
    scale_bits: int

    @classmethod
    def of(cls, layer: Linear | TokenMixing, shape: Activations) -> "Sums":
        """Return the widths for a layer with an input."""
        shift, bias = layer.shift.astype(np.int64), layer.bias.astype(np.int64)
        scale = np.int64(1) if layer.multiplier is None else layer.multiplier.astype(np.int64)
        added = bias * scale + (1 << shift >> 1)
        if layer.offset is not None:
            added += layer.offset
        return cls(
            acc_bits=signed_bits(*accumulator_range(layer.weight, low=shape.low, high=shape.high)),
            offset_bits=signed_bits(int(added.min()), int(added.max())),
            shift_range=int(shift.max() - shift.min()),
            # A layer whose multipliers are all 0 has a multiplier, too.
            scale_bits=0 if layer.multiplier is None else max(1, int(scale.max()).bit_length()),
        )


@dataclass(frozen=True, eq=False)
class Matrix:
    """The facts about a linear layer on which the choice of a folding depends.

    ``weight`` is int8 (sets, outputs, inputs), and ``i_range`` the least and the greatest input that occurs. The
    other fields are those of `psahw.architecture.nodes.MacArray`.
    """

    weight: np.ndarray
    inputs: int
    outputs: int
    vectors: int
    sets: int
    weight_bits: int
    acc_bits: int
    offset_bits: int
    shift_range: int
    scale_bits: int
    i_codes: Codes
    o_codes: Codes
    i_range: tuple[int, int]

    @classmethod
    def of(cls, layer: Linear | TokenMixing, shape: Activations, vectors: int) -> "Matrix":
        """Return the facts about a layer with an input that computes ``vectors`` vectors per frame."""
        weight = layer.weight if layer.weight.ndim == 3 else layer.weight[None]
        sets, outputs, inputs = weight.shape
        return cls(
            weight=weight,
            inputs=inputs,
            outputs=outputs,
            vectors=vectors,
            sets=sets,
            weight_bits=signed_bits(int(weight.min()), int(weight.max())),
            i_codes=shape.codes,
            o_codes=layer.codes,
            i_range=(shape.low, shape.high),
            **dataclasses.asdict(Sums.of(layer, shape)),
        )


def _foldings(matrix: Matrix, i_lanes: int, o_lanes: int, period: int) -> Iterator[tuple[int, int]]:
    """Yield (rows, columns) of the smallest arrays that take a vector every ``period`` cycles.

    An array has at least as many columns as the stream has lanes, because a narrower one would have to hold up
    bursts.
    """
    if matrix.inputs % i_lanes or matrix.outputs % o_lanes:
        return
    steps_before = None
    for columns in range(i_lanes, matrix.inputs + 1, i_lanes):
        steps = -(-matrix.inputs // columns)
        passes = min(period // steps, matrix.outputs)
        if steps == steps_before or passes == 0:
            continue
        steps_before = steps
        rows = -(-matrix.outputs // passes)
        rows += -rows % o_lanes
        if rows <= o_lanes * steps:
            yield rows, columns


def _keeps(matrix: Matrix, i_lanes: int, o_lanes: int, period: int, rows: int, columns: int) -> bool:
    """Return whether an array can be built between such streams and takes a vector every ``period`` cycles."""
    steps, passes = -(-matrix.inputs // columns), -(-matrix.outputs // rows)
    fits = columns % i_lanes == 0 and rows % o_lanes == 0 and matrix.inputs % i_lanes == matrix.outputs % o_lanes == 0
    return fits and columns <= matrix.inputs and steps * passes <= period and rows <= o_lanes * steps


def _array(
    name: str,
    matrix: Matrix,
    i_lanes: int,
    o_lanes: int,
    rows: int,
    columns: int,
    shared: int,
    multiplier: str | None,
) -> Iterator[tuple[Node, ...]]:
    """Yield a MAC array behind the component that widens its input, with its weights in LUTs and in block RAM."""
    depth = -(-matrix.inputs // columns) * -(-matrix.outputs // rows) * matrix.sets
    ratio, beats = columns // i_lanes, matrix.inputs // i_lanes
    partial_beats = beats if beats % ratio else None
    adapter = (Gather(f"{name}.gather", i_lanes, ratio, partial_beats, matrix.i_codes),) if ratio > 1 else ()
    fields = {
        f.name: getattr(matrix, f.name) for f in dataclasses.fields(matrix) if f.name not in ("weight", "i_range")
    }
    array = MacArray(
        name=name,
        rows=rows,
        columns=columns,
        o_lanes=o_lanes,
        operand_bits=None if multiplier is None else OPERAND_BITS.get(multiplier),
        multiplier=multiplier,
        pairs=shared,
        **fields,
    )
    styles = [style for style, fits in (("distributed", depth <= 512), ("block", depth >= 16)) if fits]
    for style in styles:
        yield (*adapter, dataclasses.replace(array, weight_style=style))


def _graph(name: str, matrix: Matrix, i_lanes: int, o_lanes: int, option: GraphOption) -> GraphEngine:
    """Return the node of an adder graph between such streams."""
    return GraphEngine(
        name=name,
        inputs=matrix.inputs,
        outputs=matrix.outputs,
        i_lanes=i_lanes,
        o_lanes=o_lanes,
        vectors=matrix.vectors,
        i_codes=matrix.i_codes,
        o_codes=matrix.o_codes,
        digit=option.digit,
        graph_interval=option.interval,
        graph_latency=option.latency,
        lut=option.lut,
        ff=option.ff,
        additions=option.additions,
    )


@dataclass(frozen=True, eq=False)
class Engines:
    """The engines that may compute the linear layers.

    Parameters
    ----------
    graphs
        Adder graphs by layer, for those layers that an adder graph can compute.
    rules
        The engines that each layer may have.
    multiplier
        The device's multiplier primitive; None if tools infer multipliers.
    additions
        Most additions between two registers that the clock permits. Fewer would cost more registers and save nothing.
    bank_words
        Most words of a bank of a table in block RAM (`psahw.architecture.device.TABLE_BANK_WORDS`); None for a single
        bank.
    """

    graphs: Mapping[str, tuple[GraphOption, ...]]
    rules: Rules
    multiplier: str | None
    additions: int = 1
    bank_words: int | None = None
    # Pairs of units in a multiplier, by layer, rows and columns: they are the same in every period.
    _pairs: dict[tuple[str, int, int], int] = field(default_factory=dict)

    def linear(self, name: str, matrix: Matrix, i_lanes: int, o_lanes: int, period: int) -> OneOf:
        """Return the allowed engines that take a vector every ``period`` cycles.

        Of the MAC arrays, only those with the fewest multipliers are offered, and those of a size that a rule names.
        Raises `Infeasible` if there is no engine.
        """
        engines: list[tuple[Node, ...]] = [(node,) for node in self._graphs(name, matrix, i_lanes, o_lanes, period)]
        named = [shape for shape in self.rules.sizes(name) if _keeps(matrix, i_lanes, o_lanes, period, *shape)]
        free = list(_foldings(matrix, i_lanes, o_lanes, period)) if self.rules.allowed(name, "mac") else []
        free.sort(key=lambda shape: _fewest_multipliers(shape, self.multiplier))
        free = sorted(free[:LOOKED_AT], key=lambda shape: shape[0] * shape[1] - self._shared(name, matrix, *shape))
        for shape in dict.fromkeys((*named, *free[:MOST_FOLDINGS])):
            shared = self._shared(name, matrix, *shape)
            engines += _array(name, matrix, i_lanes, o_lanes, *shape, shared, self.multiplier)
        if not engines and not (self.rules.sizes(name) or self.rules.allowed(name, "mac") or name in self.graphs):
            raise Infeasible(f"{name}: each group has a matrix of its own, which only a MAC array can compute")
        if not engines:
            raise Infeasible(
                f"{name}: no engine for {matrix.outputs} x {matrix.inputs} takes a vector every {period} cycles "
                f"with {i_lanes} lanes in and {o_lanes} out"
            )
        return OneOf(tuple(Leaf(nodes) for nodes in engines))

    def _shared(self, name: str, matrix: Matrix, rows: int, columns: int) -> int:
        """Return the number of pairs of units that share a multiplier."""
        if self.multiplier not in OPERAND_BITS:
            return 0
        key = name, rows, columns
        if key not in self._pairs:
            weights, (low, high) = laid_out(matrix.weight, rows, columns), matrix.i_range
            self._pairs[key] = len(pairs(weights, OPERAND_BITS[self.multiplier], low=low, high=high))
        return self._pairs[key]

    def _graphs(self, name: str, matrix: Matrix, i_lanes: int, o_lanes: int, period: int) -> Iterator[GraphEngine]:
        """Yield the allowed adder graphs that take a vector every ``period`` cycles."""
        if matrix.inputs % i_lanes or matrix.outputs % o_lanes:
            return
        for option in self.graphs.get(name, ()):
            node = _graph(name, matrix, i_lanes, o_lanes, option)
            if node.interval <= period and self._offers(name, option):
                yield node

    def _offers(self, name: str, option: GraphOption) -> bool:
        """Return whether a layer may have an adder graph."""
        engine = graph_name(option.digit, option.additions)
        if option.digit is None and option.additions != self.additions:
            return self.rules.named(name, engine)
        return self.rules.allowed(name, engine)


def _fewest_multipliers(shape: tuple[int, int], multiplier: str | None) -> int:
    """Return the multipliers of an array (rows, columns) if every two rows share one, where that is possible."""
    rows, columns = shape
    return columns * (-(-rows // 2) if multiplier in OPERAND_BITS else rows)
