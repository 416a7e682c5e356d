"""DSP slices of Xilinx devices, as multipliers with or without an accumulator behind them."""

from amaranth.hdl import Cat, ClockSignal, Const, Instance, Module, Signal, signed

from ..architecture.packing import ACCUMULATOR_BITS, OPERAND_BITS
from .check import check_choice

__all__ = ["dsp48"]

# OPMODE's multiplexers (UG479, tables 2-7 to 2-9; UG579, tables 2-4 to 2-7): X and Y select the product. Z selects P,
# or C if its lowest bit is set. The W multiplexer of a DSP48E2 selects 0.
_PRODUCT, _Z_P, _Z_C = 0b0101, 0b010, 0b011

# Unused inputs are 0, and their registers are neither present nor enabled.
_WIDTHS = {
    "ACIN": 30, "ALUMODE": 4, "BCIN": 18, "CARRYCASCIN": 1, "CARRYIN": 1, "CARRYINSEL": 3, "INMODE": 5,
    "MULTSIGNIN": 1, "PCIN": 48,
    "CEA1": 1, "CEAD": 1, "CEALUMODE": 1, "CEB1": 1, "CEC": 1, "CECARRYIN": 1, "CED": 1, "CEINMODE": 1,
    "RSTALLCARRYIN": 1, "RSTALUMODE": 1, "RSTB": 1, "RSTC": 1, "RSTCTRL": 1, "RSTD": 1, "RSTINMODE": 1, "RSTM": 1,
    "RSTP": 1,
}  # fmt: skip
_UNUSED = {f"i_{name}": Const(0, width) for name, width in _WIDTHS.items()}
_REGISTERS = {
    "p_AREG": 1, "p_ACASCREG": 1, "p_BREG": 1, "p_BCASCREG": 1, "p_MREG": 1, "p_PREG": 1,
    "p_ALUMODEREG": 0, "p_CARRYINREG": 0, "p_CARRYINSELREG": 0, "p_CREG": 0, "p_DREG": 0,
    "p_INMODEREG": 0,
}  # fmt: skip


def dsp48(m: Module, primitive: str, *, a, b, name: str, clear=None, first=None, start: int = 0) -> Signal:
    """Instantiate a DSP slice and return its output P of 48 bits.

    Without ``first``, P is the product ``a·b``. (C is 0 and is added to it. If Z selected 0 instead, Yosys' pass
    ``xilinx_dsp`` would move an addition behind P in front of P's register.) With ``first``, P is the sum of
    ``start`` and of the products since the one whose operands came one clock cycle before ``first``; OPMODE has a
    register, too.

    Latency: three clock cycles from ``a`` and ``b``, through the registers A2 and B2, M and P. Throughput: one
    product per clock cycle. The primitive's parameters are those of UG479 and UG579, chapter "Attributes"; the
    preadder, the cascades and the pattern detector are not used.

    Parameters
    ----------
    primitive : str
        ``"DSP48E1"`` or ``"DSP48E2"``.
    a, b : Value
        Signed operands, of at most 25 bits in a DSP48E1 or 27 in a DSP48E2, and of at most 18 bits.
    name : str
        Suffix of the names of the instance and of its output.
    clear : Value or None
        Sets the register of ``a`` to 0.
    first : Value or None
        Starts a new sum.
    start : int
        Value with which a sum starts.

    Raises
    ------
    ValueError
        If the primitive is unknown, or an operand is too wide.
    """
    check_choice("primitive", primitive, *OPERAND_BITS)
    if len(a) > OPERAND_BITS[primitive] or len(b) > 18:
        raise ValueError(
            f"a and b must have {OPERAND_BITS[primitive]} and 18 bits at most, not {len(a)} and {len(b)}"
        )
    p = Signal(signed(ACCUMULATOR_BITS), name=f"p_{name}")
    z = Const(_Z_C, 3) if first is None else Cat(first, Const(_Z_P >> 1, 2))
    opmode = Cat(Const(_PRODUCT, 4), z)
    wide = primitive == "DSP48E2"
    m.submodules[f"dsp_{name}"] = Instance(
        primitive,
        **_REGISTERS,
        **_UNUSED,
        p_OPMODEREG=int(first is not None),
        i_CLK=ClockSignal(),
        **{f"i_{pin}": Const(1) for pin in ("CEA2", "CEB2", "CEM", "CEP")},
        i_CECTRL=Const(first is not None),
        i_RSTA=Const(0) if clear is None else clear,
        i_A=_extended(a, 30),
        i_B=_extended(b, 18),
        i_C=Const(start, ACCUMULATOR_BITS),
        i_D=Const(0, OPERAND_BITS[primitive]),
        i_OPMODE=Cat(opmode, Const(0, 2)) if wide else opmode,
        o_P=p,
    )
    return p


def _extended(value, bits: int):
    """Return a signed value with its sign repeated up to ``bits`` bits."""
    return Cat(value, value[-1].replicate(bits - len(value)))
