"""Generate the clocks of RGMII on a 7 series device from the board's oscillator."""

from fractions import Fraction

from amaranth.hdl import ClockSignal, Const, Instance, Module, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from ..clock import MMCM_AT_REST

__all__ = ["RgmiiClock"]

_VCO_MHZ = 1000  # lowest common multiple of 125 and 200 MHz within the VCO's range, 600 to 1,440 MHz (DS182)
_OUTPUTS_MHZ = (125, 125, 200)


class RgmiiClock(wiring.Component):
    """An MMCM that generates 125 MHz twice, and the 200 MHz reference of IDELAYCTRL.

    It drives the clocks of the domains ``ethernet`` and ``ethernet_txc``. Each output has a global
    buffer.

    Parameters
    ----------
    input_hz
        Frequency of the oscillator in Hz, a divisor of 1 GHz.
    txc_phase
        Delay of the clock of ``ethernet_txc`` relative to that of ``ethernet``, in degrees.

    Raises
    ------
    ValueError
        If ``input_hz`` does not divide 1 GHz.

    Members
    -------
    clk_in : In(1)
        Clock of the oscillator.
    reference : Out(1)
        Clock of 200 MHz.
    locked : Out(1)
        The clocks are stable; asynchronous.
    """

    def __init__(self, *, input_hz: float, txc_phase: int):
        multiplier = Fraction(_VCO_MHZ * 10**6) / Fraction(input_hz)
        if multiplier.denominator != 1:
            raise ValueError(f"input_hz must divide 1e9, not {input_hz!r}")
        self.input_hz, self.txc_phase, self._multiplier = input_hz, txc_phase, int(multiplier)
        super().__init__({"clk_in": In(1), "reference": Out(1), "locked": Out(1)})

    def elaborate(self, platform):
        m = Module()
        feedback, outputs = Signal(), Signal(len(_OUTPUTS_MHZ))
        phases = (0, self.txc_phase, 0)
        settings = {"p_CLKOUT0_DIVIDE_F": float(_VCO_MHZ // _OUTPUTS_MHZ[0])}
        settings |= {f"p_CLKOUT{k}_DIVIDE": _VCO_MHZ // _OUTPUTS_MHZ[k] for k in (1, 2)}
        settings |= {f"p_CLKOUT{k}_PHASE": float(phase) for k, phase in enumerate(phases)}
        m.submodules.pll = Instance(
            "MMCME2_ADV",
            p_BANDWIDTH="OPTIMIZED",
            p_CLKIN1_PERIOD=1e9 / self.input_hz,
            p_DIVCLK_DIVIDE=1,
            p_CLKFBOUT_MULT_F=float(self._multiplier),
            **settings,
            i_CLKIN1=self.clk_in,
            i_CLKFBIN=feedback,
            i_RST=Const(0, 1),
            **MMCM_AT_REST,
            o_CLKFBOUT=feedback,
            o_CLKOUT0=outputs[0],
            o_CLKOUT1=outputs[1],
            o_CLKOUT2=outputs[2],
            o_LOCKED=self.locked,
        )
        for k, clock in enumerate((ClockSignal("ethernet"), ClockSignal("ethernet_txc"), self.reference)):
            m.submodules[f"buffer_{k}"] = Instance("BUFG", i_I=outputs[k], o_O=clock)
        return m
