"""Multipliers of 18 x 18 bits of ECP5 devices, with the registers in front of them and behind them."""

from amaranth.hdl import Cat, ClockSignal, Const, Instance, Module, Signal, Value, signed

__all__ = ["mult18"]

_BITS = 18


def mult18(m: Module, *, a, b, name: str) -> Signal:
    """Instantiate a MULT18X18D and return its product ``a·b``, of 36 bits.

    Latency: two clock cycles from ``a`` and ``b``, through the registers of the operands and of the product.
    Throughput: one product per clock cycle. The primitive's parameters are those of FPGA-TN-02205, "ECP5 and ECP5-5G
    sysDSP Usage Guide"; the register inside of the multiplier, the cascades and the third operand are not used.

    Yosys infers this multiplier without its registers. Operands then have to reach it, and their product has to leave
    it, within one clock cycle, wherever it lies.

    Parameters
    ----------
    a, b : Value
        Signed operands, of at most 18 bits.
    name : str
        Suffix of the names of the instance and of its output.

    Raises
    ------
    ValueError
        If an operand is too wide.
    """
    if max(len(a), len(b)) > _BITS:
        raise ValueError(f"a and b must have {_BITS} bits at most, not {len(a)} and {len(b)}")
    p = Signal(signed(2 * _BITS), name=f"p_{name}")
    m.submodules[f"mult_{name}"] = Instance(
        "MULT18X18D",
        **{f"p_REG_{register}_CLK": "CLK0" for register in ("INPUTA", "INPUTB", "OUTPUT")},
        p_GSR="DISABLED",
        i_CLK0=ClockSignal(),
        i_CE0=Const(1),
        i_RST0=Const(0),
        **{f"i_{pin}{n}": Const(0) for pin in ("CLK", "CE", "RST") for n in range(1, 4)},
        **{f"i_{pin}": Const(1) for pin in ("SIGNEDA", "SIGNEDB")},
        **{f"i_{pin}": Const(0) for pin in ("SOURCEA", "SOURCEB")},
        **_bits("i_A", Cat(a, a[-1].replicate(_BITS - len(a)))),
        **_bits("i_B", Cat(b, b[-1].replicate(_BITS - len(b)))),
        **_bits("i_C", Const(0, _BITS)),
        **_bits("o_P", p),
    )
    return p


def _bits(port: str, value) -> dict[str, Value]:
    """Return the bits of a port by their names."""
    return {f"{port}{n}": bit for n, bit in enumerate(value)}
