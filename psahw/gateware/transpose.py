"""From token order to channel order and back."""

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from ..architecture.buffers import TransposeBuffer
from .banks import Banks
from .check import check_choice, check_divides, check_int
from .count import Cadence, count, level
from .stream import vector_signature

__all__ = ["Transpose"]


class Transpose(wiring.Component):
    """A frame comes as ``rows`` vectors of ``columns`` elements, leaves as ``columns`` vectors of ``rows``.

    Two halves of a memory take turns: one is written while the other is read. A frame's first vector is
    issued in the cycle after the frame's last input beat, the others ``period`` cycles apart (or
    ``rows / o_lanes``, if that is more), one beat a cycle; a beat is offered two cycles after its issue
    (`psahw.architecture.timing.transpose`). Frames follow each other without a gap if they come no faster than they leave.
    ``i.ready`` comes from registers only.

    Both lane counts above 1: rows lie ``row_pitch = 1 (mod B)`` elements apart in `Banks`, so that element
    (row, column) is in bank ``(row + column) mod B`` and neither rows nor columns meet a bank twice. With one
    lane on a side, elements that move together are neighbours in one wide memory.

    Parameters
    ----------
    rows, columns : of the frame that comes
    i_lanes : elements of an input beat, a divisor of ``columns``
    o_lanes : elements of an output beat, a divisor of ``rows``
    period : cycles from one vector's first issue to the next one's
    style : ``"block"`` or ``"distributed"`` memory
    """

    def __init__(self, *, rows, columns, i_lanes, o_lanes, period, style="block"):
        sizes = {"rows": rows, "columns": columns, "i_lanes": i_lanes, "o_lanes": o_lanes, "period": period}
        for name, value in sizes.items():
            check_int(name, value)
        check_choice("style", style, "block", "distributed")
        check_divides("i_lanes", i_lanes, "columns", columns)
        check_divides("o_lanes", o_lanes, "rows", rows)
        self.rows, self.columns, self.i_lanes, self.o_lanes = rows, columns, i_lanes, o_lanes
        self.period, self.style = period, style
        self.buffer = TransposeBuffer(rows, columns, i_lanes, o_lanes)
        super().__init__({"i": In(vector_signature(i_lanes)), "o": Out(vector_signature(o_lanes))})

    def elaborate(self, platform):
        m = Module()
        i, o, (row_pitch, column_pitch) = self.i, self.o, self.buffer.pitches
        m.submodules.cadence = cadence = Cadence(beats=self.rows // self.o_lanes, period=self.period)
        m.submodules.banks = banks = Banks(**vars(self.buffer.layout), style=self.style)
        put, en = i.valid & i.ready, ~o.valid | o.ready
        m.d.comb += [
            banks.w_en.eq(put),
            banks.w_data.eq(i.payload),
            cadence.en.eq(en),
            banks.r_en.eq(cadence.issue),
        ]
        row_in = self._walk(m, put, banks.w_addr, (self.columns, self.i_lanes, column_pitch), (self.rows, row_pitch))
        column_out = self._walk(
            m, cadence.issue, banks.r_addr, (self.rows, self.o_lanes, row_pitch), (self.columns, column_pitch)
        )
        frames = level(m, row_in, column_out, 2, name="frames")  # that are in and not issued
        m.d.comb += [i.ready.eq(frames.room), cadence.go.eq(frames.some)]
        fetched = Signal()
        with m.If(en):
            m.d.sync += [fetched.eq(cadence.issue), o.valid.eq(fetched), o.payload.eq(banks.r_data)]
        return m

    def _walk(self, m, step, addr, inner, outer):
        """Step ``addr`` through a frame, ``lanes`` elements at a time, then through the other half; returns
        whether this step is a frame's last. ``inner`` is (elements, lanes, pitch), ``outer`` (vectors, pitch).
        """
        elements, lanes, pitch = inner
        vectors, vector_pitch = outer
        beat, vector, half = count(m, step, elements // lanes, vectors, 2)
        jump = vector_pitch - (elements - lanes) * pitch
        with m.If(vector.wrap):
            m.d.sync += addr.eq(Mux(half.value, 0, self.buffer.half))
        with m.Elif(step):
            m.d.sync += addr.eq(addr + Mux(beat.last, jump, lanes * pitch))
        return vector.wrap
