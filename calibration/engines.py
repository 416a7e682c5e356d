"""What each engine costs for the same trained layers, beside the plain circuit: for ``docs/hardware.md``.

python -m calibration.engines                          every case that is not in the data yet, a process each
python -m calibration.engines --jobs 5 --only head     at most five, of those with this word; the next run goes on
python -m calibration.engines --table                  what there is, as Markdown
python -m calibration.engines --plot docs/engines.svg

Yosys for the 7 series, not placed (`psahw.synthesis.yosys`). The published psa96 is read as the tests do, from
$PSAHW_REFERENCE. Weights at fewer bits than a layer was trained with are those that it has, shifted and rounded.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

import numpy as np

from calibration import graph_engine
from calibration.constant_multipliers import ConstantMultipliers
from calibration.graph_engine import LARGE, SMALL, named, rounded
from calibration.published import convert
from psahw import verilog
from psahw.adder_graph import solve
from psahw.adder_graph.serial import DIGITS
from psahw.files import write_whole
from psahw.gateware.adder_graph import AdderGraph
from psahw.gateware.graph_engine import PARALLEL_GRAPH, SERIAL_GRAPH, GraphEngine
from psahw.gateware.mac_array import MacArray
from psahw.gateware.rom import style_for
from psahw.network import file as networkfile
from psahw.network.layers import Linear
from psahw.synthesis import yosys

__all__ = ["CASES", "DATA", "LAYERS", "Case", "component", "main", "plot", "rows", "table"]

DATA = Path(__file__).parent / "engines.json"


class Layer(NamedTuple):
    """``bits`` are those that its weights were trained with, ``mac`` rows, columns and lanes out of its MAC array."""

    network: str
    name: str
    bits: int
    mac: tuple[int, int, int]


LAYERS = {
    "channel mixing 32x32": Layer("cifar10-psa", SMALL, 8, (8, 8, 2)),
    "channel mixing 64x64": Layer("cifar10-psa", LARGE, 8, (16, 16, 4)),
    "channel mixing 48x48": Layer("cifar10-psa-lean", "stages.1.blocks.0.channel_mixing.linear1", 6, (12, 12, 3)),
    "head 10x96": Layer("psa96", "head", 8, (10, 6, 1)),
}

SERIAL = tuple(f"serial:{digit}" for digit in DIGITS)
ENGINES = {
    "multipliers": "constant multipliers",
    "parallel": "adder graph, a vector a clock",
    "serial:8": "adder graph, 8 bits a clock",
    "serial:4": "adder graph, 4 bits a clock",
    "serial:2": "adder graph, 2 bits a clock",
    "serial:1": "adder graph, 1 bit a clock",
    "mac pairs": "MAC array, two products a DSP",
    "mac": "MAC array",
}


class Case(NamedTuple):
    layer: str
    bits: int
    engine: str

    def __str__(self):
        return f"{self.layer}, {self.bits} bits, {self.engine}"


CASES = (
    *(Case("channel mixing 32x32", bits, engine) for bits in (8, 6, 5, 4) for engine in ENGINES),
    *(Case("channel mixing 64x64", 8, engine) for engine in ("serial:1", "mac pairs")),
    *(Case("channel mixing 64x64", 5, engine) for engine in ENGINES if engine not in ("mac", "serial:8")),
    *(Case("channel mixing 64x64", 4, engine) for engine in ("serial:1", "mac pairs")),
    *(Case("channel mixing 48x48", 6, engine) for engine in ("parallel", "serial:1", "mac pairs")),
    *(Case("head 10x96", bits, engine) for bits in (8, 4) for engine in ENGINES if engine[-1] not in "248"),
)


def linear(layer: Layer) -> Linear:
    if layer.network == "psa96":
        network, _ = convert(layer.network)
    else:
        network = networkfile.load(networkfile.find(layer.network))
    found = named(network, layer.name)
    return found if isinstance(found, Linear) else Linear(found.weight[0], found.bias[0], found.shift[0])


def component(case: Case):
    """The engine for a case, and cycles a vector."""
    layer = LAYERS[case.layer]
    full = linear(layer)
    weight, bias, shift = rounded(full, case.bits, layer.bits)
    rows = {"bias": bias, "shift": shift, "out_bits": full.out_bits}
    if case.engine == "multipliers":
        return ConstantMultipliers(weight=weight, **rows), 1
    if case.engine == "parallel":
        return AdderGraph(graph=solve(weight), **rows), 1
    if case.engine.startswith("mac"):
        units, columns, lanes = layer.mac
        steps = -(-weight.shape[1] // columns)
        passes = -(-len(weight) // units)
        rows |= {"bias": bias.astype(np.int32)[None], "shift": shift.astype(np.uint8)[None]}
        return MacArray(
            weight=weight.astype(np.int8)[None],
            **rows,
            rows=units,
            columns=columns,
            o_lanes=lanes,
            depth=2 * steps,
            vectors=1,
            weight_style=style_for(steps * passes),
            operand_bits=25 if case.engine == "mac pairs" else None,
            multiplier="DSP48E1",
        ), steps * passes
    engine = GraphEngine(graph=solve(weight), digit=_digit(case), o_lanes=1, **rows)
    return engine, engine.graph_interval


def _digit(case: Case) -> int | None:
    return None if case.engine == "parallel" else int(case.engine.removeprefix("serial:"))


def _synthesised(case: Case, engine) -> dict[str, int]:
    """Cells of the engine alone: of a graph without what chooses lanes and queues results, of a MAC array without the
    ring in which vectors wait."""
    with tempfile.TemporaryDirectory(prefix="psahw-") as directory:
        verilog.emit(engine, "engine", Path(directory))
        # Yosys infers no DSP slice there, so that products by constants are LUTs, as adder graphs are.
        found = yosys.synthesise(Path(directory), "psahw_engine", "xc7", source="engine.v")
    if case.engine in SERIAL:
        return found.cells(f"psahw_engine.{SERIAL_GRAPH}")
    ring = found.cells("psahw_engine.ring")
    return {cell: count - ring.get(cell, 0) for cell, count in found.cells().items()}


def _known(case: Case) -> dict[str, int] | None:
    """Cells that `calibration.graph_engine` has measured."""
    if LAYERS[case.layer].name not in (SMALL, LARGE) or case.engine not in (*SERIAL, "parallel"):
        return None
    wanted = LAYERS[case.layer].name, case.bits, _digit(case)
    data = json.loads(graph_engine.DATA.read_text())
    parts = next((data.get(graph_engine.key(known)) for known in graph_engine.CASES if known[:3] == wanted), None)
    return parts and parts[PARALLEL_GRAPH if case.engine == "parallel" else SERIAL_GRAPH]


def measured(case: Case) -> dict:
    engine, interval = component(case)
    layer = LAYERS[case.layer]
    weight, _, _ = rounded(linear(layer), case.bits, layer.bits)
    cells = _known(case) or _synthesised(case, engine)
    return {
        **case._asdict(),
        "trained": case.bits == layer.bits,
        "outputs": len(weight),
        "inputs": weight.shape[1],
        "nonzero": int(np.count_nonzero(weight)),
        "interval": interval,
        "cells": {cell: count for cell, count in sorted(cells.items()) if count},
    }


def _read() -> dict[str, dict]:
    return json.loads(DATA.read_text()) if DATA.exists() else {}


def run(only: str, jobs: int | None) -> None:
    left = [case for case in CASES if str(case) not in _read() and only in str(case)]
    for n, case in enumerate(left[:jobs], 1):
        print(f"{n} of {len(left)}: {case}", flush=True)
        command = [sys.executable, "-m", "calibration.engines", "--case", *map(str, case)]
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
        data = _read() | {str(case): json.loads(done.stdout)}
        kept = {str(case): data[str(case)] for case in CASES if str(case) in data}
        write_whole(DATA, json.dumps(kept, indent=1) + "\n")


def rows() -> list[dict]:
    """Of each case: its fields, resources, and these by weight, and by weight times the interval: what a vector a
    clock would take."""
    found = []
    for row in _read().values():
        resources = yosys.resources_of(row["cells"]).to_dict()
        weights = row["outputs"] * row["inputs"]
        each = {f"{name} a weight": resources[name] / weights for name in ("lut", "ff", "dsp")}
        rate = {f"{name} x interval": row["interval"] * value for name, value in each.items()}
        found.append(row | resources | each | rate)
    return found


def table() -> str:
    names = ("lut a weight", "ff a weight", "dsp a weight")
    lines = [
        "| layer | bits | engine | interval | LUT | FF | DSP | LUT a weight | FF | DSP "
        "| LUT x interval a weight | FF | DSP |",
        "|---|--:|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|",
    ]
    for row in rows():
        numbers = [row["interval"], *(row[name] for name in ("lut", "ff", "dsp"))]
        shares = [row[name] for name in names] + [row[f"{name} x interval"] for name in names]
        bits = f"{row['bits']}{'' if row['trained'] else ' r'}"
        cells = [*(f"{n:,}" for n in numbers), *(f"{share:.2f}" if share else "–" for share in shares)]
        lines.append(f"| {row['layer']} | {bits} | {ENGINES[row['engine']]} | {' | '.join(cells)} |")
    return "\n".join(lines)


def plot(path: Path) -> None:
    """LUTs and flip-flops a weight against the interval, both logarithmic: a row for each, a column for each number
    of bits of the first layer."""
    from matplotlib.figure import Figure

    shown = [row for row in rows() if row["layer"] == CASES[0].layer]
    figure = Figure(figsize=(11, 5.6), layout="constrained")
    panels = figure.subplots(2, 4, sharex=True, sharey=True)
    single = (("multipliers", "s"), ("mac", "v"), ("mac pairs", "^"))
    for column, bits in zip(panels.T, (8, 6, 5, 4), strict=True):
        here = {row["engine"]: row for row in shown if row["bits"] == bits}
        curve = [here[name] for name in ("parallel", *reversed(SERIAL)) if name in here]
        groups = [(ENGINES[name], [here[name]] if name in here else [], marker) for name, marker in single]
        for axes, amount in zip(column, ("lut", "ff"), strict=True):
            for name, points, style in (("adder graphs", curve, "o-"), *groups):
                y = [p[f"{amount} a weight"] for p in points]
                axes.plot([p["interval"] for p in points], y, style, markersize=5, label=name)
                for p, height in zip(points, y, strict=True):
                    if p["dsp"]:
                        below = -9 if p["engine"] == "mac" else 4
                        place = {"xytext": (-4, below), "textcoords": "offset points", "ha": "right"}
                        axes.annotate(f"{p['dsp']} DSP", (p["interval"], height), fontsize=7, **place)
            axes.set(xscale="log", yscale="log")
            axes.grid(True, which="both", linewidth=0.3)
        column[0].set_title(f"{bits} bits")
        column[1].set_xlabel("cycles a vector")
    for axes, amount in zip(panels[:, 0], ("LUT", "FF"), strict=True):
        axes.set_ylabel(f"{amount} a weight")
    panels[0, 3].legend(fontsize=7)
    figure.suptitle(f"{CASES[0].layer} of cifar10-psa, Yosys for the 7 series", fontsize=10)
    figure.savefig(path, metadata={"Date": None} if path.suffix == ".svg" else None)


def main(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="", metavar="WORD")
    parser.add_argument("--jobs", type=int, metavar="N")
    parser.add_argument("--case", nargs=3, metavar=("LAYER", "BITS", "ENGINE"), help="measure one, print JSON")
    parser.add_argument("--table", action="store_true")
    parser.add_argument("--plot", type=Path, metavar="FILE")
    chosen = parser.parse_args(arguments)
    if chosen.case:
        layer, bits, engine = chosen.case
        json.dump(measured(Case(layer, int(bits), engine)), sys.stdout)
    elif chosen.table:
        print(table())
    elif chosen.plot:
        plot(chosen.plot)
    else:
        run(chosen.only, chosen.jobs)


if __name__ == "__main__":
    main()
