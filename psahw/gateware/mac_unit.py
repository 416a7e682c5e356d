"""What multiplies and adds in a MAC array: a DSP slice for one product a cycle, or for two."""

from amaranth.hdl import Cat, Module, Mux, Signal, signed

from .dsp48 import dsp48

__all__ = ["mac_pair", "mac_unit"]


def _accumulate(m: Module, en, w, x, first, *, start: int, bits: int, name: str, multiplier: str | None):
    """The sum of ``w·x`` and ``start``, begun anew with each ``first``, three cycles after ``w`` and ``x``."""
    if multiplier is not None:
        return dsp48(m, multiplier, en=en, a=w, b=x, first=first, start=start, name=name)[:bits].as_signed()
    a, b = (Signal(signed(len(v)), name=f"{n}_{name}", reset_less=True) for n, v in (("a", w), ("b", x)))
    product = Signal(signed(len(w) + len(x)), name=f"product_{name}", reset_less=True)
    total = Signal(signed(bits), name=f"total_{name}", reset_less=True)
    with m.If(en):
        m.d.sync += [a.eq(w), b.eq(x), product.eq(a * b), total.eq(Mux(first, start, total) + product)]
    return total


def _keep(m: Module, en, last, value, *, name: str):
    kept = Signal(value.shape(), name=f"kept_{name}", reset_less=True)
    with m.If(en & last):
        m.d.sync += kept.eq(value)
    return kept


def mac_unit(m: Module, en, w, x, first, last, *, bits: int, name: str, multiplier: str | None = None):
    """The sum of ``w·x`` from the step of ``first`` to that of ``last``, kept until the next ``last``.

    ``w`` and ``x`` are signed, ``bits`` holds every sum. ``first`` comes two cycles after its ``w`` and ``x``, or, if
    ``multiplier`` names the primitive of a DSP slice, which has a register for it, one; ``last`` comes after three,
    and the sum is there after four. ``en`` enables every register; none is reset.
    """
    total = _accumulate(m, en, w, x, first, start=0, bits=bits, name=name, multiplier=multiplier)
    return _keep(m, en, last, total, name=name)


def mac_pair(
    m: Module, en, lower, upper, x, first, last, *, split: int, bits: tuple[int, int], name: str,
    multiplier: str | None = None,
):  # fmt: skip
    """Two sums over the same ``x``, in one multiplier as `psahw.architecture.packing` says: those of ``lower·x`` and of
    ``(upper + (lower < 0))·x``, with ``mac_unit``'s cycles.

    ``bits`` are those of the two sums, of the lower one at most ``split``. Needs an operand of ``split + len(upper)``
    bits: 25 in a DSP48E1 (UG479), 27 in a DSP48E2 (UG579).
    """
    low_bits, high_bits = bits
    if low_bits > split:
        raise ValueError(f"bits must be at most {split} for the lower sum, not {low_bits}")
    w = Cat(lower, lower[-1].replicate(split - len(lower)), upper).as_signed()
    total = _accumulate(
        m, en, w, x, first, start=1 << split - 1, bits=split + high_bits, name=name, multiplier=multiplier
    )
    low = _keep(m, en, last, total[:low_bits], name=f"{name}_lower")
    high = _keep(m, en, last, total[split:].as_signed(), name=f"{name}_upper")
    # Below the split's own bit nothing was added.
    top = ~low[-1] if low_bits == split else low[-1]
    return Cat(low[:-1], top).as_signed(), high
