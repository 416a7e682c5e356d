"""Name the largest part of a path."""

from .delays import Delays
from .paths import Path

__all__ = ["cause", "levels"]

_NET_SHARE = 1 / 3  # of a path, from which a single net is its cause
_CELL_SHARE = 1 / 4  # likewise for a block RAM or a multiplier
_BLOCK_RAMS = ("RAMB", "DP16KD", "PDPW16KD")
_MULTIPLIERS = ("DSP48", "MULT18")


def levels(path: Path, delays: Delays) -> int:
    """Return the number of LUTs on a path."""
    return sum(step.cell in delays.luts for step in path.steps)


def cause(path: Path, delays: Delays) -> str:
    """Return why a path is as long as it is: its largest part, in a few words.

    That is a block RAM that takes a quarter of the path, a multiplier that does, a net that takes a third, or the
    number of LUTs.
    """
    slowest = max(path.steps, key=lambda step: step.cell_ps)
    if slowest.cell_ps >= _CELL_SHARE * path.ps:
        if slowest.cell.startswith(_BLOCK_RAMS):
            return "block RAM"
        if slowest.cell.startswith(_MULTIPLIERS):
            return "multiplier"
    longest = max(path.steps, key=lambda step: step.net_ps)
    if longest.net_ps >= _NET_SHARE * path.ps:
        return f"net with {longest.fan_out} load{'s' if longest.fan_out != 1 else ''}"
    count = levels(path, delays)
    if not count:
        return f"cells without a LUT, {slowest.cell} among them"
    return f"{count} LUT{'s' if count != 1 else ''} in a row"
