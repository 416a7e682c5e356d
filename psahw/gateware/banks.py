"""A memory of which several successive elements are written and read per clock cycle, at any address."""

from functools import cache

from amaranth.hdl import Array, Module, Shape, Signal
from amaranth.lib import data, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out
from amaranth.utils import ceil_log2

from ..architecture.buffers import BankLayout, bank_count
from ..architecture.codes import INT8
from .arith import copy, delay
from .check import check_choice, check_int

__all__ = ["Banks"]

_LANES_PER_COPY = 8
"""Lanes of a read that one copy of the start rotates; of 8 bits each, they are 64 loads."""


class Banks(wiring.Component):
    """Stores ``depth`` elements; writes ``i_lanes`` and reads ``o_lanes`` of them per clock cycle.

    `psahw.architecture.buffers.BankLayout` says where an element lies. Lanes are rotated to banks and back; rotations
    that the alignments exclude cost nothing. Where all banks always use the same word they become one memory with
    wide words. A rotation is a barrel shifter with a stage for every two bits of the start.

    Latency: two clock cycles with ``r_en`` high from an address to its elements. The elements are registered
    before the rotation, because they come late out of a block RAM. Throughput: one write and one read per clock
    cycle.

    Parameters
    ----------
    depth, i_lanes, o_lanes, i_align, o_align, step : int
        Fields of `psahw.architecture.buffers.BankLayout`.
    codes : Codes
        Type of an element.
    style : str
        ``"block"`` or ``"distributed"`` memory.

    Raises
    ------
    TypeError
        If a number is not an integer.
    ValueError
        If a number is too small, ``depth`` is not a multiple of the number of banks, ``step`` would make lanes meet
        in a bank, or the style is unknown.

    Members
    -------
    w_en : In(1)
        Write in this clock cycle.
    w_addr : In(range(depth))
        Element that lane 0 is written to; lane ``j`` goes to element ``w_addr + j``.
    w_data : In(ArrayLayout(codes, i_lanes))
        Elements to write.
    r_en : In(1)
        Enables all registers of a read.
    r_addr : In(range(depth))
        Element that lane 0 reads; lane ``j`` reads element ``r_addr + j·step``. Addresses wrap at the power of two
        that holds ``depth``.
    r_data : Out(ArrayLayout(codes, o_lanes))
        The elements at the address of two clock cycles with ``r_en`` high ago.
    """

    def __init__(self, *, depth, i_lanes, o_lanes, i_align=1, o_align=1, step=1, codes=INT8, style="block"):
        for name, value in (("depth", depth), ("i_lanes", i_lanes), ("o_lanes", o_lanes), ("step", step)):
            check_int(name, value)
        self.layout = BankLayout(depth, i_lanes, o_lanes, i_align, o_align, step)
        banks = self.layout.banks
        if depth % banks:
            raise ValueError(f"depth must be a multiple of {banks}, the number of banks, not {depth}")
        if o_lanes > 1 and step % banks != 1:
            raise ValueError(f"step must be 1 modulo {banks}, the number of banks, not {step}")
        check_choice("style", style, "block", "distributed")
        self.style, self.element = style, Shape(codes.bits, codes.signed)
        super().__init__(
            {
                "w_en": In(1),
                "w_addr": In(range(depth)),
                "w_data": In(data.ArrayLayout(self.element, i_lanes)),
                "r_en": In(1),
                "r_addr": In(range(depth)),
                "r_data": Out(data.ArrayLayout(self.element, o_lanes)),
            }
        )

    def _distances(self, starts):
        """Return, for each bank and each bank of ``starts``, how many banks after the start the bank lies."""
        banks = self.layout.banks
        return [[(bank - start) % banks for start in starts] for bank in range(banks)]

    def _offsets(self, lanes, starts, step):
        """Return, for each bank and each bank of ``starts``, the bank's word relative to that of the address."""
        return [
            [
                (start + lane * step) // self.layout.banks if lane < lanes else 0
                for start, lane in zip(starts, row, strict=True)
            ]
            for row in self._distances(starts)
        ]

    def _start(self, addr, starts):
        """Return the bits of ``addr`` that choose one of ``starts``."""
        return addr[ceil_log2(starts.step) : ceil_log2(self.layout.banks)]

    def _memories(self, m):
        """Create the memories and connect their addresses; return (write enable, write data, read data) per bank."""
        layout = self.layout
        w_offsets = self._offsets(layout.i_lanes, layout.i_starts, 1)
        r_offsets = self._offsets(layout.o_lanes, layout.o_starts, layout.step)
        shift = ceil_log2(layout.banks)
        width = layout.banks if layout.is_one_memory else 1
        shape = data.ArrayLayout(self.element, width)
        result = []
        for bank in range(0, layout.banks, width):
            m.submodules[f"memory_{bank}"] = memory = Memory(
                shape=shape, depth=layout.words, init=[], attrs={"ram_style": self.style}
            )
            write, read = memory.write_port(granularity=1), memory.read_port()
            w_offset = _select(w_offsets[bank], self._start(self.w_addr, layout.i_starts))
            r_offset = _select(r_offsets[bank], self._start(self.r_addr, layout.o_starts))
            m.d.comb += [
                write.addr.eq((self.w_addr >> shift) + w_offset),
                read.addr.eq((self.r_addr >> shift) + r_offset),
                read.en.eq(self.r_en),
            ]
            fetched = Signal(shape, name=f"fetched_{bank}", reset_less=True)
            with m.If(self.r_en):
                m.d.sync += fetched.eq(read.data)
            result += [(write.en[lane], write.data[lane], fetched[lane]) for lane in range(width)]
        return result

    def elaborate(self, platform):
        m = Module()
        layout, banks = self.layout, self._memories(m)
        w_start, r_start = self._start(self.w_addr, layout.i_starts), self._start(self.r_addr, layout.o_starts)
        # A bank that takes nothing may be shown any lane. The banks therefore see the lanes, rounded up to a power of
        # two, again and again.
        width = bank_count(layout.i_lanes, 1)
        lanes = [*self.w_data, *[self.w_data[0]] * (width - layout.i_lanes)]
        shown = _rotated(m, lanes, width, lambda _: w_start, -layout.i_starts.step, name="written")
        for bank, ((w_en, w_data, _), row) in enumerate(zip(banks, self._distances(layout.i_starts), strict=True)):
            m.d.comb += [
                w_en.eq(self.w_en & _select([int(j < layout.i_lanes) for j in row], w_start)),
                w_data.eq(shown[bank % width]),
            ]
        # The start comes with the elements. Every few lanes have their own copy of it, which drives few loads.
        address = delay(m, r_start, 1, name="r_start", en=self.r_en)
        copied = cache(
            lambda number: copy(m, address, name=f"r_start_copy_{number}", en=self.r_en) if len(address) else address
        )
        fetched = [r_data for *_, r_data in banks]
        read = _rotated(
            m, fetched, layout.o_lanes, lambda n: copied(n // _LANES_PER_COPY), layout.o_starts.step, name="read"
        )
        m.d.comb += [lane.eq(value) for lane, value in zip(self.r_data, read, strict=True)]
        return m


def _select(options, index):
    """Return ``options[index]``, which needs no logic if all options are the same."""
    return options[0] if all(x is options[0] for x in options) else Array(options)[index]


def _rotated(m, values, results, start, unit, *, name):
    """Return the first results of values rotated: ``values[(n + start(n)·unit) mod len(values)]`` at index ``n``.

    The number of values is a power of two. All starts are equal, but each result may have its own copy. The last
    stage rotates by the lowest bits, so that few results need few results of the stages before.
    """
    width, needed, stages = len(start(0)), range(results), []
    for bit in range(0, width, 2):
        distance, turns = unit << bit, range(1 << min(2, width - bit))
        if distance % len(values):
            stages.append((bit, distance, turns, needed))
            needed = sorted({(n + turn * distance) % len(values) for n in needed for turn in turns})
    for bit, distance, turns, outputs in reversed(stages):
        before, values = values, list(values)
        for n in outputs:
            options = [before[(n + turn * distance) % len(before)] for turn in turns]
            values[n] = Signal(options[0].shape(), name=f"{name}_{bit}_{n}")
            m.d.comb += values[n].eq(Array(options)[start(n)[bit : bit + 2]])
    return values[:results]
