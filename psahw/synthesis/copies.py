"""Registers that are copies of each other, each for some of the loads of a long net."""

__all__ = ["SCRIPT"]

SCRIPT = "proc\nsetattr -set keep 1 a:keep %ci1 t:$*ff* %i\n"
"""Commands for Yosys that keep copies apart, to be run after the design is read.

Verilog marks the signals of such registers with the attribute ``keep``, which Vivado knows (UG901). Yosys joins equal
registers unless their cells have it; the cells exist only after ``proc``.
"""
