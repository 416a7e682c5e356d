"""Block-level control of a kernel (ap_ctrl_chain): a batch can start while earlier ones are in progress."""

from amaranth.hdl import Cat, Module, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from psahw.gateware.check import check_int

from .bursts import stretch_layout
from .writer import WRITE_JOB

__all__ = ["BATCHES", "COUNT_BITS", "Control"]

COUNT_BITS = 31  # bits of the number of images in a batch
BATCHES = 4  # that can be in progress at once


class Control(wiring.Component):
    """Control batches with the protocol ``ap_ctrl_chain`` of Vitis.

    Source: UG1399, block-level I/O protocols, and UG1393, XRT-managed kernels. ``ap_start`` starts
    a batch with the current arguments. ``ap_ready`` follows when reader and writer have accepted
    their jobs; then new arguments may be written. ``ap_done`` is set when all results of a batch
    are in memory, and cleared by ``ap_continue``. Batches end in the order in which they were
    started. A batch without images is done at once.

    Parameters
    ----------
    frame_bytes
        Length of an image in bytes; images are stored without gaps.
    record_bytes
        Length of a result in bytes; results are stored without gaps.

    Raises
    ------
    TypeError
        If a parameter is not an integer.
    ValueError
        If a parameter is not in [1, 2^17 - 1].

    Members
    -------
    orders : In(32)
        Bits that are being written to AP_CTRL as 1: bit 0 is ap_start, bit 4 is ap_continue.
    read : In(1)
        AP_CTRL is being read.
    value : Out(32)
        Value of AP_CTRL.
    enable : In(1)
        Bit 0 of GIE.
    mask : In(2)
        Value of IER.
    toggle : In(2)
        Bits that are being written to ISR as 1.
    pending : Out(2)
        Value of ISR.
    images : In(64)
        Byte address of the images.
    results : In(64)
        Byte address of the results.
    count : In(31)
        Number of images in the batch.
    reads : stream of `psahw.boards.axi.bursts.stretch_layout`
        Jobs for `psahw.boards.axi.reader.Reader`.
    writes : stream of `psahw.boards.axi.writer.WRITE_JOB`
        Jobs for `psahw.boards.axi.writer.Writer`.
    done : stream of bits
        Completed jobs of the writer.
    interrupt : Out(1)
        High while an enabled interrupt is pending.
    busy : Out(1)
        Inverse of ap_idle.
    """

    def __init__(self, *, frame_bytes: int, record_bytes: int):
        check_int("frame_bytes", frame_bytes, high=(1 << 17) - 1)  # together with COUNT_BITS, 48 bits
        check_int("record_bytes", record_bytes, high=(1 << 17) - 1)
        self.frame_bytes, self.record_bytes = frame_bytes, record_bytes
        super().__init__(
            {
                "orders": In(32), "read": In(1), "value": Out(32),
                "enable": In(1), "mask": In(2), "toggle": In(2), "pending": Out(2),
                "images": In(64), "results": In(64), "count": In(COUNT_BITS),
                "reads": Out(stream.Signature(stretch_layout())),
                "writes": Out(stream.Signature(WRITE_JOB)),
                "done": In(stream.Signature(1)),
                "interrupt": Out(1),
                "busy": Out(1),
            }
        )  # fmt: skip

    def elaborate(self, platform):
        m = Module()
        begun, ended = Signal(), Signal()  # a batch has been handed over; a batch has been acknowledged
        start, ready, done = Signal(), Signal(), Signal()
        under_way = Signal(range(BATCHES + 1))
        m.d.sync += under_way.eq(under_way + begun - ended)
        m.d.comb += self.busy.eq(start | (under_way != 0))

        self._begin(m, start, begun, under_way)
        with m.If(self.read):
            m.d.sync += ready.eq(0)
        with m.If(begun):
            m.d.sync += ready.eq(1)
        m.d.comb += [ended.eq(done & self.orders[4]), self.done.ready.eq(~done)]
        with m.If(ended):
            m.d.sync += done.eq(0)
        with m.Elif(self.done.valid):
            m.d.sync += done.eq(1)

        events = Cat(self.done.valid & ~done, begun) & self.mask
        m.d.sync += self.pending.eq((self.pending ^ self.toggle) | events)
        m.d.comb += [
            self.interrupt.eq(self.enable & self.pending.any()),
            self.value.eq(Cat(start, done, ~self.busy, ready) | (self.interrupt << 9)),
        ]
        return m

    def _begin(self, m, start, begun, under_way):
        """Compute the lengths of a batch, and hand its jobs to reader and writer."""
        count = Signal(COUNT_BITS)
        bytes_ = [Signal(len(self.reads.payload.bytes), name=f"bytes_{k}") for k in range(2)]
        given = Signal(2)  # the reader and the writer have taken their jobs
        m.d.sync += [  # a register before and one after each product, which fit into a DSP slice
            bytes_[0].eq(count * self.frame_bytes),
            bytes_[1].eq(count * self.record_bytes),
            self.reads.payload.bytes.eq(bytes_[0]),
            self.writes.payload.bytes.eq(bytes_[1]),
        ]
        m.d.comb += self.writes.payload.records.eq(count)
        wait = Signal(2)
        with m.FSM():
            with m.State("START"):
                m.d.sync += [
                    self.reads.payload.addr.eq(self.images),
                    self.writes.payload.addr.eq(self.results),
                    count.eq(self.count),
                    wait.eq(0),
                ]
                with m.If(start & (under_way != BATCHES)):
                    m.next = "MULTIPLY"
            with m.State("MULTIPLY"):
                m.d.sync += [wait.eq(wait + 1), given.eq(0), given[0].eq(count == 0)]
                with m.If(wait == 2):
                    m.next = "GIVE"
            with m.State("GIVE"):
                jobs = (self.reads, self.writes)
                m.d.comb += [job.valid.eq(~taken) for job, taken in zip(jobs, given, strict=True)]
                now = given | Cat(job.valid & job.ready for job in jobs)
                m.d.sync += given.eq(now)
                with m.If(now.all()):
                    m.d.comb += begun.eq(1)
                    m.d.sync += start.eq(0)
                    m.next = "START"
        with m.If(self.orders[0]):
            m.d.sync += start.eq(1)
