"""Tables in ROM: PSA functions, and any other functions of one code."""

import numpy as np
from amaranth.hdl import Cat, Module, Shape, Signal
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

    Latency: two clock cycles. Throughput: one beat per clock cycle. The pipeline stalls as a whole.

    Parameters
    ----------
    values : array of int8 or uint8 (channels, codes)
        Value of each function at every code of the input, the least first.
    lanes : int
        Elements of a beat; divides the channels.
    style : str
        ``"block"`` RAM or ``"distributed"``, in LUTs.
    i_codes, o_codes : Codes
        Types of an argument and of a value.

    Raises
    ------
    TypeError
        If ``values`` is not an array of int8 or uint8, or ``lanes`` is not an integer.
    ValueError
        If ``values`` has another shape, ``lanes`` does not divide the channels, or the style is unknown.

    Members
    -------
    i, o : In(stream of ``lanes`` codes), Out(stream of ``lanes`` codes)
        Vectors of arguments and of values.
    """

    def __init__(self, *, values, lanes, style="block", i_codes=INT8, o_codes=INT8):
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
        self._values = values[:lanes] if (values == values[0]).all() else values
        self._lanes = lanes
        self._style, self._i_codes, self._o_codes = style, i_codes, o_codes
        super().__init__({"i": In(vector_signature(lanes, i_codes)), "o": Out(vector_signature(lanes, o_codes))})

    @property
    def depth(self) -> int:
        """Words in the ROM of each lane."""
        return self._values.shape[0] // self._lanes * self._i_codes.count

    def elaborate(self, platform):
        m = Module()

        en = ~self.o.valid | self.o.ready
        read_valid = Signal()
        m.d.comb += self.i.ready.eq(en)
        with m.If(en):
            m.d.sync += [read_valid.eq(self.i.valid), self.o.valid.eq(read_valid)]
        (beat,) = count(m, self.i.valid & en, self.depth // self._i_codes.count)

        words = np.roll(self._values, self._i_codes.low, axis=1)  # in the order of the bits of x: those below 0 last
        for lane in range(self._lanes):
            m.submodules[f"rom_{lane}"] = table = rom(
                shape=Shape(self._o_codes.bits, self._o_codes.signed),
                words=words[lane :: self._lanes].reshape(-1).tolist(),
                style=self._style,
            )
            address = Cat(self.i.payload[lane], beat.value)
            word = read(m, table, address, style=self._style, name=f"lane_{lane}", en=en)
            with m.If(en):
                m.d.sync += self.o.payload[lane].eq(word)

        return m
