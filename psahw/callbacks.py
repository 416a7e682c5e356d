"""The callables through which long functions report what they do."""

from collections.abc import Callable

__all__ = ["Log", "Progress", "counter", "silent"]

Log = Callable[[str], None]
"""Takes one line of text."""

Progress = Callable[[int, int], None]
"""Takes the number of items that are complete, and the number of all."""


def silent(*values: object) -> None:
    """Do nothing; the default of every callback."""


def counter(progress: Progress, total: int) -> Callable[[int], None]:
    """Return a function that takes the number of items just completed and reports all that are complete."""
    complete = 0

    def advance(items: int) -> None:
        nonlocal complete
        complete += items
        progress(complete, total)

    return advance
