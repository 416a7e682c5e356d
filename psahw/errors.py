"""The two errors that a user can expect. `psahw.cli` maps them to exit statuses."""

__all__ = ["CheckFailed", "UserError"]


class UserError(Exception):
    """Wrong use or bad input. The message is one line that says what was wrong, where, and what to do.

    An error that lists several faults has more `lines`, one for each.
    """

    @property
    def lines(self) -> tuple[str, ...]:
        """Return what to print: the message, and a line for each fault of a list."""
        return (str(self),)


class CheckFailed(Exception):
    """A failed check: the work was done, but its result does not hold."""
