"""Lookup of int8 codes for the bytes of an image."""

import numpy as np
from amaranth.hdl import Cat, Module, Mux, Signal, unsigned
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from .check import check_int
from .rom import rom
from .stream import vector_signature

__all__ = ["InputTable"]


class InputTable(wiring.Component):
    """Turns the bytes of an image in raster order into codes, ``table[colour, byte]``.

    Lane ``i`` of beat ``b`` holds colour ``(b·lanes + i) mod colours``. For every frame to begin with colour 0, the
    beats per frame or ``lanes`` must be a multiple of ``colours``; this is so if ``lanes`` divides the bytes of a
    row. Each lane has a ROM in LUTs with only those colours that it meets, or with one table if all are equal.

    Latency: two clock cycles. Throughput: one beat per clock cycle. The pipeline stalls as a whole.

    Parameters
    ----------
    table : array of int8 (colours, 256)
        Code of each byte, for each colour.
    lanes : int
        Bytes per beat.

    Raises
    ------
    TypeError
        If ``table`` is not an array of int8, or ``lanes`` is not an integer.
    ValueError
        If ``table`` has another shape, or ``lanes`` is less than 1.

    Members
    -------
    i : In(stream of ``lanes`` bytes)
        Bytes in (row, column, colour) order.
    o : Out(stream of ``lanes`` int8)
        Their codes.
    """

    def __init__(self, *, table: np.ndarray, lanes: int):
        if not isinstance(table, np.ndarray) or table.dtype != np.int8:
            raise TypeError(f"table must be an array of int8, not {getattr(table, 'dtype', type(table).__name__)}")
        if table.ndim != 2 or table.shape[0] == 0 or table.shape[1] != 256:
            raise ValueError(f"table must have shape (any, 256), not {table.shape}")
        check_int("lanes", lanes)
        self.table, self.lanes = table, lanes
        super().__init__(
            {"i": In(stream.Signature(data.ArrayLayout(unsigned(8), lanes))), "o": Out(vector_signature(lanes))}
        )

    @property
    def phases(self) -> int:
        """Beats after which the colours of the lanes repeat; 1 if no lane needs more than one table."""
        colours = len(self.table)
        return 1 if (self.table == self.table[0]).all() else colours // np.gcd(colours, self.lanes)

    def elaborate(self, platform):
        m = Module()
        i, o, colours, phases = self.i, self.o, len(self.table), int(self.phases)
        en, looked_up, phase = ~o.valid | o.ready, Signal(), Signal(range(phases))
        m.d.comb += i.ready.eq(en)
        with m.If(i.valid & en):
            m.d.sync += phase.eq(Mux(phase == phases - 1, 0, phase + 1))
        with m.If(en):
            m.d.sync += [looked_up.eq(i.valid), o.valid.eq(looked_up)]
        for lane in range(self.lanes):
            met = [(beat * self.lanes + lane) % colours for beat in range(phases)]
            codes = self.table[met].astype(np.uint8).reshape(-1).tolist()
            m.submodules[f"rom_{lane}"] = memory = rom(shape=8, words=codes, style="distributed")
            read = memory.read_port()
            m.d.comb += [read.addr.eq(Cat(i.payload[lane], phase)), read.en.eq(en)]
            with m.If(en):
                m.d.sync += o.payload[lane].eq(read.data)
        return m
