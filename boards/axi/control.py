"""ap_ctrl_chain: batches one after another, the next one begun while the last one is under way."""

from amaranth.hdl import Cat, Module, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from psahw.gateware.check import check_int

from .bursts import stretch
from .writer import WRITE_JOB

__all__ = ["BATCHES", "COUNT_BITS", "Control"]

COUNT_BITS = 31  # bits of a batch's number of images
BATCHES = 4  # that can be under way


class Control(wiring.Component):
    """Vitis' block-level control (UG1399, block-level I/O protocols; UG1393, XRT-managed kernels).

    ``ap_start`` takes the arguments; ``ap_ready`` follows when reader and writer have them, and new ones may be
    written. ``ap_done`` comes when all results of a batch are in memory, and stays until ``ap_continue``; batches end
    in the order in which they began. A batch of no images is done at once.

    Parameters
    ----------
    frame_bytes, record_bytes : of an image and of a result; images and results stand without gaps

    Members
    -------
    orders : of AP_CTRL; ap_start 0, ap_continue 4
    read : AP_CTRL is read
    value : of AP_CTRL
    enable, mask, toggle, pending : GIE, IER, orders of ISR, and ISR
    images, results, count : the arguments
    reads, writes : jobs for `psahw.boards.axi.reader.Reader` and `psahw.boards.axi.writer.Writer`
    done : of the writer
    interrupt : level, high while an enabled interrupt is pending
    busy : ap_idle is 0
    """

    def __init__(self, *, frame_bytes: int, record_bytes: int):
        check_int("frame_bytes", frame_bytes, high=(1 << 17) - 1)  # with COUNT_BITS, a stretch has 48 bits
        check_int("record_bytes", record_bytes, high=(1 << 17) - 1)
        self.frame_bytes, self.record_bytes = frame_bytes, record_bytes
        super().__init__(
            {
                "orders": In(32), "read": In(1), "value": Out(32),
                "enable": In(1), "mask": In(2), "toggle": In(2), "pending": Out(2),
                "images": In(64), "results": In(64), "count": In(COUNT_BITS),
                "reads": Out(stream.Signature(stretch())),
                "writes": Out(stream.Signature(WRITE_JOB)),
                "done": In(stream.Signature(1)),
                "interrupt": Out(1),
                "busy": Out(1),
            }
        )  # fmt: skip

    def elaborate(self, platform):
        m = Module()
        begun, ended = Signal(), Signal()  # a batch was handed over; one has been acknowledged
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
        count = Signal(COUNT_BITS)
        bytes_ = [Signal(len(self.reads.payload.bytes), name=f"bytes_{k}") for k in range(2)]
        given = Signal(2)  # the reader and the writer have their jobs
        m.d.sync += [  # a register before and one after each product, for a DSP slice's own
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
                m.d.comb += [job.valid.eq(~had) for job, had in zip(jobs, given, strict=True)]
                now = given | Cat(job.valid & job.ready for job in jobs)
                m.d.sync += given.eq(now)
                with m.If(now.all()):
                    m.d.comb += begun.eq(1)
                    m.d.sync += start.eq(0)
                    m.next = "START"
        with m.If(self.orders[0]):
            m.d.sync += start.eq(1)
