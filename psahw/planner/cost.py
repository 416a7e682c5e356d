"""Estimated resources of every component, before synthesis.

DSPs and block RAMs follow from the structure and are exact. LUTs and flip-flops are the sum over the parts in the
component's source (`psahw.planner.primitives`). The constants are fitted to the measurements in ``calibration/``.
"""

import dataclasses
from functools import lru_cache, singledispatch
from math import ceil, gcd, log2

from ..architecture.device import LUT_ROM_WORDS, REGISTERED_MULTIPLIERS, Resources
from ..architecture.nodes import (  # fmt: skip
    Argmax,
    Gather,
    GraphEngine,
    InputTable,
    LocalMixing,
    MacArray,
    MaxPool,
    MeanPool,
    Node,
    Residual,
    TableRom,
    Thresholds,
    Transpose,
    Windows,
    walk,
)
from ..architecture.packing import MULTIPLIERS_PER_MARK, OPERAND_BITS
from ..architecture.timing import COUNTERS_PER_GROUP, graph_words, local_beats, mac_passes
from . import primitives

__all__ = ["cost", "counters_cost", "node_cost"]


@singledispatch
def _cost(node: Node) -> Resources:
    """Return the resources of one component on the 7 series."""
    raise TypeError(f"node must be one of psahw.architecture.nodes, not {node!r}")


@_cost.register
def _(node: InputTable) -> Resources:
    phases = node.phases
    table = primitives.rom(8, 256 * phases, "distributed") + Resources(ff=8)
    return table * node.lanes + primitives.counter(phases) + Resources(lut=3, ff=2)


def _cadence(beats: int, period: int) -> Resources:
    """Return the resources of what starts ``beats`` beats in every period."""
    wait = primitives.index_bits(period)
    return primitives.counter(beats) + Resources(lut=wait + 5, ff=wait)


@_cost.register
def _(node: Windows) -> Resources:
    buffer, layout, rows = node.buffer, node.buffer.layout, node.window.buffered_rows
    address, low = (
        primitives.index_bits(layout.depth),
        0 if any(node.padding) else primitives.trailing_zeros(buffer.pitch),
    )
    columns = node.width + node.padding[2] + node.padding[3]
    place = primitives.index_bits(columns * node.channels) + (1 if any(node.padding) else 0)
    step = primitives.trailing_zeros(node.stride[1] * node.channels)
    beats, steps = node.size[1] * node.channels // buffer.row_lanes, node.size[0] // buffer.copies
    write = primitives.counter(node.width * node.channels // node.i_lanes, rows)
    write += Resources(lut=3, ff=address - primitives.trailing_zeros(node.i_lanes))
    read = primitives.counter(beats, steps, *node.grid[::-1])
    # The address is the sum of base and row, each compared with the end of the ring, and of ``left`` and ``at``.
    added = address - low
    read += Resources(lut=(1 + buffer.copies) * added + 2 * place, ff=(2 + buffer.copies) * added + 2 * place - step)
    read += Resources(ff=primitives.index_bits(node.grid[0]) + 2)
    if any(node.padding):
        # The lanes between two multiples of all distances lie in or out together.
        compared = 2 * place * ceil(buffer.row_lanes / gcd(layout.o_align, node.width * node.channels))
        read += Resources(lut=compared + node.o_lanes - buffer.row_lanes, ff=3 * node.o_lanes)
    level = primitives.index_bits(rows + 1)
    total = (
        primitives.banked(layout, node.style, node.codes.bits) * buffer.copies
        + _cadence(beats * steps, node.period)
        + write
        + read
    )
    total += Resources(lut=3 * level + 10, ff=level + 3) + Resources(lut=1, ff=1) * (node.codes.bits * node.o_lanes)
    return total + (primitives.queue(node.i_lanes, node.queue, node.codes.bits) if node.queue else Resources())


@_cost.register
def _(node: Gather) -> Resources:
    width = node.codes.bits * node.lanes
    return primitives.counter(node.ratio, node.beats or 1) + Resources(lut=node.ratio + 2, ff=width * node.ratio + 1)


def _walk(words: int, repeat: int, sets: int) -> Resources:
    """Return the resources of the addresses of a memory that has a part for each matrix of a layer."""
    if sets == 1:
        return primitives.counter(words)
    address = primitives.index_bits(words * sets)
    return primitives.counter(words, repeat, sets) + Resources(lut=3 * address, ff=2 * address)


def _ring(node: MacArray) -> Resources:
    """Return the resources of the ring in which vectors wait."""
    address, level = primitives.index_bits(node.depth), primitives.index_bits(node.depth + 1)
    vectors = primitives.index_bits((node.depth - 1) // node.steps + 2)
    return (
        primitives.memory(node.i_codes.bits * node.columns, node.depth, "distributed")
        + primitives.counter(node.steps, node.steps, node.passes, node.depth)
        + Resources(lut=2 * address + address // 2, ff=2 * address)
        + Resources(lut=level + 2 * vectors, ff=level + vectors + 2)
    )


def _room(words: int, beats: int, lanes: int, bits: int) -> Resources:
    """Return the resources of a queue behind an engine that never waits, and of the level of ``words`` in it."""
    level = primitives.index_bits(words + 1)
    return primitives.queue(lanes, beats, bits, "distributed") + Resources(lut=level + 2, ff=level + 1)


@_cost.register
def _(node: MacArray) -> Resources:
    units = node.rows * node.columns
    steps, beats = node.passes * node.steps, node.outputs // node.o_lanes
    levels, groups = primitives.index_bits(node.columns), node.rows // node.o_lanes
    unit_bits = node.acc_bits - log2(node.columns) - 0.5  # of a column's sum: most rows have less than the widest
    row_bits = primitives.index_bits(beats * node.sets)
    lane = (
        Resources(lut=unit_bits * primitives.select(groups), ff=unit_bits) * node.columns
        + primitives.adder_tree(node.columns, node.acc_bits - levels, node.acc_bits)
        + primitives.requantise(
            beats * node.sets,
            node.acc_bits,
            node.offset_bits,
            node.shift_range,
            node.o_codes.bits,
            node.scale_bits,
        )
    )
    repeat = node.vectors // node.sets
    # Marks of a pass, choices of a row, and addresses of weights in LUTs have a register for each part of the array.
    copies = 2 * ceil(node.multipliers / MULTIPLIERS_PER_MARK)
    copies += node.o_lanes * node.columns * primitives.index_bits(groups)
    if node.weight_style == "distributed":
        copies += (node.rows - 1) * primitives.index_bits(steps * node.sets)
    words = mac_passes(
        columns=node.columns, steps=node.steps, o_beats=groups, scaled=bool(node.scale_bits),
        multiplier=node.multiplier,
    )  # fmt: skip
    return (
        Resources(ff=units * unit_bits + copies, dsp=node.multipliers)
        + primitives.weights(units * node.weight_bits, steps * node.sets, node.weight_style)
        + _ring(node)
        + _walk(steps, repeat, node.sets)
        + _walk(beats, repeat, node.sets)
        + primitives.counter(groups, groups, 1 if node.outputs % node.rows == 0 else beats)
        + primitives.delay(row_bits, levels + 1)
        + Resources(lut=4, ff=levels + 9)
        + _room(words, words * groups, node.o_lanes, node.o_codes.bits)
        + lane * node.o_lanes
    )


@_cost.register
def _(node: GraphEngine) -> Resources:
    out_bits = node.o_codes.signed_bits
    raw = out_bits + (2 if node.digit else 0)  # bits of a result, and two that say whether and how it saturates
    interval = max(node.graph_interval, node.o_beats)
    words = graph_words(node.graph_latency, node.o_beats, interval)
    gather = _cost(Gather("", node.i_lanes, node.i_beats, None, node.i_codes)) if node.i_beats > 1 else Resources()
    hold = Resources(ff=raw * (node.outputs + node.o_lanes), lut=raw * node.o_lanes * primitives.select(node.o_beats))
    saturate = Resources(lut=out_bits * node.o_lanes if node.digit or not node.o_codes.signed else 0)
    pace = primitives.counter(node.o_beats) * 2 + Resources(
        lut=primitives.index_bits(interval) + 4,
        ff=primitives.index_bits(interval) + 2,
    )
    room = _room(words, words * node.o_beats, node.o_lanes, node.o_codes.bits)
    graph = Resources(lut=node.lut, ff=node.ff)
    return (
        graph
        + gather
        + hold
        + saturate
        + pace
        + room
        + (primitives.queue(node.i_lanes, node.queue, node.i_codes.bits) if node.queue else Resources())
    )


@_cost.register
def _(node: TableRom) -> Resources:
    words = node.channels // node.lanes if node.distinct else 1
    bits = node.o_codes.bits
    table = primitives.rom(bits, node.words, node.style) + Resources(ff=bits)
    if node.banks > 1:
        table += Resources(ff=bits * node.banks + 2 * primitives.index_bits(node.banks))
    # In LUTs, the number of the table waits with the value.
    number = primitives.index_bits(words) if node.style == "distributed" else 0
    return table * node.lanes + primitives.counter(words) + Resources(lut=3, ff=2 + number)


@_cost.register
def _(node: Transpose) -> Resources:
    layout = node.buffer.layout
    address = primitives.index_bits(layout.depth)
    bits = node.codes.bits
    total = primitives.banked(layout, node.style, bits) + _cadence(node.rows // node.o_lanes, node.period)
    total += primitives.counter(node.columns // node.i_lanes, node.rows, 2) + primitives.counter(
        node.rows // node.o_lanes, node.columns, 2
    )
    total += Resources(lut=2 * address, ff=2 * address)
    return total + Resources(lut=10, ff=4 + bits * node.o_lanes)


def _taps(width: int, distance: int, taps: int, style: str) -> Resources:
    """Return the resources of a `psahw.gateware.taps.DelayTaps`."""
    total = Resources(ff=width)
    if taps == 0:
        return total
    if distance == 1:
        return total + Resources(ff=width * taps)
    address = primitives.index_bits(distance)
    return (
        total
        + primitives.memory(width * taps, distance, style)
        + primitives.counter(distance)
        + Resources(lut=3, ff=address + 1)
    )


def _outside(node: LocalMixing) -> Resources:
    """Return the resources of what holds taps outside the grid at zero.

    It counts the position of the token that leaves, compares both coordinates, and clears a register per tap.
    """
    borders = sum(node.kernel) - 2
    return primitives.counter(*node.grid) + Resources(lut=borders + node.entries - 1, ff=2 * borders)


def _pushes(node: LocalMixing) -> Resources:
    """Return the resources of the counters of a frame's beats, and of those that are owed to the frame before."""
    frame, owed = (f(node.tokens, node.reach) * node.beats for f in (max, min))
    return primitives.counter(frame) + (
        primitives.counter(owed + 1) + Resources(lut=3, ff=3) if owed else Resources()
    )


@_cost.register
def _(node: LocalMixing) -> Resources:
    taps, beats, width = node.entries, node.beats, node.i_codes.bits * node.lanes
    rows_above, columns_beside = node.kernel
    repeat, rows = beats // node.phases, node.rows
    style = "distributed" if node.shared and rows <= LUT_ROM_WORDS else "block"
    levels = primitives.index_bits(taps)
    words = local_beats(taps, bool(node.scale_bits))
    row_bits = primitives.index_bits(rows)
    lane = primitives.adder_tree(taps, node.i_codes.bits + node.weight_bits, node.acc_bits) + Resources(dsp=taps)
    lane += primitives.requantise(
        rows, node.acc_bits, node.offset_bits, node.shift_range, node.o_codes.bits, node.scale_bits
    )
    total = (
        _pushes(node)
        + (primitives.counter(repeat, node.phases) if node.shared else Resources())
        + (_outside(node) if node.shared else primitives.counter(repeat, rows))
        + _taps(width, node.grid[1] * beats, rows_above - 1, "block")
        + _taps(rows_above * width, beats, columns_beside - 1, "distributed")
        + primitives.weights(node.parts * taps * node.weight_bits, rows, style)
        + primitives.delay(row_bits, 1)
        + primitives.delay(row_bits, 4 + levels)
        + Resources(lut=0, ff=levels + 8)
        + _room(words, words, node.lanes, node.o_codes.bits)
        + lane * node.lanes
    )
    return total + (primitives.queue(node.lanes, node.queue, node.i_codes.bits) if node.queue else Resources())


@_cost.register
def _(node: Residual) -> Resources:
    bits, waiting_bits = node.o_codes.bits, node.branch_codes.bits
    adder = bits if waiting_bits <= 8 else max(waiting_bits, node.bypass_codes.bits)
    fork, add = (
        Resources(lut=6, ff=2),
        Resources(
            lut=(adder + bits + 2) * node.o_lanes + 3,
            ff=(bits + waiting_bits + node.bypass_codes.bits) * node.o_lanes + 2,
        ),
    )
    widths = node.i_codes.bits * node.i_lanes, waiting_bits * node.o_lanes
    skids = [Resources(lut=width + 2, ff=width + 1) for width in widths]
    waiting = primitives.queue(node.o_lanes, node.queue, node.bypass_codes.bits)
    branch = primitives.queue(node.o_lanes, node.branch_queue, waiting_bits) if node.branch_queue else skids[1]
    return waiting + branch + skids[0] + fork + add


@_cost.register
def _(node: Thresholds) -> Resources:
    beats, steps, bits = node.channels // node.lanes, node.count.bit_length(), node.i_codes.bits
    lane = Resources(ff=node.o_codes.bits)
    for step in range(steps):
        words = beats << step
        style = "distributed" if words <= LUT_ROM_WORDS else "block"
        lane += primitives.rom(bits + 1, words, style) + Resources(lut=0.6 * bits, ff=bits + step)
    return lane * node.lanes + primitives.counter(beats) + Resources(lut=3, ff=steps + 1)


@_cost.register
def _(node: MaxPool) -> Resources:
    # Like the sums of a MeanPool, with a comparison and a multiplexer in place of the adder.
    bits = node.codes.bits
    lane = Resources(lut=bits * ceil(node.beats / 64) + 1.75 * bits, ff=bits)
    return lane * node.lanes + primitives.counter(node.beats, node.tokens) + Resources(lut=4, ff=1)


@_cost.register
def _(node: MeanPool) -> Resources:
    bits = node.codes.bits + primitives.index_bits(node.tokens)
    beats = node.channels // node.lanes
    mean_bits = max(bits + 1 - node.shift, 2)
    # It is read and written at the same address, so that a single-port memory does, of 64 x 1 per LUT.
    lane = Resources(lut=bits * ceil(beats / 64) + bits + 4, ff=2 * mean_bits + mean_bits + node.codes.bits)
    if node.multiplier != 1:
        lane += Resources(ff=node.multiplier.bit_length(), dsp=1 if bits <= 18 else 2)
    return lane * node.lanes + primitives.counter(beats, node.tokens) + Resources(lut=4, ff=4)


@_cost.register
def _(node: Argmax) -> Resources:
    index, levels = primitives.index_bits(node.classes), (node.lanes - 1).bit_length()
    tree = Resources(lut=1.75 * node.bits, ff=node.bits + 2) * (node.lanes - 1) + Resources(
        ff=levels * (node.lanes * node.bits + 1)
    )
    return (
        primitives.counter(node.classes // node.lanes)
        + Resources(lut=0.75 * node.bits + 5, ff=(node.classes + 1) * node.bits + index + 1)
        + tree
    )


def _counters(stages: int) -> Resources:
    """Return the resources of a `psahw.gateware.counters.Counters` on the 7 series."""
    counters = stages + 2
    groups = ceil(counters / COUNTERS_PER_GROUP)
    # Eight values take 3.2 LUTs for each bit that is chosen.
    return Resources(lut=32 * 0.4 * (counters + groups) + 2, ff=32 * (counters + groups + 1))


LUT4_FAMILIES = ("ecp5", "gw2a", "gw1n")
"""Families whose LUTs have four inputs."""

# LUTs of four inputs for each LUT of the 7 series, measured with one accelerator on ECP5. Gowin's are assumed to be
# the same. A LUT6 of a ROM is four of them, and an increment takes LUTs, unlike on the 7 series.
_LUT4S = {InputTable: 3.4, Windows: 2.3, Transpose: 2.3, Residual: 2.0, MeanPool: 2.3}
# Not measured, but derived: a pair in a LUT6_2 is two LUT4s, and a third holds an operand's first bits at 0.
_SERIAL_LUT4S, _PARALLEL_LUT4S = 2.4, 1.3
_ROM_LUT4S, _OTHER_LUT4S, _COUNTER_LUT4S = 3.0, 1.75, 5.0

# Most words of a ROM, and the additional LUTs per bit where ABC implements it and shares parts between the bits.
_ROM_EXTRA = ((12, 0.0), (16, 0.7), (32, 1.0), (64, 1.8), (float("inf"), 0.0))


def _rom_extra(width: int, depth: int) -> float:
    """Return the LUTs of a ROM beyond those that `primitives.rom` counts, where ABC implements it."""
    return width * next(luts for most, luts in _ROM_EXTRA if depth <= most) if depth > 1 else 0.0


def _abc_extra(node: Node) -> float:
    """Return the LUTs, of six inputs, of a layer's ROMs beyond those that `primitives.rom` counts."""
    if isinstance(node, MacArray):
        words, lanes = node.passes * node.steps * node.sets, node.o_lanes
        rows = node.outputs // node.o_lanes * node.sets
        weights = node.rows * node.columns * node.weight_bits if node.weight_style == "distributed" else 0
    elif isinstance(node, LocalMixing):
        words = rows = node.rows
        lanes, weights = node.lanes, node.parts * node.entries * node.weight_bits if node.shared else 0
    else:
        return 0.0
    offsets = _rom_extra(node.offset_bits + node.shift_range.bit_length(), rows) if rows <= LUT_ROM_WORDS else 0
    return _rom_extra(weights, words) + offsets * lanes


def _lut4s(node: Node) -> float:
    """Return the LUTs of four inputs for each LUT of the 7 series."""
    if "distributed" in (getattr(node, "weight_style", None), isinstance(node, TableRom) and node.style):
        return _ROM_LUT4S
    if isinstance(node, GraphEngine):
        return _SERIAL_LUT4S if node.digit else _PARALLEL_LUT4S
    return _LUT4S.get(type(node), _OTHER_LUT4S)


def _unpacked(node: Node) -> Resources:
    """Return the registers and accumulators outside of the multipliers.

    A DSP48 contains them all, and a MULT18X18D its registers. Yosys puts nothing into the multipliers that it infers.
    """
    if not isinstance(node, MacArray | LocalMixing) or node.multiplier in OPERAND_BITS:
        return Resources()
    inferred = node.multiplier is None
    operands = product = node.weight_bits + node.i_codes.bits
    if isinstance(node, LocalMixing):
        # The operands of a MULT18X18D have further registers in front.
        return Resources(ff=operands + (2 * product if inferred else 0)) * (node.entries * node.lanes)
    unit = node.acc_bits - log2(node.columns) - 0.5
    # The rows of a column share the register of their input.
    shared = Resources(ff=node.i_codes.bits * node.columns)
    registers = Resources(ff=node.weight_bits + product) * node.multipliers + shared
    if node.multiplier in REGISTERED_MULTIPLIERS:
        return Resources(lut=unit, ff=unit + node.weight_bits) * node.multipliers + shared
    return Resources(lut=unit, ff=unit) * node.multipliers + (registers if inferred else Resources())


@lru_cache(maxsize=1 << 16)
def node_cost(node: Node, family: str) -> Resources:
    """Return the resources of one component on a family of devices, without the stages inside of a Residual."""
    total = _cost(node)
    if family in LUT4_FAMILIES:
        total = dataclasses.replace(total, lut=(total.lut + _abc_extra(node)) * _lut4s(node))
    return (total + _unpacked(node)) * getattr(node, "slices", 1)


def counters_cost(stages: int, family: str) -> Resources:
    """Return the resources of the accelerator's counters of stalls, for a number of stages."""
    total = _counters(stages)
    return dataclasses.replace(total, lut=total.lut * _COUNTER_LUT4S) if family in LUT4_FAMILIES else total


def cost(pipeline: tuple[Node, ...], family: str, *, whole: bool = False) -> Resources:
    """Return the resources of a pipeline, with all stages inside of Residuals.

    Parameters
    ----------
    pipeline
        The nodes.
    family
        Family of the device: ``xc7``, ``xcup``, ``ecp5``, ``gw2a`` or ``gw1n``.
    whole
        Include the accelerator's counters, of which there is one for each node.
    """
    total = counters_cost(len(pipeline), family) if whole else Resources()
    for node in walk(pipeline):
        total += node_cost(node, family)
    return total
