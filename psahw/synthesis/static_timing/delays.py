"""Delays of the cells and nets of an FPGA family at one speed grade."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from math import log2, sqrt
from typing import Any, NamedTuple

__all__ = ["Adder", "Arcs", "Delays", "Nets", "lut_arcs", "register_arcs", "scaled"]

Cell = Mapping[str, Any]
"""A cell as ``write_json`` of Yosys writes it: ``type``, ``parameters``, ``port_directions`` and ``connections``."""


class Adder(NamedTuple):
    """The cells of an addition.

    Parameters
    ----------
    cell
        Type of the cell with the carries.
    bits
        Bits of a sum in each.
    lut
        Type of the LUTs in front, or None if the cell contains them.
    unused
        Inputs through which no addition of a graph passes.
    """

    cell: str
    bits: int
    lut: str | None = None
    unused: frozenset[str] = frozenset()


class Arcs(NamedTuple):
    """Delays of a cell, in ps.

    Parameters
    ----------
    through
        From an input to an output: port, bit, port, bit, delay. The bit None stands for every bit of a port.
    arrival
        From the clock to an output, by port.
    setup
        From an input to the clock, by port. An input that is in none of the three is not timed.
    """

    through: tuple[tuple[str, int | None, str, int | None, int], ...] = ()
    arrival: Mapping[str, int] = {}
    setup: Mapping[str, int] = {}


@dataclass(frozen=True)
class Nets:
    """How long a net takes to its worst load, without a placement.

    A net that is routed between neighbours costs ``base_ps``, and more with each doubling of its loads. The loads of
    a net of high fan-out are spread over the whole module that they belong to, because a placer keeps each load
    close to the cells that it works with. Such a net also crosses a share of the module's width, which is the square
    root of its area in LUTs. How many of a net's loads count for one of them is decided in
    `psahw.synthesis.static_timing.paths`.

    Parameters
    ----------
    base_ps
        Delay to a single load.
    doubling_ps
        Added for each doubling of the loads.
    span_ps
        Added for each unit of the width of the module, if the loads are all over it.
    most_ps
        The most that a net costs: that of a global buffer, on which a router puts resets and enables.
    spread
        Loads that are spread over half of the module's width.
    """

    base_ps: float
    doubling_ps: float
    span_ps: float
    most_ps: float
    spread: float = 40

    def ps(self, fan_out: float, area: float) -> int:
        """Return the delay of a net with so many loads in a module of that area."""
        loads = max(fan_out, 1)
        share = (loads - 1) / (loads - 1 + self.spread)
        ps = self.base_ps + self.doubling_ps * log2(loads) + self.span_ps * sqrt(area) * share
        return round(min(ps, self.most_ps))

    def scaled(self, factor: float) -> "Nets":
        """Return the delays multiplied by a factor."""
        names = ("base_ps", "doubling_ps", "span_ps", "most_ps")
        return replace(self, **{name: getattr(self, name) * factor for name in names})


@dataclass(frozen=True)
class Delays:
    """Delays of a family at one speed grade.

    Parameters
    ----------
    family, grade
        Family as in `psahw.architecture.device.Device`, and speed grade without its sign.
    arcs
        Function that returns the `Arcs` of a cell. It raises ValueError for a cell whose delays are not known.
    luts, flip_flops
        Types of cells.
    joined
        Types of cells and their ports that no net leads to from a LUT or a multiplexer of the same slice.
    packed
        Types of cells whose outputs reach a flip-flop of the same slice without a net, besides LUTs and multiplexers.
    slice_registers
        Flip-flops of a slice, which share the pins of their enable and their reset.
    cascades
        Inputs that are wired to an output of the next cell in a column, without a net, and these outputs.
    carry_in_ps, carry_out_ps
        Added where the fabric drives the first of such inputs of a carry chain, or is driven by the last output.
    nets
        Delays of the nets.
    allowance_ps
        Left for the skew and the jitter of the clock.
    areas
        Area of cells that are not LUTs, in LUTs, by type.
    adder
        The cells of an addition.
    """

    family: str
    grade: str
    arcs: Callable[[Cell], Arcs] = field(repr=False)
    luts: frozenset[str]
    flip_flops: frozenset[str]
    joined: frozenset[tuple[str, str]]
    packed: frozenset[str]
    slice_registers: int
    cascades: Mapping[str, str]
    nets: Nets
    allowance_ps: int
    areas: Mapping[str, float]
    adder: Adder
    carry_in_ps: int = 0
    carry_out_ps: int = 0


def lut_arcs(inputs: Iterable[str], ps: int, output: str = "O") -> Arcs:
    """Return the delays of a look-up table."""
    return Arcs(tuple((port, None, output, None, ps) for port in inputs))


def register_arcs(arrival: int, setup: Mapping[str, int], output: str = "Q") -> Arcs:
    """Return the delays of a cell with one output, which changes with the clock."""
    return Arcs(arrival={output: arrival}, setup=setup)


def scaled(arcs: Arcs, factor: float) -> Arcs:
    """Return delays multiplied by a factor."""
    return Arcs(
        tuple((port, bit, to, to_bit, round(ps * factor)) for port, bit, to, to_bit, ps in arcs.through),
        {port: round(ps * factor) for port, ps in arcs.arrival.items()},
        {port: round(ps * factor) for port, ps in arcs.setup.items()},
    )
