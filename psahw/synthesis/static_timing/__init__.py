"""Longest paths between registers of a netlist, estimated before anything is placed."""

from . import ecp5, ultrascale, xilinx7
from .additions import addition_ps, most_additions
from .causes import cause, levels
from .circuit import longest
from .delays import Delays, Nets
from .paths import Path, Paths, Step, paths_of

__all__ = [
    "GRADES",
    "Delays",
    "Nets",
    "Path",
    "Paths",
    "Step",
    "addition_ps",
    "cause",
    "levels",
    "longest",
    "most_additions",
    "paths_of",
]

GRADES: dict[str, dict[str, Delays]] = {"xc7": xilinx7.GRADES, "xcup": ultrascale.GRADES, "ecp5": ecp5.GRADES}
"""Delays by family and speed grade."""
