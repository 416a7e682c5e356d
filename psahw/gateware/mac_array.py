"""The general engine for ``y = W·x``: an array of multiply-accumulate units, folded over time."""

import numpy as np
from amaranth.hdl import Array, Cat, Module, Mux, Signal, signed
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from ..architecture.codes import INT8
from ..architecture.device import MULTIPLIERS
from ..architecture.packing import MULTIPLIERS_PER_MARK, OPERAND_BITS, borrow, laid_out, pairs, split
from ..architecture.ranges import dot_range, signed_bits
from ..architecture.timing import mac_passes, operand_registers, requantise_latency
from .arith import Requantise, adder_tree, as_signed, copies, delay
from .check import check_choice, check_divides, check_int
from .count import count, level
from .mac_unit import mac_pair, mac_unit
from .multiplier import mark_delay
from .ring import VectorRing
from .rom import STYLES, pack_words, read, rom
from .stream import Queue, connect, vector_signature

__all__ = ["MacArray"]


def _walk(m, step, *, words, repeat, sets):
    """Return the address of a word in a memory, and the counter of the word in its set.

    The memory has ``words`` words for each of ``sets`` sets. Each ``step`` moves on by a word; every set is read
    ``repeat`` times before the next.
    """
    if sets == 1:
        (word,) = count(m, step, words)
        return word.value, word
    word, again, set_ = count(m, step, words, repeat, sets)
    address, start = Signal(range(sets * words)), Signal(range(sets * words))
    following = Mux(set_.wrap, 0, address + 1)
    with m.If(step):
        m.d.sync += address.eq(Mux(word.last & ~again.last, start, following))
    with m.If(again.wrap):
        m.d.sync += start.eq(following)
    return address, word


class MacArray(wiring.Component):
    """Computes ``y = sat(rshift(scale[set]·(weight[set]·x + bias[set]) + offset[set], shift[set]))`` for every ``x``.

    There are ``rows x columns`` units, each a DSP slice or half of one. A vector takes ``ceil(outputs / rows)``
    passes of ``ceil(inputs / columns)`` steps. In a pass, ``rows`` outputs gain a term in every column with each
    step::

        i -> ring -> x[k·columns + i] --\\
                                         * -> + -> capture -> row select -> sum of columns -> requantise -> queue -> o
             ROM  -> W[g·rows + j, ...] -/

    Unit (j, i) adds ``W[g·rows + j, k·columns + i] · x[k·columns + i]`` in step k of pass g. Rows of the last pass
    beyond ``outputs`` are not emitted. Neither they nor the lanes beyond ``inputs`` in the last step matter: their
    weights are 0.

    A pass begins only if there is room for its rows in the queue behind the requantiser. Once begun, it does not
    wait, so that no register between ring and queue has an enable that depends on the output.

    Latency: ``8 + (columns - 1).bit_length() + 3`` clock cycles from the last step of a pass to its first row at the
    output, three more with a ``scale``, and one more on ECP5; a vector starts when all of its beats are in the ring
    (`psahw.architecture.timing.mac_array`). Throughput: one step per clock cycle; the initiation interval is passes
    times steps per vector. Backpressure: ``i.ready`` comes from registers only.

    Parameters
    ----------
    weight : array of int8 (sets, outputs, inputs)
        One matrix for each set.
    bias : array of int32 (sets, outputs)
        In units of the accumulator.
    shift : array of uint8 (sets, outputs)
        Bits to shift each result by, 0 to 31.
    rows, columns : int
        Units of the array; ``columns`` is also the number of lanes of ``i``, at most ``inputs``.
    o_lanes : int
        Lanes of ``o``; divides the outputs and ``rows``, and is at least ``rows`` divided by the steps.
    depth : int
        Beats in the ring: at least those of a vector, and for full throughput those that
        `psahw.architecture.timing.fifo_depth` gives.
    vectors : int
        Vectors per frame, a multiple of the sets; the first ``vectors / sets`` use set 0, and so on.
    i_codes, o_codes : Codes
        Types of an input and of an output.
    i_range : (int, int) or None
        Least and greatest input that occurs; None for all of the type.
    scale : array of uint32 (sets, outputs) or None
        Multiplier of each sum; None for 1.
    offset : array of int32 (sets, outputs) or None
        Added to each product with ``scale``; None for 0.
    weight_style : str
        ``"block"`` RAM or ``"distributed"``, in LUTs.
    operand_bits : int or None
        Width of the wider operand of a multiplier that serves two units: 25 in a DSP48E1 (UG479), 27 in a DSP48E2
        (UG579). With None, each unit has a multiplier.
    multiplier : str or None
        Primitive to instantiate for each multiplier (`psahw.architecture.device.MULTIPLIERS`); None lets the tools
        infer one.

    Raises
    ------
    TypeError
        If ``weight`` is not an array of int8, or a number is not an integer.
    ValueError
        If an array has the wrong shape, a number is out of its range or does not divide, or a style or multiplier is
        unknown.

    Attributes
    ----------
    pairs : list of (lower row, upper row, column)
        The units that share a multiplier (`psahw.architecture.packing.pairs`); the others have one each.

    Members
    -------
    i : In(stream of ``columns`` codes of type ``i_codes``)
        ``ceil(inputs / columns)`` beats per vector.
    o : Out(stream of ``o_lanes`` codes of type ``o_codes``)
        ``outputs / o_lanes`` beats per vector.
    """

    def __init__(
        self,
        *,
        weight,
        bias,
        shift,
        rows,
        columns,
        o_lanes,
        depth,
        vectors,
        i_codes=INT8,
        o_codes=INT8,
        i_range=None,
        scale=None,
        offset=None,
        weight_style="block",
        operand_bits=None,
        multiplier=None,
    ):
        if not isinstance(weight, np.ndarray) or weight.dtype != np.int8:
            raise TypeError(f"weight must be an array of int8, not {getattr(weight, 'dtype', type(weight).__name__)}")
        if weight.ndim != 3 or 0 in weight.shape:
            raise ValueError(f"weight must have shape (sets, outputs, inputs), not {weight.shape}")
        self._sets, self._outputs, inputs = weight.shape
        for name, value in (("bias", bias), ("shift", shift), ("scale", scale), ("offset", offset)):
            if value is not None and np.shape(value) != weight.shape[:2]:
                raise ValueError(f"{name} must have shape {weight.shape[:2]}, not {np.shape(value)}")
        for name, value in (("rows", rows), ("columns", columns), ("o_lanes", o_lanes), ("vectors", vectors)):
            check_int(name, value)
        check_int("columns", columns, high=inputs)
        check_divides("o_lanes", o_lanes, "outputs", self._outputs)
        check_divides("o_lanes", o_lanes, "rows", rows)
        check_divides("sets", self._sets, "vectors", vectors)
        self._steps, self._passes = -(-inputs // columns), -(-self._outputs // rows)
        check_int("rows", rows, high=o_lanes * self._steps)
        check_int("depth", depth, self._steps)
        if weight_style not in STYLES:
            raise ValueError(f"weight_style must be one of {', '.join(STYLES)}, not {weight_style!r}")
        if multiplier is not None:
            check_choice("multiplier", multiplier, *MULTIPLIERS.values())
        if operand_bits is not None and multiplier not in (None, *OPERAND_BITS):
            raise ValueError(f"operand_bits must be None for a {multiplier}, not {operand_bits}")
        if operand_bits is not None:
            check_int("operand_bits", operand_bits, 25, OPERAND_BITS.get(multiplier))
        self._weight, self._bias, self._shift = weight, np.asarray(bias), np.asarray(shift)
        self._rows, self._columns, self._o_lanes, self._depth = rows, columns, o_lanes, depth
        self._repeat, self._i_codes, self._o_codes = vectors // self._sets, i_codes, o_codes
        self._weight_style, self._scale = weight_style, None if scale is None else np.asarray(scale)
        self._offset = None if offset is None else np.asarray(offset)
        low, high = i_range or (i_codes.low, i_codes.high)
        self._range = {"low": low, "high": high}
        self._multiplier = multiplier
        self._weights = laid_out(weight, rows, columns)
        self.pairs = [] if operand_bits is None else pairs(self._weights, operand_bits, **self._range)
        self._split = None if operand_bits is None else split(self._weights, operand_bits, **self._range)
        self._groups = rows // o_lanes
        super().__init__({"i": In(vector_signature(columns, i_codes)), "o": Out(vector_signature(o_lanes, o_codes))})

    @property
    def passes_under_way(self) -> int:
        """Number of passes whose rows fit into the queue."""
        return mac_passes(
            columns=self._columns, steps=self._steps, o_beats=self._groups, scaled=self._scale is not None,
            multiplier=self._multiplier,
        )  # fmt: skip

    def elaborate(self, platform):
        m = Module()

        m.submodules.ring = ring = VectorRing(
            lanes=self._columns, steps=self._steps, passes=self._passes, depth=self._depth, codes=self._i_codes
        )
        connect(m, wiring.flipped(self.i), ring.i)
        m.submodules.queue = queue = Queue(
            shape=self.o.payload.shape(), depth=self.passes_under_way * self._groups, style="distributed"
        )
        connect(m, queue.o, wiring.flipped(self.o))

        # One step per clock cycle, from a complete vector. Only the first step of a pass waits for room.
        start, leaves = Signal(), self.o.valid & self.o.ready
        gone = Signal(range(self._groups))  # output beats of a pass
        ends = gone == self._groups - 1
        if self._outputs % self._rows:  # the last pass of a vector has fewer
            (beat,) = count(m, leaves, self._outputs // self._o_lanes)
            ends |= beat.last
        with m.If(leaves):
            m.d.sync += gone.eq(Mux(ends, 0, gone + 1))
        held = level(m, start, leaves & ends, self.passes_under_way, name="held")
        step = ring.whole & (~ring.first | held.room)
        m.d.comb += [ring.read.eq(step), start.eq(step & ring.first)]

        weights = borrow(self._weights, self.pairs)
        bits = signed_bits(self._weights.min(), self._weights.max())
        address, _ = _walk(m, step, words=self._passes * self._steps, repeat=self._repeat, sets=self._sets)
        # In LUTs, each row has a memory and a register of the address, which would drive the LUTs of all rows.
        style, parts = self._weight_style, 1 if self._weight_style == "block" else self._rows
        words = []
        for part, values in enumerate(np.split(weights.reshape(-1, self._rows, self._columns), parts, axis=1)):
            packed = pack_words(values.reshape(len(values), -1), bits)
            memory = rom(shape=bits * values[0].size, words=packed, style=style)
            m.submodules[f"weights_{part}"] = memory
            words.append(read(m, memory, address, style=style, name=f"weights_{part}", keep=parts > 1))
        w = data.View(data.ArrayLayout(data.ArrayLayout(signed(bits), self._columns), self._rows), Cat(words))

        # Multiply, accumulate, keep: four clock cycles from a step to the total, the last of them in `_units`, and
        # one more if the operands have registers.
        first = delay(m, ring.first, mark_delay(self._multiplier), name="first")
        last = Signal(3 + operand_registers(self._multiplier))
        m.d.sync += last.eq(Cat(step & ring.last, last))
        sums = self._units(m, w, [as_signed(x) for x in ring.x], first, last[-1])

        # Emit o_lanes rows per clock cycle, while the next pass runs.
        emit, group = Signal(), Signal(range(self._groups))
        row, beat = _walk(m, emit, words=self._outputs // self._o_lanes, repeat=self._repeat, sets=self._sets)
        m.d.sync += [group.eq(group + 1), emit.eq(emit & (group != self._groups - 1) & ~beat.last)]
        with m.If(last[-1]):
            m.d.sync += [group.eq(0), emit.eq(1)]
        levels = (self._columns - 1).bit_length()
        valid = Signal(levels + 1 + requantise_latency(self._scale is not None))
        row = delay(m, row, levels + 1, name="row")
        m.d.sync += Cat(valid, queue.i.valid).eq(Cat(emit, valid))
        places = copies(m, group, self._o_lanes * self._columns, name="group")
        for lane in range(self._o_lanes):
            rows = [sums[j] for j in range(lane, self._rows, self._o_lanes)]
            chosen = places[lane * self._columns : (lane + 1) * self._columns]
            m.d.comb += queue.i.payload[lane].eq(self._output(m, lane, rows, chosen, row))

        return m

    def _units(self, m, w, x, first, last):
        """Create the units; return the sums of a pass by row and column, which stay while the next pass runs.

        ``first`` and ``last`` mark the steps of a pass, a clock cycle before the units need them.
        """
        # One register would drive all units.
        upper = {(k, i) for _, k, i in self.pairs}
        multipliers = [unit for unit in np.ndindex(self._rows, self._columns) if unit not in upper]
        count = -(-len(multipliers) // MULTIPLIERS_PER_MARK)
        begins, ends = copies(m, first, count, name="begins"), copies(m, last, count, name="ends")
        marks = {
            unit: (begins[n // MULTIPLIERS_PER_MARK], ends[n // MULTIPLIERS_PER_MARK])
            for n, unit in enumerate(multipliers)
        }
        low, high = dot_range(self._weights, axis=2, **self._range)
        low, high = low.min((0, 1)), high.max((0, 1))
        bits = [[signed_bits(*limits) for limits in zip(*row, strict=True)] for row in zip(low, high, strict=True)]
        sums = [[None] * self._columns for _ in range(self._rows)]
        for j, k, i in self.pairs:
            sums[j][i], sums[k][i] = mac_pair(
                m,
                w[j][i],
                w[k][i],
                x[i],
                *marks[j, i],
                split=self._split,
                bits=(bits[j][i], bits[k][i]),
                name=f"{j}_{k}_{i}",
                multiplier=self._multiplier,
            )
        for j, i in np.ndindex(self._rows, self._columns):
            if sums[j][i] is None:
                sums[j][i] = mac_unit(
                    m, w[j][i], x[i], *marks[j, i], bits=bits[j][i], name=f"{j}_{i}", multiplier=self._multiplier
                )
        return sums

    def _output(self, m, lane, sums, places, row):
        """Return the outputs ``lane``, ``lane + o_lanes``, ...: select rows, sum over the columns, requantise."""
        low, high, bias, shift, scale, offset = (
            None if x is None else x.reshape(-1)[lane :: self._o_lanes]
            for x in (*dot_range(self._weight, **self._range), self._bias, self._shift, self._scale, self._offset)
        )
        requantise = Requantise(
            low=low, high=high, bias=bias, shift=shift, codes=self._o_codes, multiplier=scale, offset=offset
        )
        m.submodules[f"requantise_{lane}"] = requantise
        terms = []
        for i in range(self._columns):
            chosen = Array(sums[j][i] for j in range(len(sums)))[places[i]]
            terms.append(delay(m, chosen, 1, name=f"chosen_{lane}_{i}"))
        m.d.comb += [
            requantise.row.eq(row),
            requantise.acc.eq(adder_tree(m, terms, bits=len(requantise.acc), name=f"sum_{lane}")),
        ]
        return requantise.y
