"""Multiply-accumulate units of a MAC array: a multiplier for one product per clock cycle, or for two."""

from amaranth.hdl import Cat, Module, Signal

from .multiplier import accumulated

__all__ = ["mac_pair", "mac_unit"]


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
        Marks the first product of a sum, `psahw.gateware.multiplier.mark_delay` clock cycles after its ``w`` and
        ``x``.
    last : Value
        Marks the last product of a sum, three clock cycles after its ``w`` and ``x``.
    bits : int
        Width that holds every sum.
    name : str
        Suffix of the signals' names.
    multiplier : str or None
        Primitive to instantiate; None lets the tools infer a multiplier.
    """
    total = accumulated(m, multiplier, a=w, b=x, first=first, start=0, bits=bits, name=name)
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
    total = accumulated(m, multiplier, a=w, b=x, first=first, start=1 << split - 1, bits=split + high_bits, name=name)
    low = _keep(m, last, total[:low_bits], name=f"{name}_lower")
    high = _keep(m, last, total[split:].as_signed(), name=f"{name}_upper")
    # The accumulator starts at 1 << split - 1, which inverts only that bit of the lower sum.
    top = ~low[-1] if low_bits == split else low[-1]
    return Cat(low[:-1], top).as_signed(), high
