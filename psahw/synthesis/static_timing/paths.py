"""Longest paths through one module, between registers, its own ports, and what is inside of its children."""

import heapq
from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from .delays import Cell, Delays

__all__ = ["Path", "Paths", "Point", "Step", "paths_of"]

Point = tuple[str, int]
"""A bit of a port: its name and number."""

_CONTROLS = {"CE", "R", "S", "CLR", "PRE", "LSR"}


class Step(NamedTuple):
    """A cell on a path, with the net in front of it.

    Parameters
    ----------
    cell
        Type of the cell, or ``port`` for a border between modules.
    cell_ps
        Delay through the cell, its clock to output at the start of a path, or its set-up time at the end.
    net_ps
        Delay of the net in front of the cell; zero at the start of a path.
    fan_out
        Loads of that net, in the module of the cell.
    """

    cell: str
    cell_ps: int
    net_ps: int
    fan_out: int


class Path(NamedTuple):
    """A path, as its cells in order.

    Parameters
    ----------
    ps
        The sum of all delays.
    steps
        The cells.
    start
        The module of the register where the path starts; empty if it starts at a port.
    """

    ps: int
    steps: tuple[Step, ...]
    start: str = ""


@dataclass(frozen=True)
class Paths:
    """The longest paths of one module, with all modules inside of it.

    Parameters
    ----------
    ends
        The longest path from register to register that ends in each module, by the module's name.
    out
        From a register to each output.
    into
        From each input to a register, and the module of that register.
    through
        From inputs to outputs.
    area
        Area of the module with all modules inside of it, in LUTs.
    """

    ends: dict[str, Path] = field(default_factory=dict)
    out: dict[Point, Path] = field(default_factory=dict)
    into: dict[Point, tuple[Path, str]] = field(default_factory=dict)
    through: dict[tuple[Point, Point], Path] = field(default_factory=dict)
    area: float = 0


class _Load:
    """A load of a net: a pin of a cell, or a port of a child.

    Parameters
    ----------
    pins
        Share of a pin, which is less than one for a pin that several cells of a slice share.
    near
        What the net costs less than other nets, in ps; None if there is no net, because both cells are in one slice
        or column.
    """

    __slots__ = ("arcs", "ends", "fan_out", "near", "net_ps", "pins", "tail")

    def __init__(self, pins: float, near: int | None = 0) -> None:
        self.pins, self.near = pins, near
        self.arcs: list[tuple[int, int, tuple[Step, ...]]] = []  # to a net: ps and steps
        self.ends: list[tuple[int, tuple[Step, ...], str]] = []  # into a register: ps, steps and module
        self.tail = self.net_ps = self.fan_out = 0

    def steps(self, steps: tuple[Step, ...]) -> tuple[Step, ...]:
        """Return the steps of an arc or an end, with the delay of the net in front of the first."""
        return (steps[0]._replace(net_ps=self.net_ps, fan_out=self.fan_out), *steps[1:])


class _Arrival(NamedTuple):
    """The latest arrival at a net: its time, the net before, and the load and the steps from there."""

    ps: int
    before: int | None
    steps: tuple[Step, ...]
    start: str = ""


class _Graph:
    """The netlist of a module as a graph of nets, which are numbers, and of their loads."""

    def __init__(self, name: str, netlist: Mapping[str, Any], children: Mapping[str, Paths], delays: Delays):
        self._name, self._delays = name, delays
        self.loads: dict[int, list[_Load]] = defaultdict(list)
        self.registered: dict[int, _Arrival] = {}
        ports = netlist["ports"]
        self.starts = dict(self._bits(ports, "input"))
        self.outputs = {point: net for net, point in self._bits(ports, "output")}
        cells = list(netlist["cells"].values())
        own = [cell["type"] for cell in cells if cell["type"] not in children]
        inside = [children[cell["type"]].area for cell in cells if cell["type"] in children]
        self.area = sum(1 if kind in delays.luts else delays.areas.get(kind, 0) for kind in own) + sum(inside)
        in_slice = delays.luts | {kind for kind, _ in delays.joined} - delays.packed
        self._logic = {net for cell in cells if cell["type"] in in_slice for net in self._driven(cell)}
        self._packed = {net for cell in cells if cell["type"] in delays.packed for net in self._driven(cell)}
        chained = set(delays.cascades.values())
        self._chained = {
            net: port
            for cell in cells
            for port in chained & cell["connections"].keys()
            for net in cell["connections"][port]
        }
        self._users = Counter(
            net
            for cell in cells
            for port, nets in cell["connections"].items()
            if cell["port_directions"][port] == "input"
            for net in nets
            if isinstance(net, int)
        )
        for cell in cells:
            if cell["type"] in children:
                self._add_child(cell, children[cell["type"]])
            else:
                self._add_cell(cell)
        for net in self.outputs.values():
            self.loads[net].append(_Load(1))
        self._route()

    @staticmethod
    def _bits(ports: Mapping[str, Any], direction: str) -> list[tuple[int, Point]]:
        """Return the nets at the module's ports of a direction."""
        return [
            (net, (port, bit))
            for port, entry in ports.items()
            if entry["direction"] == direction
            for bit, net in enumerate(entry["bits"])
            if isinstance(net, int)
        ]

    @staticmethod
    def _driven(cell: Cell) -> list[int]:
        """Return the nets that a cell drives."""
        directions = cell["port_directions"]
        return [net for port, nets in cell["connections"].items() if directions[port] == "output" for net in nets]

    def _add_child(self, cell: Cell, paths: Paths) -> None:
        """Add the paths of a module inside of this one."""
        nets = {(port, bit): net for port, bits in cell["connections"].items() for bit, net in enumerate(bits)}
        loads: dict[Point, _Load] = {}

        def load(point: Point) -> _Load | None:
            if not isinstance(nets.get(point), int):
                return None
            if point not in loads:
                loads[point] = _Load(1, self._delays.nets.ps(1, 1))
                self.loads[nets[point]].append(loads[point])
            return loads[point]

        border = Step("port", 0, 0, 0)
        for point, path in paths.out.items():
            if isinstance(net := nets.get(point), int):
                self.registered[net] = _Arrival(path.ps, None, path.steps, path.start)
        for point, (path, module) in paths.into.items():
            if (at := load(point)) is not None:
                at.ends.append((path.ps, (border, *path.steps), module))
        for (start, end), path in paths.through.items():
            if (at := load(start)) is not None and isinstance(net := nets.get(end), int):
                at.arcs.append((net, path.ps, (border, *path.steps)))

    def _near(self, kind: str, port: str, net: int) -> int | None:
        """Return what the net in front of a port costs less than a net, in ps, or None if there is no net."""
        delays = self._delays
        driver = self._chained.get(net)
        if port in delays.cascades:
            return None if driver == delays.cascades[port] else -delays.carry_in_ps
        if self._users[net] == 1:
            if (kind, port) in delays.joined and net in self._logic:
                return None
            if kind in delays.flip_flops and port in ("D", "DI") and (net in self._logic or net in self._packed):
                return None
        return -delays.carry_out_ps if driver in ("CO", "COUT") else 0

    def _add_cell(self, cell: Cell) -> None:
        """Add a cell of the library."""
        delays = self._delays
        arcs = delays.arcs(cell)
        kind, nets = cell["type"], cell["connections"]
        loads: dict[tuple[str, int], _Load] = {}

        def load(port: str, bit: int) -> _Load | None:
            net = nets[port][bit]
            if not isinstance(net, int):
                return None
            if (port, bit) not in loads:
                shared = delays.slice_registers if kind in delays.flip_flops and port in _CONTROLS else 1
                loads[port, bit] = _Load(1 / shared, self._near(kind, port, net))
                self.loads[net].append(loads[port, bit])
            return loads[port, bit]

        for port, only, to, to_bit, ps in arcs.through:
            step = (Step(kind, ps, 0, 0),)
            sinks = [net for net in nets.get(to, []) if isinstance(net, int)]
            if to_bit is not None:
                sinks = [net for net in nets.get(to, [])[to_bit : to_bit + 1] if isinstance(net, int)]
            for bit in range(len(nets.get(port, []))) if only is None else (only,):
                if sinks and bit < len(nets.get(port, [])) and (at := load(port, bit)) is not None:
                    at.arcs += [(net, ps, step) for net in sinks]
        for port, ps in arcs.arrival.items():
            for net in nets.get(port, []):
                if isinstance(net, int):
                    self.registered[net] = _Arrival(ps, None, (Step(kind, ps, 0, 0),), self._name)
        for port, ps in arcs.setup.items():
            for bit in range(len(nets.get(port, []))):
                if (at := load(port, bit)) is not None:
                    at.ends.append((ps, (Step(kind, ps, 0, 0),), self._name))

    def _ordered(self) -> list[int]:
        """Return the nets, each behind those that it depends on. Raises ValueError for a loop."""
        waiting = Counter(net for loads in self.loads.values() for load in loads for net, _, _ in load.arcs)
        nets = set(self.loads) | set(waiting) | set(self.registered) | set(self.starts)
        ready = [net for net in nets if not waiting[net]]
        ordered = []
        while ready:
            net = ready.pop()
            ordered.append(net)
            for load in self.loads.get(net, ()):
                for after, _, _ in load.arcs:
                    waiting[after] -= 1
                    if not waiting[after]:
                        ready.append(after)
        if len(ordered) < len(nets):
            raise ValueError(f"{len(nets) - len(ordered)} nets lie in a loop without a register")
        return ordered

    def _route(self) -> None:
        """Give each load the delay of its net: the more urgent a load is, the closer it is to the driver.

        A load is as urgent as the way from there to the next register is long. The most urgent one is reached like a
        single load, and the last one like the last of all.
        """
        order = self._ordered()
        self.place = {net: n for n, net in enumerate(order)}
        tails: dict[int, int] = {}
        for net in reversed(order):
            loads = self.loads.get(net, [])
            for load in loads:
                arcs = (ps + tails.get(after, 0) for after, ps, _ in load.arcs)
                load.tail = max((*arcs, *(ps for ps, _, _ in load.ends)), default=0)
            loads.sort(key=lambda load: -load.tail)
            pins = 0.0
            for load in loads:
                pins += load.pins
                load.net_ps = 0 if load.near is None else self._delays.nets.ps(pins, self.area) - load.near
                load.fan_out = len(loads)
            tails[net] = max((load.net_ps + load.tail for load in loads), default=0)


def _latest(graph: _Graph, arrivals: dict[int, _Arrival]) -> None:
    """Extend the arrivals at some nets to all nets behind them."""
    waiting = [(graph.place[net], net) for net in arrivals]
    heapq.heapify(waiting)
    while waiting:
        _, net = heapq.heappop(waiting)
        arrived = arrivals[net]
        for load in graph.loads.get(net, ()):
            reached = arrived.ps + load.net_ps
            for after, ps, steps in load.arcs:
                known = arrivals.get(after)
                if known is None:
                    heapq.heappush(waiting, (graph.place[after], after))
                if known is None or known.ps < reached + ps:
                    arrivals[after] = _Arrival(reached + ps, net, load.steps(steps))


def _traced(arrivals: Mapping[int, _Arrival], net: int) -> Path:
    """Return the path that arrives at a net."""
    parts: list[tuple[Step, ...]] = []
    at: int | None = net
    start = ""
    while at is not None:
        _, before, steps, start = arrivals[at]
        parts.append(steps)
        at = before
    return Path(arrivals[net].ps, tuple(step for steps in reversed(parts) for step in steps), start)


def _finished(arrivals: Mapping[int, _Arrival], net: int, load: _Load, ps: int, steps: tuple[Step, ...]) -> Path:
    """Return the path that arrives at a net and ends behind one of its loads."""
    path = _traced(arrivals, net)
    return Path(path.ps + load.net_ps + ps, path.steps + load.steps(steps), path.start)


def _worst_ends(graph: _Graph, arrivals: Mapping[int, _Arrival]) -> dict[str, Path]:
    """Return the longest path that ends in each module, given the arrivals at nets."""
    worst: dict[str, tuple[int, int, _Load, int, tuple[Step, ...]]] = {}
    for net, arrived in arrivals.items():
        for load in graph.loads.get(net, ()):
            for ps, steps, module in load.ends:
                total = arrived.ps + load.net_ps + ps
                if module not in worst or worst[module][0] < total:
                    worst[module] = (total, net, load, ps, steps)
    return {module: _finished(arrivals, *found[1:]) for module, found in worst.items()}


def paths_of(name: str, netlist: Mapping[str, Any], children: Mapping[str, Paths], delays: Delays) -> Paths:
    """Return the longest paths of one module and of the modules inside of it.

    Parameters
    ----------
    name
        Name of the module.
    netlist
        The module as ``write_json`` of Yosys writes it.
    children
        The paths of the modules inside of it, by the type of their cells.
    delays
        Delays of cells and nets.

    Raises
    ------
    ValueError
        For a loop without a register, and for a cell whose delays are not known.
    """
    graph = _Graph(name, netlist, children, delays)
    latest = dict(graph.registered)
    _latest(graph, latest)
    ends = {module: path for child in children.values() for module, path in child.ends.items()}
    for module, path in _worst_ends(graph, latest).items():
        if module not in ends or ends[module].ps < path.ps:
            ends[module] = path
    into: dict[Point, tuple[Path, str]] = {}
    through: dict[tuple[Point, Point], Path] = {}
    for net, start in graph.starts.items():
        behind = {net: _Arrival(0, None, ())}
        _latest(graph, behind)
        found = _worst_ends(graph, behind)
        if found:
            module = max(found, key=lambda module: found[module].ps)
            into[start] = (found[module], module)
        through |= {(start, end): _traced(behind, at) for end, at in graph.outputs.items() if at in behind}
    return Paths(
        ends=ends,
        out={end: _traced(latest, net) for end, net in graph.outputs.items() if net in latest},
        into=into,
        through=through,
        area=graph.area,
    )
