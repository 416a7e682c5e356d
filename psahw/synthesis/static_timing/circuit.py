"""Longest paths of a whole circuit, from the bottom of its hierarchy to the top."""

from collections.abc import Iterable, Mapping
from typing import Any

from .delays import Delays
from .paths import Path, Paths, paths_of

__all__ = ["longest"]


def _bottom_up(top: str, children: Mapping[str, Iterable[str]]) -> list[str]:
    """Return the modules of a circuit, each behind those inside of it."""
    order, waiting = [], [top]
    while waiting:
        order.append(waiting.pop())
        waiting += children[order[-1]]
    return order[::-1]


def longest(
    top: str, netlists: Mapping[str, Mapping[str, Any]], children: Mapping[str, Iterable[str]], delays: Delays
) -> dict[str, Path]:
    """Return the longest path from register to register that ends in each module, whatever modules it passes.

    Parameters
    ----------
    top
        The module at the top.
    netlists
        Each module as ``write_json`` of Yosys writes it, by name. A module is instantiated once.
    children
        The names of the modules inside of each.
    delays
        Delays of cells and nets.

    Returns
    -------
    dict
        The paths by module; a module in which none ends is left out.

    Raises
    ------
    ValueError
        For a loop without a register, and for a cell whose delays are not known.
    """
    paths: dict[str, Paths] = {}
    for name in _bottom_up(top, children):
        inside = {child: paths.pop(child) for child in children[name]}
        paths[name] = paths_of(name, netlists[name], inside, delays)
    return paths[top].ends
