"""Checks of what a user gives to `psahw.importing.arrays`; messages begin with the name of the layer."""

from typing import get_args

import numpy as np

from ..network.checks import check_int, check_ints
from ..network.layers import MAX_SIZE
from ..quoting import quote
from . import operators as ops

__all__ = ["array", "numbers", "pair", "quantiser", "weights"]

_OFF_GRID = 1e-4  # of a step: how far a weight that is a float may lie beside its grid


def array(name: str, what: str, values: np.ndarray, axes: int) -> np.ndarray:
    """Return an array of finite numbers with so many axes."""
    given = np.asarray(values)
    if given.dtype.kind not in "fiu":
        raise TypeError(f"{name}: {what} must be integers or floats, not of type {given.dtype}")
    if given.ndim != axes or 0 in given.shape:
        raise ValueError(f"{name}: {what} must have {axes} ax{'es' if axes > 1 else 'is'}, not shape {given.shape}")
    if not np.isfinite(given).all():
        raise ValueError(f"{name}: {what} must be finite")
    return given


def pair(what: str, value: object, low: int) -> tuple[int, int]:
    """Return two integers, for one or two of them."""
    both = (value, value) if isinstance(value, int) else value
    check_ints(what, both, [(low, MAX_SIZE)] * 2)
    assert isinstance(both, tuple)  # as checked
    return both


def quantiser(
    name: str, scale: float, zero_point: int, bits: int, signed: bool, narrow: bool, rounding: ops.Rounding
) -> ops.Quantiser:
    """Return a grid whose parameters are in range."""
    check_int(f"{name}: bits", bits, 2 if signed else 1, 8)
    step = np.asarray(scale)
    if step.dtype.kind not in "fiu":
        raise TypeError(f"{name}: scale must be a number, not {quote(scale)}")
    if step.shape != () or not np.isfinite(step) or step <= 0:
        raise ValueError(f"{name}: scale must be a positive number, not {quote(scale)}")
    if rounding not in get_args(ops.Rounding):
        raise ValueError(
            f"{name}: rounding must be one of {', '.join(get_args(ops.Rounding))}, not {quote(rounding)}"
        )
    grid = ops.Quantiser(step.astype(np.float64), zero_point, bits, bool(signed), bool(narrow), rounding)
    check_int(f"{name}: zero_point", zero_point, grid.low, grid.high)
    return grid


def weights(name: str, weight: np.ndarray, scale: float | np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
    """Return int8 weights and their scale, one number or one for each output."""
    if scale is None:
        steps = np.ones(()) if weight.dtype.kind in "iu" else _power_of_two(name, weight)
    else:
        steps = numbers(name, "scale", scale, len(weight))
        if (steps <= 0).any():
            raise ValueError(f"{name}: scale must be positive, not {quote(scale)}")
    exact = weight if weight.dtype.kind in "iu" else weight / steps.reshape(-1, *[1] * (weight.ndim - 1))
    codes = np.rint(exact)
    for wrong, must in (
        (np.abs(exact - codes) > _OFF_GRID, "an integer times its scale"),
        ((codes < -128) | (codes > 127), "-128 to 127 times its scale"),
    ):
        if wrong.any():
            index = tuple(int(n) for n in np.argwhere(wrong)[0])
            raise ValueError(f"{name}: weight{list(index)} must be {must}, not {weight[index]:g}")
    return codes.astype(np.int8), steps


def _power_of_two(name: str, weight: np.ndarray) -> np.ndarray:
    """Return the greatest power of two of which all weights are multiples."""
    for exponent in range(24, -25, -1):
        exact = np.ldexp(weight, -exponent)
        if (exact == np.rint(exact)).all() and (weight.any() or exponent == 0):
            return np.array(2.0**exponent)
    raise ValueError(f"{name}: weight must be integers, or floats with their scale: no power of two suits them all")


def numbers(name: str, what: str, values: float | np.ndarray, channels: int) -> np.ndarray:
    """Return float64, one number or one for each channel."""
    given = np.asarray(values)
    if given.dtype.kind not in "fiu":
        raise TypeError(f"{name}: {what} must be numbers, not of type {given.dtype}")
    if given.shape not in ((), (1,), (channels,)):
        raise ValueError(f"{name}: {what} must be one number or {channels}, not of shape {given.shape}")
    if not np.isfinite(given).all():
        raise ValueError(f"{name}: {what} must be finite")
    return given.astype(np.float64)
