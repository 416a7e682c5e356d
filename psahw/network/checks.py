"""Checks of what the constructors of layers are given. All of them raise TypeError or ValueError."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import DTypeLike

from ..quoting import quote

__all__ = ["check_array", "check_bool", "check_int", "check_ints", "check_name"]

MAX_NAME = 100  # characters


def check_array(name: str, value: object, dtype: DTypeLike, shape: tuple[int | None, ...]) -> None:
    """Check the type and the shape of an array, and make it read-only. None admits any length of at least one.

    Raises TypeError for another type and ValueError for another shape.
    """
    if not isinstance(value, np.ndarray) or value.dtype != dtype:
        kind = value.dtype if isinstance(value, np.ndarray) else type(value).__name__
        raise TypeError(f"{name} must be an array of {np.dtype(dtype)}, not {kind}")
    fits = value.ndim == len(shape) and all(
        length == required or (required is None and length > 0)
        for length, required in zip(value.shape, shape, strict=True)
    )
    if not fits:
        required = ", ".join("any" if length is None else str(length) for length in shape)
        raise ValueError(f"{name} must have shape ({required}), not {value.shape}")
    value.flags.writeable = False


def check_bool(name: str, value: object) -> None:
    """Raise TypeError unless a value is True or False."""
    if not isinstance(value, bool):
        raise TypeError(f"{name} must be True or False, not {quote(value)}")


def check_int(name: str, value: object, low: int, high: int) -> None:
    """Raise TypeError if a value is no integer, and ValueError if it is not in [low, high]."""
    if not isinstance(value, int) or isinstance(value, bool):
        raise TypeError(f"{name} must be an integer, not {quote(value)}")
    if not low <= value <= high:
        raise ValueError(f"{name} must be in [{low}, {high}], not {quote(value)}")


def check_ints(name: str, values: object, bounds: Sequence[tuple[int, int]]) -> None:
    """Check a tuple of integers, each by its own [low, high]."""
    if not isinstance(values, tuple) or len(values) != len(bounds):
        raise TypeError(f"{name} must be a tuple of {len(bounds)} integers, not {quote(values)}")
    for index, (value, (low, high)) in enumerate(zip(values, bounds, strict=True)):
        check_int(f"{name}[{index}]", value, low, high)


def check_name(what: str, name: object) -> None:
    """Raise TypeError if a name is no string, and ValueError unless it has 1 to 100 characters that print."""
    if not isinstance(name, str):
        raise TypeError(f"{what} must be a string, not {quote(name)}")
    if not 1 <= len(name) <= MAX_NAME:
        raise ValueError(f"{what} must have 1 to {MAX_NAME} characters, not {len(name)}: {quote(name)}")
    if not name.isprintable():
        raise ValueError(f"{what} must consist of characters that print, unlike {quote(name)}")
