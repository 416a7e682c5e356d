"""Registers that are copies of each other, each for some of the loads of a long net."""

__all__ = ["SCRIPT"]

SCRIPT = "proc\nsetattr -set keep 1 a:keep %ci1 t:$*ff* %i\n"
"""Commands for Yosys that keep copies apart, behind those that read the design.

Verilog marks the signals of such registers with the attribute ``keep``. Vivado heeds it there (UG901). Yosys joins
equal registers unless their cells have it.
"""
