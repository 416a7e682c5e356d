"""Verilog models of vendors' primitives, for lint and for simulating a board from its pins."""

from pathlib import Path

from psahw.lookup import look_up

__all__ = ["models"]

_HERE = Path(__file__).parent
_NAMES = {"xc7": "xilinx", "xcup": "xilinx", "ecp5": "ecp5", "gw2a": "gowin", "gw1n": "gowin"}


def models(family: str) -> list[Path]:
    """Return the files with the models for a device family. Verilator needs ``--timing`` for them.

    Raises UserError if there are none.
    """
    return [_HERE / f"{look_up(_NAMES, family, 'family', plural='families')}.v", _HERE / "pll.v"]
