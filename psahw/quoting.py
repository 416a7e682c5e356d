"""Text from outside, made fit for a message on a terminal: short, and without control characters."""

import reprlib

__all__ = ["QUOTE_LIMIT", "printable", "quote"]

QUOTE_LIMIT = 80
"""The most characters of input that a message repeats."""

_INTEGER_BITS = 128  # longer integers are described in place of quoted: Python refuses to write very long ones


class _Quotes(reprlib.Repr):
    """Writes values as Python does, with an ellipsis in place of what is too long or too deep."""

    def __init__(self) -> None:
        super().__init__()
        self.maxlevel = 3
        self.maxstring = self.maxother = QUOTE_LIMIT
        self.maxlist = self.maxtuple = self.maxdict = self.maxset = self.maxfrozenset = 6

    def repr_int(self, x: int, level: int) -> str:
        """Return an integer in decimal, or its size if it is long."""
        bits = x.bit_length()
        return repr(x) if bits <= _INTEGER_BITS else f"an integer of {bits} bits"


_QUOTES = _Quotes()


def _cut(text: str, limit: int) -> str:
    return text if len(text) <= limit else f"{text[: limit - 1]}…"


def printable(text: str, limit: int | None = None) -> str:
    r"""Return a text without control characters, on one line.

    Characters that do not print become escapes, as in ``repr``: control characters, line ends, lone surrogates, and
    the invisible ones that change the direction of writing. Backslashes and quotation marks stay as they are.

    Parameters
    ----------
    text
        Any text.
    limit
        The most characters to return, the last of which is an ellipsis if the text is longer. None for no limit.

    Examples
    --------
    >>> printable("red\x1b[31m")
    'red\\x1b[31m'
    """
    if limit is not None:
        text = _cut(text, limit)
    if not text.isprintable():
        text = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
    return text if limit is None else _cut(text, limit)


def quote(value: object) -> str:
    """Return a value as a message quotes it: as ``repr`` does, in at most `QUOTE_LIMIT` printable characters.

    Examples
    --------
    >>> quote("a" * 1000)[-5:]
    "aaa…'"
    >>> quote(10**5000)
    'an integer of 16610 bits'
    """
    if isinstance(value, str):
        value = _cut(value, QUOTE_LIMIT)
        text = repr(value)
        return text if len(text) <= QUOTE_LIMIT else f"{text[: QUOTE_LIMIT - 2]}…{text[-1]}"
    return printable(_QUOTES.repr(value), QUOTE_LIMIT)
