"""Values by a key that comes from a user."""

from collections.abc import Mapping
from typing import TypeVar

from .errors import UserError
from .quoting import quote

__all__ = ["look_up"]

Value = TypeVar("Value")


def look_up(table: Mapping[str, Value], key: str, what: str, where: str = "", *, plural: str | None = None) -> Value:
    """Return the value of a key.

    Parameters
    ----------
    table
        The values by key.
    key
        The key that the user gave.
    what
        What the keys are, in the singular, such as ``"board"``.
    where
        Where the user gave the key, for the message, such as ``" of --for"``.
    plural
        The plural of ``what`` if it is not formed with an "s".

    Raises
    ------
    UserError
        If the key is not known. The message lists the known ones.

    Examples
    --------
    >>> look_up({"a": 1, "b": 2}, "c", "letter")
    Traceback (most recent call last):
    psahw.errors.UserError: unknown letter 'c'; known letters: a, b
    """
    try:
        return table[key]
    except (KeyError, TypeError):  # TypeError: the key is a list, for example
        known = ", ".join(table)
        raise UserError(f"unknown {what} {quote(key)}{where}; known {plural or what + 's'}: {known}") from None
