"""Transposition of frames: from token order to channel order, and back."""

from amaranth.hdl import Cat, Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from ..architecture.buffers import TransposeBuffer
from ..architecture.codes import INT8
from .banks import Banks
from .check import check_choice, check_divides, check_int
from .count import Cadence, count, level
from .stream import vector_signature

__all__ = ["Transpose"]


class Transpose(wiring.Component):
    """Turns a frame of ``rows`` vectors of ``columns`` elements into ``columns`` vectors of ``rows`` elements.

    Two halves of a memory take turns: one is written while the other is read. `TransposeBuffer` says where an element
    lies. Frames follow each other without a gap if they do not come faster than they leave.

    Latency: the first vector of a frame is read in the clock cycle after the frame's last input beat, and a beat is
    offered three clock cycles after it was read. Throughput: one beat per clock cycle; the initiation interval is
    ``period`` clock cycles per vector, or ``rows / o_lanes`` if that is more (`psahw.architecture.timing.transpose`).
    Backpressure: ``i.ready`` comes from registers only.

    Parameters
    ----------
    rows, columns : int
        Shape of the frame that comes.
    i_lanes : int
        Elements of an input beat; divides ``columns``.
    o_lanes : int
        Elements of an output beat; divides ``rows``.
    period : int
        Clock cycles between the first beats of two vectors.
    style : str
        ``"block"`` or ``"distributed"`` memory.
    codes : Codes
        Type of an element.

    Raises
    ------
    TypeError
        If a number is not an integer.
    ValueError
        If a number is less than 1, a number of lanes does not divide, or the style is unknown.

    Members
    -------
    i : In(stream of ``i_lanes`` codes)
        ``rows·columns / i_lanes`` beats per frame.
    o : Out(stream of ``o_lanes`` codes)
        ``rows·columns / o_lanes`` beats per frame.
    """

    def __init__(self, *, rows, columns, i_lanes, o_lanes, period, style="block", codes=INT8):
        sizes = {"rows": rows, "columns": columns, "i_lanes": i_lanes, "o_lanes": o_lanes, "period": period}
        for name, value in sizes.items():
            check_int(name, value)
        check_choice("style", style, "block", "distributed")
        check_divides("i_lanes", i_lanes, "columns", columns)
        check_divides("o_lanes", o_lanes, "rows", rows)
        self.rows, self.columns, self.i_lanes, self.o_lanes = rows, columns, i_lanes, o_lanes
        self.period, self.style, self.codes = period, style, codes
        self.buffer = TransposeBuffer(rows, columns, i_lanes, o_lanes)
        super().__init__({"i": In(vector_signature(i_lanes, codes)), "o": Out(vector_signature(o_lanes, codes))})

    def elaborate(self, platform):
        m = Module()
        i, o, (row_pitch, column_pitch) = self.i, self.o, self.buffer.pitches
        m.submodules.cadence = cadence = Cadence(beats=self.rows // self.o_lanes, period=self.period)
        m.submodules.banks = banks = Banks(**vars(self.buffer.layout), style=self.style, codes=self.codes)
        put, en = i.valid & i.ready, ~o.valid | o.ready
        m.d.comb += [
            banks.w_en.eq(put),
            banks.w_data.eq(i.payload),
            cadence.en.eq(en),
            banks.r_en.eq(en),
        ]
        row_in = self._walk(m, put, banks.w_addr, (self.columns, self.i_lanes, column_pitch), (self.rows, row_pitch))
        column_out = self._walk(
            m, cadence.issue, banks.r_addr, (self.rows, self.o_lanes, row_pitch), (self.columns, column_pitch)
        )
        frames = level(m, row_in, column_out, 2, name="frames")  # frames that are complete and not read yet
        m.d.comb += [i.ready.eq(frames.room), cadence.go.eq(frames.some)]
        fetched = Signal(2)
        with m.If(en):
            m.d.sync += [Cat(fetched, o.valid).eq(Cat(cadence.issue, fetched)), o.payload.eq(banks.r_data)]
        return m

    def _walk(self, m, step, addr, inner, outer):
        """Move ``addr`` through a frame with each ``step``, then through the other half of the memory.

        ``inner`` is (elements of a vector, elements per step, pitch), ``outer`` is (vectors, pitch). Return a value
        that is high with the last step of a frame.
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
