"""Token mixing over a neighbourhood: a two-dimensional FIR filter over tokens."""

from math import gcd

import numpy as np
from amaranth.hdl import Cat, Const, Module, Signal, signed
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from ..architecture.codes import INT8
from ..architecture.device import MULTIPLIERS
from ..architecture.geometry import neighbour_reach, neighbours, pair
from ..architecture.ranges import dot_range, signed_bits
from ..architecture.timing import local_beats, requantise_latency
from .arith import Requantise, adder_tree, as_signed, delay
from .check import check_choice, check_divides, check_int
from .count import count, level
from .multiplier import product
from .rom import pack_words, read, rom, style_for
from .stream import Queue, connect, vector_signature
from .taps import DelayTaps

__all__ = ["LocalMixing"]


class LocalMixing(wiring.Component):
    """Replaces each token by a weighted sum of its neighbours in the grid.

    Computes ``y[n, c] = sat(rshift(sum over e of weight[g, n, e]·x[n + place(e), c] + bias[g, n], shift[g, n]))``,
    where channel ``c`` is in group ``g``, and ``place(e)`` in the grid is ``divmod(e, columns) - kernel // 2``.
    Tokens come in raster order, so that neighbours lie at fixed distances in the stream::

        i -> lines (rows above) -> columns (to the left) -> products -> sum -> requantise -> queue -> o
                      ROM -> weight[g, n] ------------------/

    With ``shared``, all tokens have the same weights, and those of a beat depend on its place in the token alone: the
    ROM has one word for each place. Weights of neighbours outside the grid are cleared on their way to the products
    by the reset of the multiplier's register.

    Each input beat is a push, and output token n leaves with the push of token ``n + reach``. The last ``reach``
    tokens of a frame leave with the first pushes of the next. Until a frame begins, empty beats are pushed for them,
    one per clock cycle. Once it has begun, they wait for its beats. Of the other frame's elements none is used,
    because they lie outside the grid.

    Every push waits until the queue behind the requantiser has room for an output beat, also a push without one. No
    register in between has an enable that depends on the output.

    Latency: ``7 + (entries - 1).bit_length() + 3`` clock cycles from a push to its output beat, for the entries of a
    kernel (`psahw.architecture.timing.local_mixing`). Throughput: one beat per clock cycle; the initiation interval
    is ``max(tokens, reach)·channels / lanes`` clock cycles per frame. Backpressure: ``i.ready`` comes from registers
    only.

    Parameters
    ----------
    weight : array of int8 (groups, tokens, entries)
        Zero where the neighbour lies outside the grid. (groups, 1, entries) if ``shared``.
    bias : array of int32 (groups, tokens)
        In units of the accumulator. (groups, 1) if ``shared``.
    shift : array of uint8 (groups, tokens)
        Bits to shift each result by, 0 to 31. (groups, 1) if ``shared``.
    kernel : int or (int, int)
        Rows and columns of the neighbourhood, odd; a number stands for both.
    grid : (int, int)
        Rows and columns of tokens.
    channels : int
        Elements of a token; a multiple of the groups.
    lanes : int
        Channels per beat; divides ``channels``.
    i_codes, o_codes : Codes
        Types of an input and of an output.
    i_range : (int, int) or None
        Least and greatest input that occurs; None for all of the type.
    scale : array of uint32 (groups, tokens) or None
        Multiplier of each sum in front of the shift; None for 1. (groups, 1) if ``shared``.
    offset : array of int32 (groups, tokens) or None
        Added to each product with ``scale``; None for 0. (groups, 1) if ``shared``.
    multiplier : str or None
        Primitive to instantiate for each multiplier (`psahw.architecture.device.MULTIPLIERS`); None lets the tools
        infer one.
    shared : bool
        Whether all tokens have the same weights, biases and shifts.

    Raises
    ------
    TypeError
        If ``weight`` is not an array of int8, or a number is not an integer.
    ValueError
        If an array has the wrong shape, a number is out of its range or does not divide, the multiplier is unknown,
        or a weight outside the grid is not 0.

    Members
    -------
    i, o : In(stream of ``lanes`` codes of type ``i_codes``), Out(stream of ``lanes`` codes of type ``o_codes``)
        Tokens in raster order, ``channels / lanes`` beats each.
    """

    def __init__(
        self, *, weight, bias, shift, kernel, grid, channels, lanes, i_codes=INT8, o_codes=INT8, i_range=None,
        scale=None, offset=None, multiplier=None, shared=False,
    ):  # fmt: skip
        for name, value in (("channels", channels), ("lanes", lanes)):
            check_int(name, value)
        for length in pair(kernel):
            check_int("kernel", length)
            if length % 2 == 0:
                raise ValueError(f"kernel must be odd, not {kernel}")
        self._kernel = pair(kernel)
        entries = self._kernel[0] * self._kernel[1]
        for value in grid:
            check_int("grid", value)
        if not isinstance(weight, np.ndarray) or weight.dtype != np.int8:
            kind = getattr(weight, "dtype", type(weight).__name__)
            raise TypeError(f"weight must be an array of int8, not {kind}")
        tokens = grid[0] * grid[1]
        positions = 1 if shared else tokens
        if weight.ndim != 3 or not len(weight) or weight.shape[1:] != (positions, entries):
            raise ValueError(f"weight must have shape (any, {positions}, {entries}), not {weight.shape}")
        for name, value in (("bias", bias), ("shift", shift), ("scale", scale), ("offset", offset)):
            if value is not None and np.shape(value) != weight.shape[:2]:
                raise ValueError(f"{name} must have shape {weight.shape[:2]}, not {np.shape(value)}")
        if multiplier is not None:
            check_choice("multiplier", multiplier, *MULTIPLIERS.values())
        check_divides("groups", len(weight), "channels", channels)
        check_divides("lanes", lanes, "channels", channels)
        self._group_size = channels // len(weight)
        # Lanes that are always in the same group share their weights, and so do successive beats of one group.
        common = gcd(lanes, self._group_size)
        self._parts = lanes // common
        self._repeat = self._group_size // lanes if self._parts == 1 else 1
        self._phases = channels // lanes // self._repeat
        self._grid, self._tokens, self._lanes, self._shared = grid, tokens, lanes, shared
        self._multiplier = multiplier
        self._weight, self._bias, self._shift = weight, np.asarray(bias), np.asarray(shift)
        self._scale = None if scale is None else np.asarray(scale)
        self._offset = None if offset is None else np.asarray(offset)
        self._i_codes, self._o_codes = i_codes, o_codes
        low, high = i_range or (i_codes.low, i_codes.high)
        self._range = {"low": low, "high": high}
        if not shared:
            self._check_edges(grid)
        super().__init__({"i": In(vector_signature(lanes, i_codes)), "o": Out(vector_signature(lanes, o_codes))})

    def _check_edges(self, grid):
        """Raise ValueError if a weight of a neighbour outside the grid is not 0."""
        outside = neighbours(grid, self._kernel) < 0
        wrong = np.argwhere(outside & (self._weight != 0))
        if len(wrong):
            raise ValueError(f"weight{wrong[0].tolist()} must be 0, it lies outside the grid")

    @property
    def _entries(self):
        """Entries of the kernel."""
        return self._kernel[0] * self._kernel[1]

    @property
    def reach(self) -> int:
        """Tokens from a token to the last one that it depends on."""
        return neighbour_reach(self._grid, self._kernel)

    def elaborate(self, platform):
        m = Module()

        most = local_beats(self._entries, self._scale is not None)
        m.submodules.queue = queue = Queue(shape=self.o.payload.shape(), depth=most, style="distributed")
        connect(m, queue.o, wiring.flipped(self.o))

        # Push a beat of the frame, or an empty one while no frame has begun.
        complete = Signal()
        held = level(m, complete, self.o.valid & self.o.ready, most, name="held")
        push, completes = self._push(m, held.room)
        m.d.comb += complete.eq(push & completes)
        beats = self._repeat, self._phases

        # The completed token is ``reach`` before the pushed one.
        if self._shared:
            _, phase = count(m, complete, *beats)
            row, outside = phase.value, self._outside(m, phase.wrap)
        else:
            _, place = count(m, complete, self._repeat, self._phases * self._tokens)
            row, outside = place.value, [Const(0)] * self._entries
        window = self._window(m, push)
        weights = self._weights(m, delay(m, row, 1, name="weight_row"))

        # Multiply and sum: three cycles in the multipliers, then the tree.
        levels = (self._entries - 1).bit_length()
        valid = Signal(levels + 4 + requantise_latency(self._scale is not None))
        m.d.sync += Cat(valid, queue.i.valid).eq(Cat(complete, valid))
        row = delay(m, row, 4 + levels, name="row")
        for lane in range(self._lanes):
            m.d.comb += queue.i.payload[lane].eq(self._output(m, lane, window, weights, outside, row))

        return m

    def _push(self, m, room):
        """Return whether a beat is pushed, and whether a push completes an output; take the beats of ``i``.

        A frame that is shorter than ``reach`` is followed by empty beats, so that it has as many pushes.
        """
        beats = self._repeat * self._phases
        reach, frame = self.reach * beats, max(self._tokens, self.reach) * beats
        short = self.reach > self._tokens
        step = Signal()  # a beat of the frame
        (place,) = count(m, step, frame)
        padding = place.value >= self._tokens * beats if short else Const(0)
        m.d.comb += [step.eq(room & (self.i.valid | padding)), self.i.ready.eq(room & ~padding)]
        if not reach:
            return step, Const(1)

        # Outputs of the frame before that are still to be completed: by empty beats until a frame begins.
        owed = Signal(range(min(self._tokens * beats, reach) + 1))
        owes, between, push, completes = Signal(), Signal(init=1), Signal(), Signal()
        paid = push & (owed == 1)
        m.d.comb += push.eq(room & (self.i.valid | padding | (between & owes)))
        with m.If(step):
            m.d.sync += between.eq(place.last)
        with m.If(place.wrap):
            m.d.sync += [owed.eq(min(self._tokens * beats, reach)), owes.eq(1)]
        with m.Elif(push & owes):
            m.d.sync += [owed.eq(owed - 1), owes.eq(owed != 1)]
        with m.If(step & (place.value == reach - 1)):
            m.d.sync += completes.eq(1)
        with m.Elif(paid):
            m.d.sync += completes.eq(0)
        return push, completes

    def _window(self, m, push):
        """Return the beats in the kernel in the order of the weights, oldest first, two clock cycles after a push."""
        (rows, columns), beats = self._kernel, self._repeat * self._phases
        bits = self._i_codes.bits * self._lanes
        m.submodules.lines = lines = DelayTaps(
            width=bits, distance=self._grid[1] * beats, taps=rows - 1, style="block"
        )
        m.submodules.columns = beside = DelayTaps(
            width=rows * bits, distance=beats, taps=columns - 1, style="distributed"
        )
        m.d.comb += [
            lines.push.eq(push),
            lines.i.eq(self.i.payload),
            beside.i.eq(lines.o),
        ]
        m.d.sync += beside.push.eq(push)
        shape = data.ArrayLayout(data.ArrayLayout(self.i.payload.shape(), rows), columns)
        column = data.View(shape, beside.o)
        return [column[-1 - dx][-1 - dy] for dy in range(rows) for dx in range(columns)]

    def _by_row(self, value):
        """Return an array (groups, positions, ...) in the order of the outputs, (positions·phases, parts, ...)."""
        first = np.arange(0, self._lanes * self._phases, self._lanes // self._parts) * self._repeat
        group = first.reshape(self._phases, self._parts) // self._group_size
        return np.moveaxis(value[group], 2, 0).reshape(-1, self._parts, *value.shape[2:])

    def _outside(self, m, step):
        """Return which entries of the kernel lie outside the grid, two clock cycles later.

        ``step`` moves on to the next token.
        """
        height, width = self._grid
        x, y = count(m, step, width, height)
        above, beside = (range(-(length // 2), length // 2 + 1) for length in self._kernel)
        rows = delay(m, Cat(_beyond(y.value, height, dy) for dy in above), 2, name="outside_rows")
        columns = delay(m, Cat(_beyond(x.value, width, dx) for dx in beside), 2, name="outside_columns")
        return [row | column for row in rows for column in columns]

    def _weights(self, m, row):
        """Return the weights of the kernel for each part, one clock cycle after ``row``."""
        bits = signed_bits(self._weight.min(), self._weight.max())
        words = self._by_row(self._weight)
        layout = data.ArrayLayout(data.ArrayLayout(signed(bits), self._entries), self._parts)
        style = style_for(len(words)) if self._shared else "block"
        packed = pack_words(words.reshape(len(words), -1), bits)
        m.submodules.weights = memory = rom(shape=layout.size, words=packed, style=style)
        return data.View(layout, read(m, memory, row, style=style, name="weights"))

    def _output(self, m, lane, window, weights, outside, row):
        """Return the output of one lane: multiply, sum, requantise."""
        part = lane * self._parts // self._lanes
        weight, bias, shift, scale, offset = (
            None if x is None else self._by_row(x)[:, part]
            for x in (self._weight, self._bias, self._shift, self._scale, self._offset)
        )
        low, high = dot_range(weight, **self._range)
        m.submodules[f"requantise_{lane}"] = requantise = Requantise(
            low=low, high=high, bias=bias, shift=shift, codes=self._o_codes, multiplier=scale, offset=offset
        )
        terms = []
        for e, (factor, beat, clear) in enumerate(zip(weights[part], window, outside, strict=True)):
            x, name = as_signed(beat[lane]), f"{lane}_{e}"
            terms.append(product(m, self._multiplier, a=factor, b=x, clear=clear, name=name))
        m.d.comb += [
            requantise.row.eq(row),
            requantise.acc.eq(adder_tree(m, terms, bits=len(requantise.acc), name=f"sum_{lane}")),
        ]
        return requantise.y


def _beyond(place, length, distance):
    """Return whether ``place + distance`` lies outside the range of ``length`` places."""
    if distance == 0 or abs(distance) >= length:
        return Const(distance != 0)
    return place < -distance if distance < 0 else place >= length - distance
