"""Sliding windows over an image, or over a grid of tokens, from its values in raster order (im2col)."""

from amaranth.hdl import Array, Cat, Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from ..architecture.buffers import WindowBuffer
from ..architecture.codes import INT8
from ..architecture.geometry import SlidingWindow, pair
from .arith import delay
from .banks import Banks
from .check import check_choice, check_divides, check_int
from .count import Cadence, count
from .stream import vector_signature
from .window_reader import WindowReader, constant_at

__all__ = ["Windows"]


class Windows(wiring.Component):
    """Rearranges a grid of ``height x width`` vectors into the sliding windows over it (im2col).

    The grid comes in raster order, ``i_lanes`` successive elements per beat, whatever vector they belong to. Each
    window, in raster order, leaves as its elements in (row, column, channel) order; elements outside the grid are
    ``code``. This cuts an image into patches (``channels`` colours), merges tokens (``size = stride = 2``), and
    brings the inputs of a convolution together.

    The rows lie in a ring of `SlidingWindow.buffered_rows`: the rows that the windows being read need, and those that
    the next row of windows needs, so that the input goes on while windows are read. When the last window of a row of
    windows has been read, the rows that no later window needs are free. The next frame follows directly. A beat wider
    than a row of a window reads several rows at once, each from a copy of the ring.

    Latency: a window is read at the earliest in the clock cycle after its last row is complete, and a beat is offered
    three clock cycles after it was read. Throughput: one beat per clock cycle; the initiation interval is ``period``
    clock cycles per window, or the number of its beats if that is more (`psahw.architecture.timing.windows`).
    Backpressure: ``i.ready`` comes from registers only.

    Parameters
    ----------
    height, width, channels : int
        Rows and columns of the grid, and elements of each of its vectors.
    size, stride : int or (int, int)
        Rows and columns of a window, and distance between two windows (`SlidingWindow`).
    padding : int or (int, int, int, int)
        Rows above and below the grid, and columns left and right of it.
    i_lanes : int
        Elements of an input beat; divides ``width·channels``.
    o_lanes : int
        Elements of an output beat: a divisor of a row of a window, or a row times a divisor of their number.
    period : int
        Clock cycles between the first beats of two windows.
    style : str
        ``"block"`` or ``"distributed"`` memory.
    code : int
        The padding, one of the codes.
    codes : Codes
        Type of an element.

    Raises
    ------
    TypeError
        If a number is not an integer.
    ValueError
        If a number is out of its range, a number of lanes does not divide, or the style is unknown.

    Members
    -------
    i : In(stream of ``i_lanes`` codes)
        The grid; a frame is ``height·width·channels / i_lanes`` beats.
    o : Out(stream of ``o_lanes`` codes)
        The windows; each is its elements divided by ``o_lanes`` beats.
    """

    def __init__(
        self, *, height, width, channels, size, stride, padding, i_lanes, o_lanes, period, style="block", code=0,
        codes=INT8,
    ):  # fmt: skip
        for name, value in (
            ("height", height), ("width", width), ("channels", channels), ("i_lanes", i_lanes), ("o_lanes", o_lanes),
            ("period", period), *(("size", n) for n in pair(size)), *(("stride", n) for n in pair(stride)),
        ):  # fmt: skip
            check_int(name, value)
        for value in (padding,) if isinstance(padding, int) else padding:
            check_int("padding", value, 0)
        check_int("code", code, codes.low, codes.high)
        check_divides("i_lanes", i_lanes, "width·channels", width * channels)
        self._window = SlidingWindow(height, width, size, stride, padding)
        self._buffer = WindowBuffer(self._window, channels, i_lanes, o_lanes)
        (rows, columns), self._code, self._codes = self._window.size, code, codes
        row = columns * channels
        if max(row, o_lanes) % min(row, o_lanes) or rows % self._buffer.copies:
            raise ValueError(
                f"o_lanes must divide the {row} elements of a row, or be that by a divisor of {rows}, not {o_lanes}"
            )
        check_choice("style", style, "block", "distributed")
        self._beats, self._period, self._style = rows * row // o_lanes, period, style
        super().__init__({"i": In(vector_signature(i_lanes, codes)), "o": Out(vector_signature(o_lanes, codes))})

    def elaborate(self, platform):
        m = Module()

        en = ~self.o.valid | self.o.ready
        m.submodules.cadence = cadence = Cadence(beats=self._beats, period=self._period)
        m.submodules.reader = reader = WindowReader(buffer=self._buffer)
        copies = [
            Banks(**vars(self._buffer.layout), style=self._style, codes=self._codes)
            for _ in range(self._buffer.copies)
        ]
        for index, (banks, addr) in enumerate(zip(copies, reader.addr, strict=True)):
            m.submodules[f"banks_{index}" if index else "banks"] = banks
            m.d.comb += [banks.r_addr.eq(addr), banks.r_en.eq(en)]
        row_in = self._write(m, copies)
        self._hold_rows(m, cadence, row_in, reader.grid_row, reader.ends_row)

        m.d.comb += [cadence.en.eq(en), reader.issue.eq(cadence.issue)]
        fetched, blank = Signal(2), delay(m, reader.outside, 2, name="blank", en=en)
        with m.If(en):
            m.d.sync += Cat(fetched, self.o.valid).eq(Cat(cadence.issue, fetched))
            values = [value for banks in copies for value in banks.r_data]
            for to, zero, value in zip(self.o.payload, blank, values, strict=True):
                m.d.sync += to.eq(Mux(zero, self._code, value))

        return m

    def _write(self, m, copies):
        """Write each input beat to the ring; return a value that is high with the last beat of a row."""
        window, buffer = self._window, self._buffer
        length = window.width * buffer.channels
        addr = Signal(range(buffer.layout.depth))
        put = self.i.valid & self.i.ready
        beat, row = count(m, put, length // buffer.i_lanes, window.buffered_rows)
        gap = buffer.pitch - length
        with m.If(put):
            m.d.sync += addr.eq(addr + buffer.i_lanes + Mux(beat.last, gap, 0))
        with m.If(row.wrap):
            m.d.sync += addr.eq(0)
        for banks in copies:
            m.d.comb += [banks.w_en.eq(put), banks.w_addr.eq(addr), banks.w_data.eq(self.i.payload)]
        return beat.wrap

    def _hold_rows(self, m, cadence, row_in, y, row_out):
        """Count the rows in the ring; take input while there is room, and let a window begin when its rows are in.

        ``row_in`` is high when a row is complete, ``row_out`` when a row of windows, ``y``, has been read.
        """
        first, end = self._window.row_spans()
        needed, freed = (end - first).tolist(), self._window.rows_freed().tolist()
        rows = self._window.buffered_rows
        # Negative where rows below the last windows are freed before they come.
        level = Signal(range(min(n - f for n, f in zip(needed, freed, strict=True)), rows + 1))
        m.d.comb += self.i.ready.eq(level != rows)
        # ``row_out`` and ``row_in`` come late: they choose between sums. ``go`` is a register, so that nothing is
        # issued in the first clock cycle after a reset (`WindowReader`).
        lowered = level - constant_at(freed, y)
        this, following = constant_at(needed, y), constant_at([*needed[1:], needed[0]], y)
        options = [(level, this), (level + 1, this), (lowered, following), (lowered + 1, following)]
        chosen = Cat(row_in, row_out)
        m.d.sync += [
            level.eq(Array(held for held, _ in options)[chosen]),
            cadence.go.eq(Array(held >= wanted for held, wanted in options)[chosen]),
        ]
