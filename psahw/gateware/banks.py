"""A memory that is written and read several elements at a time, at any address."""

from math import gcd

from amaranth.hdl import Array, Module, Signal, signed
from amaranth.lib import data, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out
from amaranth.utils import ceil_log2

from .check import check_choice, check_int

__all__ = ["Banks", "bank_count"]


def bank_count(i_lanes: int, o_lanes: int) -> int:
    """The least power of two that serves both widths."""
    return 1 << ceil_log2(max(i_lanes, o_lanes))


class Banks(wiring.Component):
    """``depth`` elements; writes ``i_lanes`` successive ones in a cycle and reads ``o_lanes`` in a cycle.

    Element ``n`` is in bank ``n mod B``, word ``n // B``, where ``B = bank_count(i_lanes, o_lanes)``:
    successive elements, and elements ``step`` apart when ``step mod B = 1``, are in different banks. Lanes are
    rotated to banks and back; rotations that the alignments exclude cost nothing. Where all banks always use
    the same word they become one memory with wide rows; with one lane on each side there is only a memory.

    Parameters
    ----------
    depth : elements, a multiple of ``B``
    i_align, o_align : all addresses are multiples of these
    step : distance of the elements read together
    style : ``"block"`` or ``"distributed"``

    Members
    -------
    w_en, w_addr, w_data : lane ``j`` goes to element ``w_addr + j``
    r_en, r_addr, r_data : lane ``j`` is element ``r_addr + j·step``, one cycle later; it stays while
        ``r_en`` is low. Addresses wrap at the power of two that holds ``depth``.
    """

    def __init__(self, *, depth, i_lanes, o_lanes, i_align=1, o_align=1, step=1, bits=8, style="block"):
        for name, value in (("depth", depth), ("i_lanes", i_lanes), ("o_lanes", o_lanes), ("step", step)):
            check_int(name, value)
        self.banks = bank_count(i_lanes, o_lanes)
        if depth % self.banks:
            raise ValueError(f"depth must be a multiple of {self.banks}, the number of banks, not {depth}")
        if o_lanes > 1 and step % self.banks != 1:
            raise ValueError(f"step must be 1 modulo {self.banks}, the number of banks, not {step}")
        check_choice("style", style, "block", "distributed")
        self.depth, self.i_lanes, self.o_lanes, self.step = depth, i_lanes, o_lanes, step
        self.i_align, self.o_align = gcd(i_align, self.banks), gcd(o_align, self.banks)
        self.style, self.element = style, signed(bits)
        super().__init__(
            {
                "w_en": In(1),
                "w_addr": In(range(depth)),
                "w_data": In(data.ArrayLayout(signed(bits), i_lanes)),
                "r_en": In(1),
                "r_addr": In(range(depth)),
                "r_data": Out(data.ArrayLayout(signed(bits), o_lanes)),
            }
        )

    def _distance(self, align):
        """For each bank, for each start bank that ``align`` admits: how far the bank is from the start."""
        return [[(bank - a) % self.banks for a in range(0, self.banks, align)] for bank in range(self.banks)]

    def _offsets(self, lanes, align, step):
        """Likewise: how many words a bank's element comes after the word of the address."""
        return [
            [(k * align + j * step) // self.banks if j < lanes else 0 for k, j in enumerate(row)]
            for row in self._distance(align)
        ]

    def _start(self, addr, align):
        """The bank of ``addr``, in units of ``align``."""
        return addr[ceil_log2(align) : ceil_log2(self.banks)]

    def _memories(self, m, w_offsets, r_offsets):
        """(write enable, write data, read data) of each bank, with addresses connected."""
        shift = ceil_log2(self.banks)
        shared = not any(map(any, w_offsets + r_offsets))
        width = self.banks if shared else 1
        shape = data.ArrayLayout(self.element, width)
        result = []
        for bank in range(0, self.banks, width):
            m.submodules[f"memory_{bank}"] = memory = Memory(
                shape=shape, depth=self.depth // self.banks, init=[], attrs={"ram_style": self.style}
            )
            write, read = memory.write_port(granularity=1), memory.read_port()
            w_offset = _select(w_offsets[bank], self._start(self.w_addr, self.i_align))
            r_offset = _select(r_offsets[bank], self._start(self.r_addr, self.o_align))
            m.d.comb += [
                write.addr.eq((self.w_addr >> shift) + w_offset),
                read.addr.eq((self.r_addr >> shift) + r_offset),
                read.en.eq(self.r_en),
            ]
            result += [(write.en[lane], write.data[lane], read.data[lane]) for lane in range(width)]
        return result

    def elaborate(self, platform):
        m = Module()
        banks = self._memories(
            m,
            self._offsets(self.i_lanes, self.i_align, 1),
            self._offsets(self.o_lanes, self.o_align, self.step),
        )
        w_start, r_start = self._start(self.w_addr, self.i_align), self._start(self.r_addr, self.o_align)
        r_before = Signal.like(r_start)
        with m.If(self.r_en):
            m.d.sync += r_before.eq(r_start)
        lanes = list(self.w_data)
        for (w_en, w_data, _), row in zip(banks, self._distance(self.i_align), strict=True):
            # a bank that takes nothing may be shown any lane: the one that needs least choosing
            m.d.comb += [
                w_en.eq(self.w_en & _select([int(j < self.i_lanes) for j in row], w_start)),
                w_data.eq(_select([lanes[j % self.i_lanes] for j in row], w_start)),
            ]
        for lane, r_data in enumerate(self.r_data):
            choice = [banks[(lane + a) % self.banks][2] for a in range(0, self.banks, self.o_align)]
            m.d.comb += r_data.eq(_select(choice, r_before))
        return m


def _select(options, index):
    """``options[index]``, or the option itself where all are the same."""
    return options[0] if all(x is options[0] for x in options) else Array(options)[index]
