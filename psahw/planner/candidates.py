"""Candidates for every layer of a network, as a tree of choices for `psahw.planner.optimiser`.

Every candidate keeps up with the source, which offers one token per token period (``docs/explanation/planning.md``).
The depths of buffers are left to `psahw.planner.schedule`.
"""

import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import chain
from math import gcd
from typing import TypeVar

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
    Sliced,
    TableRom,
    Transpose,
    Windows,
)
from ..architecture.packing import OPERAND_BITS, laid_out, pairs
from ..architecture.ranges import accumulator_range, signed_bits
from ..network.layers import Block, ChannelMixing, Linear, Network, Table, TokenMixing, block_name, stage_name
from .graph_options import GraphOption
from .optimiser import All, Leaf, OneOf, Path, ResidualChoice, Tree
from .primitives import reorder_style
from .rules import Rules, graph_name

__all__ = ["Engines", "Infeasible", "choices"]

MOST_FOLDINGS = 4
"""Foldings of a MAC array that are offered: those with the fewest multipliers."""

LOOKED_AT = 10
"""Foldings for which the pairs of rows that can share a multiplier are counted, before the best are offered."""

MOST_LANES = 3
"""Widths of a stream that are offered: the narrowest."""


class Infeasible(Exception):
    """A layer for which no candidate keeps the token period. The message names the layer and the reason."""


def divisors(n: int) -> list[int]:
    """Return the divisors of a number, in ascending order."""
    return [d for d in range(1, n + 1) if n % d == 0]


@dataclass(frozen=True)
class _Sums:
    """Widths in bits of a layer's sums and of what the requantiser adds to them, and the span of its shifts."""

    acc_bits: int
    offset_bits: int
    shift_range: int

    @classmethod
    def of(cls, layer: Linear | TokenMixing) -> "_Sums":
        """Return the widths for a layer."""
        shift = layer.shift.astype(np.int64)
        offset = layer.bias.astype(np.int64) + (1 << shift >> 1)
        return cls(
            acc_bits=signed_bits(*accumulator_range(layer.weight)),
            offset_bits=signed_bits(int(offset.min()), int(offset.max())),
            shift_range=int(shift.max() - shift.min()),
        )


@dataclass(frozen=True, eq=False)
class Matrix:
    """The facts about a linear layer on which the choice of a folding depends.

    ``weight`` is int8 (sets, outputs, inputs). The other fields are those of `psahw.architecture.nodes.MacArray`.
    """

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
        """Return the facts about a layer that computes ``vectors`` vectors per frame."""
        weight = layer.weight if layer.weight.ndim == 3 else layer.weight[None]
        sets, outputs, inputs = weight.shape
        return cls(
            weight=weight,
            inputs=inputs,
            outputs=outputs,
            vectors=vectors,
            sets=sets,
            out_bits=layer.out_bits if isinstance(layer, Linear) else 8,
            weight_bits=signed_bits(int(weight.min()), int(weight.max())),
            **dataclasses.asdict(_Sums.of(layer)),
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
    adapter = (Gather(f"{name}.gather", i_lanes, ratio, beats if beats % ratio else None),) if ratio > 1 else ()
    fields = {f.name: getattr(matrix, f.name) for f in dataclasses.fields(matrix) if f.name != "weight"}
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
        out_bits=matrix.out_bits,
        digit=option.digit,
        graph_interval=option.interval,
        graph_latency=option.latency,
        lut=option.lut,
        ff=option.ff,
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
        The device's multiplier primitive, if it can compute two products; otherwise None.
    """

    graphs: Mapping[str, tuple[GraphOption, ...]]
    rules: Rules
    multiplier: str | None
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
        if self.multiplier is None:
            return 0
        key = name, rows, columns
        if key not in self._pairs:
            self._pairs[key] = len(pairs(laid_out(matrix.weight, rows, columns), OPERAND_BITS[self.multiplier]))
        return self._pairs[key]

    def _graphs(self, name: str, matrix: Matrix, i_lanes: int, o_lanes: int, period: int) -> Iterator[GraphEngine]:
        """Yield the allowed adder graphs that take a vector every ``period`` cycles."""
        if matrix.inputs % i_lanes or matrix.outputs % o_lanes:
            return
        for option in self.graphs.get(name, ()):
            node = _graph(name, matrix, i_lanes, o_lanes, option)
            if node.interval <= period and self.rules.allowed(name, graph_name(option.digit)):
                yield node


def _fewest_multipliers(shape: tuple[int, int], multiplier: str | None) -> int:
    """Return the multipliers of an array (rows, columns) if every two of its rows could share one."""
    rows, columns = shape
    return columns * (rows if multiplier is None else -(-rows // 2))


def _table_roms(name: str, values: Table | None, lanes: int) -> list[TableRom]:
    """Return a table in each memory that suits its size. A table that is the identity needs none."""
    if values is None or np.array_equal(values.values, np.tile(np.arange(-128, 128), (values.channels, 1))):
        return []
    distinct = bool((values.values != values.values[:1]).any())
    words = values.channels // lanes * 256 if distinct else 256
    styles = [style for style, fits in (("distributed", words <= 1024), ("block", distinct)) if fits]
    return [TableRom(name, values.channels, lanes, distinct, style) for style in styles]


def table(name: str, values: Table | None, lanes: int) -> Leaf | OneOf:
    """Return the choice of a table's memory, without nodes for a table that is the identity."""
    roms = _table_roms(name, values, lanes)
    return OneOf(tuple(Leaf((rom,)) for rom in roms)) if roms else Leaf(())


@dataclass(frozen=True)
class _PacedStage:
    """A stage of the network with the width of its token stream and its own token period."""

    name: str
    grid: tuple[int, int]
    channels: int
    lanes: int
    period: int
    engines: Engines

    @property
    def tokens(self) -> int:
        """Tokens per frame."""
        return self.grid[0] * self.grid[1]

    def residual(self, name: str, branch: tuple[Tree, ...], values: Table | None) -> ResidualChoice:
        """Return a residual connection around a branch, with a table in its bypass."""
        bypass = _table_roms(f"{name}.table_residual", values, self.lanes)[-1:]
        return ResidualChoice(Residual(name, self.lanes, (), tuple(bypass)), All(branch))

    def token_mixing(self, name: str, layer: TokenMixing) -> ResidualChoice:
        """Return the choice for a token mixing with its tables and its residual connection."""
        linear = self.dense(name, layer) if layer.kernel is None else self.local(name, layer, layer.kernel)
        branch = (
            table(f"{name}.table_in", layer.table_in, self.lanes),
            *linear,
            table(f"{name}.table_out", layer.table_out, self.lanes),
        )
        return self.residual(name, branch, layer.table_residual)

    def local(self, name: str, layer: TokenMixing, kernel: int) -> tuple[Tree, ...]:
        """Return the component for a local token mixing. Raises `Infeasible` if it does not keep the period."""
        sums = _Sums.of(layer)
        node = LocalMixing(
            f"{name}.linear",
            kernel,
            self.grid,
            self.channels,
            layer.groups,
            self.lanes,
            signed_bits(int(layer.weight.min()), int(layer.weight.max())),
            acc_bits=sums.acc_bits,
            offset_bits=sums.offset_bits,
            shift_range=sums.shift_range,
            multiplier=self.engines.multiplier,
            shared=layer.shared,
        )
        if (self.tokens + node.reach) * node.beats > self.tokens * self.period:
            raise Infeasible(f"{name}: {self.tokens} + {node.reach} tokens of {node.beats} beats exceed the frame")
        return (Leaf((node,)),)

    def dense(self, name: str, layer: TokenMixing) -> tuple[Tree, ...]:
        """Return the choice for a dense token mixing between two transpositions.

        Channels are independent of each other, so each slice of the lanes may have an engine of its own.
        Raises `Infeasible` if the vectors of a frame do not pass in time.
        """
        tokens, channels, lanes = self.tokens, self.channels, self.lanes
        frame = tokens * self.period
        slices = next((count for count in divisors(lanes) if channels // count <= frame), None)
        if slices is None:
            raise Infeasible(f"{name}: {channels} vectors of {tokens} tokens do not pass in {frame} cycles")
        if slices > 1 and layer.groups > 1:
            raise Infeasible(
                f"{name}: {slices} engines side by side are needed, and all channels must share a matrix"
            )
        channels, lanes = channels // slices, lanes // slices
        period = frame // channels
        # With as many lanes as the stream, if these are enough, no transposition has to change the width.
        enough = [count for count in divisors(tokens) if tokens // count <= period]
        across = lanes if lanes in enough else enough[0]
        parts = (
            Leaf((_placed(Transpose(f"{name}.transpose_in", tokens, channels, lanes, across, period)),)),
            self.engines.linear(f"{name}.linear", Matrix.of(layer, channels), across, across, period),
            Leaf((_placed(Transpose(f"{name}.transpose_out", channels, tokens, across, lanes, self.period)),)),
        )
        return tuple(_sliced(part, slices) for part in parts)

    def channel_mixing(self, name: str, layer: ChannelMixing) -> ResidualChoice:
        """Return the choice for a channel mixing with the narrowest streams between its linear layers.

        Raises `Infeasible` if no width keeps the period.
        """

        def parts(hidden_lanes: int) -> Tree:
            return All(
                (
                    self.linear(f"{name}.linear1", layer.linear1, self.lanes, hidden_lanes),
                    table(f"{name}.table_hidden", layer.table_hidden, hidden_lanes),
                    self.linear(f"{name}.linear2", layer.linear2, hidden_lanes, self.lanes),
                )
            )

        widths = [lanes for lanes in divisors(layer.hidden) if layer.hidden // lanes <= self.period]
        nothing = f"{name}: {layer.hidden} values do not pass in {self.period} cycles"
        options = _feasible(widths, parts, nothing, most=MOST_LANES)
        branch = table(f"{name}.table_in", layer.table_in, self.lanes), OneOf(tuple(options.values()))
        return self.residual(name, branch, layer.table_residual)

    def linear(self, name: str, layer: Linear, i_lanes: int, o_lanes: int) -> OneOf:
        """Return the engines for a layer that computes each token."""
        return self.engines.linear(name, Matrix.of(layer, self.tokens), i_lanes, o_lanes, self.period)

    def block(self, name: str, block: Block) -> tuple[Tree, ...]:
        """Return the choice for each sublayer of a block."""
        return (
            self.token_mixing(f"{name}.token_mixing", block.token_mixing),
            self.channel_mixing(f"{name}.channel_mixing", block.channel_mixing),
        )


_Item = TypeVar("_Item")
_Result = TypeVar("_Result")


def _feasible(
    items: Sequence[_Item], make: Callable[[_Item], _Result], nothing: str, most: int | None = None
) -> dict[_Item, _Result]:
    """Return ``make(item)`` for the first ``most`` items, or all, for which it does not raise `Infeasible`.

    If there is none, raises the first of these errors, or one with the message ``nothing`` if there are no items.
    """
    results: dict[_Item, _Result] = {}
    reason = None
    for item in items:
        if len(results) == most:
            break
        try:
            results[item] = make(item)
        except Infeasible as error:
            reason = reason or error
    if not results:
        raise reason or Infeasible(nothing)
    return results


def _sliced(tree: Tree, slices: int) -> Tree:
    """Return a choice in which each node stands for ``slices`` components side by side."""

    def sliced(node: Node) -> Node:
        if not isinstance(node, Sliced):
            raise TypeError(f"node must be a Sliced, not {node!r}")
        return dataclasses.replace(node, slices=slices)

    match tree:
        case Leaf(nodes):
            return Leaf(tuple(sliced(node) for node in nodes))
        case OneOf(options):
            return OneOf(tuple(_sliced(option, slices) for option in options))
    raise TypeError(f"tree must be a Leaf or a OneOf, not {tree!r}")


def _placed(node: Windows | Transpose) -> Windows | Transpose:
    """Return a node with its memories in LUTs or block RAM, whichever suits their size."""
    return dataclasses.replace(node, style=reorder_style(node))


def _window_lanes(size: int, channels: int, period: int) -> int:
    """Return the fewest lanes that pass a window in a period: a part of a window's row, or several rows."""
    row = size * channels
    widths = *divisors(row), *(row * rows for rows in divisors(size))
    return next(lanes for lanes in widths if size * row // lanes <= period)


def _input_table(network: Network, lanes: int) -> InputTable:
    """Return the table of pixel codes at the input."""
    table, colours = network.input_table, network.colours
    return InputTable("input", colours, lanes, 1 if (table == table[0]).all() else colours // gcd(colours, lanes))


def _embedding(network: Network, bus_bytes: int, stage: _PacedStage) -> Tree:
    """Return the choice for the input table and the patch embedding in front of the first stage."""
    patch, (height, width) = network.patch, network.image
    lanes = _window_lanes(patch.size, network.colours, stage.period)
    windows = Windows(
        "embed.windows",
        height,
        width,
        network.colours,
        patch.size,
        patch.stride,
        patch.padding,
        bus_bytes,
        lanes,
        stage.period,
    )
    source = Leaf((_input_table(network, bus_bytes), _placed(windows)))
    return All((source, stage.linear("embed", network.embed, lanes, stage.lanes)))


def _merging(layer: Linear, before: _PacedStage, stage: _PacedStage) -> Tree:
    """Return the choice for the patch merging between two stages."""
    name = f"{stage.name}.merge"
    lanes = _window_lanes(2, before.channels, stage.period)
    windows = Windows(
        f"{name}.windows", *before.grid, before.channels, 2, 2, 0, before.lanes, lanes, stage.period, queue=0
    )
    return All((Leaf((_placed(windows),)), stage.linear(name, layer, lanes, stage.lanes)))


def _states(network: Network, index: int, period: int, engines: Engines) -> dict[_PacedStage, Tree]:
    """Return a stage at the narrowest widths of its token stream that keep the period, with its blocks."""
    stage, name = network.stages[index], stage_name(index)
    channels = network.embed.outputs if stage.merge is None else stage.merge.outputs

    def blocks(paced: _PacedStage) -> Tree:
        trees = (paced.block(block_name(index, b), block) for b, block in enumerate(stage.blocks))
        return All(tuple(chain(*trees)))

    widths = [lanes for lanes in divisors(channels) if channels // lanes <= period]
    stages = [_PacedStage(name, stage.grid, channels, lanes, period, engines) for lanes in widths]
    nothing = f"{name}: {channels} channels do not pass in {period} cycles"
    return _feasible(stages, blocks, nothing, most=MOST_LANES)


def _entry(
    network: Network, bus_bytes: int, merge: Linear | None, before: _PacedStage | None, stage: _PacedStage
) -> Tree:
    """Return the choice for what brings tokens into a stage, from the image or from the stage before."""
    if merge is None or before is None:
        return _embedding(network, bus_bytes, stage)
    return _merging(merge, before, stage)


def _links(sources: Sequence, stages: Sequence, entry: Callable[..., Tree]) -> dict[tuple[int, int], Tree]:
    """Return ``entry(before, stage)`` for those pairs, by index, for which it does not raise `Infeasible`.

    If there is none, raises the first of these errors.
    """
    pairs = {(a, b): (before, stage) for a, before in enumerate(sources) for b, stage in enumerate(stages)}
    return _feasible(list(pairs), lambda pair: entry(*pairs[pair]), "no pairs")


def choices(network: Network, period: int, bus_bytes: int, engines: Engines) -> Path:
    """Return the pipelines that take a token of the first stage every ``period`` cycles.

    Parameters
    ----------
    network
        The network.
    period
        Token period in clock cycles.
    bus_bytes
        Bytes of the image per input beat.
    engines
        The engines that may compute the linear layers.

    Raises
    ------
    Infeasible
        If no candidate for a layer, or for the input, keeps the period.
    """
    row = network.image[1] * network.colours
    if row % bus_bytes:
        raise Infeasible(f"input: {bus_bytes} bytes per beat must divide a row of {row} bytes")
    frame = network.stages[0].tokens * period
    if network.image[0] * row // bus_bytes > frame:
        raise Infeasible(f"input: {bus_bytes} bytes a cycle do not bring an image in {frame} cycles")
    states, links = [], []
    sources: Sequence[_PacedStage | None] = [None]
    for index, stage in enumerate(network.stages):
        blocks = _states(network, index, frame // stage.tokens, engines)
        links.append(_links(sources, list(blocks), partial(_entry, network, bus_bytes, stage.merge)))
        states.append(tuple(blocks.values()))
        sources = list(blocks)
    head = Matrix.of(network.head, 1)

    def result(before: _PacedStage, _: None) -> Tree:
        pool = MeanPool("pool", before.tokens, before.channels, before.lanes, network.pool_shift)
        return All((Leaf((pool,)), engines.linear("head", head, before.lanes, 1, frame)))

    links.append(_links(sources, [None], result))
    states.append((Leaf((Argmax("argmax", head.outputs, head.out_bits),)),))
    return Path(tuple(states), tuple(links))
