"""The mean over the tokens of a frame."""

from amaranth.hdl import Cat, Module, Mux, Signal, signed
from amaranth.lib import data, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out
from amaranth.utils import ceil_log2

from ..architecture.codes import INT8, Codes
from ..architecture.ranges import MAX_MULTIPLIER, signed_bits
from .arith import delay
from .check import check_divides, check_int
from .count import count
from .stream import vector_signature

__all__ = ["MeanPool"]


class MeanPool(wiring.Component):
    """Computes ``sat(rshift(multiplier·(sum over the tokens) + offset, shift))`` for each channel, rounding half up.

    The sums of a frame are in a small memory, one word for each beat of a token; the first token starts them anew.
    With the last token, each sum goes on through rounding, shift and saturation.

    Latency: four clock cycles from the last token's beat to the sum's, and two more with a multiplier
    (`psahw.architecture.timing.mean_pool`).
    Throughput: one beat per clock cycle. The pipeline stalls as a whole.

    Parameters
    ----------
    tokens, channels : int
        Tokens per frame, and elements of each.
    lanes : int
        Elements of a beat on both sides; divides ``channels``.
    shift : int
        Bits to shift each sum by, 0 to 31.
    codes : Codes
        Type of an element on both sides.
    multiplier : int
        Factor of each sum, 1 to `psahw.architecture.ranges.MAX_MULTIPLIER`.
    offset : int
        Added to the product, of at most the magnitude of the largest multiplier.

    Raises
    ------
    TypeError
        If a number is not an integer.
    ValueError
        If a number is out of its range, or ``lanes`` does not divide.

    Members
    -------
    i : In(stream of ``lanes`` codes)
        ``tokens·channels / lanes`` beats per frame.
    o : Out(stream of ``lanes`` codes)
        ``channels / lanes`` beats per frame.
    """

    def __init__(
        self, *, tokens: int, channels: int, lanes: int, shift: int, codes: Codes = INT8, multiplier: int = 1,
        offset: int = 0,
    ):  # fmt: skip
        for name, value in (("tokens", tokens), ("channels", channels), ("lanes", lanes)):
            check_int(name, value)
        check_int("shift", shift, 0, 31)
        check_int("multiplier", multiplier, 1, MAX_MULTIPLIER)
        check_int("offset", offset, -MAX_MULTIPLIER, MAX_MULTIPLIER)
        check_divides("lanes", lanes, "channels", channels)
        self.tokens, self.channels, self.lanes, self.shift, self.codes = tokens, channels, lanes, shift, codes
        self.multiplier, self.offset = multiplier, offset
        super().__init__({"i": In(vector_signature(lanes, codes)), "o": Out(vector_signature(lanes, codes))})

    @property
    def sum_bits(self) -> int:
        """Width of a sum."""
        return self.codes.bits + (not self.codes.signed) + ceil_log2(self.tokens)

    def elaborate(self, platform):
        m = Module()
        i, o, shift = self.i, self.o, self.shift
        sums = data.ArrayLayout(signed(self.sum_bits), self.lanes)
        m.submodules.memory = memory = Memory(
            shape=sums, depth=self.channels // self.lanes, init=[], attrs={"ram_style": "distributed"}
        )
        write, read = memory.write_port(), memory.read_port(domain="comb")
        put, en = i.valid & i.ready, ~o.valid | o.ready
        beat, token = count(m, put, self.channels // self.lanes, self.tokens)
        total = Signal(sums)
        m.d.comb += [
            i.ready.eq(en),
            read.addr.eq(beat.value),
            write.addr.eq(beat.value),
            write.data.eq(total),
            write.en.eq(put),
        ]
        m.d.comb += [
            to.eq(x + Mux(token.value == 0, 0, before))
            for to, x, before in zip(total, i.payload, read.data, strict=True)
        ]
        added = self.offset + ((1 << shift) >> 1)
        # The registers of a product are those of a DSP slice.
        scaled = self.multiplier != 1
        bits = self.sum_bits + (self.multiplier.bit_length() if scaled else 0)
        bits = signed_bits((-1 << bits - 1) + added, (1 << bits - 1) - 1 + added)
        last, rounded = Signal(sums), Signal(data.ArrayLayout(signed(bits), self.lanes))
        shifted = Signal(data.ArrayLayout(signed(max(bits - shift, 2)), self.lanes))
        valid = Signal(5 if scaled else 3)
        with m.If(en):
            m.d.sync += [Cat(valid, o.valid).eq(Cat(put & token.last, valid)), last.eq(total)]
            for lane, (a, b, c, to) in enumerate(zip(last, rounded, shifted, o.payload, strict=True)):
                if scaled:
                    a = delay(m, a * self.multiplier, 2, name=f"product_{lane}", en=en)
                m.d.sync += [b.eq(a + added), c.eq(b >> shift)]
                m.d.sync += to.eq(
                    Mux(c > self.codes.high, self.codes.high, Mux(c < self.codes.low, self.codes.low, c))
                )
        return m
