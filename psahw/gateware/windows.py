"""Windows of an image, or of a grid of tokens, from its values in raster order."""

from amaranth.hdl import Array, Cat, Const, Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from ..architecture.buffers import WindowBuffer
from ..architecture.geometry import SlidingWindow
from .banks import Banks
from .check import check_choice, check_divides, check_int
from .count import Cadence, count
from .stream import vector_signature

__all__ = ["Windows"]


class Windows(wiring.Component):
    """Cuts a grid of ``height x width`` vectors into windows of ``size x size``, ``stride`` apart.

    The grid comes in raster order, ``i_lanes`` successive elements a beat, whatever vector they belong to.
    Each window, in raster order, leaves as its ``size²·channels`` elements in (row, column, channel) order;
    outside the grid they are 0. This makes patches of an image (``channels`` colours) and merges tokens
    (``size = stride = 2``).

    The rows lie in a ring. `psahw.architecture.timing.window_rows` gives its length: the rows that the windows being issued
    need and those that the next ones need, so that the input goes on while windows are issued. When the last
    window of a row of windows has been issued, the rows that no later window needs are free. A window is issued
    at the earliest in the cycle after its last row is complete, and ``period`` cycles (or its number of
    beats, if that is more) after the one before, one beat a cycle; a beat is offered two cycles after its issue
    (`psahw.architecture.timing.windows`). The next frame follows directly. ``i.ready`` comes from registers only.

    A beat wider than a row of a window reads several rows at once, each from a copy of the ring.

    Parameters
    ----------
    height, width, channels : of the grid
    size, stride, padding : of the windows; ``stride <= size``, ``padding < size``
    i_lanes : elements of an input beat, a divisor of ``width·channels``
    o_lanes : elements of an output beat, a divisor of ``size·channels``, or that times a divisor of ``size``
    period : cycles from one window's first issue to the next one's
    style : ``"block"`` or ``"distributed"`` memory
    """

    def __init__(self, *, height, width, channels, size, stride, padding, i_lanes, o_lanes, period, style="block"):
        check_int("size", size)
        check_int("stride", stride, 1, size)
        check_int("padding", padding, 0, size - 1)
        smallest = max(size - 2 * padding, 1)
        check_int("height", height, smallest)
        check_int("width", width, smallest)
        for name, value in (
            ("channels", channels), ("i_lanes", i_lanes), ("o_lanes", o_lanes), ("period", period)
        ):  # fmt: skip
            check_int(name, value)
        check_divides("i_lanes", i_lanes, "width·channels", width * channels)
        self.window = SlidingWindow(height, width, size, stride, padding)
        self.buffer = WindowBuffer(self.window, channels, i_lanes, o_lanes)
        row = size * channels
        if max(row, o_lanes) % min(row, o_lanes) or size % self.buffer.copies:
            raise ValueError(
                f"o_lanes must divide size·channels = {row}, or be that times a divisor of size = {size}, "
                f"not {o_lanes}"
            )
        check_choice("style", style, "block", "distributed")
        self.channels, self.i_lanes, self.o_lanes = channels, i_lanes, o_lanes
        self.period, self.style = period, style
        super().__init__({"i": In(vector_signature(i_lanes)), "o": Out(vector_signature(o_lanes))})

    def elaborate(self, platform):
        m = Module()
        i, o, window, buffer = self.i, self.o, self.window, self.buffer
        m.submodules.cadence = cadence = Cadence(
            beats=window.size**2 * self.channels // self.o_lanes, period=self.period
        )
        copies = [Banks(**vars(buffer.layout), style=self.style) for _ in range(buffer.copies)]
        for index, banks in enumerate(copies):
            m.submodules[f"banks_{index}" if index else "banks"] = banks
        first, end = window.row_spans()
        needed, freed = (end - first).tolist(), window.rows_freed().tolist()
        # Rows that are in and not free; negative where rows below the last windows are freed before they come.
        level = Signal(range(min(n - f for n, f in zip(needed, freed, strict=True)), window.buffered_rows + 1))
        put, en = i.valid & i.ready, ~o.valid | o.ready
        row_in = self._write(m, copies, put, i.payload)
        y, row_out, outside = self._read(m, copies, cadence.issue, freed)
        m.d.comb += [i.ready.eq(level != window.buffered_rows), cadence.en.eq(en)]
        # What is late, ``row_out`` and ``row_in``, chooses between sums.
        lowered = level - _by_row(freed, y)
        here, below = _by_row(needed, y), _by_row([*needed[1:], needed[0]], y)
        options = [(level, here), (level + 1, here), (lowered, below), (lowered + 1, below)]
        chosen = Cat(row_in, row_out)
        m.d.sync += [
            level.eq(Array(held for held, _ in options)[chosen]),
            cadence.go.eq(Array(held >= rows for held, rows in options)[chosen]),
        ]
        fetched, blank = Signal(), Signal(self.o_lanes)
        with m.If(en):
            m.d.sync += [fetched.eq(cadence.issue), blank.eq(outside), o.valid.eq(fetched)]
            read = [value for banks in copies for value in banks.r_data]
            m.d.sync += [to.eq(Mux(zero, 0, value)) for to, zero, value in zip(o.payload, blank, read, strict=True)]
        return m

    def _write(self, m, copies, put, payload):
        """Write a beat and step through the rows of the ring; returns whether this beat is a row's last."""
        length, buffer = self.window.width * self.channels, self.buffer
        addr = Signal(range(buffer.layout.depth))
        beat, row = count(m, put, length // self.i_lanes, self.window.buffered_rows)
        gap = buffer.pitch - length
        with m.If(put):
            m.d.sync += addr.eq(addr + self.i_lanes + Mux(beat.last, gap, 0))
        with m.If(row.wrap):
            m.d.sync += addr.eq(0)
        for banks in copies:
            m.d.comb += [banks.w_en.eq(put), banks.w_addr.eq(addr), banks.w_data.eq(payload)]
        return beat.wrap

    def _read(self, m, copies, issue, freed):
        """Step through the windows; returns the row of windows, whether this beat is the last of such a row, and
        which of its elements lie outside the grid."""
        window, buffer, padding = self.window, self.buffer, self.window.padding
        width, margin = window.width * self.channels, padding * self.channels
        beats, steps = window.size * self.channels // buffer.row_lanes, window.size // buffer.copies
        beat, dy, x, y = count(m, issue, beats, steps, *window.grid[::-1])
        ring = range(buffer.layout.depth)
        base, row = Signal(ring), Signal(ring)  # addresses of the rows: the window's first, the beat's
        left, at = (Signal(range(-margin, width + margin), init=-margin) for _ in range(2))  # in the row
        inside, outside = [1] * buffer.copies, [0] * self.o_lanes
        if padding:
            # Numbers of rows, those of the padding counted: of the window's first, and of the beat's. Kept, for to
            # add them up from the counters is too long a way to the memory's address.
            top, line = (Signal(range(window.height + 2 * padding)) for _ in range(2))
            inside = [
                (line >= padding - index if index < padding else 1) & (line < window.height + padding - index)
                for index in range(buffer.copies)
            ]
            beside = [(at < -lane) | (at >= width - lane) for lane in range(buffer.row_lanes)]
            outside = [~here | out for here in inside for out in beside]
            next_top = Mux(x.last, Mux(y.last, 0, top + window.stride), top)
            with m.If(issue), m.If(beat.last):
                m.d.sync += line.eq(Mux(dy.last, next_top, line + buffer.copies))
                with m.If(dy.last):
                    m.d.sync += top.eq(next_top)
        # A row outside the grid has no place in the ring.
        distance = Array(n * buffer.pitch for n in range(buffer.copies + 1))
        further = [self._ahead(row, distance[sum(inside[:n])]) for n in range(1, buffer.copies + 1)]
        for banks, addr in zip(copies, [row, *further[:-1]], strict=True):
            m.d.comb += [banks.r_addr.eq(addr + at), banks.r_en.eq(issue)]
        next_left = Mux(x.last, -margin, left + window.stride * self.channels)
        next_base = self._ahead(base, Mux(x.last, _by_row([n * buffer.pitch for n in freed], y.value), 0))
        with m.If(issue):  # late: the choice is made without it
            with m.If(beat.last & dy.last):
                m.d.sync += [left.eq(next_left), at.eq(next_left), base.eq(next_base), row.eq(next_base)]
            with m.Elif(beat.last):
                m.d.sync += [at.eq(left), row.eq(further[-1])]
            with m.Else():
                m.d.sync += at.eq(at + buffer.row_lanes)
        return y.value, x.wrap, Cat(*outside)

    def _ahead(self, addr, distance):
        """The address ``distance`` further in the ring."""
        end, to = self.buffer.layout.depth, addr + distance
        return Mux(to >= end, to - end, to)


def _by_row(values, y):
    """``values[y]``."""
    return Const(values[0]) if len(set(values)) == 1 else Array(values)[y]
