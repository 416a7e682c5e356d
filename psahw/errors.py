"""The two ways in which a command ends early; see `psahw.cli` for their exit statuses."""

__all__ = ["CheckFailed", "UserError"]


class UserError(Exception):
    """Wrong use or bad input: one line that says what was wrong, where, and what to do. Exit status 2."""


class CheckFailed(Exception):
    """The command worked, and what it checked does not hold. Exit status 1."""
