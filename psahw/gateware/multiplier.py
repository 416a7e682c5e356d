"""Products of an engine, in the multipliers of a device: as instances, or as code from which tools infer them."""

from pathlib import Path

from amaranth.hdl import Module, Mux, Signal, signed

from ..architecture.device import MULTIPLIERS
from ..architecture.packing import OPERAND_BITS
from ..architecture.timing import operand_registers
from .arith import delay
from .dsp48 import dsp48
from .mult18 import mult18

__all__ = ["MODELLED", "MODELS", "accumulated", "mark_delay", "product"]

MODELS = Path(__file__).with_name("multipliers.v")
"""Verilog models of the primitives for simulators. Amaranth's own simulator cannot run them."""

MODELLED = tuple(MULTIPLIERS.values())
"""The primitives that have a model."""


def product(m: Module, primitive: str | None, *, a, b, clear, name: str):
    """Return ``a·b``, or 0 if ``clear`` was high with them, three clock cycles later.

    All registers fit into a DSP slice: one for each operand, and two for the product. On ECP5, each operand has a
    register in the fabric and one in the multiplier, which may be far from the memory that the operand comes from.

    Parameters
    ----------
    primitive : str or None
        Primitive to instantiate; None lets the tools infer a multiplier.
    a, b : Value
        Signed factors.
    clear : Value
        Sets the register of ``a`` to 0.
    name : str
        Suffix of the signals' names.
    """
    bits = len(a) + len(b)
    if primitive in OPERAND_BITS:
        return dsp48(m, primitive, a=a, b=b, clear=clear, name=name)[:bits].as_signed()
    held_a, held_b = delay(m, a, 1, name=f"a_{name}"), delay(m, b, 1, name=f"b_{name}")
    with m.If(clear):
        m.d.sync += held_a.eq(0)
    if primitive is not None:
        return mult18(m, a=held_a, b=held_b, name=name)[:bits].as_signed()
    return delay(m, held_a * held_b, 2, name=f"product_{name}")


def mark_delay(primitive: str | None) -> int:
    """Return the clock cycles by which `accumulated` wants ``first`` later than the factors."""
    return 1 if primitive in OPERAND_BITS else 2 + operand_registers(primitive)


def accumulated(m: Module, primitive: str | None, *, a, b, first, start: int, bits: int, name: str):
    """Return the sum of ``start`` and of the products ``a·b`` since ``first``, some clock cycles after them.

    They are three, and one more on ECP5, where each operand has a register in the fabric and one in the multiplier
    (`psahw.architecture.timing.operand_registers`). A DSP slice contains the accumulator. Behind other multipliers it
    takes LUTs and flip-flops.

    Parameters
    ----------
    primitive : str or None
        Primitive to instantiate; None lets the tools infer a multiplier.
    a, b : Value
        Signed factors.
    first : Value
        Marks the first product of a sum, `mark_delay` clock cycles after its factors. A DSP slice has a register for
        it.
    start : int
        Value with which a sum starts.
    bits : int
        Width that holds every sum.
    name : str
        Suffix of the signals' names.
    """
    if primitive in OPERAND_BITS:
        return dsp48(m, primitive, a=a, b=b, first=first, start=start, name=name)[:bits].as_signed()
    held_a, held_b = delay(m, a, 1, name=f"a_{name}"), delay(m, b, 1, name=f"b_{name}")
    if primitive is not None:
        new = mult18(m, a=held_a, b=held_b, name=name)[: len(a) + len(b)].as_signed()
    else:
        new = delay(m, held_a * held_b, 1, name=f"product_{name}")
    total = Signal(signed(bits), name=f"total_{name}", reset_less=True)
    m.d.sync += total.eq(Mux(first, start, total) + new)
    return total
