"""Multiply-accumulate units of a MAC array: a DSP slice for one product per clock cycle, or for two."""

from amaranth.hdl import Cat, Module, Mux, Signal, signed

from .dsp48 import dsp48

__all__ = ["mac_pair", "mac_unit"]


def _accumulate(m: Module, w, x, first, *, start: int, bits: int, name: str, multiplier: str | None):
    """Return the sum of ``start`` and of the products ``w·x`` since ``first``, three clock cycles after them."""
    if multiplier is not None:
        return dsp48(m, multiplier, a=w, b=x, first=first, start=start, name=name)[:bits].as_signed()
    a, b = (Signal(signed(len(v)), name=f"{n}_{name}", reset_less=True) for n, v in (("a", w), ("b", x)))
    product = Signal(signed(len(w) + len(x)), name=f"product_{name}", reset_less=True)
    total = Signal(signed(bits), name=f"total_{name}", reset_less=True)
    m.d.sync += [a.eq(w), b.eq(x), product.eq(a * b), total.eq(Mux(first, start, total) + product)]
    return total


def _keep(m: Module, last, value, *, name: str):
    """Return a register that takes ``value`` when ``last`` is high."""
    kept = Signal(value.shape(), name=f"kept_{name}", reset_less=True)
    with m.If(last):
        m.d.sync += kept.eq(value)
    return kept


def mac_unit(m: Module, w, x, first, last, *, bits: int, name: str, multiplier: str | None = None):
    """Return the sum of ``w·x`` from the step of ``first`` to that of ``last``, which stays until the next ``last``.

    Latency: four clock cycles from the last ``w`` and ``x`` to the sum. Throughput: one product per clock cycle. No
    register is reset.

    Parameters
    ----------
    w, x : Value
        Signed factors.
    first : Value
        Marks the first product of a sum, two clock cycles after its ``w`` and ``x``, or one if ``multiplier`` is
        given: a DSP slice has a register for it.
    last : Value
        Marks the last product of a sum, three clock cycles after its ``w`` and ``x``.
    bits : int
        Width that holds every sum.
    name : str
        Suffix of the signals' names.
    multiplier : str or None
        Primitive to instantiate; None lets the tools infer a multiplier.
    """
    total = _accumulate(m, w, x, first, start=0, bits=bits, name=name, multiplier=multiplier)
    return _keep(m, last, total, name=name)


def mac_pair(
    m: Module, lower, upper, x, first, last, *, split: int, bits: tuple[int, int], name: str,
    multiplier: str | None = None,
):  # fmt: skip
    """Return two sums over the same ``x`` from one multiplier: of ``lower·x``, and of ``(upper + (lower < 0))·x``.

    `psahw.architecture.packing` derives the method. Latency, throughput and the other parameters are those of
    `mac_unit`.

    Parameters
    ----------
    lower, upper : Value
        Signed weights. The multiplier needs an operand of ``split + len(upper)`` bits, of which a DSP48E1 has 25
        (UG479), a DSP48E2 27 (UG579).
    split : int
        Bit of the accumulator at which the upper sum begins.
    bits : (int, int)
        Widths that hold the lower and the upper sum; the lower one is at most ``split``.

    Raises
    ------
    ValueError
        If the lower sum is wider than ``split``.
    """
    low_bits, high_bits = bits
    if low_bits > split:
        raise ValueError(f"bits must be at most {split} for the lower sum, not {low_bits}")
    w = Cat(lower, lower[-1].replicate(split - len(lower)), upper).as_signed()
    total = _accumulate(
        m, w, x, first, start=1 << split - 1, bits=split + high_bits, name=name, multiplier=multiplier
    )
    low = _keep(m, last, total[:low_bits], name=f"{name}_lower")
    high = _keep(m, last, total[split:].as_signed(), name=f"{name}_upper")
    # The accumulator starts at 1 << split - 1, which inverts only that bit of the lower sum.
    top = ~low[-1] if low_bits == split else low[-1]
    return Cat(low[:-1], top).as_signed(), high
