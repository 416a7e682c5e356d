"""The accelerator as a Vitis kernel: it reads images from memory and writes results into it."""

from amaranth.hdl import Cat, Module, ResetSignal, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from psahw.gateware.check import check_int
from psahw.gateware.stream import Queue, connect

from ..ports import VerilogModule
from .bursts import PAGE
from .control import Control
from .core import ADDRESS_BITS, frames_inside
from .frames import FrameFlags
from .identity import identity_values, record_bytes
from .interfaces import Axi4, Axi4Lite, bursts_of_words, clock_and_reset, receive, send
from .reader import Reader
from .records import Records
from .register_file import RegisterFile
from .registers import KERNEL
from .writer import WRITE_JOB, Writer

__all__ = ["DATA_BYTES", "Kernel", "read_depth"]

DATA_BYTES = 64  # an Alveo card's memory controllers are 512 bits wide
MEMORY_CYCLES = 512  # from a read's address to its data that must not slow the accelerator down


def read_depth(manifest: dict, data_bytes: int, beats: int) -> int:
    """Words to keep or have under way: what the accelerator takes in `MEMORY_CYCLES`, and two bursts
    since a new burst must fit while the answer to the last one is to come."""
    height, width = manifest["image"]
    frame_bytes = height * width * manifest["colours"]
    rate = min(frame_bytes / manifest["frame_interval"], manifest["bus_bytes"])
    words = MEMORY_CYCLES * rate / data_bytes + 2 * beats
    return 1 << (int(words) - 1).bit_length()


class Kernel(wiring.Component):
    """Around ``psahw_accelerator``, whose Verilog stands beside.

    Parameters
    ----------
    accelerator : signature of the accelerator
    manifest : of the accelerator, as `psahw.generate.write` returns it
    data_bytes : of a memory word, a power of two from 4 to 128, at least the accelerator's ``bus_bytes``
    beats : of the longest burst, a power of two

    Members
    -------
    ap_clk, ap_rst_n : clock, and reset, active low
    interrupt : level
    s_axi_control : AXI4-Lite, registers of `psahw.boards.axi.registers.KERNEL`
    m_axi_gmem : AXI4; images and results may begin at any byte, and stand without gaps
    """

    def __init__(
        self, accelerator: wiring.Signature, manifest: dict, *, data_bytes: int = DATA_BYTES, beats: int = 16
    ):
        check_int("data_bytes", data_bytes, 4, 128)
        check_int("beats", beats, 2, min(256, PAGE // data_bytes))
        for name, value in (("data_bytes", data_bytes), ("beats", beats)):
            if value & (value - 1):
                raise ValueError(f"{name} must be a power of two, not {value}")
        check_int("bus_bytes", manifest["bus_bytes"], high=data_bytes)
        self.inner, self.manifest, self.data_bytes, self.beats = accelerator, manifest, data_bytes, beats
        self._values = identity_values(manifest)
        super().__init__(
            {
                "ap_clk": In(1),
                "ap_rst_n": In(1),
                "interrupt": Out(1),
                "s_axi_control": In(Axi4Lite(ADDRESS_BITS)),
                "m_axi_gmem": Out(Axi4(data_bytes)),
            }
        )

    def elaborate(self, platform):
        m = Module()
        clock_and_reset(m, self.ap_clk, self.ap_rst_n)
        frame_bytes = self._values["FRAME_BYTES"]
        m.submodules.control = self._control = Control(
            frame_bytes=frame_bytes, record_bytes=record_bytes(self.manifest)
        )
        m.submodules.reader = self._reader = Reader(
            data_bytes=self.data_bytes,
            bus_bytes=self.manifest["bus_bytes"],
            beats=self.beats,
            depth=read_depth(self.manifest, self.data_bytes, self.beats),
        )
        m.submodules.writer = self._writer = Writer(data_bytes=self.data_bytes, beats=self.beats)
        self._data(m, frame_bytes)
        self._memory(m)
        self._registers(m)
        return m

    def _data(self, m, frame_bytes):
        control, reader, writer = self._control, self._reader, self._writer
        m.submodules.flags = flags = FrameFlags(
            bus_bytes=self.manifest["bus_bytes"], frame_bytes=frame_bytes, frames=frames_inside(self.manifest)
        )
        m.submodules.accelerator = module = VerilogModule(self.manifest["top"], self.inner)
        accelerator = module.module
        m.d.comb += module.reset.eq(ResetSignal())
        m.submodules.records = records = Records(result=accelerator.o.payload.shape())
        m.submodules.writes = writes = Queue(shape=WRITE_JOB, depth=2)
        connect(m, control.reads, reader.job)
        connect(m, control.writes, writes.i)
        connect(m, writes.o, writer.job)
        connect(m, writer.done, control.done)
        connect(m, reader.o, flags.i)
        connect(m, flags.o, accelerator.i)
        connect(m, accelerator.o, records.i)
        connect(m, flags.flags, records.flags)
        connect(m, records.o, writer.i)
        self._counters = accelerator.counters

    def _memory(self, m):
        bus = self.m_axi_gmem
        bursts_of_words(m, bus, self.data_bytes)
        send(m, self._reader.ar, bus, "ar")
        receive(m, bus, "r", self._reader.r)
        send(m, self._writer.aw, bus, "aw")
        send(m, self._writer.w, bus, "w")
        receive(m, bus, "b", self._writer.b)

    def _registers(self, m):
        control = self._control
        m.submodules.registers = file = RegisterFile(table=KERNEL, address_bits=ADDRESS_BITS, strict=False)
        wiring.connect(m, wiring.flipped(self.s_axi_control), file.bus)
        registers = file.registers
        for name, value in self._values.items():
            m.d.comb += getattr(registers, name.lower()).value.eq(value)
        failed, cycles = Signal(2), Signal(32)
        m.d.sync += [
            failed.eq((failed & ~registers.status.orders[:2]) | Cat(self._reader.failed, self._writer.failed)),
            cycles.eq(cycles + control.busy),
        ]
        m.d.comb += [
            control.orders.eq(registers.ap_ctrl.orders),
            control.read.eq(registers.ap_ctrl.read),
            registers.ap_ctrl.value.eq(control.value),
            control.enable.eq(registers.gie.value[0]),
            control.mask.eq(registers.ier.value),
            control.toggle.eq(registers.isr.orders),
            registers.isr.value.eq(control.pending),
            control.images.eq(Cat(registers.images_low.value, registers.images_high.value)),
            control.results.eq(Cat(registers.results_low.value, registers.results_high.value)),
            control.count.eq(registers.count.value),
            self.interrupt.eq(control.interrupt),
            registers.status.value.eq(failed),
            registers.busy_cycles.value.eq(cycles),
            self._counters.addr.eq(registers.counter.value),
            registers.counter_value.value.eq(self._counters.data),
        ]
