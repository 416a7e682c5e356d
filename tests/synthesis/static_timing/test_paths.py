"""Longest paths, on netlists small enough to add up by hand."""

import pytest

from psahw.synthesis.static_timing import GRADES, Step, longest, paths_of

KINTEX = GRADES["xc7"]["2"]

# In ps, from virtex7/timings/slicel.sdf of openXC7/prjxray-db: CLK Q with the clock's way into the slice; LUT6 A1 O6;
# SETUP DIN from AX less the clock's way, rounded up; CARRY4 S0 O3.
CLOCK_TO_Q, LUT, D_SETUP, S0_TO_O3 = 165 + 58, 43, 66, 285
BASE, DOUBLING = 370, 50


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


def worst(circuit):
    """Return the longest path of a module without children."""
    return paths_of("m", circuit, {}, KINTEX).ends["m"]


def test_between_registers():
    """The path is 2 -> LUT -> 4 -> LUT -> 5 -> register, in the slice of the last LUT."""
    steps = worst(netlist(flip_flop(5, 2), lut2(2, 2, 4), lut2(4, 4, 5))).steps
    assert [(step.cell, step.cell_ps, step.fan_out) for step in steps] == [
        ("FDRE", CLOCK_TO_Q, 0),
        ("LUT2", LUT, 2),
        ("LUT2", LUT, 2),
        ("FDRE", D_SETUP, 1),
    ]
    assert steps[0].net_ps == steps[3].net_ps == 0
    assert BASE + DOUBLING < steps[1].net_ps < BASE + DOUBLING + 20  # three cells span next to nothing


def test_the_slower_of_two_ways_counts():
    circuit = netlist(flip_flop(9, 2), flip_flop(9, 3), lut2(2, 2, 4), lut2(4, 3, 5), flip_flop(5, 6))
    assert [step.cell for step in worst(circuit).steps] == ["FDRE", "LUT2", "LUT2", "FDRE"]


def test_urgent_loads_are_near():
    """Net 2 has 64 loads that lead to registers, and one that leads to a register through two more LUTs."""
    many = [cell for n in range(64) for cell in (lut2(2, 90, 100 + n), flip_flop(100 + n, 200 + n))]
    circuit = netlist(flip_flop(9, 2), *many, lut2(2, 90, 3), lut2(3, 90, 4), lut2(4, 90, 5), flip_flop(5, 6))
    near, *rest = worst(circuit).steps[1:]
    assert (near.net_ps, near.fan_out) == (BASE, 65)
    assert [step.cell for step in rest] == ["LUT2", "LUT2", "FDRE"]
    del (
        circuit["cells"]["c130"],
        circuit["cells"]["c131"],
    )  # two of the three LUTs: the far loads are the slow ones now
    far = worst(netlist(flip_flop(9, 2), *many)).steps[1]
    assert far.net_ps == KINTEX.nets.ps(64, 64) > BASE + 6 * DOUBLING


def test_a_reset_counts_once_for_each_slice():
    """Eight flip-flops of a slice share the pin of their reset."""
    reset = [
        flip_flop("0", 100 + n) | {"connections": {"C": [1], "CE": ["1"], "D": ["0"], "R": [2], "Q": [100 + n]}}
        for n in range(16)
    ]
    (_, last) = worst(netlist(flip_flop("0", 2), *reset)).steps
    assert (last.net_ps, last.fan_out) == (KINTEX.nets.ps(2, 0), 16)


def test_a_net_of_high_fan_out_costs_more_in_a_large_module():
    nets = KINTEX.nets
    assert nets.ps(1, 10) == nets.ps(1, 10_000) == BASE
    near, far = nets.ps(32, 100) - BASE - 5 * DOUBLING, nets.ps(32, 2500) - BASE - 5 * DOUBLING
    assert far == pytest.approx(5 * near, abs=3)  # five times the width
    assert nets.ps(4, 10_000) < nets.ps(64, 10_000)
    assert nets.ps(5000, 100_000) == 2000  # a global buffer


def test_grades():
    """DS182 gives 2.08, 1.80 and 1.57 ns from the clock to the data of a block RAM at grades -1, -2 and -3."""
    ram = {"type": "RAMB36E1", "parameters": {}, "port_directions": {}, "connections": {}}
    assert [GRADES["xc7"][grade].arcs(ram).arrival["DOADO"] for grade in "123"] == [2080, 1800, 1570]


def test_registers_of_block_rams_and_multipliers():
    ports = {"CLKA": "input", "DOA0": "output"}
    ram = {"type": "DP16KD", "port_directions": ports, "connections": {port: [] for port in ports}}
    arcs = GRADES["ecp5"]["6"].arcs
    assert arcs(ram | {"parameters": {"REGMODE_A": "NOREG"}}).arrival["DOA0"] == 5830
    assert arcs(ram | {"parameters": {"REGMODE_A": "OUTREG"}}).arrival["DOA0"] == 973
    dsp = {"type": "DSP48E1", "port_directions": {}, "connections": {}}
    for registers, expected in (("1", 348), ("0", 1631)):
        assert KINTEX.arcs(dsp | {"parameters": {"MREG": "1", "PREG": registers}}).arrival["P"] == expected


def test_across_modules():
    """A path leads from a register in one module through a LUT in its parent to a LUT and a register in another.

    Net 11 of the parent has two loads. The border between modules costs nothing but what the second load adds.
    """
    a = netlist(flip_flop(5, 2), lut2(2, 2, 3), ports=[("o", "output", 3), ("i", "input", 5)])
    b = netlist(lut2(2, 3, 4), flip_flop(4, 5), ports=[("i", "input", 2), ("x", "input", 3)])
    directions = {"o": "output", "i": "input", "x": "input"}

    def child(kind, **connections):
        return {"type": kind, "port_directions": directions, "connections": connections}

    top = netlist(
        child("top.a", o=[10], i=["0"]), lut2(10, 11, 12), child("top.b", i=[12], x=[11]), ports=[("x", "input", 11)]
    )
    children = {"top": ("top.a", "top.b"), "top.a": (), "top.b": ()}
    ends = longest("top", {"top": top, "top.a": a, "top.b": b}, children, KINTEX)
    assert ends.keys() == {"top.b"}
    path = ends["top.b"]
    assert path.start == "top.a"
    assert [step.cell for step in path.steps] == ["FDRE", "LUT2", "LUT2", "port", "LUT2", "FDRE"]
    assert path.ps == sum(step.cell_ps + step.net_ps for step in path.steps)
    nets = [step.net_ps for step in path.steps]
    assert nets == [0, KINTEX.nets.ps(2, 1), BASE, 0, BASE, 0]


def test_a_carry_chain_joins_its_luts():
    carry = {
        "type": "CARRY4",
        "port_directions": dict.fromkeys(("CI", "CYINIT", "DI", "S"), "input") | {"O": "output", "CO": "output"},
        "connections": {
            "CI": ["0"], "CYINIT": ["0"], "DI": ["0", "0", "0", "0"], "S": [6, 7, 8, 9],
            "O": [10, 11, 12, 13], "CO": [14, 15, 16, 17],
        },
    }  # fmt: skip
    circuit = netlist(flip_flop(13, 2), lut2(2, 2, 6), carry, flip_flop(13, 20))
    steps = worst(circuit).steps
    assert steps[2] == Step("CARRY4", S0_TO_O3, 0, 1)  # no net between a LUT and the chain that it alone drives
    assert [step.cell for step in steps] == ["FDRE", "LUT2", "CARRY4", "FDRE"]


def test_loops_and_unknown_cells():
    with pytest.raises(ValueError, match="2 nets lie in a loop without a register"):
        worst(netlist(lut2(2, 2, 3), lut2(3, 3, 2)))
    with pytest.raises(ValueError, match="the delays of a NAND are not known"):
        worst(netlist({"type": "NAND", "port_directions": {}, "connections": {}}))


def test_a_loop_through_modules():
    wire = {
        "ports": {"i": {"direction": "input", "bits": [2]}, "o": {"direction": "output", "bits": [2]}},
        "cells": {},
    }
    cell = {"type": "top.a", "port_directions": {"i": "input", "o": "output"}, "connections": {"i": [5], "o": [5]}}
    with pytest.raises(ValueError, match="1 nets lie in a loop without a register"):
        longest("top", {"top": netlist(cell), "top.a": wire}, {"top": ("top.a",), "top.a": ()}, KINTEX)


def memory(kind, inputs, outputs):
    """Return the delays of a memory in LUTs: what each input reaches, and the inputs with a set-up time."""
    directions = dict.fromkeys(inputs, "input") | dict.fromkeys(outputs, "output")
    arcs = KINTEX.arcs({"type": kind, "port_directions": directions, "connections": {}})
    reached: dict[str, set[str]] = {}
    for port, _, to, _, _ in arcs.through:
        reached.setdefault(port, set()).add(to)
    return reached, set(arcs.setup)


def test_memories_in_luts():
    """Each read address reaches its own output; the write address is that of the last port (UG953)."""
    reached, setup = memory("RAM32M", ["ADDRA", "ADDRD", "DIA", "DID", "WE", "WCLK"], ["DOA", "DOD"])
    assert (reached, setup) == ({"ADDRA": {"DOA"}, "ADDRD": {"DOD"}}, {"ADDRD", "DIA", "DID", "WE"})
    reached, setup = memory("RAM64M8", ["ADDRD", "ADDRH", "DIH", "WE", "WCLK"], ["DOD", "DOH"])
    assert (reached, setup) == ({"ADDRD": {"DOD"}, "ADDRH": {"DOH"}}, {"ADDRH", "DIH", "WE"})
    reached, setup = memory("RAM64X1D", ["A0", "DPRA0", "D", "WE", "WCLK"], ["SPO", "DPO"])
    assert (reached, setup) == ({"A0": {"SPO"}, "DPRA0": {"DPO"}}, {"A0", "D", "WE"})
    reached, setup = memory("SRLC32E", ["A", "D", "CE", "CLK"], ["Q", "Q31"])
    assert (reached, setup) == ({"A": {"Q"}}, {"D", "CE"})


def test_a_selection_comes_through_a_net():
    """The data of a MUXF7 come from the LUTs of its slice; its selection comes from outside."""
    directions = {"I0": "input", "I1": "input", "S": "input", "O": "output"}

    def worst_net(port):
        nets = {"I0": ["0"], "I1": ["0"], "S": ["0"]} | {port: [3], "O": [4]}
        mux = {"type": "MUXF7", "port_directions": directions, "connections": nets}
        return worst(netlist(flip_flop("0", 2), lut2(2, 2, 3), mux, flip_flop(4, 5))).steps[2].net_ps

    assert (worst_net("I0"), worst_net("S")) == (0, BASE)


def test_a_carry_that_leaves_its_chain_on_ecp5():
    """nextpnr adds a CCU2C in front of a chain that the fabric drives, and one where a carry drives the fabric."""
    ecp5 = GRADES["ecp5"]["6"]
    directions = {"CIN": "input", "COUT": "output"}

    def carry(a, b):
        return {"type": "CCU2C", "port_directions": directions, "connections": {"CIN": [a], "COUT": [b]}}

    def register(a, b):
        return {
            "type": "TRELLIS_FF",
            "port_directions": {"DI": "input", "Q": "output"},
            "connections": {"DI": [a], "Q": [b]},
        }

    circuit = netlist(register("0", 2), carry(2, 3), carry(3, 4), register(4, 5))
    nets = [step.net_ps for step in paths_of("m", circuit, {}, ecp5).ends["m"].steps]
    base = ecp5.nets.ps(1, 1)
    assert nets == [0, base + 447, 0, 0]  # into the chain, along it, and into a flip-flop of the last slice
