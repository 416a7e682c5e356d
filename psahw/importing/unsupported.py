"""An error that lists all operators of a model that no network can hold."""

import os
from collections.abc import Sequence
from typing import TypeAlias

from ..errors import UserError
from ..quoting import printable

__all__ = ["MOST_LISTED", "Node", "Unsupported"]

Node: TypeAlias = tuple[str, str, str]
"""Name of a node, its operator, and the reason why it is not supported."""

MOST_LISTED = 200
"""The most nodes that a message lists, for files that were made to have many."""

_CHARACTERS = 40  # of a name or an operator; reasons may have three times as many


class Unsupported(UserError):
    """A model has nodes that are not supported.

    Parameters
    ----------
    nodes
        All such nodes, in the order of the file.
    path
        The file, or another name of the model.

    Attributes
    ----------
    nodes : tuple of Node
        All of them; the message lists the first `MOST_LISTED`, one in a line.
    """

    def __init__(self, nodes: Sequence[Node], path: str | os.PathLike = "the model") -> None:
        self.nodes = tuple(nodes)
        count = len(self.nodes)
        lines = [f"{path}: {count} operator{'s are' if count != 1 else ' is'} not supported:"]
        for name, operator, reason in self.nodes[:MOST_LISTED]:
            name, operator = printable(name, _CHARACTERS), printable(operator, _CHARACTERS)
            lines.append(f"  {name} ({operator}): {printable(reason, 3 * _CHARACTERS)}")
        if count > MOST_LISTED:
            lines.append(f"  and {count - MOST_LISTED} more")
        self._lines = tuple(lines)
        super().__init__("\n".join(lines))

    @property
    def lines(self) -> tuple[str, ...]:
        """Return the lines of the message."""
        return self._lines
