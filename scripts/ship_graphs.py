"""Write the files with the adder graphs of the networks that ship with psahw, and their options for a plan.

Graphs are solved unless the cache has them, which takes minutes for each network. Run this when a network, the
release of da4ml, or what is computed from the graphs has changed.
"""

import json
import sys
import zipfile
from pathlib import Path

from psahw.adder_graph import Graph, shipped, solve_all
from psahw.adder_graph.encoding import encode
from psahw.adder_graph.solver import digest
from psahw.network import file as network_file
from psahw.planner import graph_options


def members(coded: graph_options.Coded, graph: Graph) -> dict[str, bytes]:
    """Return the files of a layer: its graph, and the options for a plan."""
    return {
        f"{digest(coded.layer.weight, coded.ranges)}.graph": encode(graph),
        graph_options.shipped_name(coded): json.dumps(graph_options.calculate(graph, coded.layer)).encode(),
    }


def write(path: Path, files: dict[str, bytes]) -> None:
    """Write an archive, whose bytes depend on nothing but the files."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        for name, content in sorted(files.items()):
            archive.writestr(zipfile.ZipInfo(name), content, zipfile.ZIP_DEFLATED, 9)


def main() -> None:
    """Write the files of all networks, or of those that are named."""
    for name in sys.argv[1:] or network_file.shipped():
        layers = list(graph_options.graph_layers(network_file.load(name)).values())
        graphs = solve_all([(coded.layer.weight, coded.ranges) for coded in layers])
        files: dict[str, bytes] = {}
        for coded, graph in zip(layers, graphs, strict=True):
            files |= members(coded, graph)
        path = shipped.DIRECTORY / f"{name}{shipped.SUFFIX}"
        write(path, files)
        adders = sum(len(graph.adders) for graph in graphs)
        print(f"{name}: {len(layers)} layers, {adders} adders, {path.stat().st_size} bytes")


if __name__ == "__main__":
    main()
