"""PSA functions, and any other function of one int8, in ROM."""

import numpy as np
from amaranth.hdl import Cat, Module, Signal, signed
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from .check import check_divides, check_int
from .count import count
from .rom import STYLES, read, rom
from .stream import vector_signature

__all__ = ["TableRom"]


class TableRom(wiring.Component):
    """``y[c] = values[c, x[c] + 128]`` for each channel ``c`` of a vector.

    A vector is ``channels / lanes`` beats; lane ``i`` of beat ``b`` is channel ``b·lanes + i``. Each lane has
    a ROM of ``channels / lanes · 256`` bytes, or of 256 bytes when all channels have the same function.
    Two cycles from input to output, one beat a cycle.

    Parameters
    ----------
    values : array of int8 (channels, 256)
    lanes : int
        Elements in a beat; divides the channels.
    style : str
        ``"block"`` RAM, or ``"distributed"``: in LUTs.

    Members
    -------
    i, o : stream of ``lanes`` int8
    """

    def __init__(self, *, values, lanes, style="block"):
        if not isinstance(values, np.ndarray) or values.dtype != np.int8:
            raise TypeError(f"values must be an array of int8, not {getattr(values, 'dtype', type(values).__name__)}")
        if values.ndim != 2 or values.shape[0] == 0 or values.shape[1] != 256:
            raise ValueError(f"values must have shape (any, 256), not {values.shape}")
        check_int("lanes", lanes)
        check_divides("lanes", lanes, "channels", values.shape[0])
        if style not in STYLES:
            raise ValueError(f"style must be one of {', '.join(STYLES)}, not {style!r}")
        self._values = values[:lanes] if (values == values[0]).all() else values
        self._lanes = lanes
        self._style = style
        super().__init__({"i": In(vector_signature(lanes)), "o": Out(vector_signature(lanes))})

    @property
    def depth(self) -> int:
        """Bytes in each lane's ROM."""
        return self._values.shape[0] // self._lanes * 256

    def elaborate(self, platform):
        m = Module()

        en = ~self.o.valid | self.o.ready
        read_valid = Signal()
        m.d.comb += self.i.ready.eq(en)
        with m.If(en):
            m.d.sync += [read_valid.eq(self.i.valid), self.o.valid.eq(read_valid)]
        (beat,) = count(m, self.i.valid & en, self.depth // 256)

        words = np.roll(self._values, 128, axis=1)  # by the bits of x: 0 .. 127, -128 .. -1
        for lane in range(self._lanes):
            m.submodules[f"rom_{lane}"] = table = rom(
                shape=signed(8), words=words[lane :: self._lanes].reshape(-1).tolist(), style=self._style
            )
            address = Cat(self.i.payload[lane], beat.value)
            word = read(m, table, address, en, style=self._style, name=f"lane_{lane}")
            with m.If(en):
                m.d.sync += self.o.payload[lane].eq(word)

        return m
