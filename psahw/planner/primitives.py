"""LUTs, flip-flops and block RAMs of the parts of components on the 7 series: memories, counters, adders, buffers.

Each part is as large as Yosys makes it. The constants are fitted to the measurements in ``calibration/``.
"""

import dataclasses
from math import ceil, gcd

from ..architecture.buffers import BankLayout, bank_count
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
    "rotation",
    "select",
    "trailing_zeros",
    "weights",
]


def index_bits(values: int) -> int:
    """Return the bits of a register for 0 to ``values - 1``."""
    return (values - 1).bit_length()


# Width, depth and cost in RAMB36 of the shapes of a simple dual-port block RAM: UG473, tables 1-8 and 1-11.
_BLOCK_SHAPES = (
    *((72, 512, 1.0), (36, 1024, 1.0), (18, 2048, 1.0), (9, 4096, 1.0), (4, 8192, 1.0), (2, 16384, 1.0)),
    (1, 32768, 1.0),
    *((36, 512, 0.5), (18, 1024, 0.5), (9, 2048, 0.5), (4, 4096, 0.5), (2, 8192, 0.5), (1, 16384, 0.5)),
)

LUTS_PER_BLOCK = 200
"""LUTs that are worth a RAMB36 where a small memory may lie in either. A device has about 300 LUTs for each."""


def _block_shape(width: int, depth: int, written: bool) -> tuple[float, int]:
    """Return the RAMB36 equivalents of a memory, and the words per row.

    A deep memory is folded into rows of several words. In a ROM, the words of a row use the parity bits of the block
    RAMs too, as Yosys' ``memory_libmap`` does it: 24,576 bytes are 11 RAMB18, not 12. In a memory that is written,
    each word has write enables of its own, one for nine bits.
    """
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
    """Return the RAMB36 equivalents of a memory, which is a ROM unless it is ``written``."""
    return _block_shape(width, depth, written)[0]


def _block(width: int, depth: int, written: bool) -> Resources:
    """Return the resources of a memory in block RAM, with the choice of a word in a row."""
    amount, words = _block_shape(width, depth, written)
    enables = words if written and words > 1 else 0
    return Resources(lut=width * choose(words) + enables, ff=index_bits(words), bram36=amount)


def _lut_ram(width: int, depth: int) -> int:
    """Return the LUTs of a memory in RAM32M or RAM64M: four for six bits of 32 words, or for three of 64 words."""
    if depth <= 32:
        return 4 * ceil(width / 6)
    blocks = ceil(depth / 64)
    return 4 * ceil(width / 3) * blocks + (width * choose(blocks) + blocks if blocks > 1 else 0)


def memory_style(width: int, depth: int) -> str:
    """Return where a memory that is written should lie: in LUTs if it would waste a block RAM."""
    worth = LUTS_PER_BLOCK * block_ram(width, depth, written=True)
    return "distributed" if _lut_ram(width, depth) <= worth else "block"


def memory(width: int, depth: int, style: str) -> Resources:
    """Return the resources of a memory with one write port and one synchronous read port."""
    if style == "block":
        return _block(width, depth, True)
    return Resources(lut=_lut_ram(width, depth), ff=width)


def rom(width: int, depth: int, style: str) -> Resources:
    """Return the resources of a ROM. A single word is a constant.

    In LUTs, a LUT6 holds one bit of 64 words, and a MUXF7 joins two (`psahw.synthesis.lutrom`).
    """
    if depth == 1:
        return Resources()
    if style == "block":
        return _block(width, depth, False)
    blocks = ceil(depth / 64)
    return Resources(lut=width * (blocks + (choose(blocks) if depth > LUT_ROM_WORDS else 0)), ff=width)


def choose(options: int) -> int:
    """Return the LUTs for a bit that is chosen among ``options``."""
    return 0 if options <= 1 else ceil((options - 1) / 3)


def select(options: int) -> float:
    """Return the LUTs for a bit that is chosen by Amaranth's ``Array``, of any length."""
    return choose(options) if options <= 4 else 0.44 * options


def weights(width: int, depth: int, style: str) -> Resources:
    """Return the resources of a ROM without the registers behind it. In LUTs, the address is registered instead."""
    memory = rom(width, depth, style)
    return memory if style == "block" else dataclasses.replace(memory, ff=index_bits(depth))


def counter(*lengths: int) -> Resources:
    """Return the resources of nested counters, as `psahw.gateware.count.count` builds them."""
    total = Resources()
    for length in lengths:
        bits = index_bits(length)
        # From four bits on, a carry chain adds one without LUTs.
        total += Resources(lut=1 + (bits if bits < 4 else 1 + ceil(bits / 6)) if bits else 0, ff=bits)
    return total


def adder(bits: int) -> Resources:
    """Return the resources of an adder with registers."""
    return Resources(lut=bits - 1, ff=bits)


def delay(bits: int, cycles: int) -> Resources:
    """Return the resources of a delay. From three cycles on, it is a shift register in LUTs."""
    return Resources(lut=bits) if cycles >= 3 else Resources(ff=bits * cycles)


def adder_tree(terms: int, bits: int, most: int) -> Resources:
    """Return the resources of an adder tree with registers after each level and sums of at most ``most`` bits."""
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


def requantise(
    rows: int, acc_bits: int, offset_bits: int, shift_range: int, out_bits: int, scale_bits: int = 0
) -> Resources:
    """Return the resources of one lane that requantises, with a ROM of offsets and shifts for ``rows`` outputs.

    With ``scale_bits`` there is another ROM, of multipliers of this width, and the multiplier. An operand wider than
    18 bits needs two DSP slices.
    """
    if scale_bits:
        multiplier = rom(scale_bits, rows, "distributed" if rows <= LUT_ROM_WORDS else "block")
        multiplier += Resources(dsp=1 if max(acc_bits, scale_bits + 1) <= 18 else 2)
        multiplier += delay(index_bits(rows), 3)
        return multiplier + requantise(rows, acc_bits + scale_bits, offset_bits, shift_range, out_bits)
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


def rotation(values: int, results: int, starts: range) -> int:
    """Return the LUTs per bit of a barrel shifter that rotates values to one of several starts."""
    total, distances, step = 0, values // gcd(values, starts.step), starts.step
    while distances > 1:
        options = min(4, distances)
        total += results * choose(options)
        results = min(values, options * results, results + (options - 1) * step)
        distances, step = ceil(distances / 4), 4 * step
    return total


def banked(layout: BankLayout, style: str, bits: int = 8) -> Resources:
    """Return the resources of a `psahw.gateware.banks.Banks`: memories, and rotations of lanes to banks and back."""
    banks = layout.banks
    if layout.is_one_memory:
        memories = memory(bits * banks, layout.words, style)
    else:
        memories = memory(bits, layout.words, style) * banks
    shown = bank_count(layout.i_lanes, 1)
    rotations = rotation(shown, shown, layout.i_starts) + rotation(banks, layout.o_lanes, layout.o_starts)
    # Banks have addresses of their own where elements lie in one word or in the next; some of their logic is shared.
    addresses = sum(len(starts) for starts in (layout.i_starts, layout.o_starts) if len(starts) > 1)
    total = memories + Resources(lut=bits * rotations, ff=bits * banks)
    total += Resources(lut=ceil(0.6 * index_bits(layout.words) * addresses) + (banks if banks > 1 else 0))
    return total + Resources(ff=1 + ceil(layout.o_lanes / 8)) * index_bits(len(layout.o_starts))


def queue_style(lanes: int, depth: int, bits: int = 8) -> str:
    """Return where the memory of a `psahw.gateware.stream.Queue` should lie."""
    return memory_style(bits * lanes, max(depth - 1, 2))


def queue(lanes: int, depth: int, bits: int = 8, style: str | None = None) -> Resources:
    """Return the resources of a `psahw.gateware.stream.Queue`."""
    rows = max(depth - 1, 2)
    level = index_bits(rows + 1)
    words = memory(bits * lanes, rows, style or memory_style(bits * lanes, rows))
    return words + counter(rows, rows) + Resources(lut=3 * level + 12, ff=2 * level + 3)


def trailing_zeros(value: int) -> int:
    """Return the number of low bits that are zero in every multiple of a value."""
    return (value & -value).bit_length() - 1


def reorder_style(node: Windows | Transpose) -> str:
    """Return where the memories of a node should lie."""
    layout = node.buffer.layout
    bits = node.codes.bits
    return memory_style(bits * layout.banks if layout.is_one_memory else bits, layout.words)
