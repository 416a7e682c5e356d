"""Token mixing with a neighbourhood: a FIR filter over tokens."""

import numpy as np
from amaranth.hdl import Cat, Module, Signal, signed
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from ..ranges import dot_range, signed_bits
from .arith import Requantise, adder_tree, delay
from .check import check_divides, check_int
from .count import count
from .rom import pack_words, rom
from .stream import vector_signature
from .taps import DelayTaps

__all__ = ["LocalMixing"]


class LocalMixing(wiring.Component):
    """``y[n, c] = sat(rshift(sum over e of weight[g, n, e]·x[n + offset(e), c] + bias[g, n], shift[g, n]))``,
    where channel ``c`` is in group ``g``, and ``offset(e)`` in the grid is ``divmod(e, kernel) - kernel // 2``.

    Tokens come in raster order, so that neighbours lie at fixed distances in the stream::

        i -> lines (rows above) -> columns (to the left) -> kernel² products -> sum -> requantise -> o
                      ROM -> weight[g, n] ------------------/

    A beat that comes is a push; output token n leaves with push n + reach. A frame is its tokens and
    ``reach = (kernel // 2)·(width + 1)`` tokens of pushes of nothing, one a cycle, during which ``i`` waits. Latency
    from push to output beat: ``5 + (kernel² - 1).bit_length() + 3`` cycles (`psahw.timing.local_mixing`).

    Parameters
    ----------
    weight : array of int8 (groups, tokens, kernel²)
        Zero where the neighbour is outside the grid.
    bias : array of int32 (groups, tokens), in units of the accumulator
    shift : array of uint8 (groups, tokens), 0 to 31
    kernel : int
        Odd.
    grid : (int, int)
        Rows and columns of tokens.
    channels : int
        Of a token; a multiple of the groups.
    lanes : int
        Channels in a beat; divides the channels of a group.

    Members
    -------
    i, o : stream of ``lanes`` int8
    """

    def __init__(self, *, weight, bias, shift, kernel, grid, channels, lanes):
        for name, value in (("kernel", kernel), ("channels", channels), ("lanes", lanes)):
            check_int(name, value)
        if kernel % 2 == 0:
            raise ValueError(f"kernel must be odd, not {kernel}")
        for value in grid:
            check_int("grid", value)
        if not isinstance(weight, np.ndarray) or weight.dtype != np.int8:
            kind = getattr(weight, "dtype", type(weight).__name__)
            raise TypeError(f"weight must be an array of int8, not {kind}")
        tokens = grid[0] * grid[1]
        if weight.ndim != 3 or not len(weight) or weight.shape[1:] != (tokens, kernel**2):
            raise ValueError(f"weight must have shape (any, {tokens}, {kernel**2}), not {weight.shape}")
        for name, value in (("bias", bias), ("shift", shift)):
            if np.shape(value) != weight.shape[:2]:
                raise ValueError(f"{name} must have shape {weight.shape[:2]}, not {np.shape(value)}")
        groups = len(weight)
        check_divides("groups", groups, "channels", channels)
        check_divides("lanes", lanes, "channels of a group", channels // groups)
        self._tokens, self._groups, self._group_beats = tokens, groups, channels // groups // lanes
        self._kernel, self._width, self._lanes = kernel, grid[1], lanes
        self._weight, self._bias, self._shift = weight, np.asarray(bias), np.asarray(shift)
        self._check_edges(grid)
        super().__init__({"i": In(vector_signature(lanes)), "o": Out(vector_signature(lanes))})

    def _check_edges(self, grid):
        row, column = np.divmod(np.arange(self._tokens)[:, None], grid[1])
        dy, dx = np.divmod(np.arange(self._kernel**2), self._kernel)
        row, column = row + dy - self._kernel // 2, column + dx - self._kernel // 2
        outside = (row < 0) | (row >= grid[0]) | (column < 0) | (column >= grid[1])
        wrong = np.argwhere(outside & (self._weight != 0))
        if len(wrong):
            raise ValueError(f"weight{wrong[0].tolist()} must be 0, it lies outside the grid")

    @property
    def reach(self) -> int:
        """Tokens between a token and the last one that it depends on."""
        return self._kernel // 2 * (self._width + 1)

    def elaborate(self, platform):
        m = Module()

        # Push a beat of the frame, or nothing after it.
        en = ~self.o.valid | self.o.ready
        flushing = Signal()
        push = en & (self.i.valid | flushing)
        _, _, token = count(m, push, self._group_beats, self._groups, self._tokens + self.reach)
        m.d.comb += [
            self.i.ready.eq(en & ~flushing),
            flushing.eq(token.value >= self._tokens),
        ]
        # Does this push complete an output? Without reach each does, and Verilator warns of >= 0.
        filled = token.value >= self.reach if self.reach else 1

        _, row = count(m, push & filled, self._group_beats, self._groups * self._tokens)
        row = row.value
        window = self._window(m, en, push)
        weights = self._weights(m, en, delay(m, row, 1, en, name="weight_row"))

        # Multiply and sum: three cycles in the multipliers, then the tree.
        levels = (self._kernel**2 - 1).bit_length()
        valid = Signal(levels + 7)
        with m.If(en):
            m.d.sync += Cat(valid, self.o.valid).eq(Cat(push & filled, valid))
        row = delay(m, row, 4 + levels, en, name="row")
        for lane in range(self._lanes):
            self._output(m, en, lane, window, weights, row)

        return m

    def _window(self, m, en, push):
        """The kernel's beats, oldest first as the weights have them; two cycles after a push."""
        kernel, beats = self._kernel, self._group_beats * self._groups
        bits = 8 * self._lanes
        m.submodules.lines = lines = DelayTaps(
            width=bits, distance=self._width * beats, taps=kernel - 1, style="block"
        )
        m.submodules.columns = columns = DelayTaps(
            width=kernel * bits, distance=beats, taps=kernel - 1, style="distributed"
        )
        m.d.comb += [
            lines.en.eq(en),
            lines.push.eq(push),
            lines.i.eq(self.i.payload),
            columns.en.eq(en),
            columns.i.eq(lines.o),
        ]
        with m.If(en):
            m.d.sync += columns.push.eq(push)
        shape = data.ArrayLayout(data.ArrayLayout(data.ArrayLayout(signed(8), self._lanes), kernel), kernel)
        column = data.View(shape, columns.o)
        return [column[-1 - dx][-1 - dy] for dy in range(kernel) for dx in range(kernel)]

    def _by_row(self, value):
        """(groups, tokens, ...) in the order of the outputs: (tokens·groups, ...)."""
        return value.swapaxes(0, 1).reshape(self._groups * self._tokens, *value.shape[2:])

    def _weights(self, m, en, row):
        """The kernel's weights, one cycle after ``row``."""
        bits = signed_bits(self._weight.min(), self._weight.max())
        words = pack_words(self._by_row(self._weight), bits)
        m.submodules.weights = memory = rom(shape=bits * self._kernel**2, words=words, style="block")
        read = memory.read_port()
        m.d.comb += [read.addr.eq(row), read.en.eq(en)]
        return data.View(data.ArrayLayout(signed(bits), self._kernel**2), read.data)

    def _output(self, m, en, lane, window, weights, row):
        """The products of one lane, each one DSP48E1 with registers a, b, product and term inside; their sum."""
        low, high = dot_range(self._by_row(self._weight))
        requantise = Requantise(low=low, high=high, bias=self._by_row(self._bias), shift=self._by_row(self._shift))
        m.submodules[f"requantise_{lane}"] = requantise
        terms = []
        for e, beat in enumerate(window):
            a = delay(m, weights[e], 1, en, name=f"a_{lane}_{e}")
            b = delay(m, beat[lane], 1, en, name=f"b_{lane}_{e}")
            terms.append(delay(m, a * b, 2, en, name=f"product_{lane}_{e}"))
        m.d.comb += [
            requantise.en.eq(en),
            requantise.row.eq(row),
            requantise.acc.eq(adder_tree(m, terms, en, bits=len(requantise.acc), name=f"sum_{lane}")),
            self.o.payload[lane].eq(requantise.y),
        ]
