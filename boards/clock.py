"""PLL settings and instances that derive the accelerator's clock from the board's oscillator.

With input divider D, multiplier M and output divider O, the VCO runs at ``input / D * M`` and the output at
``VCO / O``. The limits come from the data sheets: Kintex-7 DS182 (MMCM), Virtex UltraScale+ DS923 (MMCM),
ECP5 FPGA-DS-02012 (sysCLOCK PLL), GW2A DS102 and GW1NR DS117 (rPLL). The network that takes the clock to the
flip-flops limits the output, too (F_MAX_BUFG in DS182 and DS923, f_MAX_PRI in FPGA-DS-02012). On the 7 series this
module uses the MMCM instead of the PLL because the MMCM's dividers have steps of 1/8, so that 125 MHz gives exactly
143 MHz. The rPLL feeds back its output, not its VCO: FBDIV in UG286 is M / O, which must be a whole number.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction

from amaranth.hdl import Const, Instance, Module, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from psahw.errors import UserError
from psahw.lookup import look_up

__all__ = ["MMCM_AT_REST", "ClockGenerator", "ClockSettings", "settings"]

TOLERANCE = Fraction(1, 100)

_UNUSED = {"CLKIN2": 1, "PWRDWN": 1, "DADDR": 7, "DCLK": 1, "DEN": 1, "DI": 16, "DWE": 1} | dict.fromkeys(
    ("PSCLK", "PSEN", "PSINCDEC"), 1
)
MMCM_AT_REST = {"i_CLKINSEL": Const(1, 1)} | {f"i_{name}": Const(0, width) for name, width in _UNUSED.items()}
"""Constants for an MMCM's unused inputs: second clock, power down, dynamic reconfiguration and phase shift."""


@dataclass(frozen=True)
class _Pll:
    """Limits of a PLL primitive.

    ``pfd``, ``vco`` and ``output`` are the lowest and highest frequencies in MHz of the phase detector, the VCO and
    the output; ``network`` is the highest one that the device distributes to its flip-flops. The multiplier and the
    output divider have steps of 1 / ``steps``. ``device`` is the name that an rPLL has for its device.
    """

    primitive: str
    pfd: tuple[float, float]
    vco: tuple[int, int]
    output: tuple[float, int]
    network: int
    steps: int
    max_input_divider: int
    max_multiplier: int
    max_output_divider: int
    device: str = ""


_PLLS = {  # by family and speed grade
    "xc7": {
        "1": _Pll("MMCME2_ADV", (10, 450), (600, 1200), (4.69, 800), 625, 8, 106, 64, 128),
        "2": _Pll("MMCME2_ADV", (10, 500), (600, 1440), (4.69, 933), 710, 8, 106, 64, 128),
    },
    "xcup": {"2L-e": _Pll("MMCME4_ADV", (10, 500), (800, 1600), (6.25, 775), 775, 8, 106, 128, 128)},
    "ecp5": {
        "6": _Pll("EHXPLLL", (10, 400), (400, 800), (3.125, 400), 257, 1, 128, 128, 128),
        "8": _Pll("EHXPLLL", (10, 400), (400, 800), (3.125, 400), 370, 1, 128, 128, 128),
    },
    "gw2a": {"C8/I7": _Pll("rPLL", (3, 500), (500, 1250), (3.90625, 625), 625, 1, 64, 64 * 128, 128, "GW2A-18C")},
    # As in gowin_pll of Project Apicula, which DS117 should confirm.
    "gw1n": {"C6/I5": _Pll("rPLL", (3, 400), (400, 1200), (3.125, 600), 600, 1, 64, 64 * 128, 128, "GW1NR-9C")},
}

_RPLL_DIVIDERS = (2, 4, 8, *range(16, 129, 16))  # ODIV, from UG286, rPLL
_RPLL_MAX_FEEDBACK = 64


@dataclass(frozen=True)
class ClockSettings:
    """The dividers of a PLL and the exact frequencies that result from them.

    Attributes
    ----------
    primitive
        Name of the vendor's PLL primitive.
    input_hz
        Frequency of the oscillator, in Hz.
    input_divider, multiplier, output_divider
        D, M and O in the module's formulas.
    device
        The device's name in the attributes of an rPLL; empty for others.
    """

    primitive: str
    input_hz: Fraction
    input_divider: int
    multiplier: Fraction
    output_divider: Fraction
    device: str = ""

    @property
    def vco_hz(self) -> Fraction:
        """Frequency of the VCO, in Hz."""
        return self.input_hz / self.input_divider * self.multiplier

    @property
    def hz(self) -> Fraction:
        """Frequency of the output, in Hz."""
        return self.vco_hz / self.output_divider


def _candidates(pll: _Pll, input_hz: int, target: Fraction) -> Iterator[tuple[int, int, int]]:
    """Yield the settings whose output does not exceed ``target``.

    A setting consists of the input divider, and of the multiplier and the output divider in steps. For each input
    divider and multiplier, only the smallest possible output divider is yielded.
    """
    for input_divider in range(1, pll.max_input_divider + 1):
        pfd = Fraction(input_hz, input_divider)
        if not pll.pfd[0] <= pfd / 10**6 <= pll.pfd[1]:
            continue
        highest = min(int(pll.vco[1] * 10**6 * pll.steps / pfd), pll.max_multiplier * pll.steps)
        lowest = max(-int(-pll.vco[0] * 10**6 * pll.steps // pfd), 2 * pll.steps)
        numerator, denominator = input_hz * target.denominator, input_divider * target.numerator
        for multiplier in range(lowest, highest + 1):
            divider = -(-multiplier * numerator // denominator)
            if pll.steps < divider < 2 * pll.steps:  # a fractional divider is at least 2
                divider = 2 * pll.steps
            if pll.steps <= divider <= pll.max_output_divider * pll.steps:
                yield input_divider, multiplier, divider


def _rpll_candidates(pll: _Pll, input_hz: int, target: Fraction) -> Iterator[tuple[int, int, int]]:
    """Yield settings like `_candidates`, for a PLL that feeds back its output.

    For each input divider and output divider, only the largest possible feedback divider is yielded.
    """
    for input_divider in range(1, pll.max_input_divider + 1):
        pfd = Fraction(input_hz, input_divider)
        if not pll.pfd[0] <= pfd / 10**6 <= pll.pfd[1]:
            continue
        feedback = min(target // pfd, _RPLL_MAX_FEEDBACK)
        for divider in _RPLL_DIVIDERS:
            if pll.vco[0] <= pfd * feedback * divider / 10**6 <= pll.vco[1]:
                yield input_divider, feedback * divider, divider


def settings(family: str, speed: str, input_hz: float, target_hz: float) -> ClockSettings:
    """Return the PLL settings whose output comes nearest to ``target_hz`` without exceeding it.

    Among equal outputs, whole dividers are preferred, then the lowest input divider, then the fastest VCO, which
    has the least jitter.

    Parameters
    ----------
    family, speed
        Device family and speed grade, such as ``"xc7"`` and ``"2"``.
    input_hz
        Frequency of the oscillator, in Hz.
    target_hz
        Wanted frequency of the output, in Hz.

    Raises
    ------
    UserError
        If no settings come within 1 % of ``target_hz``, or if the device's clock network is too slow for it, or if
        the limits of the PLL are not known for the family and the speed grade.

    Examples
    --------
    >>> settings("xc7", "2", 125e6, 143e6).hz
    Fraction(143000000, 1)
    """
    grades = look_up(_PLLS, family, "family", plural="families")
    pll, target = look_up(grades, speed, "speed grade", f" of {family}"), Fraction(target_hz)

    def rank(candidate: tuple[int, int, int]) -> tuple:
        input_divider, multiplier, divider = candidate
        whole = multiplier % pll.steps == divider % pll.steps == 0
        return multiplier / (input_divider * divider), whole, -input_divider, multiplier

    low, high = pll.output[0], min(pll.output[1], pll.network)
    best = None
    if low * 10**6 <= target <= high * 10**6:
        candidates = _rpll_candidates if pll.primitive == "rPLL" else _candidates
        best = max(candidates(pll, int(input_hz), target), key=rank, default=None)
    if best is not None:
        input_divider, multiplier, divider = best
        clock = ClockSettings(
            pll.primitive,
            Fraction(input_hz),
            input_divider,
            Fraction(multiplier, pll.steps),
            Fraction(divider, pll.steps),
            pll.device,
        )
        if target - clock.hz <= TOLERANCE * target:
            return clock
        raise UserError(
            f"a clock of {target_hz / 1e6:g} MHz cannot be made from {input_hz / 1e6:g} MHz within 1 %; the nearest "
            f"below it is {float(clock.hz) / 1e6:g} MHz"
        )
    raise UserError(
        f"a clock of {target_hz / 1e6:g} MHz cannot be made from {input_hz / 1e6:g} MHz; this device's "
        f"{pll.primitive} makes {low:g} to {high} MHz{' for its clock network' if high < pll.output[1] else ''}"
    )


class ClockGenerator(wiring.Component):
    """A PLL with its clock buffer.

    Parameters
    ----------
    clock : ClockSettings
        Primitive and dividers.

    Members
    -------
    clk_in : In(1)
        The oscillator, from its input buffer.
    reset : In(1)
        Asynchronous reset, active high.
    clk : Out(1)
        Clock with the frequency `ClockSettings.hz`.
    locked : Out(1)
        High while ``clk`` is stable. Asynchronous.
    """

    def __init__(self, clock: ClockSettings):
        self.clock = clock
        super().__init__({"clk_in": In(1), "reset": In(1), "clk": Out(1), "locked": Out(1)})

    def _mmcm(self, m):
        """Instantiate the MMCM of the 7 series or UltraScale+."""
        clock, feedback, out = self.clock, Signal(), Signal()
        m.submodules.pll = Instance(
            clock.primitive,
            p_BANDWIDTH="OPTIMIZED",
            p_CLKIN1_PERIOD=float(10**9 / clock.input_hz),
            p_DIVCLK_DIVIDE=clock.input_divider,
            p_CLKFBOUT_MULT_F=float(clock.multiplier),
            p_CLKOUT0_DIVIDE_F=float(clock.output_divider),
            i_CLKIN1=self.clk_in,
            i_CLKFBIN=feedback,
            i_RST=self.reset,
            **MMCM_AT_REST,
            **({"i_CDDCREQ": Const(0, 1)} if clock.primitive == "MMCME4_ADV" else {}),
            o_CLKFBOUT=feedback,
            o_CLKOUT0=out,
            o_LOCKED=self.locked,
        )
        m.submodules.buffer = Instance("BUFG", i_I=out, o_O=self.clk)

    def _ehxplll(self, m):
        """Instantiate ECP5's PLL with CLKOP as the feedback and CLKOS as the output.

        CLKOP runs at the phase detector's frequency, so its divider is the multiplier. The attributes are those that
        Project Trellis' ``ecppll`` sets.
        """
        clock, feedback = self.clock, Signal()
        multiplier, divider = int(clock.multiplier), int(clock.output_divider)
        m.submodules.pll = Instance(
            "EHXPLLL",
            a_ICP_CURRENT="12",
            a_LPF_RESISTOR="8",
            a_MFG_ENABLE_FILTEROPAMP="1",
            a_MFG_GMCREF_SEL="2",
            p_FEEDBK_PATH="CLKOP",
            p_CLKI_DIV=clock.input_divider,
            p_CLKFB_DIV=1,
            p_CLKOP_ENABLE="ENABLED",
            p_CLKOP_DIV=multiplier,
            p_CLKOP_CPHASE=multiplier - 1,
            p_CLKOP_FPHASE=0,
            p_CLKOS_ENABLE="ENABLED",
            p_CLKOS_DIV=divider,
            p_CLKOS_CPHASE=divider - 1,
            p_CLKOS_FPHASE=0,
            p_PLLRST_ENA="ENABLED",
            i_CLKI=self.clk_in,
            i_CLKFB=feedback,
            i_RST=self.reset,
            i_STDBY=Const(0, 1),
            i_PLLWAKESYNC=Const(0, 1),
            # Dynamic phase shift is not used.
            **{f"i_{name}": Const(0, 1) for name in ("PHASESEL0", "PHASESEL1", "PHASEDIR", "PHASESTEP")},
            i_PHASELOADREG=Const(0, 1),
            # The clock enables do not gate any output.
            **{f"i_{name}": Const(0, 1) for name in ("ENCLKOP", "ENCLKOS", "ENCLKOS2", "ENCLKOS3")},
            o_CLKOP=feedback,
            o_CLKOS=self.clk,
            o_LOCK=self.locked,
        )

    def _rpll(self, m):
        """Instantiate Gowin's PLL with internal feedback and without dynamic selection."""
        clock = self.clock
        m.submodules.pll = Instance(
            "rPLL",
            p_DEVICE=clock.device,
            p_FCLKIN=f"{float(clock.input_hz / 10**6):g}",
            p_IDIV_SEL=clock.input_divider - 1,
            p_FBDIV_SEL=int(clock.multiplier / clock.output_divider) - 1,
            p_ODIV_SEL=int(clock.output_divider),
            p_CLKFB_SEL="internal",
            i_CLKIN=self.clk_in,
            i_RESET=self.reset,
            **{f"i_{name}": Const(0, 1) for name in ("RESET_P", "CLKFB")},
            **{f"i_{name}": Const(0, 6) for name in ("FBDSEL", "IDSEL", "ODSEL")},
            **{f"i_{name}": Const(0, 4) for name in ("PSDA", "DUTYDA", "FDLY")},
            o_CLKOUT=self.clk,
            o_LOCK=self.locked,
        )

    def elaborate(self, platform):
        m = Module()
        if self.clock.primitive == "EHXPLLL":
            self._ehxplll(m)
        elif self.clock.primitive == "rPLL":
            self._rpll(m)
        else:
            self._mmcm(m)
        return m
