"""Pack 32-bit words into memory words, from any byte address."""

from amaranth.hdl import Cat, Module, Mux, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from psahw.gateware.check import check_int

from .interfaces import ADDRESS_BITS
from .records import WORD

__all__ = ["Pack", "strobed_word_layout"]


def strobed_word_layout(data_bytes: int) -> data.StructLayout:
    """Return the layout of a memory word to write: its ``data``, and ``strb``, one bit per byte to be written."""
    return data.StructLayout({"data": 8 * data_bytes, "strb": data_bytes})


class Pack(wiring.Component):
    """Store records one after another in memory words, one 32-bit word per clock cycle.

    Parameters
    ----------
    data_bytes
        Length of a memory word in bytes, a power of two that is at least 4.

    Raises
    ------
    TypeError
        If ``data_bytes`` is not an integer.
    ValueError
        If ``data_bytes`` is less than 4 or not a power of two.

    Members
    -------
    job : stream of ``{"addr", "records"}``
        Byte address of the first record, and number of records (at least 1).
    i : stream of `psahw.boards.axi.records.WORD`
        Records.
    o : stream of `strobed_word_layout`
        Memory words. The first and the last word of a job may be written in part.
    """

    def __init__(self, *, data_bytes: int):
        check_int("data_bytes", data_bytes, 4)
        if data_bytes & (data_bytes - 1):
            raise ValueError(f"data_bytes must be a power of two, not {data_bytes}")
        self.data_bytes = data_bytes
        job = data.StructLayout({"addr": ADDRESS_BITS, "records": 32})
        super().__init__(
            {
                "job": In(stream.Signature(job)),
                "i": In(stream.Signature(WORD)),
                "o": Out(stream.Signature(strobed_word_layout(data_bytes))),
            }
        )

    def elaborate(self, platform):
        m = Module()
        job, i, o, lanes = self.job, self.i, self.o, self.data_bytes // 4
        lane, shift, left = Signal(range(lanes)), Signal(2), Signal(32)
        carry, carried = Signal(24), Signal(3)  # bytes of the previous word that belong to this lane
        both, strobes = Signal(56), Signal(7)
        place, ends, en = Signal(), Signal(), Signal()

        m.d.comb += en.eq(~o.valid | o.ready)
        with m.If(o.ready):
            m.d.sync += o.valid.eq(0)
        with m.If(place):
            strb = Mux(o.valid, 0, o.payload.strb)
            now = Mux(lane == 0, 0, strb) | (strobes[:4] << (lane << 2))
            m.d.sync += [
                o.payload.data.word_select(lane, 32).eq(both),
                o.payload.strb.eq(now),
                o.valid.eq(ends | (lane == lanes - 1)),
                lane.eq(lane + 1),
                carry.eq(both[32:]),
                carried.eq(strobes[4:]),
            ]
        with m.FSM():
            with m.State("JOB"):
                m.d.comb += job.ready.eq(en)
                m.d.sync += [
                    lane.eq(job.payload.addr[2:]),
                    shift.eq(job.payload.addr[:2]),
                    left.eq(job.payload.records - 1),
                    carried.eq(0),
                    carry.eq(0),
                ]
                with m.If(job.valid & en):
                    m.d.sync += o.payload.strb.eq(0)
                    m.next = "WORDS"
            with m.State("WORDS"):
                m.d.comb += [
                    i.ready.eq(en),
                    place.eq(i.valid & en),
                    both.eq(carry | (i.payload.data << (shift << 3))),
                    strobes.eq(carried | (0b1111 << shift)),
                    ends.eq(i.payload.last & (left == 0) & (shift == 0)),
                ]
                with m.If(place & i.payload.last):
                    m.d.sync += left.eq(left - 1)
                    with m.If(left == 0):
                        m.next = "JOB"
                        with m.If(shift != 0):
                            m.next = "CARRY"
            with m.State("CARRY"):
                m.d.comb += [place.eq(en), both.eq(carry), strobes.eq(Cat(carried)), ends.eq(1)]
                with m.If(en):
                    m.next = "JOB"
        return m
