"""The pins of a gigabit PHY: Reduced Gigabit Media Independent Interface, version 2.0 (HP, 2002), on 7 series.

A byte a cycle of 125 MHz: bits 0 to 3 with the rising edge, 4 to 7 with the falling one; the control pin has RX_DV or
TX_EN with the former and that XOR the error with the latter (section 3.0). Data change with the clock's edges: who
takes them needs them about 2 ns earlier than the clock, and either end may see to that (section 3.3, RGMII-ID).
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
"""16.8 ms at 125 MHz. The PHYs want 10 ms after their clock and power are steady."""

_TAP_PS = 78  # of IDELAYE2 with a reference of 200 MHz: 1 / (32 · 2 · F) (DS182)
_DELAY_PS = 2000  # RGMII 2.0, section 3.3: TsetupR and TholdR are typically 2 ns

CONSTRAINTS = (
    "set_clock_groups -asynchronous -group [get_clocks eth_rgmii_0__rx_clk__io]",
    "set_clock_groups -asynchronous -group [get_clocks -of_objects [get_pins ethernet/clock/pll/CLKOUT*]]",
)
"""For Vivado: nothing that crosses between the PHY's clock, the MMCM's and the accelerator's is timed; all of it is
synchronised. They name the instance ``ethernet`` of the top level."""


@dataclass(frozen=True)
class PhyTiming:
    """Which delays of RGMII the board's PHY leaves to us, as it is set up after a reset.

    ``delay_tx``: TXC must come 2 ns after the data. ``delay_rx``: the data are to be taken 2 ns later than they come.
    """

    delay_tx: bool
    delay_rx: bool


class Rgmii(wiring.Component):
    """A PHY's pins as GMII, with the clocks for both directions.

    Drives the domains `DOMAINS`, which the top level must have: ``ethernet_rx``, clocked by the PHY, ``ethernet``,
    and ``ethernet_txc``, which has no reset. The PHY is held in reset for 16.8 ms. It must have a link of 1 Gb/s: at
    10 and 100 Mb/s it would clock slower, which is not supported.

    Parameters
    ----------
    port : the board's ``eth_rgmii``: ``rst``, and ``clk``, ``ctl`` and ``data`` behind ``tx_`` and ``rx_``
    timing : the PHY's
    input_hz : of ``clk_in``

    Members
    -------
    clk_in : the board's oscillator, on a global buffer
    ready : the accelerator's clock runs: until then, and until ours do, the domains are in reset. Asynchronous.
    locked : ours run. Asynchronous.
    gmii_rx : in the domain ``ethernet_rx``
    gmii_tx : in the domain ``ethernet``
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
        m.submodules.clock = clock = self._clock
        m.submodules.rx_clk = rx_clk = io.Buffer("i", self.port.rx_clk)
        m.submodules.rx_clk_buffer = Instance("BUFG", i_I=rx_clk.i, o_O=ClockSignal("ethernet_rx"))
        m.d.comb += [clock.clk_in.eq(self.clk_in), self.locked.eq(clock.locked)]
        for domain in ("ethernet", "ethernet_rx"):
            m.submodules[f"{domain}_reset"] = ResetSynchronizer(~(clock.locked & self.ready), domain=domain)

    def _reset_of_the_phy(self, m):
        m.submodules.rst = rst = io.Buffer("o", self.port.rst)
        held = Signal(range(RESET_CYCLES + 1))
        active = Signal(init=1)
        m.d.comb += rst.o.eq(active)
        m.d.ethernet += active.eq(held != RESET_CYCLES)
        with m.If(held != RESET_CYCLES):
            m.d.ethernet += held.eq(held + 1)

    def _transmit(self, m):
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
        """`io.DDRBuffer` has no place for a delay between pin and register."""
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
        delayed = Signal.like(pins)
        # Calibrates the delays of the bank; one that is not named is placed wherever a delay needs it.
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
