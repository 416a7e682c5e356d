"""Resources of every component before synthesis.

DSPs and block RAMs follow from the structure and are exact. LUTs and flip-flops are the sum of the parts that a
component's source has (`psahw.planner.primitives`); ``calibration/`` has the measurements that the constants are fitted to and
``docs/results.md`` what remains.
"""

import dataclasses
from functools import lru_cache, singledispatch
from math import ceil, log2

from ..architecture.device import LUT_ROM_WORDS, Resources
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
    walk,
)
from ..architecture.timing import graph_words
from . import primitives as parts

__all__ = ["cost", "counters_cost", "node_cost"]


@singledispatch
def _cost(node: Node) -> Resources:
    """On the 7 series."""
    raise TypeError(f"node must be one of psahw.architecture.nodes, not {node!r}")


@_cost.register
def _(node: InputTable):
    phases = node.phases
    table = parts.rom(8, 256 * phases, "distributed") + Resources(ff=8)
    return table * node.lanes + parts.counter(phases) + Resources(lut=3, ff=2)


def _cadence(beats: int, period: int) -> Resources:
    wait = parts.index_bits(period)
    return parts.counter(beats) + Resources(lut=wait + 5, ff=wait)


@_cost.register
def _(node: Windows):
    buffer, layout, rows = node.buffer, node.buffer.layout, node.window.buffered_rows
    address, low = parts.index_bits(layout.depth), 0 if node.padding else parts.trailing_zeros(buffer.pitch)
    place = parts.index_bits((node.width + 2 * node.padding) * node.channels) + (1 if node.padding else 0)
    step = parts.trailing_zeros(node.stride * node.channels)
    beats, steps = node.size * node.channels // buffer.row_lanes, node.size // buffer.copies
    write = parts.counter(node.width * node.channels // node.i_lanes, rows)
    write += Resources(lut=3, ff=address - parts.trailing_zeros(node.i_lanes))
    read = parts.counter(beats, steps, *node.grid[::-1])
    # base and row, each with the end of the ring; left and at; the address is their sum
    added = address - low
    read += Resources(lut=(1 + buffer.copies) * added + 2 * place, ff=2 * added + 2 * place - step)
    if node.padding:
        read += Resources(lut=2 * place * buffer.row_lanes + node.o_lanes - buffer.row_lanes, ff=node.o_lanes)
    level = parts.index_bits(rows + 1)
    total = parts.banked(layout, node.style) * buffer.copies + _cadence(beats * steps, node.period) + write + read
    total += Resources(lut=3 * level + 10, ff=level + 3) + Resources(lut=8 * node.o_lanes, ff=8 * node.o_lanes)
    return total + (parts.queue(node.i_lanes, node.queue) if node.queue else Resources())


@_cost.register
def _(node: Gather):
    width = 8 * node.lanes
    return parts.counter(node.ratio, node.beats or 1) + Resources(lut=node.ratio + 2, ff=width * node.ratio + 1)


def _walk(words: int, repeat: int, sets: int) -> Resources:
    """Addresses of a memory with a part for each set of a layer."""
    if sets == 1:
        return parts.counter(words)
    address = parts.index_bits(words * sets)
    return parts.counter(words, repeat, sets) + Resources(lut=3 * address, ff=2 * address)


def _ring(node: MacArray) -> Resources:
    address, level = parts.index_bits(node.depth), parts.index_bits(node.depth + 1)
    vectors = parts.index_bits((node.depth - 1) // node.steps + 2)
    return (
        parts.memory(8 * node.columns, node.depth, "distributed")
        + parts.counter(node.steps, node.steps, node.passes, node.depth)
        + Resources(lut=2 * address + address // 2, ff=2 * address)
        + Resources(lut=level + 2 * vectors, ff=level + vectors + 2)
    )


@_cost.register
def _(node: MacArray):
    units = node.rows * node.columns
    steps, beats = node.passes * node.steps, node.outputs // node.o_lanes
    levels, groups = parts.index_bits(node.columns), node.rows // node.o_lanes
    unit_bits = node.acc_bits - log2(node.columns) - 0.5  # of a column's sum; most rows have less than the widest
    row_bits = parts.index_bits(beats * node.sets)
    lane = (
        Resources(lut=unit_bits * parts.select(groups), ff=unit_bits) * node.columns
        + parts.adder_tree(node.columns, node.acc_bits - levels, node.acc_bits)
        + parts.requantise(beats * node.sets, node.acc_bits, node.offset_bits, node.shift_range, node.out_bits)
    )
    repeat = node.vectors // node.sets
    return (
        Resources(ff=units * unit_bits, dsp=node.multipliers)
        + parts.weights(units * node.weight_bits, steps * node.sets, node.weight_style)
        + _ring(node)
        + _walk(steps, repeat, node.sets)
        + _walk(beats, repeat, node.sets)
        + parts.counter(groups)
        + parts.delay(row_bits, levels)
        + Resources(lut=4, ff=levels + 9)
        + lane * node.o_lanes
    )


@_cost.register
def _(node: GraphEngine):
    raw = node.out_bits + (2 if node.digit else 0)  # of a result, and whether and how it saturates
    interval = max(node.graph_interval, node.o_beats)
    words = graph_words(node.graph_latency, node.o_beats, interval)
    gather = _cost(Gather("", node.i_lanes, node.i_beats)) if node.i_beats > 1 else Resources()
    hold = Resources(ff=raw * (node.outputs + node.o_lanes), lut=raw * node.o_lanes * parts.select(node.o_beats))
    saturate = Resources(lut=node.out_bits * node.o_lanes if node.digit else 0)
    pace = parts.counter(node.o_beats) * 2 + Resources(
        lut=parts.index_bits(interval) + 8, ff=parts.index_bits(interval) + parts.index_bits(words + 1) + 2
    )
    room = parts.queue(node.o_lanes, words * node.o_beats, node.out_bits, "distributed")
    graph = Resources(lut=node.lut, ff=node.ff)
    return (
        graph
        + gather
        + hold
        + saturate
        + pace
        + room
        + (parts.queue(node.i_lanes, node.queue) if node.queue else Resources())
    )


@_cost.register
def _(node: TableRom):
    words = node.channels // node.lanes if node.distinct else 1
    table = parts.rom(8, 256 * words, node.style) + Resources(ff=8)
    number = parts.index_bits(words) if node.style == "distributed" else 0  # of the table, waits with the value
    return table * node.lanes + parts.counter(words) + Resources(lut=3, ff=2 + number)


@_cost.register
def _(node: Transpose):
    layout = node.buffer.layout
    address = parts.index_bits(layout.depth)
    total = parts.banked(layout, node.style) + _cadence(node.rows // node.o_lanes, node.period)
    total += parts.counter(node.columns // node.i_lanes, node.rows, 2) + parts.counter(
        node.rows // node.o_lanes, node.columns, 2
    )
    total += Resources(lut=2 * address, ff=2 * address) * 1
    return total + Resources(lut=10, ff=4 + 8 * node.o_lanes)


def _taps(width: int, distance: int, taps: int, style: str) -> Resources:
    """`psahw.gateware.taps.DelayTaps`."""
    total = Resources(ff=width)
    if taps == 0:
        return total
    if distance == 1:
        return total + Resources(ff=width * taps)
    address = parts.index_bits(distance)
    return (
        total
        + parts.memory(width * taps, distance, style)
        + parts.counter(distance)
        + Resources(lut=3, ff=address + 1)
    )


def _outside(node: LocalMixing) -> Resources:
    """Position of the token that leaves, comparisons of both coordinates, what clears a register a tap."""
    borders = 2 * (node.kernel - 1)
    return parts.counter(*node.grid) + Resources(lut=borders + node.kernel**2 - 1, ff=2 * borders)


@_cost.register
def _(node: LocalMixing):
    taps, beats, width = node.kernel**2, node.beats, 8 * node.lanes
    repeat, rows = beats // node.phases, node.rows
    style = "distributed" if node.shared and rows <= LUT_ROM_WORDS else "block"
    levels = parts.index_bits(taps)
    row_bits = parts.index_bits(rows)
    lane = parts.adder_tree(taps, 8 + node.weight_bits, node.acc_bits) + Resources(dsp=taps)
    lane += parts.requantise(rows, node.acc_bits, node.offset_bits, node.shift_range, 8)
    total = (
        parts.counter(repeat, node.phases, node.tokens + node.reach)
        + (_outside(node) if node.shared else parts.counter(repeat, rows))
        + _taps(width, node.grid[1] * beats, node.kernel - 1, "block")
        + _taps(node.kernel * width, beats, node.kernel - 1, "distributed")
        + parts.weights(node.parts * taps * node.weight_bits, rows, style)
        + parts.delay(row_bits, 1)
        + parts.delay(row_bits, 4 + levels)
        + Resources(lut=0, ff=levels + 8)
        + lane * node.lanes
    )
    return total + (parts.queue(node.lanes, node.queue) if node.queue else Resources())


@_cost.register
def _(node: Residual):
    fork, add = Resources(lut=6, ff=2), Resources(lut=18 * node.lanes + 3, ff=8 * node.lanes + 1)
    skid = Resources(lut=8 * node.lanes + 2, ff=8 * node.lanes + 1)
    return parts.queue(node.lanes, node.queue) + skid * 2 + fork + add


@_cost.register
def _(node: MeanPool):
    bits = 8 + parts.index_bits(node.tokens)
    beats = node.channels // node.lanes
    kept = max(bits + 1 - node.shift, 2)
    # Read and written at the same address: a single-port memory, 64 x 1 in a LUT.
    lane = Resources(lut=bits * ceil(beats / 64) + bits + 4, ff=2 * kept + kept + 8)
    return lane * node.lanes + parts.counter(beats, node.tokens) + Resources(lut=4, ff=4)


@_cost.register
def _(node: Argmax):
    index = parts.index_bits(node.classes)
    return parts.counter(node.classes) + Resources(
        lut=0.75 * node.bits + 5, ff=(node.classes + 1) * node.bits + index + 1
    )


def _counters(stages: int) -> Resources:
    """`psahw.gateware.counters.Counters`."""
    counters = stages + 2
    return Resources(lut=32 * parts.select(counters) + 2, ff=32 * counters + 32)


# -- families --

LUT4_FAMILIES = ("ecp5", "gw2a")
# LUTs of four inputs for each of the 7 series' (measured on ECP5, on one accelerator; GW2A is taken to be alike).
# A LUT6 of a ROM is four of them, and adding one takes LUTs here.
_LUT4S = {InputTable: 3.4, Windows: 2.3, Transpose: 2.3, Residual: 2.0, MeanPool: 2.3}
# Not measured: a pair in a LUT6_2 is two LUT4s, and a third where an operand's first bits are held at 0.
_SERIAL_LUT4S, _PARALLEL_LUT4S = 2.4, 1.3
_ROM_LUT4S, _OTHER_LUT4S, _COUNTER_LUT4S = 3.0, 1.75, 10.7


# LUTs more for each bit of ROMs up to so many words, where ABC makes them and shares parts between the bits.
_ROM_EXTRA = ((12, 0.0), (16, 0.7), (32, 1.0), (64, 1.8), (float("inf"), 0.0))


def _rom_extra(width: int, depth: int) -> float:
    return width * next(luts for most, luts in _ROM_EXTRA if depth <= most) if depth > 1 else 0.0


def _made_by_abc(node: Node) -> float:
    """What the ROMs of a layer take more than `parts.rom` says, in LUTs of six inputs."""
    if isinstance(node, MacArray):
        words, lanes = node.passes * node.steps * node.sets, node.o_lanes
        rows = node.outputs // node.o_lanes * node.sets
        weights = node.rows * node.columns * node.weight_bits if node.weight_style == "distributed" else 0
    elif isinstance(node, LocalMixing):
        words = rows = node.rows
        lanes, weights = node.lanes, node.parts * node.kernel**2 * node.weight_bits if node.shared else 0
    else:
        return 0.0
    offsets = _rom_extra(node.offset_bits + node.shift_range.bit_length(), rows) if rows <= LUT_ROM_WORDS else 0
    return _rom_extra(weights, words) + offsets * lanes


def _lut4s(node: Node) -> float:
    if "distributed" in (getattr(node, "weight_style", None), isinstance(node, TableRom) and node.style):
        return _ROM_LUT4S
    if isinstance(node, GraphEngine):
        return _SERIAL_LUT4S if node.digit else _PARALLEL_LUT4S
    return _LUT4S.get(type(node), _OTHER_LUT4S)


def _unpacked(node: Node) -> Resources:
    """Registers and accumulators that Yosys leaves outside the multipliers that it infers."""
    product = getattr(node, "weight_bits", 0) + 8
    if isinstance(node, MacArray):
        unit = node.acc_bits - log2(node.columns) - 0.5
        # The rows of a column share the register of x.
        shared = Resources(ff=8 * node.columns)
        return Resources(lut=unit, ff=node.weight_bits + product + unit) * node.multipliers + shared
    if isinstance(node, LocalMixing):
        return Resources(ff=3 * product) * (node.kernel**2 * node.lanes)
    return Resources()


@lru_cache(maxsize=1 << 16)
def node_cost(node: Node, family: str) -> Resources:
    """Cost of one component on a device of ``family``, without what a Residual holds."""
    total = _cost(node)
    if family in LUT4_FAMILIES:
        total = dataclasses.replace(total, lut=(total.lut + _made_by_abc(node)) * _lut4s(node))
    explicit = getattr(node, "multiplier", None) is not None
    return (total if explicit else total + _unpacked(node)) * getattr(node, "slices", 1)


def counters_cost(stages: int, family: str) -> Resources:
    """Of the accelerator's own counters."""
    total = _counters(stages)
    return dataclasses.replace(total, lut=total.lut * _COUNTER_LUT4S) if family in LUT4_FAMILIES else total


def cost(pipeline: tuple[Node, ...], family: str, *, whole: bool = False) -> Resources:
    """Everything in a pipeline, on a device of ``family``; if it is the ``whole`` accelerator, with its counters."""
    total = counters_cost(len(pipeline), family) if whole else Resources()
    for node in walk(pipeline):
        total += node_cost(node, family)
    return total
