"""Network and token period to a tree of choices: which components can do each layer, and with what parallelism.

Everything in the tree keeps up with the metronome (see ``docs/hardware.md``); `psahw.planner.optimiser` takes the cheapest.
Buffer depths are left to `psahw.planner.schedule`.
"""

import dataclasses
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from itertools import chain
from math import gcd

import numpy as np

from ..architecture.nodes import (  # fmt: skip
    Argmax,
    Gather,
    GraphEngine,
    InputTable,
    LocalMixing,
    MacArray,
    MeanPool,
    Node,
    Residual,
    TableRom,
    Transpose,
    Windows,
)
from ..architecture.packing import OPERAND_BITS, laid_out, pairs
from ..architecture.ranges import accumulator_range, signed_bits
from ..network.layers import Block, Linear, Network, Table, TokenMixing
from .graph_options import GraphOption
from .optimiser import All, Leaf, OneOf, Path, ResidualChoice, Tree
from .primitives import reorder_style
from .rules import Rules, graph_name

__all__ = ["Engines", "Infeasible", "choices"]

MOST_FOLDINGS = 4  # of a MAC array that may be chosen, those with the fewest multipliers
LOOKED_AT = 10  # before it is known which rows can share one
MOST_LANES = 3  # widths of a stream that are looked at, the narrowest


class Infeasible(Exception):
    """No arrangement of this layer keeps the period; the message says which layer and why."""


def divisors(n: int) -> list[int]:
    return [d for d in range(1, n + 1) if n % d == 0]


def _sums(layer: Linear | TokenMixing) -> dict[str, int]:
    """Widths of a layer's sums, and of what the requantiser adds to them."""
    shift = layer.shift.astype(np.int64)
    offset = layer.bias.astype(np.int64) + (1 << shift >> 1)
    return {
        "acc_bits": signed_bits(*accumulator_range(layer.weight)),
        "offset_bits": signed_bits(int(offset.min()), int(offset.max())),
        "shift_range": int(shift.max() - shift.min()),
    }


@dataclass(frozen=True, eq=False)
class Matrix:
    """What the choice of a folding needs to know of a linear map: ``weight`` is int8 (sets, outputs, inputs), the
    rest are `MacArray`'s fields."""

    weight: np.ndarray
    inputs: int
    outputs: int
    vectors: int
    sets: int
    out_bits: int
    weight_bits: int
    acc_bits: int
    offset_bits: int
    shift_range: int

    @classmethod
    def of(cls, layer: Linear | TokenMixing, vectors: int) -> "Matrix":
        weight = layer.weight if layer.weight.ndim == 3 else layer.weight[None]
        sets, outputs, inputs = weight.shape
        return cls(
            weight=weight,
            inputs=inputs,
            outputs=outputs,
            vectors=vectors,
            sets=sets,
            out_bits=getattr(layer, "out_bits", 8),
            weight_bits=signed_bits(int(weight.min()), int(weight.max())),
            **_sums(layer),
        )


def _foldings(matrix: Matrix, i_lanes: int, o_lanes: int, period: int) -> Iterator[tuple[int, int]]:
    """(rows, columns) of the arrays that take a vector every ``period`` cycles. A narrower array than the stream
    would have to hold bursts up."""
    if matrix.inputs % i_lanes or matrix.outputs % o_lanes:
        return
    before = None
    for columns in range(i_lanes, matrix.inputs + 1, i_lanes):
        steps = -(-matrix.inputs // columns)
        passes = min(period // steps, matrix.outputs)
        if steps == before or passes == 0:
            continue
        before = steps
        rows = -(-matrix.outputs // passes)
        rows += -rows % o_lanes
        if rows <= o_lanes * steps:
            yield rows, columns


def _keeps(matrix: Matrix, i_lanes: int, o_lanes: int, period: int, rows: int, columns: int) -> bool:
    """Whether an array of that size takes a vector every ``period`` cycles, and can be built between such streams."""
    steps, passes = -(-matrix.inputs // columns), -(-matrix.outputs // rows)
    fits = columns % i_lanes == 0 and rows % o_lanes == 0 and matrix.inputs % i_lanes == matrix.outputs % o_lanes == 0
    return fits and columns <= matrix.inputs and steps * passes <= period and rows <= o_lanes * steps


def _array(name: str, matrix: Matrix, i_lanes: int, o_lanes: int, rows: int, columns: int, shared: int, multiplier):
    """A MAC array and what widens its input, with the weights in either place."""
    depth = -(-matrix.inputs // columns) * -(-matrix.outputs // rows) * matrix.sets
    ratio, beats = columns // i_lanes, matrix.inputs // i_lanes
    adapter = (Gather(f"{name}.gather", i_lanes, ratio, beats if beats % ratio else None),) if ratio > 1 else ()
    fields = {f.name: getattr(matrix, f.name) for f in dataclasses.fields(matrix) if f.name != "weight"}
    array = MacArray(
        name=name,
        rows=rows,
        columns=columns,
        o_lanes=o_lanes,
        operand_bits=OPERAND_BITS.get(multiplier),
        multiplier=multiplier,
        pairs=shared,
        **fields,
    )
    styles = [style for style, fits in (("distributed", depth <= 512), ("block", depth >= 16)) if fits]
    for style in styles:
        yield (*adapter, dataclasses.replace(array, weight_style=style))


def _graph(name: str, matrix: Matrix, i_lanes: int, o_lanes: int, option: GraphOption) -> GraphEngine:
    return GraphEngine(
        name=name,
        inputs=matrix.inputs,
        outputs=matrix.outputs,
        i_lanes=i_lanes,
        o_lanes=o_lanes,
        vectors=matrix.vectors,
        out_bits=matrix.out_bits,
        digit=option.digit,
        graph_interval=option.interval,
        graph_latency=option.latency,
        lut=option.lut,
        ff=option.ff,
    )


@dataclass(frozen=True, eq=False)
class Engines:
    """What may do the linear maps: ``graphs`` has the adder graphs of those that one can do, ``rules`` say which of
    the engines may be taken for a layer, ``multiplier`` is the device's primitive if it can serve two products."""

    graphs: Mapping[str, tuple[GraphOption, ...]]
    rules: Rules
    multiplier: str | None
    _pairs: dict = field(default_factory=dict)  # by layer, rows, columns: the same in every period

    def linear(self, name: str, matrix: Matrix, i_lanes: int, o_lanes: int, period: int) -> OneOf:
        """Every engine that takes a vector every ``period`` cycles and is allowed, of the MAC arrays those with the
        fewest multipliers."""
        found = [(node,) for node in self._graphs(name, matrix, i_lanes, o_lanes, period)]
        named = [shape for shape in self.rules.sizes(name) if _keeps(matrix, i_lanes, o_lanes, period, *shape)]
        free = list(_foldings(matrix, i_lanes, o_lanes, period)) if self.rules.allowed(name, "mac") else []
        free.sort(key=lambda shape: _fewest(*shape, self.multiplier))
        free = sorted(free[:LOOKED_AT], key=lambda shape: shape[0] * shape[1] - self._shared(name, matrix, *shape))
        for shape in dict.fromkeys((*named, *free[:MOST_FOLDINGS])):
            shared = self._shared(name, matrix, *shape)
            found += _array(name, matrix, i_lanes, o_lanes, *shape, shared, self.multiplier)
        if not found and not (self.rules.sizes(name) or self.rules.allowed(name, "mac") or name in self.graphs):
            raise Infeasible(f"{name}: groups have a matrix each, which only a MAC array can do")
        if not found:
            raise Infeasible(
                f"{name}: no engine for {matrix.outputs} x {matrix.inputs} takes a vector every {period} cycles "
                f"with {i_lanes} lanes in and {o_lanes} out"
            )
        return OneOf(tuple(Leaf(nodes) for nodes in found))

    def _shared(self, name: str, matrix: Matrix, rows: int, columns: int) -> int:
        """Pairs of units in a multiplier."""
        if self.multiplier is None:
            return 0
        key = name, rows, columns
        if key not in self._pairs:
            self._pairs[key] = len(pairs(laid_out(matrix.weight, rows, columns), OPERAND_BITS[self.multiplier]))
        return self._pairs[key]

    def _graphs(self, name, matrix, i_lanes, o_lanes, period):
        if matrix.inputs % i_lanes or matrix.outputs % o_lanes:
            return
        for option in self.graphs.get(name, ()):
            node = _graph(name, matrix, i_lanes, o_lanes, option)
            if node.interval <= period and self.rules.allowed(name, graph_name(option.digit)):
                yield node


def _fewest(rows: int, columns: int, multiplier: str | None) -> int:
    """Multipliers, if as many rows share one as can."""
    return columns * (rows if multiplier is None else -(-rows // 2))


def table(name: str, values: Table | None, lanes: int) -> Tree:
    """A table that is the identity is a wire."""
    if values is None or np.array_equal(values.values, np.tile(np.arange(-128, 128), (values.channels, 1))):
        return Leaf(())
    distinct = bool((values.values != values.values[:1]).any())
    words = values.channels // lanes * 256 if distinct else 256
    styles = [style for style, fits in (("distributed", words <= 1024), ("block", distinct)) if fits]
    return OneOf(tuple(Leaf((TableRom(name, values.channels, lanes, distinct, style),)) for style in styles))


@dataclass(frozen=True)
class _Stage:
    """One stage of the network at its own token period."""

    name: str
    grid: tuple[int, int]
    channels: int
    lanes: int
    period: int
    engines: Engines

    @property
    def tokens(self):
        return self.grid[0] * self.grid[1]

    def residual(self, name, branch, values):
        bypass = table(f"{name}.table_residual", values, self.lanes)
        fixed = bypass.nodes if isinstance(bypass, Leaf) else bypass.options[-1].nodes
        return ResidualChoice(Residual(name, self.lanes, (), fixed), All(branch))

    def token_mixing(self, name, layer):
        linear = self.local(name, layer) if layer.kernel is not None else self.dense(name, layer)
        branch = (
            table(f"{name}.table_in", layer.table_in, self.lanes),
            *linear,
            table(f"{name}.table_out", layer.table_out, self.lanes),
        )
        return self.residual(name, branch, layer.table_residual)

    def local(self, name, layer):
        node = LocalMixing(
            f"{name}.linear",
            layer.kernel,
            self.grid,
            self.channels,
            layer.groups,
            self.lanes,
            signed_bits(int(layer.weight.min()), int(layer.weight.max())),
            **_sums(layer),
            multiplier=self.engines.multiplier,
            shared=layer.shared,
        )
        if (self.tokens + node.reach) * node.beats > self.tokens * self.period:
            raise Infeasible(f"{name}: {self.tokens} + {node.reach} tokens of {node.beats} beats exceed the frame")
        return (Leaf((node,)),)

    def dense(self, name, layer):
        tokens, channels, lanes = self.tokens, self.channels, self.lanes
        # Channels have nothing to do with each other, so that each slice of the lanes may have an engine of its own.
        frame = tokens * self.period
        slices = next((count for count in divisors(lanes) if channels // count <= frame), None)
        if slices is None:
            raise Infeasible(f"{name}: {channels} vectors of {tokens} tokens do not pass in {frame} cycles")
        if slices > 1 and layer.groups > 1:
            raise Infeasible(f"{name}: {slices} engines side by side are needed, which must have one matrix")
        channels, lanes = channels // slices, lanes // slices
        period = frame // channels
        # As many lanes as the stream has, if they will do: then no transposition turns one width into another.
        enough = [count for count in divisors(tokens) if tokens // count <= period]
        across = lanes if lanes in enough else enough[0]
        parts = (
            Leaf((_placed(Transpose(f"{name}.transpose_in", tokens, channels, lanes, across, period)),)),
            self.engines.linear(f"{name}.linear", Matrix.of(layer, channels), across, across, period),
            Leaf((_placed(Transpose(f"{name}.transpose_out", channels, tokens, across, lanes, self.period)),)),
        )
        return tuple(_sliced(part, slices) for part in parts)

    def channel_mixing(self, name, layer):
        options, reason = [], None
        for hidden_lanes in divisors(layer.hidden):
            if layer.hidden // hidden_lanes > self.period:
                continue
            try:
                parts = (
                    self.linear(f"{name}.linear1", layer.linear1, self.lanes, hidden_lanes),
                    table(f"{name}.table_hidden", layer.table_hidden, hidden_lanes),
                    self.linear(f"{name}.linear2", layer.linear2, hidden_lanes, self.lanes),
                )
            except Infeasible as error:
                reason = reason or error
                continue
            options.append(All(parts))
            if len(options) == MOST_LANES:
                break
        if not options:
            raise reason or Infeasible(f"{name}: {layer.hidden} values do not pass in {self.period} cycles")
        branch = table(f"{name}.table_in", layer.table_in, self.lanes), OneOf(tuple(options))
        return self.residual(name, branch, layer.table_residual)

    def linear(self, name, layer, i_lanes, o_lanes):
        return self.engines.linear(name, Matrix.of(layer, self.tokens), i_lanes, o_lanes, self.period)

    def block(self, name: str, block: Block) -> tuple[Tree, ...]:
        return (
            self.token_mixing(f"{name}.token_mixing", block.token_mixing),
            self.channel_mixing(f"{name}.channel_mixing", block.channel_mixing),
        )


def _sliced(tree: Leaf | OneOf, slices: int) -> Leaf | OneOf:
    """So many side by side of each."""
    if isinstance(tree, OneOf):
        return OneOf(tuple(_sliced(option, slices) for option in tree.options))
    return Leaf(tuple(dataclasses.replace(node, slices=slices) for node in tree.nodes))


def _placed(node: Windows | Transpose) -> Windows | Transpose:
    """With its memories where they belong."""
    return dataclasses.replace(node, style=reorder_style(node))


def _window_lanes(size: int, channels: int, period: int) -> int:
    """Fewest lanes, a part of a window's row or some of its rows, that pass a window in a period."""
    row = size * channels
    widths = *divisors(row), *(row * rows for rows in divisors(size))
    return next(lanes for lanes in widths if size * row // lanes <= period)


def _input_table(network: Network, lanes: int) -> InputTable:
    table, colours = network.input_table, network.colours
    return InputTable("input", colours, lanes, 1 if (table == table[0]).all() else colours // gcd(colours, lanes))


def _entry(network: Network, index: int, bus_bytes: int, before: _Stage | None, stage: _Stage) -> tuple[Tree, ...]:
    """What brings tokens into a stage: patch embedding from the image, or patch merging from the stage before."""
    if before is None:
        patch, (height, width) = network.patch, network.image
        shape = (height, width, network.colours, patch.size, patch.stride, patch.padding)
        name, layer, i_lanes = "embed", network.embed, bus_bytes
        source: tuple[Node, ...] = (_input_table(network, bus_bytes),)
    else:
        shape = (*before.grid, before.channels, 2, 2, 0)
        name, layer, i_lanes = f"{stage.name}.merge", network.stages[index].merge, before.lanes
        source = ()
    size, channels = shape[3], shape[2]
    lanes = _window_lanes(size, channels, stage.period)
    queue = None if before is None else 0
    windows = _placed(Windows(f"{name}.windows", *shape, i_lanes, lanes, stage.period, queue))
    return Leaf((*source, windows)), stage.linear(name, layer, lanes, stage.lanes)


def _stages(network: Network, index: int, period: int, engines: Engines) -> list[tuple[_Stage, Tree]]:
    """A stage of the narrowest token streams with which its blocks keep the period, and those blocks."""
    stage = network.stages[index]
    channels = network.embed.outputs if index == 0 else stage.merge.outputs
    reason, found = None, []
    for lanes in divisors(channels):
        if channels // lanes > period:
            continue
        this = _Stage(f"stages.{index}", stage.grid, channels, lanes, period, engines)
        try:
            items = [this.block(f"stages.{index}.blocks.{b}", block) for b, block in enumerate(stage.blocks)]
        except Infeasible as error:
            reason = reason or error
            continue
        found.append((this, All(tuple(chain(*items)))))
        if len(found) == MOST_LANES:
            break
    if not found:
        raise reason or Infeasible(f"stages.{index}: {channels} channels do not pass in {period} cycles")
    return found


def _links(befores: list, stages: list, entry: Callable) -> dict[tuple[int, int], Tree]:
    """Those pairs of stages between which there is an entry."""
    found, reason = {}, None
    for a, before in enumerate(befores):
        for b, stage in enumerate(stages):
            try:
                found[a, b] = All(entry(before, stage))
            except Infeasible as error:
                reason = reason or error
    if not found:
        raise reason
    return found


def choices(network: Network, period: int, bus_bytes: int, engines: Engines) -> Tree:
    """The pipelines that take a token of the first stage every ``period`` cycles from an input of ``bus_bytes`` a
    beat. Raises `Infeasible` if a layer cannot."""
    row = network.image[1] * network.colours
    if row % bus_bytes:
        raise Infeasible(f"input: {bus_bytes} bytes a beat do not divide a row of {row} bytes")
    frame = network.stages[0].tokens * period
    if network.image[0] * row // bus_bytes > frame:
        raise Infeasible(f"input: {bus_bytes} bytes a cycle do not bring an image in {frame} cycles")
    states, links, befores = [], [], [None]
    for index, stage in enumerate(network.stages):
        found = _stages(network, index, frame // stage.tokens, engines)
        stages = [this for this, _ in found]
        links.append(_links(befores, stages, partial(_entry, network, index, bus_bytes)))
        states.append(tuple(items for _, items in found))
        befores = stages
    head = Matrix.of(network.head, 1)

    def result(before, _):
        pool = MeanPool("pool", before.tokens, before.channels, before.lanes, network.pool_shift)
        return Leaf((pool,)), engines.linear("head", head, before.lanes, 1, frame)

    links.append(_links(befores, [None], result))
    states.append((Leaf((Argmax("argmax", head.outputs, head.out_bits),)),))
    return Path(tuple(states), tuple(links))
