"""What components are made of, in LUTs, flip-flops, block RAMs of the 7 series: memories, counters, adders, buffers.

Each is as large as Yosys makes it; ``calibration/`` has the measurements that the constants here are fitted to.
"""

import dataclasses
from math import ceil

from ..architecture.buffers import BankLayout
from ..architecture.device import LUT_ROM_WORDS, Resources
from ..architecture.nodes import Transpose, Windows

__all__ = [
    "adder",
    "adder_tree",
    "banked",
    "block_ram",
    "choose",
    "counter",
    "delay",
    "index_bits",
    "memory",
    "memory_style",
    "queue",
    "queue_style",
    "reorder_style",
    "requantise",
    "rom",
    "select",
    "trailing_zeros",
    "weights",
]


def index_bits(values: int) -> int:
    """Of a register for 0 .. values - 1."""
    return (values - 1).bit_length()


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
    return Resources(lut=width * choose(words) + enables, ff=index_bits(words), bram36=amount)


def _lut_ram(width: int, depth: int) -> int:
    """LUTs of a memory in RAM32M or RAM64M: six bits of 32 words, or three of 64, in four LUTs."""
    if depth <= 32:
        return 4 * ceil(width / 6)
    blocks = ceil(depth / 64)
    return 4 * ceil(width / 3) * blocks + (width * choose(blocks) + blocks if blocks > 1 else 0)


def memory_style(width: int, depth: int) -> str:
    """Where a memory that is written lies: in LUTs if it would waste a block RAM."""
    return (
        "distributed" if _lut_ram(width, depth) <= LUTS_PER_BLOCK * block_ram(width, depth, written=True) else "block"
    )


def memory(width: int, depth: int, style: str) -> Resources:
    """With one write and one read port, read synchronously."""
    if style == "block":
        return _block(width, depth, True)
    return Resources(lut=_lut_ram(width, depth), ff=width)


def rom(width: int, depth: int, style: str) -> Resources:
    """A LUT6 holds 64 x 1, and a MUXF7 joins two (`psahw.synthesis.lutrom`). One word is a constant."""
    if depth == 1:
        return Resources()
    if style == "block":
        return _block(width, depth, False)
    blocks = ceil(depth / 64)
    return Resources(lut=width * (blocks + (choose(blocks) if depth > LUT_ROM_WORDS else 0)), ff=width)


def choose(options: int) -> float:
    """LUTs for a bit chosen among so many."""
    return 0 if options <= 1 else ceil((options - 1) / 3)


def select(options: int) -> float:
    """The same for an Array of Amaranth's, of any length."""
    return choose(options) if options <= 4 else 0.44 * options


def weights(width: int, depth: int, style: str) -> Resources:
    """A ROM before registers that count elsewhere: in LUTs the address waits instead of the word."""
    found = rom(width, depth, style)
    return found if style == "block" else dataclasses.replace(found, ff=index_bits(depth))


def counter(*lengths: int) -> Resources:
    """Nested counters, as `psahw.gateware.count.count` makes them."""
    total = Resources()
    for length in lengths:
        bits = index_bits(length)
        # From four bits on a carry chain, which needs no LUTs to add one.
        total += Resources(lut=1 + (bits if bits < 4 else 1 + ceil(bits / 6)) if bits else 0, ff=bits)
    return total


def adder(bits: int) -> Resources:
    return Resources(lut=bits - 1, ff=bits)


def delay(bits: int, cycles: int) -> Resources:
    """From three cycles on it is a shift register in a LUT."""
    return Resources(lut=bits) if cycles >= 3 else Resources(ff=bits * cycles)


def adder_tree(terms: int, bits: int, most: int) -> Resources:
    """An adder tree with registers after every level; no sum is wider than ``most``."""
    total, waiting = Resources(), 0  # levels that the last term has passed without a partner
    last = bits
    while terms > 1:
        wider = min(bits + 1, most)
        if terms % 2:
            total += adder(wider) * (terms // 2)
            waiting += 1
        else:
            total += adder(wider) * (terms // 2) + delay(last, waiting)
            waiting, last = 0, wider
        terms, bits = ceil(terms / 2), wider
    return total


def requantise(rows: int, acc_bits: int, offset_bits: int, shift_range: int, out_bits: int) -> Resources:
    shift_bits = shift_range.bit_length()
    total_bits = max(acc_bits, offset_bits) + 1
    style = "distributed" if rows <= LUT_ROM_WORDS else "block"
    shifted = min(out_bits + 3, total_bits)
    return (
        rom(offset_bits + shift_bits, rows, style)
        + adder(total_bits)
        + Resources(lut=shifted * ceil(shift_bits / 2), ff=shift_bits + shifted)
        + Resources(lut=out_bits - 2, ff=out_bits)
    )


def banked(layout: BankLayout, style: str) -> Resources:
    """`psahw.gateware.banks.Banks`: one wide memory or one for each bank, and what turns lanes to banks and back."""
    banks = layout.banks
    if layout.is_one_memory:
        memories = memory(8 * banks, layout.words, style)
    else:
        memories = memory(8, layout.words, style) * banks
    turned = 8 * banks * choose(min(len(layout.i_starts), layout.i_lanes))
    turned += 8 * layout.o_lanes * choose(len(layout.o_starts))
    enables = banks if banks > 1 else 0
    return memories + Resources(lut=turned + enables, ff=index_bits(len(layout.o_starts)))


def queue_style(lanes: int, depth: int) -> str:
    """Where the memory of a `psahw.gateware.stream.Queue` of int8 should lie."""
    return memory_style(8 * lanes, max(depth - 1, 2))


def queue(lanes: int, depth: int, bits: int = 8, style: str | None = None) -> Resources:
    rows = max(depth - 1, 2)
    level = index_bits(rows + 1)
    words = memory(bits * lanes, rows, style or memory_style(bits * lanes, rows))
    return words + counter(rows, rows) + Resources(lut=3 * level + 12, ff=2 * level + 3)


def trailing_zeros(value: int) -> int:
    """Low bits that multiples of it do not have."""
    return (value & -value).bit_length() - 1


def reorder_style(node: Windows | Transpose) -> str:
    """Where its memories should lie."""
    layout = node.buffer.layout
    return memory_style(8 * layout.banks if layout.is_one_memory else 8, layout.words)
