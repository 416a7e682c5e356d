"""The accelerator as a core with AXI4-Stream ports and AXI4-Lite registers."""

from amaranth.hdl import Module, Mux, ResetInserter, ResetSignal, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from psahw.gateware.stream import connect

from ..ports import VerilogModule
from .frames import FLAGS, FrameFlags, Framing
from .identity import identity_values
from .interfaces import Axi4Lite, Axi4Stream, clock_and_reset, send
from .records import Records
from .register_file import RegisterFile
from .registers import CORE

__all__ = ["ADDRESS_BITS", "RESET_CYCLES", "Core", "frames_inside"]

ADDRESS_BITS = 12
RESET_CYCLES = 4
"""Length of a soft reset in clock cycles."""


def frames_inside(manifest: dict) -> int:
    """Return the number of frames whose flags must be stored while they are in the accelerator.

    These are the frames that the accelerator holds in steady state, and three more.
    """
    return -(-manifest["latency"] // manifest["frame_interval"]) + 3


class Core(wiring.Component):
    """The accelerator with AXI4-Stream ports for images and results.

    The core instantiates ``psahw_accelerator``, whose Verilog is a file of its own. A soft reset
    lasts `RESET_CYCLES` clock cycles. It discards all frames in the accelerator. A packet that is
    being sent is completed; a packet that is being received is discarded up to its end.

    Parameters
    ----------
    accelerator
        Signature of the accelerator.
    manifest
        Description of the accelerator, as returned by `psahw.generate.write`.

    Raises
    ------
    ValueError
        If a value of the manifest does not fit into its register.

    Members
    -------
    aclk : In(1)
        Clock.
    aresetn : In(1)
        Reset, active low.
    s_axi : In(`psahw.boards.axi.interfaces.Axi4Lite`)
        Registers, as listed in `psahw.boards.axi.registers.CORE`.
    s_axis : In(`psahw.boards.axi.interfaces.Axi4Stream`)
        Images, one per packet, ``bus_bytes`` bytes wide.
    m_axis : Out(`psahw.boards.axi.interfaces.Axi4Stream`)
        Results, one per packet, as records of `psahw.boards.axi.records.Records`, 4 bytes wide.
    """

    def __init__(self, accelerator: wiring.Signature, manifest: dict):
        self.inner, self.manifest = accelerator, manifest
        self._values = identity_values(manifest)
        super().__init__(
            {
                "aclk": In(1),
                "aresetn": In(1),
                "s_axi": In(Axi4Lite(ADDRESS_BITS)),
                "s_axis": In(Axi4Stream(manifest["bus_bytes"])),
                "m_axis": Out(Axi4Stream(4)),
            }
        )

    def elaborate(self, platform):
        m = Module()
        clock_and_reset(m, self.aclk, self.aresetn)
        restart = Signal()
        self._data(m, restart)
        self._registers(m, restart)
        return m

    def _data(self, m, restart):
        """Connect the path from images to results."""
        bus_bytes, frame_bytes = self.manifest["bus_bytes"], self._values["FRAME_BYTES"]
        m.submodules.framing = framing = Framing(bus_bytes=bus_bytes, frame_bytes=frame_bytes)
        flags = FrameFlags(bus_bytes=bus_bytes, frame_bytes=frame_bytes, frames=frames_inside(self.manifest))
        m.submodules.flags = ResetInserter(restart)(flags)
        m.submodules.accelerator = module = VerilogModule(self.manifest["top"], self.inner)
        accelerator = module.module
        m.submodules.records = records = Records(result=accelerator.o.payload.shape())
        wiring.connect(m, wiring.flipped(self.s_axis), framing.i)
        connect(m, framing.o, flags.i)
        connect(m, flags.o, accelerator.i)
        connect(m, accelerator.o, records.i)
        connect(m, flags.flags, records.flags)
        send(m, records.o, self.m_axis, "t")
        m.d.comb += [
            self.m_axis.tkeep.eq(~0),
            framing.restart.eq(restart),
            records.hold.eq(restart),
            # Not from a register: a beat may arrive in the first cycle after the reset.
            module.reset.eq(ResetSignal() | restart),
        ]
        self._framing, self._flags, self._counters = framing, flags, accelerator.counters

    def _registers(self, m, restart):
        """Connect the registers, and generate the soft reset."""
        m.submodules.registers = file = RegisterFile(table=CORE, address_bits=ADDRESS_BITS)
        wiring.connect(m, wiring.flipped(self.s_axi), file.bus)
        registers = file.registers
        for name, value in self._values.items():
            m.d.comb += getattr(registers, name.lower()).value.eq(value)

        left = Signal(range(RESET_CYCLES + 1))
        with m.If(registers.control.orders[0]):
            m.d.sync += left.eq(RESET_CYCLES)
        with m.Elif(restart):
            m.d.sync += left.eq(left - 1)
        seen, beat = Signal(FLAGS), self._framing.o
        faults = Mux(beat.valid & beat.ready, beat.payload.flags.as_value(), 0)
        m.d.sync += seen.as_value().eq((seen.as_value() & ~registers.status.orders[: FLAGS.size]) | faults)
        m.d.comb += [
            restart.eq(left != 0),
            registers.status.value.eq(seen.as_value() | (restart << 8)),
            self._framing.count_only.eq(registers.mode.value[0]),
            self._counters.addr.eq(registers.counter.value),
            self._counters.clear.eq(registers.control.orders[1]),
            registers.counter_value.value.eq(self._counters.data),
        ]
        events = {
            "frames": self._flags.done,
            "bad_frames": self._flags.bad,
            "results": self.m_axis.tvalid & self.m_axis.tready & self.m_axis.tlast,
        }
        for name, event in events.items():
            counter = Signal(32, name=name)
            m.d.sync += counter.eq(counter + event)
            m.d.comb += getattr(registers, name).value.eq(counter)
