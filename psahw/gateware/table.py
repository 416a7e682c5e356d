"""Tables in ROM: PSA functions, and any other functions of one int8."""

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
    """Computes ``y[c] = values[c, x[c] + 128]`` for each channel ``c`` of a vector.

    A vector has ``channels / lanes`` beats; lane ``i`` of beat ``b`` is channel ``b·lanes + i``. Each lane has a ROM
    of ``channels / lanes · 256`` bytes, or of 256 bytes if all channels have the same function.

    Latency: two clock cycles. Throughput: one beat per clock cycle. The pipeline stalls as a whole.

    Parameters
    ----------
    values : array of int8 (channels, 256)
        Value of each function at -128 to 127.
    lanes : int
        Elements of a beat; divides the channels.
    style : str
        ``"block"`` RAM or ``"distributed"``, in LUTs.

    Raises
    ------
    TypeError
        If ``values`` is not an array of int8, or ``lanes`` is not an integer.
    ValueError
        If ``values`` has another shape, ``lanes`` does not divide the channels, or the style is unknown.

    Members
    -------
    i, o : In(stream of ``lanes`` int8), Out(stream of ``lanes`` int8)
        Vectors of arguments and of values.
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
        """Bytes in the ROM of each lane."""
        return self._values.shape[0] // self._lanes * 256

    def elaborate(self, platform):
        m = Module()

        en = ~self.o.valid | self.o.ready
        read_valid = Signal()
        m.d.comb += self.i.ready.eq(en)
        with m.If(en):
            m.d.sync += [read_valid.eq(self.i.valid), self.o.valid.eq(read_valid)]
        (beat,) = count(m, self.i.valid & en, self.depth // 256)

        words = np.roll(self._values, 128, axis=1)  # in the order of the bits of x: 0 to 127, -128 to -1
        for lane in range(self._lanes):
            m.submodules[f"rom_{lane}"] = table = rom(
                shape=signed(8), words=words[lane :: self._lanes].reshape(-1).tolist(), style=self._style
            )
            address = Cat(self.i.payload[lane], beat.value)
            word = read(m, table, address, en, style=self._style, name=f"lane_{lane}")
            with m.If(en):
                m.d.sync += self.o.payload[lane].eq(word)

        return m
