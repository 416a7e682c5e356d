"""Cost of each engine for the same trained layers, and of the plain circuit, for ``docs/explanation/engines.md``.

python -m calibration.engines                          measure the cases that are missing, in a process each
python -m calibration.engines --jobs 5 --only head     measure at most five, of those that contain a word
python -m calibration.engines --table                  print what was measured, as Markdown
python -m calibration.engines --plot docs/engines.svg

The costs are those of Yosys for the 7 series, not placed (`psahw.synthesis.yosys`). The published psa96 is read from
$PSAHW_REFERENCE. Weights with fewer bits than a layer was trained with are the trained ones, shifted and rounded.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from amaranth.lib import wiring

from calibration import graph_engine
from calibration.constant_multipliers import ConstantMultipliers
from calibration.graph_engine import LARGE, SMALL, layer_of, rounded
from calibration.published import convert
from psahw import verilog
from psahw.adder_graph import solve
from psahw.architecture.codes import Codes
from psahw.files import write_whole
from psahw.gateware.adder_graph import AdderGraph
from psahw.gateware.graph_engine import PARALLEL_GRAPH, SERIAL_GRAPH, GraphEngine
from psahw.gateware.mac_array import MacArray
from psahw.gateware.rom import style_for
from psahw.network.file import load
from psahw.network.layers import Linear
from psahw.synthesis import yosys

__all__ = ["CASES", "DATA", "LAYERS", "Case", "component", "main", "measurements", "plot", "table"]

DATA = Path(__file__).parent / "engines.json"


class Layer(NamedTuple):
    """A trained layer.

    Parameters
    ----------
    network, name
        The network, and the name of the layer in it.
    bits
        Bits that its weights were trained with.
    mac
        Rows, columns and output lanes of its MAC array.
    """

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

SERIAL = ("serial:1", "serial:2", "serial:4", "serial:8")
ENGINES = {
    "multipliers": "constant multipliers",
    "parallel": "adder graph, a vector per cycle",
    "serial:8": "adder graph, 8 bits per cycle",
    "serial:4": "adder graph, 4 bits per cycle",
    "serial:2": "adder graph, 2 bits per cycle",
    "serial:1": "adder graph, 1 bit per cycle",
    "mac pairs": "MAC array, two products per DSP",
    "mac": "MAC array",
}


class Case(NamedTuple):
    """A layer of `LAYERS` with some bits per weight and an engine of `ENGINES`."""

    layer: str
    bits: int
    engine: str

    def __str__(self) -> str:
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
    """Return the trained layer."""
    network = convert(layer.network)[0] if layer.network == "psa96" else load(layer.network)
    return layer_of(network, layer.name)


def component(case: Case) -> tuple[wiring.Component, int]:
    """Return the engine of a case, and its clock cycles per vector."""
    layer = LAYERS[case.layer]
    trained = linear(layer)
    weight, bias, shift = rounded(trained, case.bits, layer.bits)
    requantisation: dict[str, Any] = {"bias": bias, "shift": shift, "out_bits": trained.out_bits}
    if case.engine == "multipliers":
        return ConstantMultipliers(weight=weight, **requantisation), 1
    if case.engine == "parallel":
        return AdderGraph(graph=solve(weight), **requantisation), 1
    if case.engine.startswith("mac"):
        rows, columns, lanes = layer.mac
        steps = -(-weight.shape[1] // columns)
        passes = -(-len(weight) // rows)
        requantisation |= {"bias": bias.astype(np.int32)[None], "shift": shift.astype(np.uint8)[None]}
        return MacArray(
            weight=weight.astype(np.int8)[None],
            **requantisation,
            rows=rows,
            columns=columns,
            o_lanes=lanes,
            depth=2 * steps,
            vectors=1,
            weight_style=style_for(steps * passes),
            operand_bits=25 if case.engine == "mac pairs" else None,
            multiplier="DSP48E1",
        ), steps * passes
    codes = Codes(trained.out_bits)
    engine = GraphEngine(graph=solve(weight), bias=bias, shift=shift, digit=_digit(case), o_lanes=1, o_codes=codes)
    return engine, engine.graph_interval


def _digit(case: Case) -> int | None:
    """Return the bits per clock cycle of a case's adder graph, or None for a vector per clock cycle."""
    return None if case.engine == "parallel" else int(case.engine.removeprefix("serial:"))


def _synthesised(case: Case, engine: wiring.Component) -> dict[str, int]:
    """Return the cells of the engine alone.

    They are counted without the choice of lanes of an adder graph, without result queues, and without the ring of a
    MAC array, in which vectors wait.
    """
    with tempfile.TemporaryDirectory(prefix="psahw-") as directory:
        verilog.emit(engine, "engine", Path(directory))
        # Yosys infers no DSP slices here, so that products by constants are LUTs, as adder graphs are.
        synthesis = yosys.synthesise(Path(directory), "psahw_engine", "xc7", source="engine.v")
    if case.engine in SERIAL:
        return synthesis.cells(f"psahw_engine.{SERIAL_GRAPH}")
    ring, queue = (synthesis.cells(f"psahw_engine.{name}") for name in ("ring", "queue"))
    return {cell: count - ring.get(cell, 0) - queue.get(cell, 0) for cell, count in synthesis.cells().items()}


def _known(case: Case) -> dict[str, int] | None:
    """Return the cells of a case that `calibration.graph_engine` has measured, or None."""
    if LAYERS[case.layer].name not in (SMALL, LARGE) or case.engine not in (*SERIAL, "parallel"):
        return None
    wanted = LAYERS[case.layer].name, case.bits, _digit(case)
    data = json.loads(graph_engine.DATA.read_text())
    parts = next((data.get(graph_engine.key(known)) for known in graph_engine.CASES if known[:3] == wanted), None)
    return parts and parts[PARALLEL_GRAPH if case.engine == "parallel" else SERIAL_GRAPH]


def measured(case: Case) -> dict[str, Any]:
    """Return the fields of a case, the size of its matrix, its interval and its cells."""
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


def _read() -> dict[str, dict[str, Any]]:
    """Return what was measured, by case."""
    return json.loads(DATA.read_text()) if DATA.exists() else {}


def run(only: str, jobs: int | None) -> None:
    """Measure at most ``jobs`` of the missing cases that contain ``only``, each in a process, and write the data."""
    left = [case for case in CASES if str(case) not in _read() and only in str(case)]
    for n, case in enumerate(left[:jobs], 1):
        print(f"{n} of {len(left)}: {case}", flush=True)
        command = [sys.executable, "-m", "calibration.engines", "--case", *map(str, case)]
        process = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
        data = _read() | {str(case): json.loads(process.stdout)}
        in_order = {str(case): data[str(case)] for case in CASES if str(case) in data}
        write_whole(DATA, json.dumps(in_order, indent=1) + "\n")


def measurements() -> list[dict[str, Any]]:
    """Return what was measured of each case, with resources, resources per weight, and these times the interval.

    Resources times the interval are what one vector per clock cycle would take.
    """
    rows = []
    for row in _read().values():
        resources = yosys.resources_of(row["cells"]).to_dict()
        weights = row["outputs"] * row["inputs"]
        per_weight = {f"{name} per weight": resources[name] / weights for name in ("lut", "ff", "dsp")}
        rate = {f"{name} x interval": row["interval"] * value for name, value in per_weight.items()}
        rows.append(row | resources | per_weight | rate)
    return rows


def table() -> str:
    """Return the measurements as a Markdown table."""
    names = ("lut per weight", "ff per weight", "dsp per weight")
    lines = [
        "| layer | bits | engine | interval | LUT | FF | DSP | LUT per weight | FF | DSP "
        "| LUT x interval per weight | FF | DSP |",
        "|---|--:|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|",
    ]
    for row in measurements():
        numbers = [row["interval"], *(row[name] for name in ("lut", "ff", "dsp"))]
        shares = [row[name] for name in names] + [row[f"{name} x interval"] for name in names]
        bits = f"{row['bits']}{'' if row['trained'] else ' r'}"
        cells = [*(f"{n:,}" for n in numbers), *(f"{share:.2f}" if share else "–" for share in shares)]
        lines.append(f"| {row['layer']} | {bits} | {ENGINES[row['engine']]} | {' | '.join(cells)} |")
    return "\n".join(lines)


def plot(path: Path) -> None:
    """Draw LUTs and flip-flops per weight of the first layer against the interval, both logarithmic.

    The plot has a row for each resource and a column for each number of bits.
    """
    from matplotlib.figure import Figure

    shown = [row for row in measurements() if row["layer"] == CASES[0].layer]
    figure = Figure(figsize=(11, 5.6), layout="constrained")
    panels = figure.subplots(2, 4, sharex=True, sharey=True)
    single = (("multipliers", "s"), ("mac", "v"), ("mac pairs", "^"))
    for column, bits in zip(panels.T, (8, 6, 5, 4), strict=True):
        row_of = {row["engine"]: row for row in shown if row["bits"] == bits}
        curve = [row_of[name] for name in ("parallel", *reversed(SERIAL)) if name in row_of]
        groups = [(ENGINES[name], [row_of[name]] if name in row_of else [], marker) for name, marker in single]
        for axes, amount in zip(column, ("lut", "ff"), strict=True):
            for name, points, style in (("adder graphs", curve, "o-"), *groups):
                y = [p[f"{amount} per weight"] for p in points]
                axes.plot([p["interval"] for p in points], y, style, markersize=5, label=name)
                for p, height in zip(points, y, strict=True):
                    if p["dsp"]:
                        below = -9 if p["engine"] == "mac" else 4
                        place = {"xytext": (-4, below), "textcoords": "offset points", "ha": "right"}
                        axes.annotate(f"{p['dsp']} DSP", (p["interval"], height), fontsize=7, **place)
            axes.set(xscale="log", yscale="log")
            axes.grid(True, which="both", linewidth=0.3)
        column[0].set_title(f"{bits} bits")
        column[1].set_xlabel("cycles per vector")
    for axes, amount in zip(panels[:, 0], ("LUT", "FF"), strict=True):
        axes.set_ylabel(f"{amount} per weight")
    panels[0, 3].legend(fontsize=7)
    figure.suptitle(f"{CASES[0].layer} of cifar10-psa, Yosys for the 7 series", fontsize=10)
    figure.savefig(path, metadata={"Date": None} if path.suffix == ".svg" else None)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="", metavar="WORD")
    parser.add_argument("--jobs", type=int, metavar="N")
    parser.add_argument("--case", nargs=3, metavar=("LAYER", "BITS", "ENGINE"), help="measure one case, print JSON")
    parser.add_argument("--table", action="store_true")
    parser.add_argument("--plot", type=Path, metavar="FILE")
    options = parser.parse_args(arguments)
    if options.case:
        layer, bits, engine = options.case
        json.dump(measured(Case(layer, int(bits), engine)), sys.stdout)
    elif options.table:
        print(table())
    elif options.plot:
        plot(options.plot)
    else:
        run(options.only, options.jobs)


if __name__ == "__main__":
    main()
