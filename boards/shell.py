"""What surrounds the core on a board: clock, reset and pins."""

from amaranth.hdl import ClockDomain, ClockSignal, Elaboratable, Module
from amaranth.lib import io
from amaranth.lib.cdc import ResetSynchronizer

from . import Board
from .clock import ClockGenerator, ClockSettings
from .core import Core, Inside

__all__ = ["Shell"]


class Shell(Elaboratable):
    """The design of a board: `Core` with its clock, its reset, and as many LEDs as the board has.

    Parameters
    ----------
    board, clock : where, and how the accelerator's clock is made
    inside : see `Core`
    """

    def __init__(self, board: Board, clock: ClockSettings, inside: Inside):
        self.board, self.clock, self.inside = board, clock, inside

    def elaborate(self, platform):
        m = Module()
        self._clock_and_reset(m, platform)
        m.submodules.core = core = Core(self.inside, clock_hz=self.clock.hz, baud=self.board.baud)
        pins = platform.request("uart", dir="-")
        m.submodules.rx_buffer = rx = io.Buffer("i", pins.rx)
        m.submodules.tx_buffer = tx = io.Buffer("o", pins.tx)
        m.d.comb += [core.uart_rx.eq(rx.i), tx.o.eq(core.uart_tx)]
        for index in range(len(core.led)):
            if ("led", index) in platform.resources:
                pin = io.Buffer("o", platform.request("led", index, dir="-"))
                m.submodules[f"led_{index}"] = pin
                m.d.comb += pin.o.eq(core.led[index])
        return m

    def _clock_and_reset(self, m, platform):
        m.submodules.clk_buffer = clk = io.Buffer("i", platform.request(platform.default_clk, dir="-"))
        m.submodules.clock = clock = ClockGenerator(self.clock)
        m.domains.sync = ClockDomain()
        m.d.comb += [clock.clk_in.eq(clk.i), ClockSignal().eq(clock.clk)]
        if platform.default_rst is not None:
            m.submodules.rst_buffer = rst = io.Buffer("i", platform.request(platform.default_rst, dir="-"))
            m.d.comb += clock.reset.eq(rst.i)
        m.submodules.reset = ResetSynchronizer(~clock.locked)
