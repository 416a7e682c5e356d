"""Codes: the integers that stand for activations."""

from dataclasses import dataclass

import numpy as np

from ..quoting import quote

__all__ = ["INT8", "MAX_BITS", "Codes"]

MAX_BITS = 31
"""Most bits of a code. Only outputs of a network, and accumulators in front of thresholds, have more than 8."""


@dataclass(frozen=True)
class Codes:
    """The type of a code.

    Parameters
    ----------
    bits
        Width, in [1, 31], and at least 2 if signed.
    signed
        Whether codes are in two's complement, from ``-2^(bits-1)`` to ``2^(bits-1) - 1``. Otherwise they are from 0
        to ``2^bits - 1``.

    Raises
    ------
    TypeError, ValueError
        If a parameter is not as described.
    """

    bits: int = 8
    signed: bool = True

    def __post_init__(self) -> None:
        if not isinstance(self.signed, bool):
            raise TypeError(f"signed must be True or False, not {quote(self.signed)}")
        if not isinstance(self.bits, int) or isinstance(self.bits, bool):
            raise TypeError(f"bits must be an integer, not {quote(self.bits)}")
        least = 2 if self.signed else 1
        if not least <= self.bits <= MAX_BITS:
            raise ValueError(f"bits must be in [{least}, {MAX_BITS}], not {quote(self.bits)}")

    def __str__(self) -> str:
        return f"{'int' if self.signed else 'uint'}{self.bits}"

    @property
    def signed_bits(self) -> int:
        """Bits of a number in two's complement that holds every code."""
        return self.bits + (not self.signed)

    @property
    def low(self) -> int:
        """The least code."""
        return -(1 << (self.bits - 1)) if self.signed else 0

    @property
    def high(self) -> int:
        """The greatest code."""
        return (1 << (self.bits - self.signed)) - 1

    @property
    def count(self) -> int:
        """Number of codes."""
        return 1 << self.bits

    @property
    def dtype(self) -> np.dtype:
        """The narrowest signed NumPy type that holds every code."""
        return np.dtype(np.int8 if self.high < 128 else np.int16 if self.high < 1 << 15 else np.int32)

    def saturate(self, value: np.ndarray) -> np.ndarray:
        """Return integers clipped to the codes, as `dtype`."""
        return np.clip(value, self.low, self.high).astype(self.dtype)


INT8 = Codes()
"""Codes of 8 bits in two's complement."""
