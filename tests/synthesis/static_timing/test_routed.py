"""The estimate beside modules that were routed, and the table of its errors in the documentation.

nextpnr placed and routed the modules between registers on the interconnect of an XC7K160T-2 (wires and switches of
Project X-Ray, cells of Vivado's reports), without clock skew. The delays are quoted from those measurements: 338 to
371 MHz with six seeds for the windows; 314 MHz and, in a denser corner, 299 MHz for the graph of 16 x 16; 309 and
259 MHz for that of 40 x 40; 280 MHz for token mixing, where paths that begin at a block RAM were timed apart. Channel
mixing was placed, but not routed.

The modules for ECP5 are those of `tests.routed_modules`, whose record has the routed delays.
"""

import gzip
import json
from pathlib import Path

import pytest

from psahw.records import load
from psahw.synthesis.static_timing import GRADES, paths_of
from psahw.synthesis.wrapping import TOP

KINTEX, ECP5 = GRADES["xc7"]["2"], GRADES["ecp5"]["6"]
FOLDER = Path(__file__).parent / "netlists"
ROOT = Path(__file__).parents[3]
PAGE, RESULTS = ROOT / "docs" / "explanation" / "timing.md", ROOT / "results"
PREFIX = "ecp5-8-"
WITHIN = 0.20

# Name, title, file, what the path starts with, and the routed delays in ns.
MODULES = (
    ("windows", "window of a merge, six seeds", "register", (2.70, 2.96)),
    ("graph-16x16", "adder graph 16 x 16, 8 bits per clock", "register", (3.18, 3.34)),
    ("graph-40x40", "adder graph 40 x 40, 2 bits per clock", "register", (3.24, 3.86)),
    ("token-mixing", "token mixing, 36 DSP slices", "register", (3.57, 3.57)),
    ("token-mixing", "token mixing, from a block RAM", "block RAM", (4.04, 4.04)),
    ("channel-mixing", "channel mixing, 50 DSP slices, placed only", "register", (3.34, 3.34)),
    ("channel-mixing", "channel mixing, from a block RAM, placed only", "block RAM", (4.27, 4.27)),
)


def modules(name):
    """Return the netlists of a file, and the modules inside of each."""
    content = json.loads(gzip.decompress((FOLDER / f"{name}.json.gz").read_bytes()))
    netlists = {
        module: {
            "ports": entry["ports"],
            "cells": {
                str(n): {
                    "type": kind,
                    "parameters": parameters,
                    "connections": nets,
                    "port_directions": entry["directions"][kind],
                }
                for n, (kind, parameters, nets) in enumerate(entry["cells"])
            },
        }
        for module, entry in content.items()
    }
    return netlists, {module: entry["children"] for module, entry in content.items()}


def between_registers(name):
    """Return all longest paths of a module with a register at each port: their delays and their first cells."""
    netlists, children = modules(name)
    found = {}
    while len(found) < len(netlists):
        for module in netlists:
            if module not in found and all(child in found for child in children[module]):
                inside = {child: found[child] for child in children[module]}
                found[module] = paths_of(module, netlists[module], inside, KINTEX)
    paths = found[min(netlists, key=len)]
    register = KINTEX.arcs({"type": "FDRE"})
    before, net, after = register.arrival["Q"], KINTEX.nets.ps(1, 1), register.setup["D"]
    yield from ((path.ps, path.steps[0].cell) for path in paths.ends.values())
    yield from ((before + net + path.ps, "FDRE") for path, _ in paths.into.values())
    yield from ((path.ps + net + after, path.steps[0].cell) for path in paths.out.values())
    yield from ((before + 2 * net + path.ps + after, "FDRE") for path in paths.through.values())


@pytest.fixture(scope="module")
def rows():
    """Return the title, the routed delays and the estimate in ns of each of `MODULES`."""
    delays = {name: list(between_registers(name)) for name in {entry[0] for entry in MODULES}}
    return [
        (
            title,
            routed,
            max(ps for ps, cell in delays[name] if cell.startswith("RAMB") == (start != "register")) / 1000,
        )
        for name, title, start, routed in MODULES
    ]


def test_error(rows):
    """The estimate is within a fifth of the middle of the routed delays."""
    for title, (low, high), estimate in rows:
        assert abs(estimate / ((low + high) / 2) - 1) <= WITHIN, (title, estimate)


def test_table(rows):
    """The table in the documentation has these figures."""
    lines = ["| module | routed, ns | estimated, ns | error |", "|---|--:|--:|--:|"]
    for title, (low, high), estimate in rows:
        routed = f"{low:.2f}" if low == high else f"{low:.2f} to {high:.2f}"
        lines.append(f"| {title} | {routed} | {estimate:.2f} | {100 * (2 * estimate / (low + high) - 1):+.0f} % |")
    assert "\n".join(lines) in PAGE.read_text(), "\n".join(lines)


def ecp5_modules():
    """Yield the stage, the median and the worst routed delay and the estimate in ns of each module for ECP5."""
    record = load(RESULTS / "routing.json")["modules/ecp5"]
    for path in sorted(FOLDER.glob(f"{PREFIX}*.json.gz")):
        stage = path.name.removeprefix(PREFIX).removesuffix(".json.gz")
        netlists, _ = modules(path.name.removesuffix(".json.gz"))
        estimate = paths_of(TOP, netlists[TOP], {}, ECP5).ends[TOP].ps / 1000
        title = f"8 channels, {stage}"
        yield stage, record[f"{title}: longest path"], record[f"{title}: worst seed"], estimate


def test_error_on_ecp5():
    """The estimate is within a fifth of the median of three seeds, for every kind of component."""
    found = list(ecp5_modules())
    assert len(found) >= 10
    for stage, routed, _, estimate in found:
        assert abs(estimate / routed - 1) <= WITHIN, (stage, routed, estimate)


def test_table_of_ecp5():
    """The table in the documentation has these figures."""
    lines = ["| stage | routed, ns: median | worst | estimated, ns | error |", "|---|--:|--:|--:|--:|"]
    for stage, routed, worst, estimate in ecp5_modules():
        error = 100 * (estimate / routed - 1)
        lines.append(f"| `{stage}` | {routed:.2f} | {worst:.2f} | {estimate:.2f} | {error:+.0f} % |")
    assert "\n".join(lines) in PAGE.read_text(), "\n".join(lines)
