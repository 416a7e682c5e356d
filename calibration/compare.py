"""Estimates of `psahw.planner.cost` next to the measurements, by network and by engine.

python -m calibration.compare            totals
python -m calibration.compare MacArray   each different component of a kind, too
"""

import json
import sys
from collections import defaultdict
from collections.abc import Sequence
from typing import Any

from calibration.measure import DATA
from psahw.architecture import nodes
from psahw.architecture.codes import Codes
from psahw.architecture.device import Resources
from psahw.planner import cost
from psahw.synthesis import yosys

__all__ = ["amounts", "main", "totals"]


def _value(value: Any) -> Any:
    """Return the value of a field from its JSON."""
    if isinstance(value, dict):
        return Codes(**value)
    return tuple(value) if isinstance(value, list) else value


def node_of(row: dict[str, Any]) -> nodes.Node:
    """Return the node of a measured component."""
    fields = {name: _value(value) for name, value in row.items() if name not in ("engine", "cells")}
    return getattr(nodes, row["engine"])(**fields)


def amounts(row: dict[str, Any], family: str) -> tuple[Resources, Resources]:
    """Return the measured and the estimated resources of a component."""
    measured = yosys.resources_of(row["cells"])
    if row["engine"] == "Counters":
        return measured, cost.counters_cost(row["stages"], family)
    return measured, cost.node_cost(node_of(row), family)


def totals(rows: Sequence[dict[str, Any]], family: str) -> tuple[Resources, Resources]:
    """Return the measured and the estimated resources of several components."""
    pairs = [amounts(row, family) for row in rows]
    measured = sum((measured for measured, _ in pairs), Resources())
    return measured, sum((estimate for _, estimate in pairs), Resources())


def _line(name: str, measured: Resources, estimate: Resources) -> str:
    """Return measured and estimated resources as a line of text."""
    parts = []
    for key in ("lut", "ff", "dsp", "bram36"):
        amount, estimated = getattr(measured, key), getattr(estimate, key)
        ratio = f" {estimated / amount:5.2f}" if amount and key in ("lut", "ff") else ""
        parts.append(f"{key} {amount:g} est. {estimated:g}{ratio}")
    return f"{name:24} " + "   ".join(parts)


def main(engines: Sequence[str]) -> None:
    """Print the totals of each network and engine, and each different component of the named engines."""
    for family, networks in json.loads(DATA.read_text()).items():
        by_engine = defaultdict(list)
        for name, rows in networks.items():
            print(_line(f"{family} {name}", *totals(rows, family)))
            for row in rows:
                by_engine[row["engine"]].append(row)
        for engine, rows in by_engine.items():
            print(_line(f"{family} {engine}", *totals(rows, family)))
            if engine in engines:
                for pair, row in {amounts(row, family): row for row in rows}.items():
                    fields = {k: v for k, v in row.items() if k not in ("engine", "name", "cells")}
                    print(_line("  ", *pair), fields, row["cells"], sep="\n    ")


if __name__ == "__main__":
    main(sys.argv[1:])
