"""What surrounds the core on a board: clock, reset and pins."""

from amaranth.hdl import ClockDomain, ClockSignal, Const, Elaboratable, Instance, Module, Signal
from amaranth.lib import io
from amaranth.lib.cdc import ResetSynchronizer

from . import Board
from .clock import ClockGenerator, ClockSettings
from .core import AcceleratorInterface, Core
from .ethernet.rgmii import DOMAINS, Rgmii
from .link.options import LinkOptions, UartOptions, UdpOptions

__all__ = ["Shell"]


class Shell(Elaboratable):
    """The design of a board: `Core` with its clock, its reset, and as many LEDs as the board has.

    Parameters
    ----------
    board, clock : where, and how the accelerator's clock is made
    inside : see `Core`
    link : which of the board's; its UART if not given
    """

    def __init__(
        self,
        board: Board,
        clock: ClockSettings,
        inside: AcceleratorInterface,
        link: LinkOptions | None = None,
    ):
        self.board, self.clock, self.inside, self.link = board, clock, inside, link or UartOptions(board.baud)

    def elaborate(self, platform):
        m = Module()
        oscillator, locked = self._clock_and_reset(m, platform)
        link = self.link.component(self.inside, clock_hz=self.clock.hz)
        m.submodules.core = core = Core(self.inside, link, clock_hz=self.clock.hz)
        if self.link.kind == UdpOptions.kind:
            others = self._ethernet(m, platform, core, oscillator, locked)
        else:
            others = self._uart(m, platform, core)
        m.submodules.reset = ResetSynchronizer(~(locked & others))
        for index in range(len(core.led)):
            if ("led", index) in platform.resources:
                pin = io.Buffer("o", platform.request("led", index, dir="-"))
                m.submodules[f"led_{index}"] = pin
                m.d.comb += pin.o.eq(core.led[index])
        return m

    def _uart(self, m, platform, core):
        """Returns whether its clocks run: it has none of its own."""
        pins = platform.request("uart", dir="-")
        m.submodules.rx_buffer = rx = io.Buffer("i", pins.rx)
        m.submodules.tx_buffer = tx = io.Buffer("o", pins.tx)
        m.d.comb += [core.uart_rx.eq(rx.i), tx.o.eq(core.uart_tx)]
        return Const(1, 1)

    def _ethernet(self, m, platform, core, oscillator, locked):
        """Returns whether its clocks run. Its domains and the accelerator's come out of reset together only: what
        crosses between them does so in queues whose two sides must agree."""
        m.domains += [ClockDomain(name, reset_less=name == "ethernet_txc") for name in DOMAINS]
        m.submodules.ethernet = rgmii = Rgmii(
            platform.request("eth_rgmii", dir="-"), timing=platform.phy, input_hz=platform.default_clk_frequency
        )
        buffered = Signal()  # one pin reaches two clock generators
        m.submodules.oscillator_buffer = Instance("BUFG", i_I=oscillator, o_O=buffered)
        m.d.comb += [
            rgmii.clk_in.eq(buffered),
            rgmii.ready.eq(locked),
            core.gmii_rx.eq(rgmii.gmii_rx),
            rgmii.gmii_tx.eq(core.gmii_tx),
        ]
        return rgmii.locked

    def _clock_and_reset(self, m, platform):
        m.submodules.clk_buffer = clk = io.Buffer("i", platform.request(platform.default_clk, dir="-"))
        m.submodules.clock = clock = ClockGenerator(self.clock)
        m.domains.sync = ClockDomain()
        m.d.comb += [clock.clk_in.eq(clk.i), ClockSignal().eq(clock.clk)]
        if platform.default_rst is not None:
            m.submodules.rst_buffer = rst = io.Buffer("i", platform.request(platform.default_rst, dir="-"))
            m.d.comb += clock.reset.eq(rst.i)
        return clk.i, clock.locked
