"""Checks of the constructor arguments of components."""

__all__ = ["check_choice", "check_divides", "check_int"]


def check_int(name: str, value: object, low: int = 1, high: int | None = None):
    """Raise TypeError unless ``value`` is an integer, and ValueError unless it lies in [low, high]."""
    if not isinstance(value, int) or isinstance(value, bool):
        raise TypeError(f"{name} must be an integer, not {value!r}")
    if value < low or (high is not None and value > high):
        wanted = f"at least {low}" if high is None else f"in [{low}, {high}]"
        raise ValueError(f"{name} must be {wanted}, not {value}")


def check_choice(name: str, value: object, *choices: str):
    """Raise ValueError unless ``value`` is one of ``choices``."""
    if value not in choices:
        *most, last = map(repr, choices)
        raise ValueError(f"{name} must be {', '.join(most)} or {last}, not {value!r}")


def check_divides(name: str, value: int, whole_name: str, whole: int):
    """Raise ValueError unless ``value`` divides ``whole``."""
    if whole % value:
        raise ValueError(f"{name} must divide {whole_name} = {whole}, not {value}")
