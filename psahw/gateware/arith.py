"""Arithmetic with exact widths: ranges, adder trees, delays, and the requantiser."""

import numpy as np
from amaranth.hdl import Cat, Module, Mux, Shape, Signal, Value, signed
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from ..architecture.codes import INT8, Codes
from ..architecture.ranges import MAX_MULTIPLIER, signed_bits
from .rom import pack_words, rom, style_for

__all__ = ["Requantise", "adder_tree", "as_signed", "copies", "copy", "delay", "saturate"]


def saturate(value, codes: Codes):
    """Return the code of a type that is nearest to a signed ``value``."""
    bits, sign = codes.bits, value[-1]
    if not codes.signed:
        low = value[:bits] if len(value) > bits else value[:-1]
        return Mux(sign, 0, Mux(value[bits:-1].any(), codes.high, low) if len(value) > bits + 1 else low)
    if len(value) <= bits:
        return value
    above = value[bits - 1 : -1]
    fits = Mux(sign, above.all(), ~above.any())
    return Mux(fits, value[:bits], Cat((~sign).replicate(bits - 1), sign)).as_signed()


def as_signed(value):
    """Return a signed value that equals a signed or unsigned one."""
    return value if Value.cast(value).shape().signed else Cat(value, 0).as_signed()


def delay(m: Module, value, cycles: int, *, name: str, en=1):
    """Return ``value`` as it was ``cycles`` clock cycles with ``en`` high ago; its registers are not reset."""
    for stage in range(cycles):
        register = Signal(value.shape(), name=f"{name}_{stage + 1}", reset_less=True)
        with m.If(en):
            m.d.sync += register.eq(value)
        value = register
    return value


def copy(m: Module, value, *, name: str, en=1, keep: bool = True) -> Signal:
    """Return a register that follows ``value`` while ``en`` is high, to drive a part of its loads.

    With ``keep``, a synthesiser does not join it with others that follow ``value``.
    """
    register = Signal(value.shape(), name=name, reset_less=True, attrs={"keep": "TRUE"} if keep else {})
    with m.If(en):
        m.d.sync += register.eq(value)
    return register


def copies(m: Module, value, count: int, *, name: str) -> list[Signal]:
    """Return ``count`` equal registers that follow ``value`` (`copy`); they are kept if there are several."""
    return [copy(m, value, name=f"{name}_{n}", keep=count > 1) for n in range(count)]


def adder_tree(m: Module, terms, *, bits: int, name: str = "sum", en=1):
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
    """Computes ``y = sat(rshift(multiplier[row]·(acc + bias[row]) + offset[row], shift[row]))``, rounding half up.

    The bias is added behind the multiplier, in one constant for each row:
    ``multiplier·bias + offset + 2^(shift - 1)``.

    Latency: three clock cycles from ``acc`` to ``y`` (constant, shift, saturation), and three more if there are
    multipliers (`psahw.architecture.timing.requantise_latency`). ``row`` comes one clock cycle *before* its ``acc``,
    because it reads the ROM of multipliers, or that of constants and shifts. Throughput: one value per clock cycle.
    There is no shifter if all shifts are equal, and no saturation if no row needs it.

    Parameters
    ----------
    low, high : array of int (rows)
        Range of ``acc`` in each row.
    bias : array of int (rows)
        Added to ``acc``, in its units.
    shift : array of int (rows)
        Bits to shift by, 0 to 31.
    codes : Codes
        Type of ``y``.
    multiplier : array of int (rows) or None
        Multipliers from 0 to `psahw.architecture.ranges.MAX_MULTIPLIER`; None for 1.
    offset : array of int (rows) or None
        Added to the product; None for 0.

    Raises
    ------
    ValueError
        If the arrays have different lengths, a shift or a multiplier is out of its range, or there are offsets
        without multipliers.

    Members
    -------
    row : In(range(rows))
        The row of the ``acc`` that follows one clock cycle later.
    acc : In(signed(...))
        The accumulator, as wide as ``low`` and ``high`` require.
    y : Out(codes)
        The result.
    """

    def __init__(self, *, low, high, bias, shift, codes=INT8, multiplier=None, offset=None):
        arrays = {"low": low, "high": high, "bias": bias, "shift": shift}
        if multiplier is not None:
            arrays["multiplier"] = multiplier
        if offset is not None:
            arrays["offset"] = offset
        arrays = {name: np.asarray(value, np.int64) for name, value in arrays.items()}
        self._low, self._high, self._bias, self._shift, *_ = arrays.values()
        self._multiplier, self._offset = arrays.get("multiplier"), arrays.get("offset")
        rows = self._low.size
        for name, value in arrays.items():
            if value.shape != (rows,) or not rows:
                raise ValueError(f"{name} must have shape ({rows or 'any'},), not {value.shape}")
        if self._shift.min() < 0 or self._shift.max() > 31:
            raise ValueError(f"shift must be in [0, 31], not {self._shift.min()} to {self._shift.max()}")
        if self._multiplier is not None and (self._multiplier.min() < 0 or self._multiplier.max() > MAX_MULTIPLIER):
            least, greatest = self._multiplier.min(), self._multiplier.max()
            raise ValueError(f"multiplier must be in [0, {MAX_MULTIPLIER}], not {least} to {greatest}")
        if self._offset is not None and self._multiplier is None:
            raise ValueError("offset must be None without multipliers, because the bias does the same")
        self._codes = codes
        super().__init__(
            {
                "row": In(range(rows)),
                "acc": In(signed(signed_bits(self._low.min(), self._high.max()))),
                "y": Out(Shape(codes.bits, codes.signed)),
            }
        )

    def elaborate(self, platform):
        m = Module()

        acc, row, low, high, bias = self.acc, self.row, self._low, self._high, self._bias
        if self._multiplier is not None:
            acc, row = self._scaled(m)
            low, high, bias = (x * self._multiplier for x in (low, high, bias))
        added = bias + (1 << self._shift >> 1)
        if self._offset is not None:
            added = added + self._offset
        least, extra = int(self._shift.min()), self._shift - self._shift.min()
        added_shape = signed(signed_bits(added.min(), added.max()))
        extra_shape = Shape.cast(range(int(extra.max()) + 1))
        total = Signal(signed(signed_bits((low + added).min(), (high + added).max())), reset_less=True)
        shifted_low, shifted_high = ((x + added) >> self._shift for x in (low, high))
        shifted = Signal(signed(signed_bits(shifted_low.min(), shifted_high.max())), reset_less=True)

        words = pack_words(added[:, None], added_shape.width)
        words = [word | int(bits) << added_shape.width for word, bits in zip(words, extra, strict=True)]
        m.submodules.rom = constants = rom(
            shape=added_shape.width + extra_shape.width, words=words, style=style_for(len(words))
        )
        read = constants.read_port()
        amount = Signal(extra_shape, reset_less=True)
        m.d.comb += read.addr.eq(row)
        m.d.sync += [
            total.eq(acc + read.data[: added_shape.width].as_signed()),
            amount.eq(read.data[added_shape.width :]),
            shifted.eq((total >> least) >> amount),
            self.y.eq(saturate(shifted, self._codes)),
        ]

        return m

    def _scaled(self, m):
        """Return the accumulator times its multiplier three clock cycles later, and the row that belongs to it.

        The registers are those of a DSP slice: one for each operand, and two for the product.
        """
        bits = int(self._multiplier.max()).bit_length() or 1
        words = self._multiplier.tolist()
        m.submodules.multipliers = memory = rom(shape=bits, words=words, style=style_for(len(words)))
        read = memory.read_port()
        m.d.comb += read.addr.eq(self.row)
        a = delay(m, self.acc, 1, name="acc")
        b = delay(m, Cat(read.data, 0).as_signed(), 1, name="multiplier")
        return delay(m, a * b, 2, name="product"), delay(m, self.row, 3, name="row")
