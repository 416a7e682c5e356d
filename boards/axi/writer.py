"""Write records to memory over AXI4."""

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from psahw.gateware.check import check_int
from psahw.gateware.stream import Queue, connect

from .bursts import Bursts, stretch_layout
from .interfaces import BURST
from .pack import Pack, strobed_word_layout
from .records import WORD

__all__ = ["WRITE_JOB", "Writer", "write_data_layout"]

WRITE_JOB = stretch_layout(records=32)
"""A stretch of memory to write, and the number of ``records`` that fill it."""
OUTSTANDING = 16
"""Maximum number of bursts that wait for their responses."""


def write_data_layout(data_bytes: int) -> data.StructLayout:
    """Return the payload of a write data channel: ``data``, byte strobes ``strb``, and ``last`` of a burst."""
    return data.StructLayout({"data": 8 * data_bytes, "strb": data_bytes, "last": 1})


class Writer(wiring.Component):
    """Write records to stretches of memory.

    A burst begins when all of its words are available, so the bus never waits for the accelerator.

    Parameters
    ----------
    data_bytes
        Length of a memory word in bytes, a power of two that is at least 4.
    beats
        Length of the longest burst in words, a power of two that is at least 2. Two bursts are
        stored.

    Raises
    ------
    TypeError
        If a parameter is not an integer.
    ValueError
        If a parameter is out of range or not a power of two.

    Members
    -------
    job : stream of `WRITE_JOB`
        Stretches, with the number of records that fill them. A job may have no records.
    i : stream of `psahw.boards.axi.records.WORD`
        Records.
    aw : stream of `psahw.boards.axi.interfaces.BURST`
        Write address channel. At most `OUTSTANDING` bursts wait for their responses.
    w : stream of `write_data_layout`
        Write data channel.
    b : stream of ``{"resp"}``
        Write response channel; always ready.
    done : stream of bits
        One beat per job, in their order, when memory has acknowledged all of its writes. It is 1 if
        a write failed.
    failed : Out(1)
        High for one cycle when a write fails.
    """

    def __init__(self, *, data_bytes: int, beats: int):
        check_int("beats", beats, 2)
        self.data_bytes, self.beats = data_bytes, beats
        super().__init__(
            {
                "job": In(stream.Signature(WRITE_JOB)),
                "i": In(stream.Signature(WORD)),
                "aw": Out(stream.Signature(BURST)),
                "w": Out(stream.Signature(write_data_layout(data_bytes))),
                "b": In(stream.Signature(data.StructLayout({"resp": 2}), always_ready=True)),
                "done": Out(stream.Signature(1)),
                "failed": Out(1),
            }
        )

    def elaborate(self, platform):
        m = Module()
        m.submodules.bursts = self._bursts = Bursts(data_bytes=self.data_bytes, beats=self.beats)
        m.submodules.pack = self._pack = Pack(data_bytes=self.data_bytes)
        m.submodules.words = self._words = Queue(shape=strobed_word_layout(self.data_bytes), depth=2 * self.beats)
        connect(m, wiring.flipped(self.i), self._pack.i)
        connect(m, self._pack.o, self._words.i)

        sent, over = Signal(), Signal()  # a burst's address has been sent; the job's last word has been sent
        pending = Signal(range(OUTSTANDING + 1))
        m.d.sync += pending.eq(pending + sent - self.b.valid)
        self._jobs(m, over, pending)
        self._send(m, sent, over, pending)
        return m

    def _jobs(self, m, over, pending):
        """Distribute jobs, and report them when they are done."""
        job, bursts, pack = self.job, self._bursts.i, self._pack.job
        failed = Signal()
        m.d.comb += [
            self.failed.eq(self.b.valid & self.b.payload.resp[1]),
            bursts.payload.addr.eq(job.payload.addr),
            bursts.payload.bytes.eq(job.payload.bytes),
            pack.payload.addr.eq(job.payload.addr),
            pack.payload.records.eq(job.payload.records),
            self.done.payload.eq(failed),
        ]
        with m.If(self.failed):
            m.d.sync += failed.eq(1)
        with m.FSM(name="jobs"):
            with m.State("JOB"):
                ready = bursts.ready & pack.ready
                empty = job.payload.records == 0
                m.d.comb += [
                    job.ready.eq(ready),
                    bursts.valid.eq(job.valid & ready & ~empty),
                    pack.valid.eq(job.valid & ready & ~empty),
                ]
                m.d.sync += failed.eq(0)
                with m.If(job.valid & ready):
                    m.next = "WRITE"
                    with m.If(empty):
                        m.next = "DONE"
            with m.State("WRITE"), m.If(over):
                m.next = "ACKNOWLEDGE"
            with m.State("ACKNOWLEDGE"), m.If(pending == 0):
                m.next = "DONE"
            with m.State("DONE"):
                m.d.comb += self.done.valid.eq(1)
                with m.If(self.done.ready):
                    m.next = "JOB"

    def _send(self, m, sent, over, pending):
        """Send the address and the words of each burst."""
        bursts, words, aw, w = self._bursts.o, self._words, self.aw, self.w
        left, final = Signal(8), Signal()
        m.d.comb += [
            aw.payload.addr.eq(bursts.payload.addr),
            aw.payload.len.eq(bursts.payload.len),
            w.payload.data.eq(words.o.payload.data),
            w.payload.strb.eq(words.o.payload.strb),
            w.payload.last.eq(left == 0),
        ]
        with m.FSM(name="send"):
            with m.State("ADDRESS"):
                whole = (words.level > bursts.payload.len) & (pending != OUTSTANDING)
                m.d.comb += [
                    aw.valid.eq(bursts.valid & whole),
                    bursts.ready.eq(aw.ready & whole),
                    sent.eq(aw.valid & aw.ready),
                ]
                m.d.sync += [left.eq(bursts.payload.len), final.eq(bursts.payload.last)]
                with m.If(sent):
                    m.next = "WORDS"
            with m.State("WORDS"):
                m.d.comb += [w.valid.eq(words.o.valid), words.o.ready.eq(w.ready)]
                with m.If(w.valid & w.ready):
                    m.d.sync += left.eq(Mux(w.payload.last, 0, left - 1))
                    with m.If(w.payload.last):
                        m.d.comb += over.eq(final)
                        m.next = "ADDRESS"
        return m
