"""Estimates of `psahw.planner.cost` beside the measurements, by network and by engine.

python -m calibration.compare            totals
python -m calibration.compare MacArray   and each different component of a kind
"""

import json
import sys
from collections import defaultdict

from calibration.measure import DATA
from psahw.architecture import nodes
from psahw.architecture.device import Resources
from psahw.planner import cost
from psahw.synthesis import yosys

__all__ = ["amounts", "main", "totals"]


def node_of(row: dict) -> nodes.Node:
    fields = {k: v for k, v in row.items() if k not in ("engine", "cells")}
    for name in ("branch", "bypass", "grid"):
        if name in fields:
            fields[name] = tuple(fields[name])
    return getattr(nodes, row["engine"])(**fields)


def amounts(row: dict, family: str) -> tuple[Resources, Resources]:
    """Of one component: (found, estimate)."""
    found = yosys.resources_of(row["cells"])
    if row["engine"] == "Counters":
        return found, cost.counters_cost(row["stages"], family)
    return found, cost.node_cost(node_of(row), family)


def totals(rows: list[dict], family: str) -> tuple[Resources, Resources]:
    pairs = [amounts(row, family) for row in rows]
    return sum((f for f, _ in pairs), Resources()), sum((e for _, e in pairs), Resources())


def _line(name, found, estimate):
    parts = []
    for key in ("lut", "ff", "dsp", "bram36"):
        f, e = getattr(found, key), getattr(estimate, key)
        ratio = f" {e / f:5.2f}" if f and key in ("lut", "ff") else ""
        parts.append(f"{key} {f:g} est. {e:g}{ratio}")
    return f"{name:24} " + "   ".join(parts)


def main(engines):
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
