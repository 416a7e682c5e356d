"""Resources of every component before synthesis.

DSPs and block RAMs follow from the structure and are exact. LUTs and flip-flops are the sum of the parts that a
component's source has (counters, adders, multiplexers, registers, memories in LUTs), each as large as Yosys makes it;
``calibration/`` has the measurements that the constants here are fitted to and ``docs/results.md`` what remains.
"""

import dataclasses
from dataclasses import dataclass
from functools import lru_cache, singledispatch
from math import ceil, gcd, log2

from . import lutrom
from .nodes import (
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
)  # fmt: skip
from .timing import graph_words, window_rows

__all__ = ["Resources", "cost", "counters_cost", "node_cost", "queue_style", "reorder_style"]


@dataclass(frozen=True)
class Resources:
    """Amounts; block RAM in units of 36 Kb, in halves."""

    lut: float = 0
    ff: float = 0
    dsp: int = 0
    bram36: float = 0

    def __add__(self, other: "Resources") -> "Resources":
        return Resources(self.lut + other.lut, self.ff + other.ff, self.dsp + other.dsp, self.bram36 + other.bram36)

    def __mul__(self, count: int) -> "Resources":
        return Resources(self.lut * count, self.ff * count, self.dsp * count, self.bram36 * count)

    def to_dict(self) -> dict:
        return {"lut": ceil(self.lut), "ff": ceil(self.ff), "dsp": self.dsp, "bram36": self.bram36}


def _bits(values: int) -> int:
    """Of a register for 0 .. values - 1."""
    return (values - 1).bit_length()


# -- memories --

# Width, depth and cost in RAMB36 of a block RAM's shapes, simple dual port: UG473, tables 1-8 and 1-11.
_BLOCK_SHAPES = (
    *(
        (72, 512, 1.0),
        (36, 1024, 1.0),
        (18, 2048, 1.0),
        (9, 4096, 1.0),
        (4, 8192, 1.0),
        (2, 16384, 1.0),
        (1, 32768, 1.0),
    ),
    *((36, 512, 0.5), (18, 1024, 0.5), (9, 2048, 0.5), (4, 4096, 0.5), (2, 8192, 0.5), (1, 16384, 0.5)),
)

DISTRIBUTED_DEPTH = 128  # `psahw.gateware.rom.style_for`

LUTS_PER_BLOCK = 200
"""What a RAMB36 is worth when a small memory may lie in either: a device has about 300 LUTs to each."""


def _block_shape(width: int, depth: int, written: bool) -> tuple[float, int]:
    """(RAMB36 equivalents, words to a row) of a memory. A deep memory is folded into rows of several words. In a ROM
    their bits use the block RAMs' parity bits too (as Yosys' ``memory_libmap`` does it): 24,576 bytes are 11 RAMB18,
    not 12. In a memory that is written each word has write enables of its own, one for nine bits."""
    choices = []
    for w, d, unit in _BLOCK_SHAPES:
        words = ceil(depth / d)
        if not written or words == 1:
            blocks = ceil(width * words / w)
        else:
            blocks = ceil(ceil(width / 9) * 9 * words / w) if w >= 9 else ceil(width / w) * words
        choices.append((blocks * unit, words))
    return min(choices)


def block_ram(width: int, depth: int, *, written: bool = False) -> float:
    """RAMB36 equivalents of a memory."""
    return _block_shape(width, depth, written)[0]


def _block(width: int, depth: int, written: bool) -> Resources:
    """With what chooses the word of a row."""
    amount, words = _block_shape(width, depth, written)
    enables = words if written and words > 1 else 0
    return Resources(lut=width * _choose(words) + enables, ff=_bits(words), bram36=amount)


def _lut_ram(width: int, depth: int) -> int:
    """LUTs of a memory in RAM32M or RAM64M: six bits of 32 words, or three of 64, in four LUTs."""
    if depth <= 32:
        return 4 * ceil(width / 6)
    blocks = ceil(depth / 64)
    return 4 * ceil(width / 3) * blocks + (width * _choose(blocks) + blocks if blocks > 1 else 0)


def memory_style(width: int, depth: int) -> str:
    """Where a memory that is written lies: in LUTs if it would waste a block RAM."""
    return (
        "distributed" if _lut_ram(width, depth) <= LUTS_PER_BLOCK * block_ram(width, depth, written=True) else "block"
    )


def _memory(width: int, depth: int, style: str) -> Resources:
    """With one write and one read port, read synchronously."""
    if style == "block":
        return _block(width, depth, True)
    return Resources(lut=_lut_ram(width, depth), ff=width)


def _rom(width: int, depth: int, style: str) -> Resources:
    """A LUT6 holds 64 x 1, and a MUXF7 joins two (`psahw.lutrom`). One word is a constant."""
    if depth == 1:
        return Resources()
    if style == "block":
        return _block(width, depth, False)
    blocks = ceil(depth / 64)
    return Resources(lut=width * (blocks + (_choose(blocks) if depth > lutrom.MOST else 0)), ff=width)


# -- parts of logic --


def _choose(options: int) -> float:
    """LUTs for a bit chosen among so many."""
    return 0 if options <= 1 else ceil((options - 1) / 3)


def _select(options: int) -> float:
    """The same for an Array of Amaranth's, of any length."""
    return _choose(options) if options <= 4 else 0.44 * options


def _weights(width: int, depth: int, style: str) -> Resources:
    """A ROM before registers that count elsewhere: in LUTs the address waits instead of the word."""
    found = _rom(width, depth, style)
    return found if style == "block" else dataclasses.replace(found, ff=_bits(depth))


def _counter(*lengths: int) -> Resources:
    """Nested counters, as `psahw.gateware.count.count` makes them."""
    total = Resources()
    for length in lengths:
        bits = _bits(length)
        # From four bits on a carry chain, which needs no LUTs to add one.
        total += Resources(lut=1 + (bits if bits < 4 else 1 + ceil(bits / 6)) if bits else 0, ff=bits)
    return total


def _adder(bits: int) -> Resources:
    return Resources(lut=bits - 1, ff=bits)


def _delay(bits: int, cycles: int) -> Resources:
    """From three cycles on it is a shift register in a LUT."""
    return Resources(lut=bits) if cycles >= 3 else Resources(ff=bits * cycles)


def _tree(terms: int, bits: int, most: int) -> Resources:
    """An adder tree with registers after every level; no sum is wider than ``most``."""
    total, waiting = Resources(), 0  # levels that the last term has passed without a partner
    last = bits
    while terms > 1:
        wider = min(bits + 1, most)
        if terms % 2:
            total += _adder(wider) * (terms // 2)
            waiting += 1
        else:
            total += _adder(wider) * (terms // 2) + _delay(last, waiting)
            waiting, last = 0, wider
        terms, bits = ceil(terms / 2), wider
    return total


def _requantise(rows: int, acc_bits: int, offset_bits: int, shift_range: int, out_bits: int) -> Resources:
    shift_bits = shift_range.bit_length()
    total_bits = max(acc_bits, offset_bits) + 1
    style = "distributed" if rows <= DISTRIBUTED_DEPTH else "block"
    shifted = min(out_bits + 3, total_bits)
    return (
        _rom(offset_bits + shift_bits, rows, style)
        + _adder(total_bits)
        + Resources(lut=shifted * ceil(shift_bits / 2), ff=shift_bits + shifted)
        + Resources(lut=out_bits - 2, ff=out_bits)
    )


def _banks(elements: int, i_lanes: int, o_lanes: int, i_align: int, o_align: int, step: int, style: str) -> Resources:
    """`psahw.gateware.banks.Banks`: one wide memory or one for each bank, and what turns lanes to banks and back."""
    banks, depth, i_align, o_align, shared = _bank_shape(elements, i_lanes, o_lanes, i_align, o_align, step)
    memories = _memory(8 * banks, depth, style) if shared else _memory(8, depth, style) * banks
    turned = 8 * banks * _choose(min(banks // i_align, i_lanes)) + 8 * o_lanes * _choose(banks // o_align)
    enables = banks if banks > 1 else 0
    return memories + Resources(lut=turned + enables, ff=_bits(banks // o_align))


def _bank_shape(elements, i_lanes, o_lanes, i_align, o_align, step):
    """(banks, words of each, alignments, whether all use the same word)."""
    banks = 1 << _bits(max(i_lanes, o_lanes))
    i_align, o_align = gcd(i_align, banks), gcd(o_align, banks)
    shared = i_lanes <= i_align and (o_lanes == 1 or (step == 1 and o_lanes <= o_align))
    return banks, elements // banks, i_align, o_align, shared


def _banks_style(elements, i_lanes, o_lanes, i_align, o_align, step=1) -> str:
    banks, depth, _, _, shared = _bank_shape(elements, i_lanes, o_lanes, i_align, o_align, step)
    return memory_style(8 * banks if shared else 8, depth)


def queue_style(lanes: int, depth: int) -> str:
    """Where the memory of a `psahw.gateware.stream.Queue` of int8 should lie."""
    return memory_style(8 * lanes, max(depth - 1, 2))


def _queue(lanes: int, depth: int, bits: int = 8, style: str | None = None) -> Resources:
    rows = max(depth - 1, 2)
    level = _bits(rows + 1)
    memory = _memory(bits * lanes, rows, style or memory_style(bits * lanes, rows))
    return memory + _counter(rows, rows) + Resources(lut=3 * level + 12, ff=2 * level + 3)


def _zeros(value: int) -> int:
    """Low bits that multiples of it do not have."""
    return (value & -value).bit_length() - 1


def _up(value: int, multiple: int) -> int:
    return -(-value // multiple) * multiple


def _windows_banks(node: Windows):
    """Arguments of `_banks`, as `psahw.gateware.windows.Windows` has them."""
    o_lanes = node.o_lanes // node.copies
    banks = 1 << _bits(max(node.i_lanes, o_lanes))
    pitch = _up(node.width * node.channels, banks)
    elements = window_rows(node.height, node.size, node.stride, node.padding) * pitch
    o_align = gcd(node.stride * node.channels, node.padding * node.channels, o_lanes)
    return elements, node.i_lanes, o_lanes, node.i_lanes, o_align, 1


def _transpose_banks(node: Transpose):
    """Likewise, as `psahw.gateware.transpose.Transpose` has them."""
    rows, columns, i_lanes, o_lanes = node.rows, node.columns, node.i_lanes, node.o_lanes
    banks = 1 << _bits(max(i_lanes, o_lanes))
    if i_lanes == 1:
        pitches = 1, _up(rows, banks)
    elif o_lanes == 1:
        pitches = _up(columns, banks), 1
    else:
        pitches = columns + (1 - columns) % banks, 1
    half = _up((rows - 1) * pitches[0] + (columns - 1) * pitches[1] + 1, banks)
    step = pitches[0] if i_lanes > 1 and o_lanes > 1 else 1
    i_align, o_align = gcd(i_lanes * pitches[1], pitches[0]), gcd(o_lanes * pitches[0], pitches[1])
    return 2 * half, i_lanes, o_lanes, i_align, o_align, step


def reorder_style(node: Windows | Transpose) -> str:
    """Where its memories should lie."""
    return _banks_style(*(_windows_banks(node) if isinstance(node, Windows) else _transpose_banks(node)))


# -- components --


@singledispatch
def _cost(node: Node) -> Resources:
    """On the 7 series."""
    raise TypeError(f"node must be one of psahw.nodes, not {node!r}")


@_cost.register
def _(node: InputTable):
    phases = node.phases
    table = _rom(8, 256 * phases, "distributed") + Resources(ff=8)
    return table * node.lanes + _counter(phases) + Resources(lut=3, ff=2)


def _cadence(beats: int, period: int) -> Resources:
    wait = _bits(period)
    return _counter(beats) + Resources(lut=wait + 5, ff=wait)


@_cost.register
def _(node: Windows):
    banks = _windows_banks(node)
    row = _up(node.width * node.channels, 1 << _bits(max(node.i_lanes, banks[2])))
    address, low = _bits(banks[0]), 0 if node.padding else _zeros(row)
    rows = window_rows(node.height, node.size, node.stride, node.padding)
    place = _bits((node.width + 2 * node.padding) * node.channels) + (1 if node.padding else 0)
    step = _zeros(node.stride * node.channels)
    beats, steps = node.size * node.channels // banks[2], node.size // node.copies
    write = _counter(node.width * node.channels // node.i_lanes, rows)
    write += Resources(lut=3, ff=address - _zeros(node.i_lanes))
    read = _counter(beats, steps, *node.grid[::-1])
    # base and row, each with the end of the ring; left and at; the address is their sum
    read += Resources(lut=(1 + node.copies) * (address - low) + 2 * place, ff=2 * (address - low) + 2 * place - step)
    if node.padding:
        read += Resources(lut=2 * place * banks[2] + node.o_lanes - banks[2], ff=node.o_lanes)
    level = _bits(rows + 1)
    total = _banks(*banks, node.style) * node.copies + _cadence(beats * steps, node.period) + write + read
    total += Resources(lut=3 * level + 10, ff=level + 3) + Resources(lut=8 * node.o_lanes, ff=8 * node.o_lanes)
    return total + (_queue(node.i_lanes, node.queue) if node.queue else Resources())


@_cost.register
def _(node: Gather):
    width = 8 * node.lanes
    return _counter(node.ratio, node.beats or 1) + Resources(lut=node.ratio + 2, ff=width * node.ratio + 1)


def _walk(words: int, repeat: int, sets: int) -> Resources:
    """Addresses of a memory with a part for each set of a layer."""
    if sets == 1:
        return _counter(words)
    address = _bits(words * sets)
    return _counter(words, repeat, sets) + Resources(lut=3 * address, ff=2 * address)


def _ring(node: MacArray) -> Resources:
    address, level = _bits(node.depth), _bits(node.depth + 1)
    vectors = _bits((node.depth - 1) // node.steps + 2)
    return (
        _memory(8 * node.columns, node.depth, "distributed")
        + _counter(node.steps, node.steps, node.passes, node.depth)
        + Resources(lut=2 * address + address // 2, ff=2 * address)
        + Resources(lut=level + 2 * vectors, ff=level + vectors + 2)
    )


@_cost.register
def _(node: MacArray):
    units = node.rows * node.columns
    steps, beats = node.passes * node.steps, node.outputs // node.o_lanes
    levels, groups = _bits(node.columns), node.rows // node.o_lanes
    unit_bits = node.acc_bits - log2(node.columns) - 0.5  # of a column's sum; most rows have less than the widest
    row_bits = _bits(beats * node.sets)
    lane = (
        Resources(lut=unit_bits * _select(groups), ff=unit_bits) * node.columns
        + _tree(node.columns, node.acc_bits - levels, node.acc_bits)
        + _requantise(beats * node.sets, node.acc_bits, node.offset_bits, node.shift_range, node.out_bits)
    )
    repeat = node.vectors // node.sets
    return (
        Resources(ff=units * unit_bits, dsp=node.multipliers)
        + _weights(units * node.weight_bits, steps * node.sets, node.weight_style)
        + _ring(node)
        + _walk(steps, repeat, node.sets)
        + _walk(beats, repeat, node.sets)
        + _counter(groups)
        + _delay(row_bits, levels)
        + Resources(lut=4, ff=levels + 9)
        + lane * node.o_lanes
    )


@_cost.register
def _(node: GraphEngine):
    raw = node.out_bits + (2 if node.digit else 0)  # of a result, and whether and how it saturates
    interval = max(node.graph_interval, node.o_beats)
    words = graph_words(node.graph_latency, node.o_beats, interval)
    gather = _cost(Gather("", node.i_lanes, node.i_beats)) if node.i_beats > 1 else Resources()
    hold = Resources(ff=raw * (node.outputs + node.o_lanes), lut=raw * node.o_lanes * _select(node.o_beats))
    saturate = Resources(lut=node.out_bits * node.o_lanes if node.digit else 0)
    pace = _counter(node.o_beats) * 2 + Resources(lut=_bits(interval) + 8, ff=_bits(interval) + _bits(words + 1) + 2)
    room = _queue(node.o_lanes, words * node.o_beats, node.out_bits, "distributed")
    graph = Resources(lut=node.lut, ff=node.ff)
    return (
        graph
        + gather
        + hold
        + saturate
        + pace
        + room
        + (_queue(node.i_lanes, node.queue) if node.queue else Resources())
    )


@_cost.register
def _(node: TableRom):
    words = node.channels // node.lanes if node.distinct else 1
    table = _rom(8, 256 * words, node.style) + Resources(ff=8)
    return table * node.lanes + _counter(words) + Resources(lut=3, ff=2)


@_cost.register
def _(node: Transpose):
    banks = _transpose_banks(node)
    address = _bits(banks[0])
    total = _banks(*banks, node.style) + _cadence(node.rows // node.o_lanes, node.period)
    total += _counter(node.columns // node.i_lanes, node.rows, 2) + _counter(
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
    address = _bits(distance)
    return total + _memory(width * taps, distance, style) + _counter(distance) + Resources(lut=3, ff=address + 1)


def _outside(node: LocalMixing) -> Resources:
    """Position of the token that leaves, comparisons of both coordinates, what clears a register a tap."""
    borders = 2 * (node.kernel - 1)
    return _counter(*node.grid) + Resources(lut=borders + node.kernel**2 - 1, ff=2 * borders)


@_cost.register
def _(node: LocalMixing):
    taps, beats, width = node.kernel**2, node.beats, 8 * node.lanes
    repeat, rows = beats // node.phases, node.rows
    style = "distributed" if node.shared and rows <= DISTRIBUTED_DEPTH else "block"
    levels = _bits(taps)
    row_bits = _bits(rows)
    lane = _tree(taps, 8 + node.weight_bits, node.acc_bits) + Resources(dsp=taps)
    lane += _requantise(rows, node.acc_bits, node.offset_bits, node.shift_range, 8)
    total = (
        _counter(repeat, node.phases, node.tokens + node.reach)
        + (_outside(node) if node.shared else _counter(repeat, rows))
        + _taps(width, node.grid[1] * beats, node.kernel - 1, "block")
        + _taps(node.kernel * width, beats, node.kernel - 1, "distributed")
        + _weights(node.parts * taps * node.weight_bits, rows, style)
        + _delay(row_bits, 1)
        + _delay(row_bits, 4 + levels)
        + Resources(lut=0, ff=levels + 8)
        + lane * node.lanes
    )
    return total + (_queue(node.lanes, node.queue) if node.queue else Resources())


@_cost.register
def _(node: Residual):
    fork, add = Resources(lut=6, ff=2), Resources(lut=18 * node.lanes + 3, ff=8 * node.lanes + 1)
    skid = Resources(lut=8 * node.lanes + 2, ff=8 * node.lanes + 1)
    return _queue(node.lanes, node.queue) + skid * 2 + fork + add


@_cost.register
def _(node: MeanPool):
    bits = 8 + _bits(node.tokens)
    beats = node.channels // node.lanes
    kept = max(bits + 1 - node.shift, 2)
    # Read and written at the same address: a single-port memory, 64 x 1 in a LUT.
    lane = Resources(lut=bits * ceil(beats / 64) + bits + 4, ff=2 * kept + kept + 8)
    return lane * node.lanes + _counter(beats, node.tokens) + Resources(lut=4, ff=4)


@_cost.register
def _(node: Argmax):
    index = _bits(node.classes)
    return _counter(node.classes) + Resources(lut=0.75 * node.bits + 5, ff=(node.classes + 1) * node.bits + index + 1)


def _counters(stages: int) -> Resources:
    """`psahw.gateware.counters.Counters`."""
    counters = stages + 2
    return Resources(lut=32 * _select(counters) + 2, ff=32 * counters + 32)


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
    """What the ROMs of a layer take more than `_rom` says, in LUTs of six inputs."""
    if isinstance(node, MacArray):
        words, lanes = node.passes * node.steps * node.sets, node.o_lanes
        rows = node.outputs // node.o_lanes * node.sets
        weights = node.rows * node.columns * node.weight_bits if node.weight_style == "distributed" else 0
    elif isinstance(node, LocalMixing):
        words = rows = node.rows
        lanes, weights = node.lanes, node.parts * node.kernel**2 * node.weight_bits if node.shared else 0
    else:
        return 0.0
    offsets = _rom_extra(node.offset_bits + node.shift_range.bit_length(), rows) if rows <= DISTRIBUTED_DEPTH else 0
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
    return total if explicit else total + _unpacked(node)


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
