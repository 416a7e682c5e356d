"""Multiple thresholds, as quantised networks with few bits use them."""

import numpy as np
from amaranth.hdl import Cat, Const, Module, Signal, signed
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from ..architecture.codes import INT8, Codes
from ..architecture.ranges import signed_bits
from .arith import as_signed, delay
from .check import check_divides, check_int
from .count import count
from .rom import read, rom, style_for
from .stream import vector_signature

__all__ = ["Thresholds"]


class Thresholds(wiring.Component):
    """Computes ``y[c] = offset + (number of values[c] that x[c] reaches)`` for each channel ``c`` of a vector.

    Each lane searches its thresholds by bisection: every step compares ``x`` with the threshold in the middle of
    those that are left, from a ROM of its own, and finds a bit of the number, the highest first.

    Latency: one clock cycle for each bit of the greatest number, and one
    (`psahw.architecture.timing.thresholds`). Throughput: one beat per clock cycle. The pipeline stalls as a whole.

    Parameters
    ----------
    values : array of int32 (channels, thresholds)
        Thresholds of each channel in ascending order. ``x`` reaches those that are not greater.
    offset : int
        The output if no threshold is reached.
    lanes : int
        Elements of a beat; divides the channels.
    i_codes, o_codes : Codes
        Types of an input and of an output.

    Raises
    ------
    TypeError
        If ``values`` is not an array of int32, or ``lanes`` is not an integer.
    ValueError
        If ``values`` has another shape or another order, ``lanes`` does not divide, or an output does not fit its
        type.

    Members
    -------
    i : In(stream of ``lanes`` codes)
        Vectors of ``channels / lanes`` beats.
    o : Out(stream of ``lanes`` codes)
        Their outputs.
    """

    def __init__(
        self, *, values: np.ndarray, lanes: int, offset: int = 0, i_codes: Codes = INT8, o_codes: Codes = INT8
    ):
        if not isinstance(values, np.ndarray) or values.dtype != np.int32:
            raise TypeError(
                f"values must be an array of int32, not {getattr(values, 'dtype', type(values).__name__)}"
            )
        if values.ndim != 2 or 0 in values.shape:
            raise ValueError(f"values must have shape (channels, thresholds), not {values.shape}")
        if (np.diff(values.astype(np.int64), axis=1) < 0).any():
            raise ValueError("values must be in ascending order in each channel")
        check_int("lanes", lanes)
        check_divides("lanes", lanes, "channels", len(values))
        check_int("offset", offset, o_codes.low, o_codes.high - values.shape[1])
        self._lanes, self._offset = lanes, offset
        self._beats = len(values) // lanes
        # Thresholds that no input reaches fill up the places that the bisection could look at.
        never = i_codes.high + 1
        reachable = np.clip(values.astype(np.int64), i_codes.low, never)
        self._values = np.pad(
            reachable, ((0, 0), (0, (1 << self.steps(values.shape[1])) - 1 - values.shape[1])), constant_values=never
        )
        self._bits = signed_bits(i_codes.low, never)
        super().__init__({"i": In(vector_signature(lanes, i_codes)), "o": Out(vector_signature(lanes, o_codes))})

    @staticmethod
    def steps(thresholds: int) -> int:
        """Return the number of comparisons that find how many of some thresholds are reached."""
        return thresholds.bit_length()

    def elaborate(self, platform):
        m = Module()

        en = ~self.o.valid | self.o.ready
        steps = self._values.shape[1].bit_length()
        valid = Signal(steps)
        m.d.comb += self.i.ready.eq(en)
        with m.If(en):
            m.d.sync += Cat(valid, self.o.valid).eq(Cat(self.i.valid, valid))
        (beat,) = count(m, self.i.valid & en, self._beats)
        places = [beat.value]
        for step in range(1, steps):
            places.append(delay(m, places[-1], 1, name=f"place_{step}", en=en))
        for lane in range(self._lanes):
            self._lane(m, en, lane, places, steps)

        return m

    def _lane(self, m, en, lane, places, steps):
        """Search the thresholds of one lane."""
        values = self._values[lane :: self._lanes]
        x, number = as_signed(self.i.payload[lane]), Const(0, 0)
        for step, place in enumerate(places):
            left = 1 << (steps - step)  # numbers that are still possible
            middles = values[:, left // 2 - 1 :: left]
            words = middles.reshape(-1).tolist()
            m.submodules[f"rom_{lane}_{step}"] = memory = rom(
                shape=signed(self._bits), words=words, style=style_for(len(words))
            )
            name = f"threshold_{lane}_{step}"
            threshold = read(m, memory, Cat(number, place), style=style_for(len(words)), name=name, en=en)
            x = delay(m, x, 1, name=f"x_{lane}_{step}", en=en)
            before = number if len(number) == 0 else delay(m, number, 1, name=f"number_{lane}_{step}", en=en)
            number = Cat(x >= threshold, before)
        with m.If(en):
            m.d.sync += self.o.payload[lane].eq(number + self._offset)
