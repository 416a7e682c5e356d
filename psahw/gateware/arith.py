"""Arithmetic with exact widths: ranges, adder trees, delays, and the requantiser."""

import numpy as np
from amaranth.hdl import Cat, Module, Mux, Shape, Signal, signed
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from ..architecture.ranges import signed_bits
from .check import check_int
from .rom import pack_words, rom, style_for

__all__ = ["Requantise", "adder_tree", "delay", "saturate"]


def saturate(value, bits: int):
    """Return the signed number of ``bits`` bits that is nearest to a signed ``value``."""
    if len(value) <= bits:
        return value
    sign, above = value[-1], value[bits - 1 : -1]
    fits = Mux(sign, above.all(), ~above.any())
    return Mux(fits, value[:bits], Cat((~sign).replicate(bits - 1), sign)).as_signed()


def delay(m: Module, value, cycles: int, en, *, name: str):
    """Return ``value`` as it was ``cycles`` clock cycles with ``en`` high ago; its registers are not reset."""
    for stage in range(cycles):
        register = Signal(value.shape(), name=f"{name}_{stage + 1}", reset_less=True)
        with m.If(en):
            m.d.sync += register.eq(value)
        value = register
    return value


def adder_tree(m: Module, terms, en, *, bits: int, name: str = "sum"):
    """Return the sum of signed ``terms`` from a balanced tree with registers after every level.

    Latency: ``(len(terms) - 1).bit_length()`` clock cycles in which ``en`` is high. Throughput: one sum per clock
    cycle. No register is wider than ``bits``, which must hold the total.
    """
    level, terms = 0, list(terms)
    while len(terms) > 1:
        sums = []
        for i in range(0, len(terms), 2):
            total = sum(terms[i + 1 : i + 2], terms[i])
            shape = signed(min(len(total), bits))
            sums.append(Signal(shape, name=f"{name}_{level}_{i // 2}", reset_less=True))
            with m.If(en):
                m.d.sync += sums[-1].eq(total)
        level, terms = level + 1, sums
    return terms[0]


class Requantise(wiring.Component):
    """Computes ``y = sat((acc + bias[row] + 2^(shift[row]-1)) >> shift[row])``, which rounds half up.

    Latency: three clock cycles from ``acc`` to ``y`` (offset, shift, saturation). ``row`` comes one clock cycle
    *before* its ``acc``, because it reads the ROM of offsets and shifts. Throughput: one value per clock cycle.
    There is no shifter if all shifts are equal, and no saturation if no row needs it.

    Parameters
    ----------
    low, high : array of int (rows)
        Range of ``acc`` in each row.
    bias : array of int (rows)
        Added to ``acc``, in its units.
    shift : array of int (rows)
        Bits to shift by, 0 to 31.
    out_bits : int
        Width of ``y``, at least 2.

    Raises
    ------
    TypeError
        If ``out_bits`` is not an integer.
    ValueError
        If the arrays have different lengths, or a shift or ``out_bits`` is out of its range.

    Members
    -------
    en : In(1)
        Enables every register.
    row : In(range(rows))
        The row of the ``acc`` that follows one clock cycle later.
    acc : In(signed(...))
        The accumulator, as wide as ``low`` and ``high`` require.
    y : Out(signed(out_bits))
        The result.
    """

    def __init__(self, *, low, high, bias, shift, out_bits=8):
        arrays = {"low": low, "high": high, "bias": bias, "shift": shift}
        arrays = {name: np.asarray(value, np.int64) for name, value in arrays.items()}
        self._low, self._high, self._bias, self._shift = arrays.values()
        rows = self._low.size
        for name, value in arrays.items():
            if value.shape != (rows,) or not rows:
                raise ValueError(f"{name} must have shape ({rows or 'any'},), not {value.shape}")
        if self._shift.min() < 0 or self._shift.max() > 31:
            raise ValueError(f"shift must be in [0, 31], not {self._shift.min()} to {self._shift.max()}")
        check_int("out_bits", out_bits, 2)
        self._out_bits = out_bits
        super().__init__(
            {
                "en": In(1),
                "row": In(range(rows)),
                "acc": In(signed(signed_bits(self._low.min(), self._high.max()))),
                "y": Out(signed(out_bits)),
            }
        )

    def elaborate(self, platform):
        m = Module()

        offset = self._bias + (1 << self._shift >> 1)
        least, extra = int(self._shift.min()), self._shift - self._shift.min()
        offset_shape = signed(signed_bits(offset.min(), offset.max()))
        extra_shape = Shape.cast(range(int(extra.max()) + 1))
        total = Signal(signed(signed_bits((self._low + offset).min(), (self._high + offset).max())), reset_less=True)
        shifted_low, shifted_high = ((x + offset) >> self._shift for x in (self._low, self._high))
        shifted = Signal(signed(signed_bits(shifted_low.min(), shifted_high.max())), reset_less=True)

        words = pack_words(offset[:, None], offset_shape.width)
        words = [word | int(bits) << offset_shape.width for word, bits in zip(words, extra, strict=True)]
        m.submodules.rom = offsets = rom(
            shape=offset_shape.width + extra_shape.width, words=words, style=style_for(len(words))
        )
        read = offsets.read_port()
        amount = Signal(extra_shape, reset_less=True)
        m.d.comb += [read.addr.eq(self.row), read.en.eq(self.en)]

        with m.If(self.en):
            m.d.sync += [
                total.eq(self.acc + read.data[: offset_shape.width].as_signed()),
                amount.eq(read.data[offset_shape.width :]),
                shifted.eq((total >> least) >> amount),
                self.y.eq(saturate(shifted, self._out_bits)),
            ]

        return m
