"""The real numbers that the bytes of a network's input stand for."""

import math
from dataclasses import dataclass

import numpy as np

from ..architecture.codes import INT8
from . import operators as ops
from .values import Bytes, Grid, Target

__all__ = ["InputFormat", "evenly_coded", "quantised_bytes"]

_LARGEST, _LEAST = float(np.finfo(np.float32).max), float(np.finfo(np.float32).tiny)


@dataclass(frozen=True)
class InputFormat:
    """The real numbers that the bytes of an input stand for: evenly spaced, from byte 0 to byte ``count - 1``.

    Parameters
    ----------
    low, high
        The numbers of byte 0 and of byte ``count - 1``. Bytes above stand for ``high``.
    count
        Number of bytes in use, in [2, 256].

    Raises
    ------
    ValueError
        If ``high`` is not above ``low``, ``count`` is out of range, or float32 cannot hold the numbers.
    """

    low: float
    high: float
    count: int = 256

    def __post_init__(self) -> None:
        if not (math.isfinite(self.low) and math.isfinite(self.high) and self.low < self.high):
            raise ValueError(f"the input format must be LOW:HIGH with LOW < HIGH, not {self.low:g}:{self.high:g}")
        if not 2 <= self.count <= 256:
            raise ValueError(f"the count of the input format must be in [2, 256], not {self.count}")
        if max(-self.low, self.high) > _LARGEST or self.step < _LEAST:
            raise ValueError(
                f"the input format must have numbers and steps that float32 can hold, not {self.low:g}:{self.high:g}"
            )

    def __str__(self) -> str:
        """Return the format as ``--input`` takes it."""
        return f"{self.low}:{self.high}" + ("" if self.count == 256 else f":{self.count}")

    @property
    def step(self) -> float:
        """The distance between two neighbours."""
        return (self.high - self.low) / (self.count - 1)

    def values(self) -> np.ndarray:
        """Return the real numbers of all bytes, float64 of shape (256,)."""
        return self.low + self.step * np.minimum(np.arange(256), self.count - 1)

    @classmethod
    def of(cls, quantiser: ops.Quantiser) -> "InputFormat":
        """Return the format whose byte 0 is the least code of a quantiser. Raises ValueError for too many codes."""
        low, high = (
            float(quantiser.values(np.array(code)).reshape(-1)[0]) for code in (quantiser.low, quantiser.high)
        )
        return cls(low, high, quantiser.high - quantiser.low + 1)


def evenly_coded(given: Bytes) -> tuple[np.ndarray, Grid] | None:
    """Return codes of bytes, int64 of shape (channels, 256), that stand for the same numbers, and their grid.

    Return None if the numbers are not evenly spaced, or not the same in all channels.
    """
    levels, codes = np.unique(given.values[0], return_inverse=True)
    spaces = np.diff(levels)
    if len(levels) < 2 or not np.allclose(spaces, spaces[0], rtol=1e-6) or (given.values != given.values[0]).any():
        return None
    step, first = float(spaces[0]), 0 if len(levels) <= 128 else -128
    zero = first - float(levels[0]) / step
    if abs(zero - round(zero)) < 1e-6:
        zero = float(round(zero))
    grid = Grid(step, zero, INT8, first, first + len(levels) - 1)
    return np.broadcast_to(codes + first, given.values.shape), grid


def quantised_bytes(given: Bytes, target: Target) -> tuple[np.ndarray, Grid]:
    """Return the codes that a quantiser gives for bytes, int64 of shape (channels, 256), as int8, and their grid."""
    grid = target.grid
    moved = 128 if grid.high > 127 else 0  # an input table gives int8
    codes = target.codes(given.values) - moved
    return codes, Grid(grid.scale, grid.zero - moved, INT8, int(codes.min()), int(codes.max()))
