"""Addresses of a sliding window's elements in a ring of rows."""

from math import gcd

from amaranth.hdl import Array, Cat, Const, Module, Mux, Signal, Value
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from ..architecture.buffers import WindowBuffer
from .count import count

__all__ = ["WindowReader", "constant_at"]


def constant_at(values: list[int], index: Value) -> Value:
    """Return ``values[index]``, which needs no logic if all values are equal."""
    return Const(values[0]) if len(set(values)) == 1 else Array(values)[index]


def _early(m: Module, value: Value, steps: int, *, name: str) -> Value:
    """Return ``value`` from a register.

    It is used at the earliest ``steps`` steps after it has changed. With fewer than two, a register would come too
    late, and ``value`` itself is returned.
    """
    if steps < 2:
        return value
    register = Signal.like(value, name=name)
    m.d.sync += register.eq(value)
    return register


class WindowReader(wiring.Component):
    """Walks through the windows of a `WindowBuffer` and addresses the elements of each beat.

    The windows follow in raster order. The beats of a window walk through its rows, or through groups of ``copies``
    rows if a beat is wider than a row. Rows of the grid lie ``pitch`` elements apart in the ring; a row outside the
    grid has no place in it, and does not move the address.

    Latency: the outputs describe the beat that the next ``issue`` reads, from the second clock cycle after a reset.
    All are registers except ``ends_row``, which depends combinationally on ``issue``. Addresses are, because `Banks`
    adds to them. Throughput: one beat per clock cycle.

    Parameters
    ----------
    buffer : WindowBuffer
        Geometry and memory layout of the ring.

    Members
    -------
    issue : In(1)
        A beat is read in this clock cycle. Must not be high in the first one after a reset, in which the first beat
        is not at the outputs yet.
    addr : Out(ArrayLayout(range(depth), copies))
        Address of the first element that is read from each copy of the ring.
    outside : Out(o_lanes)
        Lanes of the beat that lie outside the grid, where the window has the padding.
    grid_row : Out(range(grid height))
        The row of windows to which the beat belongs.
    ends_row : Out(1)
        The beat that is read in this clock cycle is the last one of a row of windows.
    """

    def __init__(self, *, buffer: WindowBuffer):
        self._buffer = buffer
        super().__init__(
            {
                "issue": In(1),
                "addr": Out(data.ArrayLayout(range(buffer.layout.depth), buffer.copies)),
                "outside": Out(buffer.o_lanes),
                "grid_row": Out(range(buffer.window.grid[0])),
                "ends_row": Out(1),
            }
        )

    def elaborate(self, platform):
        m = Module()

        buffer, window = self._buffer, self._buffer.window
        width, (*_, before, after) = window.width * buffer.channels, window.padding
        margin = before * buffer.channels
        beats, groups = window.size[1] * buffer.channels // buffer.row_lanes, window.size[0] // buffer.copies
        # All counters are one beat ahead, so that the outputs, to which `Banks` adds, are registers.
        started, step = Signal(), Signal()
        m.d.comb += step.eq(self.issue | ~started)
        m.d.sync += started.eq(1)
        beat, dy, x, y = count(m, step, beats, groups, *window.grid[::-1])
        last = Signal()  # the beat is the last one of a row of windows
        m.d.comb += self.ends_row.eq(self.issue & last)
        with m.If(step):
            m.d.sync += [self.grid_row.eq(y.value), last.eq(beat.last & dy.last & x.last)]

        # Addresses of rows in the ring: of the window's first row, and of the beat's first row.
        base, row = (Signal(range(buffer.layout.depth), name=name) for name in ("base", "row"))
        # Elements from the start of a row: to the window's left edge, and to the beat's first element.
        columns = range(-margin, width + after * buffer.channels)
        left, at = (Signal(columns, init=-margin, name=name) for name in ("left", "at"))

        padded = any(window.padding)
        inside = self._rows_inside(m, step, beat, dy, x, y) if padded else [1] * buffer.copies
        distance = Array(rows * buffer.pitch for rows in range(buffer.copies + 1))
        rows = [row, *(self._ahead(row, distance[sum(inside[:n])]) for n in range(1, buffer.copies + 1))]
        with m.If(step):
            m.d.sync += [addr.eq(start + at) for addr, start in zip(self.addr, rows[:-1], strict=True)]
            if padded:
                # The lanes between two multiples of all distances lie in or out together.
                together = gcd(buffer.layout.o_align, width)
                firsts = range(0, buffer.row_lanes, together)
                beside = Cat(((at < -lane) | (at >= width - lane)).replicate(together) for lane in firsts)
                beside = beside[: buffer.row_lanes]
                m.d.sync += self.outside.eq(Cat(~row_inside.replicate(len(beside)) | beside for row_inside in inside))

        # ``step`` comes late: the next addresses are chosen without it. Where two steps lie between, they are
        # computed a clock cycle ahead.
        apart = beats * groups
        next_left = _early(
            m, Mux(x.last, -margin, left + window.stride[1] * buffer.channels), apart, name="next_left"
        )
        freed = constant_at((window.rows_freed() * buffer.pitch).tolist(), y.value)
        below = _early(m, self._ahead(base, freed), apart * window.grid[1], name="below")
        next_base = Mux(x.last, below, base)
        with m.If(step):
            with m.If(beat.last & dy.last):
                m.d.sync += [left.eq(next_left), at.eq(next_left), base.eq(next_base), row.eq(next_base)]
            with m.Elif(beat.last):
                m.d.sync += [at.eq(left), row.eq(rows[-1])]
            with m.Else():
                m.d.sync += at.eq(at + buffer.row_lanes)

        return m

    def _rows_inside(self, m, step, beat, dy, x, y):
        """Create ``top`` and ``line``; return, for each row that the beat reads, whether it lies inside the grid."""
        window, copies = self._buffer.window, self._buffer.copies
        above, below, *_ = window.padding
        # Numbers of rows, counted from the top of the padding: of the window's first row, and of the beat's. They are
        # registers because a sum of the counters would take too long on the way to the registered outputs.
        top, line = (Signal(range(window.height + above + below), name=name) for name in ("top", "line"))
        next_top = Mux(x.last, Mux(y.last, 0, top + window.stride[0]), top)
        with m.If(step & beat.last):
            m.d.sync += line.eq(Mux(dy.last, next_top, line + copies))
            with m.If(dy.last):
                m.d.sync += top.eq(next_top)
        return [
            (line >= above - index if index < above else 1) & (line < window.height + above - index)
            for index in range(copies)
        ]

    def _ahead(self, addr, distance):
        """Return the address ``distance`` elements after ``addr`` in the ring."""
        end, to = self._buffer.layout.depth, addr + distance
        return Mux(to >= end, to - end, to)
