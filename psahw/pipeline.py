"""Network and token period to nodes: which component does each layer, and with what parallelism.

Every engine gets the fewest multipliers with which it keeps up with the metronome (see ``docs/hardware.md``).
Buffer depths are left to `psahw.schedule`.
"""

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass
from math import gcd

import numpy as np

from .cost import reorder_style
from .network import Block, Linear, Network, Table, TokenMixing
from .nodes import (
    Argmax,
    Gather,
    InputTable,
    LocalMixing,
    MacArray,
    MeanPool,
    Node,
    Residual,
    TableRom,
    Transpose,
    Windows,
)  # fmt: skip
from .packing import laid_out, pairs
from .ranges import accumulator_range, signed_bits

__all__ = ["Infeasible", "build"]

BLOCK_ROM_DEPTH = 64  # a weight ROM at least this deep goes to block RAM: one LUT6 holds 64 x 1


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


def _fewest(rows: int, columns: int, operand_bits: int | None) -> int:
    """Multipliers, if as many rows share one as can."""
    return columns * (rows if operand_bits is None else -(-rows // 2))


def fold(
    name: str, matrix: Matrix, i_lanes: int, o_lanes: int, period: int, operand_bits: int | None = None
) -> tuple[Node, ...]:
    """The MAC array with the fewest multipliers that takes a vector every ``period`` cycles, and what widens its
    input. With ``operand_bits`` two rows may share one: the more columns, the shorter their sums, and the more do."""
    best = None
    foldings = list(_foldings(matrix, i_lanes, o_lanes, period))
    for rows, columns in sorted(foldings, key=lambda shape: _fewest(*shape, operand_bits)):
        if best is not None and _fewest(rows, columns, operand_bits) > best[0][0]:
            break
        shared = 0 if operand_bits is None else len(pairs(laid_out(matrix.weight, rows, columns), operand_bits))
        depth = -(-matrix.inputs // columns) * -(-matrix.outputs // rows) * matrix.sets
        cost = (rows * columns - shared, rows * columns * -(-depth // 512), columns)
        if best is None or cost < best[0]:
            best = cost, rows, columns, depth, shared
    if best is None:
        raise Infeasible(
            f"{name}: no folding of {matrix.outputs} x {matrix.inputs} takes a vector every {period} cycles "
            f"with {i_lanes} lanes in and {o_lanes} out"
        )
    _, rows, columns, depth, shared = best
    ratio, beats = columns // i_lanes, matrix.inputs // i_lanes
    adapter = (Gather(f"{name}.gather", i_lanes, ratio, beats if beats % ratio else None),) if ratio > 1 else ()
    style = "block" if depth >= BLOCK_ROM_DEPTH else "distributed"
    fields = {f.name: getattr(matrix, f.name) for f in dataclasses.fields(matrix) if f.name != "weight"}
    array = MacArray(
        name=name,
        rows=rows,
        columns=columns,
        o_lanes=o_lanes,
        weight_style=style,
        operand_bits=operand_bits,
        pairs=shared,
        **fields,
    )
    return (*adapter, array)


def table(name: str, values: Table | None, lanes: int) -> tuple[Node, ...]:
    """A table that is the identity is a wire."""
    if values is None or np.array_equal(values.values, np.tile(np.arange(-128, 128), (values.channels, 1))):
        return ()
    distinct = bool((values.values != values.values[:1]).any())
    deep = values.channels // lanes * 256 > 512 if distinct else False
    return (TableRom(name, values.channels, lanes, distinct, "block" if deep else "distributed"),)


@dataclass(frozen=True)
class _Stage:
    """One stage of the network at its own token period."""

    name: str
    grid: tuple[int, int]
    channels: int
    lanes: int
    period: int
    operand_bits: int | None

    @property
    def tokens(self):
        return self.grid[0] * self.grid[1]

    def residual(self, name, branch, values):
        return Residual(name, self.lanes, branch, table(f"{name}.table_residual", values, self.lanes))

    def token_mixing(self, name, layer):
        linear = self.local(name, layer) if layer.kernel is not None else self.dense(name, layer)
        branch = (
            *table(f"{name}.table_in", layer.table_in, self.lanes),
            *linear,
            *table(f"{name}.table_out", layer.table_out, self.lanes),
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
            shared=layer.shared,
        )
        if (self.tokens + node.reach) * node.beats > self.tokens * self.period:
            raise Infeasible(f"{name}: {self.tokens} + {node.reach} tokens of {node.beats} beats exceed the frame")
        return (node,)

    def dense(self, name, layer):
        tokens, channels, lanes = self.tokens, self.channels, self.lanes
        period = tokens * self.period // channels
        if tokens % lanes or tokens // lanes > period:
            raise Infeasible(f"{name}: {tokens} tokens in {lanes} lanes do not pass in {period} cycles")
        return (
            _placed(Transpose(f"{name}.transpose_in", tokens, channels, lanes, lanes, period)),
            *fold(f"{name}.linear", Matrix.of(layer, channels), lanes, lanes, period, self.operand_bits),
            _placed(Transpose(f"{name}.transpose_out", channels, tokens, lanes, lanes, self.period)),
        )

    def channel_mixing(self, name, layer):
        for hidden_lanes in divisors(layer.hidden):
            if layer.hidden // hidden_lanes > self.period:
                continue
            try:
                branch = (
                    *table(f"{name}.table_in", layer.table_in, self.lanes),
                    *self.fold(f"{name}.linear1", layer.linear1, self.lanes, hidden_lanes),
                    *table(f"{name}.table_hidden", layer.table_hidden, hidden_lanes),
                    *self.fold(f"{name}.linear2", layer.linear2, hidden_lanes, self.lanes),
                )
            except Infeasible:
                continue
            return self.residual(name, branch, layer.table_residual)
        raise Infeasible(f"{name}: no folding keeps a token every {self.period} cycles with {self.lanes} lanes")

    def fold(self, name, layer, i_lanes, o_lanes):
        return fold(name, Matrix.of(layer, self.tokens), i_lanes, o_lanes, self.period, self.operand_bits)

    def block(self, name: str, block: Block) -> tuple[Node, ...]:
        return (
            self.token_mixing(f"{name}.token_mixing", block.token_mixing),
            self.channel_mixing(f"{name}.channel_mixing", block.channel_mixing),
        )


def _placed(node: Windows | Transpose) -> Windows | Transpose:
    """With its memories where they belong."""
    return dataclasses.replace(node, style=reorder_style(node))


def _window_lanes(row: int, length: int, period: int) -> int:
    """Fewest lanes that divide a window's row and pass a window in a period."""
    for lanes in divisors(row):
        if length // lanes <= period:
            return lanes
    raise Infeasible(f"patch: a window of {length} values does not pass in {period} cycles")


def _input_table(network: Network, lanes: int) -> InputTable:
    table, colours = network.input_table, network.colours
    return InputTable("input", colours, lanes, 1 if (table == table[0]).all() else colours // gcd(colours, lanes))


def _entry(network: Network, index: int, before: _Stage | None, stage: _Stage, bus_bytes: int):
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
    lanes = _window_lanes(size * channels, size**2 * channels, stage.period)
    queue = None if before is None else 0
    windows = _placed(Windows(f"{name}.windows", *shape, i_lanes, lanes, stage.period, queue))
    return (*source, windows, *stage.fold(name, layer, lanes, stage.lanes))


def _stage_items(network, index, before, period, bus_bytes, operand_bits):
    """The narrowest token stream with which a whole stage keeps the period."""
    stage = network.stages[index]
    channels = network.embed.outputs if index == 0 else stage.merge.outputs
    reason = None
    for lanes in divisors(channels):
        if channels // lanes > period:
            continue
        this = _Stage(f"stages.{index}", stage.grid, channels, lanes, period, operand_bits)
        try:
            items = list(_entry(network, index, before, this, bus_bytes))
            for b, block in enumerate(stage.blocks):
                items += this.block(f"stages.{index}.blocks.{b}", block)
        except Infeasible as error:
            reason = reason or error
            continue
        return this, items
    raise reason or Infeasible(f"stages.{index}: {channels} channels do not pass in {period} cycles")


def build(network: Network, period: int, bus_bytes: int, operand_bits: int | None = None) -> tuple[Node, ...]:
    """The pipeline that takes a token of the first stage every ``period`` cycles from an input of ``bus_bytes`` a
    beat, with two products in a multiplier if it has ``operand_bits``. Raises `Infeasible` if a layer cannot."""
    row = network.image[1] * network.colours
    if row % bus_bytes:
        raise Infeasible(f"input: {bus_bytes} bytes a beat do not divide a row of {row} bytes")
    first = network.stages[0].tokens
    if network.image[0] * row // bus_bytes > first * period:
        raise Infeasible(f"input: {bus_bytes} bytes a cycle do not bring an image in {first * period} cycles")
    items: list[Node] = []
    before = None
    for index, stage in enumerate(network.stages):
        own = first * period // stage.tokens
        before, more = _stage_items(network, index, before, own, bus_bytes, operand_bits)
        items += more
    items.append(MeanPool("pool", before.tokens, before.channels, before.lanes, network.pool_shift))
    head = Matrix.of(network.head, 1)
    items += fold("head", head, before.lanes, 1, first * period, operand_bits)
    items.append(Argmax("argmax", head.outputs, head.out_bits))
    return tuple(items)
