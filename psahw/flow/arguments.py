"""Check the arguments of the flow's functions, so that a mistake is named where it was made."""

import os
from numbers import Real

from .. import boards
from ..boards import Board
from ..network.graph import Network
from ..planner.plan import Plan

__all__ = ["board_of", "check_design", "check_network", "check_number", "engine_list"]


def check_network(network: object) -> None:
    """Raise TypeError unless the argument is a loaded network."""
    if not isinstance(network, Network):
        raise TypeError(f"network must be a Network, as psahw.load returns it, not {_shown(network)}")


def check_number(name: str, value: object) -> None:
    """Raise TypeError unless an optional argument is a number or None."""
    if value is not None and (not isinstance(value, Real) or isinstance(value, bool)):
        raise TypeError(f"{name} must be a number, not {_shown(value)}")


def check_design(design: object) -> None:
    """Raise TypeError unless the argument is a plan or the path of an elaborated design."""
    if not isinstance(design, Plan | str | os.PathLike):
        raise TypeError(f"design must be a plan, as psahw.plan returns it, or a directory, not {_shown(design)}")


def board_of(board: object) -> Board:
    """Return a board that is given by itself or by its name.

    Raises
    ------
    TypeError
        If the argument is neither.
    UserError
        If there is no board of that name.
    """
    if isinstance(board, Board):
        return board
    if not isinstance(board, str):
        raise TypeError(f"board must be a Board or the name of one, not {_shown(board)}")
    return boards.get(board)


def engine_list(engines: object) -> str | None:
    """Return engines, which are given as "mac,serial" or as a list of names, separated by commas."""
    if engines is None or isinstance(engines, str):
        return engines
    if isinstance(engines, list | tuple) and all(isinstance(name, str) for name in engines):
        return ",".join(engines)
    raise TypeError(f"engines must be names separated by commas, such as 'mac,serial', not {_shown(engines)}")


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."
