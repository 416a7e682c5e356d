"""Resources of every component before synthesis.

DSPs and block RAMs follow from the structure and are exact; LUTs and flip-flops are fitted to Yosys (see
``docs/results.md`` for the commands and the errors that remain).
"""

from dataclasses import dataclass
from functools import singledispatch
from math import ceil

from .nodes import (
    Argmax,
    Gather,
    InputTable,
    LocalMixing,
    MacArray,
    MeanPool,
    Node,
    Residual,
    Scatter,
    TableRom,
    Transpose,
    Windows,
    walk,
)  # fmt: skip

__all__ = ["Resources", "cost", "node_cost"]


@dataclass(frozen=True)
class Resources:
    """Amounts; block RAM in units of 36 Kb, in halves."""

    lut: float = 0
    ff: float = 0
    dsp: int = 0
    bram36: float = 0

    def __add__(self, other: "Resources") -> "Resources":
        return Resources(self.lut + other.lut, self.ff + other.ff, self.dsp + other.dsp, self.bram36 + other.bram36)

    def to_dict(self) -> dict:
        return {"lut": ceil(self.lut), "ff": ceil(self.ff), "dsp": self.dsp, "bram36": self.bram36}


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


def block_ram(width: int, depth: int) -> float:
    """RAMB36 equivalents of a memory. A deep memory is folded into rows of several words, whose bits use the block
    RAMs' parity bits too (as Yosys' ``memory_libmap`` does it): 24,576 bytes are 11 RAMB18, not 12."""
    return min(ceil(width * ceil(depth / d) / w) * unit for w, d, unit in _BLOCK_SHAPES)


def memory(width: int, depth: int, style: str) -> Resources:
    """A memory with one write and one read port, read synchronously."""
    if style == "block":
        return Resources(bram36=block_ram(width, depth))
    return Resources(lut=width * ceil(depth / 64) * 1.35, ff=width)


def queue(lanes: int, depth: int) -> Resources:
    style = queue_style(lanes, depth)
    pointers = depth.bit_length()
    return memory(8 * lanes, depth, style) + Resources(lut=4 * pointers + 8, ff=4 * pointers + 8 * lanes)


def queue_style(lanes: int, depth: int) -> str:
    return "block" if depth * lanes * 8 >= 4096 else "distributed"


def requantise(acc_bits: int, shift_range: int, out_bits: int) -> Resources:
    levels = shift_range.bit_length()
    return Resources(lut=acc_bits * (1 + levels) + out_bits + 24, ff=2 * acc_bits + out_bits + 10)


@singledispatch
def node_cost(node: Node) -> Resources:
    """Cost of one component, without what a Residual holds."""
    raise TypeError(f"node must be one of psahw.nodes, not {node!r}")


@node_cost.register
def _(node: InputTable):
    return Resources(lut=node.lanes * node.colours * 32, ff=node.lanes * 16)


@node_cost.register
def _(node: Windows):
    rows = node.size + node.stride
    banks = max(node.i_lanes, node.o_lanes)
    bits = rows * node.width * node.channels * 8
    style = "block" if bits // banks >= 4096 else "distributed"
    base = memory(8, ceil(bits / 8 / banks), style)
    total = Resources(lut=200, ff=150)
    for _ in range(banks):
        total += base
    return total


@node_cost.register
def _(node: Gather):
    return Resources(lut=4 * node.ratio, ff=8 * node.lanes * node.ratio + 4)


@node_cost.register
def _(node: Scatter):
    return Resources(lut=8 * node.lanes * node.ratio, ff=8 * node.lanes * node.ratio + 4)


@node_cost.register
def _(node: MacArray):
    macs = node.rows * node.columns
    depth = node.passes * node.steps * node.sets
    weights = memory(macs * node.weight_bits, depth, node.weight_style)
    ring = memory(8 * node.columns, node.depth, "distributed")
    captured = macs * node.acc_bits
    select = node.acc_bits * node.columns * ceil(node.rows / 4)
    tree = (node.columns - 1) * node.acc_bits
    output = requantise(node.acc_bits, node.shift_range, node.out_bits)
    total = Resources(lut=select + tree + 120, ff=captured + node.acc_bits * 2 * node.columns + 150, dsp=macs)
    for _ in range(node.o_lanes):
        total += output
    return total + weights + ring


@node_cost.register
def _(node: TableRom):
    depth = node.channels // node.lanes * 256 if node.distinct else 256
    total = Resources(lut=20, ff=20)
    for _ in range(node.lanes):
        total += memory(8, depth, node.style) + Resources(ff=8)
    return total


@node_cost.register
def _(node: Transpose):
    banks = max(node.i_lanes, node.o_lanes)
    bank = memory(8, 2 * node.rows * node.columns // banks, "block")
    total = Resources(lut=120, ff=100)
    for _ in range(banks):
        total += bank
    return total


@node_cost.register
def _(node: LocalMixing):
    taps = node.kernel**2 * node.lanes
    beats = node.channels // node.lanes
    word = 8 * node.lanes
    lines = memory((node.kernel - 1) * word, node.grid[1] * beats, "block")
    columns = memory((node.kernel - 1) * node.kernel * word, beats, "distributed")
    weights = memory(node.kernel**2 * node.weight_bits, node.groups * node.tokens, "block")
    total = Resources(lut=200 + (taps - 1) * node.acc_bits, ff=300 + taps * node.acc_bits, dsp=taps)
    for _ in range(node.lanes):
        total += requantise(node.acc_bits, node.shift_range, 8)
    return total + lines + columns + weights + queue(node.lanes, node.queue)


@node_cost.register
def _(node: Residual):
    return queue(node.lanes, node.queue) + Resources(lut=12 * node.lanes + 8, ff=8 * node.lanes + 1)


@node_cost.register
def _(node: MeanPool):
    return Resources(lut=80 * node.lanes, ff=80 * node.lanes)


@node_cost.register
def _(node: Argmax):
    return Resources(lut=3 * node.bits + 40, ff=(node.classes + 2) * node.bits * 2)


def cost(pipeline: tuple[Node, ...], family: str) -> Resources:
    """Everything in a pipeline, on a device of ``family``."""
    total = Resources()
    for node in walk(pipeline):
        total += node_cost(node)
    return total
