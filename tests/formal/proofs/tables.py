"""Proofs about functions of single elements: tables and thresholds."""

from collections.abc import Iterator

import numpy as np
from amaranth.hdl import Const

from psahw.architecture.codes import INT8, Codes
from psahw.gateware.input_table import InputTable
from psahw.gateware.slices import Slices
from psahw.gateware.table import TableRom
from psahw.gateware.thresholds import Thresholds

from ..benches import number
from ..contract import Frames, Route, StreamBench
from .proof import Proof, handshake, order

__all__ = ["CODES", "MASKS", "proofs"]

# Two functions of one byte: exclusive or with a constant has as many different values as any table.
MASKS = (0x03, 0x40)
CODES = np.arange(-128, 128)[None] ^ np.array(MASKS)[:, None]


def _looked_up(flip):
    """Return the order of a table with a function for each of two beats; arguments come with the bits of ``flip``."""
    return Route([[(0, 0)], [(1, 0)]], function=lambda beat, lane, value: value ^ (MASKS[beat] ^ flip))


def _table(style, bank_words=None, latency=2):
    return lambda p: StreamBench(
        TableRom(values=CODES.astype(np.int8), lanes=1, style=style, bank_words=bank_words),
        p, frames=Frames((1, 2)), capacity=latency, patience=latency - 1, interval=latency, order=_looked_up(0),
    )  # fmt: skip


def _unsigned_table(p):
    codes = Codes(3, signed=False)
    values = np.arange(8)[None] ^ np.array([[3], [6]])
    order = Route([[(0, 0)], [(1, 0)]], function=lambda beat, lane, value: value ^ (6 if beat else 3))
    return StreamBench(
        TableRom(values=values.astype(np.uint8), lanes=1, style="distributed", i_codes=codes, o_codes=codes),
        p, frames=Frames((1, 2)), capacity=2, patience=1, interval=2, order=order,
    )  # fmt: skip


def _input_table(p):
    dut = InputTable(table=CODES.astype(np.int8), lanes=1)
    return StreamBench(dut, p, frames=Frames((1, 2)), capacity=2, patience=1, interval=2, order=_looked_up(0x80))


def _slices(p):
    parts = [TableRom(values=CODES[n : n + 1].astype(np.int8), lanes=1, style="distributed") for n in range(2)]
    order = Route([[(0, 0), (0, 1)]], function=lambda beat, lane, value: value ^ MASKS[lane])
    return StreamBench(Slices(parts=parts), p, frames=Frames((1,)), capacity=2, patience=1, interval=2, order=order)


def _thresholds(values, i_codes, o_codes, offset=0):
    """Return a function that makes the bench of `Thresholds` of two channels, one in a beat."""

    def make(p):
        def count(beat, lane, value):
            total = sum((number(value, i_codes) >= limit for limit in values[beat]), Const(offset, 16))
            return total[: o_codes.bits]

        latency = Thresholds.steps(len(values[0])) + 1
        dut = Thresholds(
            values=np.array(values, np.int32), offset=offset, lanes=1, i_codes=i_codes, o_codes=o_codes
        )  # fmt: skip
        return StreamBench(
            dut, p, frames=Frames((1, 2)), capacity=latency, patience=latency - 1, interval=latency,
            order=Route([[(0, 0)], [(1, 0)]], function=count),
        )  # fmt: skip

    return make


def proofs() -> Iterator[Proof]:
    """Yield the proofs of this module."""
    for component, parameters, make in (
        ("TableRom", "2 channels, distributed", _table("distributed")),
        ("TableRom", "2 channels, block", _table("block")),
        ("TableRom", "2 channels, 2 banks", _table("block", 256, 3)),
        ("TableRom", "2 channels, uint3", _unsigned_table),
        ("InputTable", "2 colours", _input_table),
        ("Slices", "2 tables", _slices),
        ("Thresholds", "3 from int8", _thresholds(((-128, 5, 6), (0, 0, 127)), INT8, Codes(4), -4)),
        (
            "Thresholds",
            "5 from uint8 to uint4",
            _thresholds(
                ((1, 2, 100, 200, 255), (-7, 0, 128, 128, 300)),
                Codes(8, signed=False),
                Codes(4, signed=False),
                1,
            ),
        ),
    ):
        yield handshake(component, parameters, make)
        yield order(component, parameters, make)
