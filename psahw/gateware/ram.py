"""Memories that are read and written, in block RAM or in LUTs."""

from amaranth.hdl import ShapeLike
from amaranth.lib.memory import Memory

__all__ = ["ram"]


def ram(*, shape: ShapeLike, depth: int, style: str) -> Memory:
    """Return a memory that must not be used to read a word in the clock cycle in which it is written.

    With ``no_rw_check``, Yosys need not give such a word the old value. On ECP5 that would take a comparison of the
    addresses, and a choice behind the slow output of a block RAM. ``ram_style`` is Vivado's attribute (UG901), which
    Yosys knows, too.
    """
    return Memory(shape=shape, depth=depth, init=[], attrs={"ram_style": style, "no_rw_check": 1})
