"""Tables in ROM: PSA functions, and any other functions of one code."""

import numpy as np
from amaranth.hdl import Array, Cat, Module, Shape, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from ..architecture.codes import INT8
from .check import check_divides, check_int
from .count import count
from .rom import STYLES, read, rom
from .stream import vector_signature

__all__ = ["TableRom"]


class TableRom(wiring.Component):
    """Computes ``y[c] = values[c, x[c] - low]`` for each channel ``c`` of a vector; ``low`` is the least code.

    A vector has ``channels / lanes`` beats; lane ``i`` of beat ``b`` is channel ``b·lanes + i``. Each lane has a ROM
    with a word for each code of ``channels / lanes`` channels, or of one if all channels have the same function.

    A ROM in several banks has a register behind each bank, in front of the choice of one. This is for devices whose
    block RAM has no output register that can be used.

    Latency: two clock cycles, or three with several banks. Throughput: one beat per clock cycle. The pipeline stalls
    as a whole.

    Parameters
    ----------
    values : array of int8 or uint8 (channels, codes)
        Value of each function at every code of the input, the least first.
    lanes : int
        Elements of a beat; divides the channels.
    style : str
        ``"block"`` RAM or ``"distributed"``, in LUTs.
    bank_words : int or None
        Most words of a bank, a power of two; None for a single bank.
    i_codes, o_codes : Codes
        Types of an argument and of a value.

    Raises
    ------
    TypeError
        If ``values`` is not an array of int8 or uint8, or ``lanes`` is not an integer.
    ValueError
        If ``values`` has another shape, ``lanes`` does not divide the channels, the style is unknown, or
        ``bank_words`` is not a power of two.

    Members
    -------
    i, o : In(stream of ``lanes`` codes), Out(stream of ``lanes`` codes)
        Vectors of arguments and of values.
    """

    def __init__(self, *, values, lanes, style="block", bank_words=None, i_codes=INT8, o_codes=INT8):
        if not isinstance(values, np.ndarray) or values.dtype not in (np.int8, np.uint8):
            raise TypeError(
                f"values must be an array of int8 or uint8, not {getattr(values, 'dtype', type(values).__name__)}"
            )
        if values.ndim != 2 or values.shape[0] == 0 or values.shape[1] != i_codes.count:
            raise ValueError(f"values must have shape (any, {i_codes.count}), not {values.shape}")
        check_int("lanes", lanes)
        check_divides("lanes", lanes, "channels", values.shape[0])
        if style not in STYLES:
            raise ValueError(f"style must be one of {', '.join(STYLES)}, not {style!r}")
        if bank_words is not None:
            check_int("bank_words", bank_words)
            if bank_words.bit_count() != 1:
                raise ValueError(f"bank_words must be a power of two, not {bank_words}")
        self._values = values[:lanes] if (values == values[0]).all() else values
        self._lanes, self._bank_words = lanes, bank_words
        self._style, self._i_codes, self._o_codes = style, i_codes, o_codes
        super().__init__({"i": In(vector_signature(lanes, i_codes)), "o": Out(vector_signature(lanes, o_codes))})

    @property
    def depth(self) -> int:
        """Words in the ROM of each lane."""
        return self._values.shape[0] // self._lanes * self._i_codes.count

    @property
    def banks(self) -> int:
        """Banks of a ROM."""
        return 1 if self._bank_words is None else -(-self.depth // self._bank_words)

    def elaborate(self, platform):
        m = Module()

        en = ~self.o.valid | self.o.ready
        valid = Signal(2 if self.banks > 1 else 1)  # in the ROM, and in the registers behind its banks
        m.d.comb += self.i.ready.eq(en)
        with m.If(en):
            m.d.sync += Cat(valid, self.o.valid).eq(Cat(self.i.valid, valid))
        (beat,) = count(m, self.i.valid & en, self.depth // self._i_codes.count)

        words = np.roll(self._values, self._i_codes.low, axis=1)  # in the order of the bits of x: those below 0 last
        for lane in range(self._lanes):
            word = self._word(m, lane, words[lane :: self._lanes].reshape(-1).tolist(), beat.value, en)
            with m.If(en):
                m.d.sync += self.o.payload[lane].eq(word)

        return m

    def _word(self, m, lane, words, beat, en):
        """Return the word of a lane's ROM for the code at ``i``, one clock cycle later, or two with several banks."""
        shape, address = Shape(self._o_codes.bits, self._o_codes.signed), Cat(self.i.payload[lane], beat)
        if self.banks == 1:
            m.submodules[f"rom_{lane}"] = table = rom(shape=shape, words=words, style=self._style)
            return read(m, table, address, style=self._style, name=f"lane_{lane}", en=en)
        size, found = self._bank_words, []
        for n in range(self.banks):
            name = f"{lane}_{n}"
            table = rom(shape=shape, words=words[n * size : (n + 1) * size], style=self._style)
            m.submodules[f"rom_{name}"] = table
            word = read(m, table, address, style=self._style, name=f"lane_{name}", en=en)
            found.append(Signal(shape, name=f"found_{name}", reset_less=True))
            with m.If(en):
                m.d.sync += found[-1].eq(word)
        bank = address[size.bit_length() - 1 :]
        chosen, before = (
            Signal(len(bank), name=f"{name}_{lane}", reset_less=True) for name in ("bank", "bank_before")
        )
        with m.If(en):
            m.d.sync += [before.eq(bank), chosen.eq(before)]
        return Array(found)[chosen]
