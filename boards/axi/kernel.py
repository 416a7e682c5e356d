"""The accelerator as a Vitis kernel, which reads images from memory and writes results to memory."""

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
from .interfaces import Axi4, Axi4Lite, clock_and_reset, drive_constants, receive, send
from .reader import Reader
from .records import Records
from .register_file import RegisterFile
from .registers import KERNEL
from .writer import WRITE_JOB, Writer

__all__ = ["DATA_BYTES", "Kernel", "read_depth"]

DATA_BYTES = 64
"""Length of a memory word in bytes: the memory controllers of an Alveo card are 512 bits wide."""
MEMORY_CYCLES = 512
"""Latency of a read, in clock cycles, that must not slow down the accelerator."""


def read_depth(manifest: dict, data_bytes: int, beats: int) -> int:
    """Return the number of memory words to store or request, so that reads never delay the accelerator.

    These are the words that the accelerator takes in `MEMORY_CYCLES` cycles, and two bursts, since
    a new burst must fit before the answer to the last one has arrived; rounded up to a power of
    two.
    """
    height, width = manifest["image"]
    frame_bytes = height * width * manifest["colours"]
    rate = min(frame_bytes / manifest["frame_interval"], manifest["bus_bytes"])
    words = MEMORY_CYCLES * rate / data_bytes + 2 * beats
    return 1 << (int(words) - 1).bit_length()


class Kernel(wiring.Component):
    """The accelerator with an AXI4 port for images and results, controlled by ``ap_ctrl_chain``.

    The kernel instantiates ``psahw_accelerator``, whose Verilog is a file of its own.

    Parameters
    ----------
    accelerator
        Signature of the accelerator.
    manifest
        Description of the accelerator, as returned by `psahw.generate.write`.
    data_bytes
        Length of a memory word in bytes, a power of two in [4, 128], at least the accelerator's
        ``bus_bytes``.
    beats
        Length of the longest burst in words, a power of two that is at least 2.

    Raises
    ------
    TypeError
        If ``data_bytes`` or ``beats`` is not an integer.
    ValueError
        If ``data_bytes``, ``beats`` or the accelerator's ``bus_bytes`` is out of range or not a
        power of two, or if a value of the manifest does not fit into its register.

    Members
    -------
    ap_clk : In(1)
        Clock.
    ap_rst_n : In(1)
        Reset, active low.
    interrupt : Out(1)
        Interrupt, level-sensitive.
    s_axi_control : In(`psahw.boards.axi.interfaces.Axi4Lite`)
        Registers, as listed in `psahw.boards.axi.registers.KERNEL`.
    m_axi_gmem : Out(`psahw.boards.axi.interfaces.Axi4`)
        Memory. Images and results may begin at any byte, and are stored without gaps.
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
        """Connect the path from images to results."""
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
        """Connect reader and writer to the memory port."""
        bus = self.m_axi_gmem
        drive_constants(m, bus, self.data_bytes)
        send(m, self._reader.ar, bus, "ar")
        receive(m, bus, "r", self._reader.r)
        send(m, self._writer.aw, bus, "aw")
        send(m, self._writer.w, bus, "w")
        receive(m, bus, "b", self._writer.b)

    def _registers(self, m):
        """Connect the registers."""
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
