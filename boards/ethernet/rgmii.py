"""The pins of a gigabit PHY on the 7 series: RGMII version 2.0 (HP, 2002).

One byte is transferred per cycle of 125 MHz: bits 0 to 3 with the rising edge and bits 4 to 7 with
the falling edge. The control pin carries RX_DV or TX_EN with the rising edge, and its exclusive or
with the error with the falling edge (section 3.0). The data change together with the clock's edges,
but the receiving end needs them about 2 ns before the clock; either end may add this delay (section
3.3, RGMII-ID).
"""

from dataclasses import dataclass

from amaranth.hdl import Cat, ClockSignal, Const, Instance, Module, ResetSignal, Signal
from amaranth.lib import io, wiring
from amaranth.lib.cdc import ResetSynchronizer
from amaranth.lib.wiring import In, Out

from .clock import RgmiiClock
from .layouts import GMII

__all__ = ["CONSTRAINTS", "DOMAINS", "PhyTiming", "Rgmii"]

DOMAINS = ("ethernet_rx", "ethernet", "ethernet_txc")

RESET_CYCLES = 1 << 21
"""Length of the PHY's reset: 16.8 ms at 125 MHz. The PHYs require 10 ms after their clock and power are stable."""

_TAP_PS = 78  # delay of one tap of IDELAYE2 with a reference of F = 200 MHz: 1 / (32 · 2 · F) (DS182)
_DELAY_PS = 2000  # TsetupR and TholdR are typically 2 ns (RGMII 2.0, section 3.3)

CONSTRAINTS = (
    "set_clock_groups -asynchronous -group [get_clocks eth_rgmii_0__rx_clk__io]",
    "set_clock_groups -asynchronous -group [get_clocks -of_objects [get_pins ethernet/clock/pll/CLKOUT*]]",
)
"""Timing exceptions for Vivado, which name the instance ``ethernet`` of the top level.

Paths between the PHY's clock, the MMCM's clocks and the accelerator's clock are not timed, because
all of them are synchronised.
"""


@dataclass(frozen=True)
class PhyTiming:
    """The delays of RGMII that a board's PHY leaves to the FPGA, in its configuration after a reset.

    Parameters
    ----------
    delay_tx
        TXC must be sent 2 ns after the data.
    delay_rx
        The data must be sampled 2 ns later than they arrive.
    """

    delay_tx: bool
    delay_rx: bool


class Rgmii(wiring.Component):
    """Connect a PHY's pins to GMII, and generate the clocks of both directions.

    The component drives the domains `DOMAINS`, which the top level must define: ``ethernet_rx``,
    clocked by the PHY, ``ethernet``, and ``ethernet_txc``, which has no reset. The PHY is held in
    reset for 16.8 ms. It must establish a link of 1 Gb/s; links of 10 and 100 Mb/s, which have
    slower clocks, are not supported.

    Parameters
    ----------
    port
        The board's resource ``eth_rgmii``: ``rst``, and ``clk``, ``ctl`` and ``data`` with the
        prefixes ``tx_`` and ``rx_``.
    timing
        Delays that the PHY requires.
    input_hz
        Frequency of ``clk_in`` in Hz, a divisor of 1 GHz.

    Raises
    ------
    ValueError
        If ``input_hz`` does not divide 1 GHz.

    Members
    -------
    clk_in : In(1)
        Clock of the board's oscillator, from a global buffer.
    ready : In(1)
        The accelerator's clock is stable; asynchronous. The domains are in reset until ``ready``
        and ``locked`` are high.
    locked : Out(1)
        The clocks of this component are stable; asynchronous.
    gmii_rx : Out(`psahw.boards.ethernet.layouts.GMII`)
        Data from the PHY, in the domain ``ethernet_rx``.
    gmii_tx : In(`psahw.boards.ethernet.layouts.GMII`)
        Data to the PHY, in the domain ``ethernet``.
    """

    def __init__(self, port, *, timing: PhyTiming, input_hz: float):
        self.port, self.timing = port, timing
        self._clock = RgmiiClock(input_hz=input_hz, txc_phase=90 if timing.delay_tx else 0)
        super().__init__(
            {"clk_in": In(1), "ready": In(1), "locked": Out(1), "gmii_rx": Out(GMII), "gmii_tx": In(GMII)}
        )

    def elaborate(self, platform):
        m = Module()
        self._clocks(m)
        self._reset_of_the_phy(m)
        self._transmit(m)
        self._receive(m)
        return m

    def _clocks(self, m):
        """Drive the clocks and resets of the domains."""
        m.submodules.clock = clock = self._clock
        m.submodules.rx_clk = rx_clk = io.Buffer("i", self.port.rx_clk)
        m.submodules.rx_clk_buffer = Instance("BUFG", i_I=rx_clk.i, o_O=ClockSignal("ethernet_rx"))
        m.d.comb += [clock.clk_in.eq(self.clk_in), self.locked.eq(clock.locked)]
        for domain in ("ethernet", "ethernet_rx"):
            m.submodules[f"{domain}_reset"] = ResetSynchronizer(~(clock.locked & self.ready), domain=domain)

    def _reset_of_the_phy(self, m):
        """Hold the PHY in reset for `RESET_CYCLES` cycles."""
        m.submodules.rst = rst = io.Buffer("o", self.port.rst)
        held = Signal(range(RESET_CYCLES + 1))
        active = Signal(init=1)
        m.d.comb += rst.o.eq(active)
        m.d.ethernet += active.eq(held != RESET_CYCLES)
        with m.If(held != RESET_CYCLES):
            m.d.ethernet += held.eq(held + 1)

    def _transmit(self, m):
        """Drive the transmit pins from ``gmii_tx``."""
        gmii, port = self.gmii_tx, self.port
        m.submodules.tx_clk = clock = io.DDRBuffer("o", port.tx_clk, o_domain="ethernet_txc")
        m.submodules.tx_ctl = control = io.DDRBuffer("o", port.tx_ctl, o_domain="ethernet")
        m.submodules.tx_data = contents = io.DDRBuffer("o", port.tx_data, o_domain="ethernet")
        m.d.comb += [
            clock.o[0].eq(1),
            clock.o[1].eq(0),
            control.o[0].eq(gmii.valid),
            control.o[1].eq(gmii.valid ^ gmii.error),
            contents.o[0].eq(gmii.byte[:4]),
            contents.o[1].eq(gmii.byte[4:]),
        ]

    def _receive(self, m):
        """Drive ``gmii_rx`` from the receive pins. `io.DDRBuffer` does not allow a delay between pin and register."""
        pins = Signal(5)
        m.submodules.rx_ctl = control = io.Buffer("i", self.port.rx_ctl)
        m.submodules.rx_data = contents = io.Buffer("i", self.port.rx_data)
        m.d.comb += pins.eq(Cat(contents.i, control.i))
        if self.timing.delay_rx:
            pins = self._delayed(m, pins)
        rising, falling = Signal(5), Signal(5)
        for bit in range(len(pins)):
            m.submodules[f"rx_ddr_{bit}"] = Instance(
                "IDDR",
                p_DDR_CLK_EDGE="SAME_EDGE_PIPELINED",
                p_SRTYPE="ASYNC",
                p_INIT_Q1=Const(0, 1),
                p_INIT_Q2=Const(0, 1),
                i_C=ClockSignal("ethernet_rx"),
                i_CE=Const(1, 1),
                i_S=Const(0, 1),
                i_R=Const(0, 1),
                i_D=pins[bit],
                o_Q1=rising[bit],
                o_Q2=falling[bit],
            )
        m.d.ethernet_rx += [
            self.gmii_rx.byte.eq(Cat(rising[:4], falling[:4])),
            self.gmii_rx.valid.eq(rising[4]),
            self.gmii_rx.error.eq(rising[4] ^ falling[4]),
        ]

    def _delayed(self, m, pins):
        """Return ``pins`` delayed by about 2 ns."""
        delayed = Signal.like(pins)
        # It calibrates the delays of its bank; without an IODELAY_GROUP, it is placed wherever a delay needs it.
        m.submodules.delay_control = Instance(
            "IDELAYCTRL", i_REFCLK=self._clock.reference, i_RST=ResetSignal("ethernet"), o_RDY=Signal()
        )
        for bit in range(len(pins)):
            m.submodules[f"rx_delay_{bit}"] = Instance(
                "IDELAYE2",
                p_IDELAY_TYPE="FIXED",
                p_IDELAY_VALUE=round(_DELAY_PS / _TAP_PS),
                p_DELAY_SRC="IDATAIN",
                p_HIGH_PERFORMANCE_MODE="TRUE",
                p_REFCLK_FREQUENCY=200.0,
                p_SIGNAL_PATTERN="DATA",
                **{f"i_{name}": Const(0, 1) for name in ("C", "CE", "INC", "LD", "LDPIPEEN", "CINVCTRL", "REGRST")},
                i_CNTVALUEIN=Const(0, 5),
                i_DATAIN=Const(0, 1),
                i_IDATAIN=pins[bit],
                o_DATAOUT=delayed[bit],
            )
        return delayed
