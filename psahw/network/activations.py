"""Activations: the shape and the type of what goes from layer to layer."""

import math
from dataclasses import dataclass, replace

from ..architecture.codes import MAX_BITS, Codes
from .checks import check_bool, check_int

__all__ = ["Activations", "output_codes"]


def output_codes(bits: int, signed: bool, most: int = MAX_BITS) -> Codes:
    """Return the type of a layer's outputs, of at most ``most`` bits.

    Raises TypeError or ValueError, which name the layer's parameters ``out_bits`` and ``out_signed``.
    """
    check_bool("out_signed", signed)
    check_int("out_bits", bits, 2 if signed else 1, most)
    return Codes(bits, signed)


@dataclass(frozen=True)
class Activations:
    """A grid of tokens, each with a code per channel, as it goes from layer to layer.

    Parameters
    ----------
    grid
        Rows and columns of tokens.
    channels
        Codes of a token.
    codes
        Their declared type.
    low, high
        Bounds of the codes that occur, within those of the type.
    """

    grid: tuple[int, int]
    channels: int
    codes: Codes
    low: int
    high: int

    def __str__(self) -> str:
        height, width = self.grid
        return f"{height} x {width} x {self.channels} {self.codes}"

    @property
    def tokens(self) -> int:
        """Number of tokens."""
        return self.grid[0] * self.grid[1]

    @property
    def size(self) -> int:
        """Number of codes."""
        return math.prod(self.grid) * self.channels

    def including(self, code: int) -> "Activations":
        """Return the same activations with one more code that occurs."""
        return replace(self, low=min(self.low, code), high=max(self.high, code))
