"""The top level of a board's design: clock, reset and pins around the core."""

from amaranth.hdl import ClockDomain, ClockSignal, Const, Elaboratable, Instance, Module, ResetSignal, Signal
from amaranth.lib import io
from amaranth.lib.cdc import AsyncFFSynchronizer, ResetSynchronizer

from . import Board
from .clock import ClockGenerator, ClockSettings
from .core import AcceleratorInterface, Core
from .ethernet.rgmii import DOMAINS, Rgmii
from .link.options import LinkOptions, UartOptions, UdpOptions

__all__ = ["Shell"]


class Shell(Elaboratable):
    """The top level of a board: `Core` with clock, reset, link pins and as many LEDs as the board has.

    Parameters
    ----------
    board : Board
        The board that the design is for.
    clock : ClockSettings
        Settings of the PLL that makes the accelerator's clock.
    accelerator : AcceleratorInterface
        The accelerator to instantiate.
    link : LinkOptions
        The link to the host. The default is the board's UART.
    """

    def __init__(
        self, board: Board, clock: ClockSettings, accelerator: AcceleratorInterface, link: LinkOptions | None = None
    ):
        self.board, self.clock, self.accelerator = board, clock, accelerator
        self.link = link or UartOptions(board.baud)

    @property
    def _is_ecp5(self):
        """Return whether the board's device is an ECP5."""
        return self.board.device.family == "ecp5"

    def elaborate(self, platform):
        m = Module()
        oscillator, locked = self._clock_and_reset(m, platform)
        link = self.link.component(self.accelerator, clock_hz=self.clock.hz)
        m.submodules.core = core = Core(self.accelerator, link, clock_hz=self.clock.hz, ecp5_global=self._is_ecp5)
        if self.link.kind == UdpOptions.kind:
            link_locked = self._ethernet(m, platform, core, oscillator, locked)
        else:
            link_locked = self._uart(m, platform, core)
        if self._is_ecp5:
            # As in `Core`: nextpnr-ecp5 puts a reset on a global network only if the design does.
            released = Signal()
            m.submodules.reset = AsyncFFSynchronizer(~(locked & link_locked), released)
            m.submodules.reset_buffer = Instance("DCCA", i_CLKI=released, i_CE=Const(1), o_CLKO=ResetSignal())
        else:
            m.submodules.reset = ResetSynchronizer(~(locked & link_locked))
        for index in range(len(core.led)):
            if ("led", index) in platform.resources:
                pin = io.Buffer("o", platform.request("led", index, dir="-"))
                m.submodules[f"led_{index}"] = pin
                m.d.comb += pin.o.eq(core.led[index])
        return m

    def _uart(self, m, platform, core):
        """Connect the UART's pins, and return the constant 1, because a UART has no clock of its own to wait for."""
        pins = platform.request("uart", dir="-")
        m.submodules.rx_buffer = rx = io.Buffer("i", pins.rx)
        m.submodules.tx_buffer = tx = io.Buffer("o", pins.tx)
        m.d.comb += [core.uart_rx.eq(rx.i), tx.o.eq(core.uart_tx)]
        return Const(1, 1)

    def _ethernet(self, m, platform, core, oscillator, locked):
        """Connect the RGMII pins, and return a signal that is high while Ethernet's clocks are stable.

        The accelerator's domain and Ethernet's leave reset together, because the two sides of each queue between them
        must agree.
        """
        m.domains += [ClockDomain(name, reset_less=name == "ethernet_txc") for name in DOMAINS]
        m.submodules.ethernet = rgmii = Rgmii(
            platform.request("eth_rgmii", dir="-"), timing=platform.phy, input_hz=platform.default_clk_frequency
        )
        buffered = Signal()  # the oscillator's pin drives two clock generators
        m.submodules.oscillator_buffer = Instance("BUFG", i_I=oscillator, o_O=buffered)
        m.d.comb += [
            rgmii.clk_in.eq(buffered),
            rgmii.ready.eq(locked),
            core.gmii_rx.eq(rgmii.gmii_rx),
            rgmii.gmii_tx.eq(core.gmii_tx),
        ]
        return rgmii.locked

    def _clock_and_reset(self, m, platform):
        """Drive the sync domain's clock, and return the buffered oscillator and the PLL's ``locked``."""
        m.submodules.clk_buffer = clk = io.Buffer("i", platform.request(platform.default_clk, dir="-"))
        m.submodules.clock = clock = ClockGenerator(self.clock)
        m.domains.sync = ClockDomain()
        m.d.comb += [clock.clk_in.eq(clk.i), ClockSignal().eq(clock.clk)]
        if platform.default_rst is not None:
            m.submodules.rst_buffer = rst = io.Buffer("i", platform.request(platform.default_rst, dir="-"))
            m.d.comb += clock.reset.eq(rst.i)
        return clk.i, clock.locked
