"""Delays of ECP5, which are those that nextpnr uses.

The cells are the slowest values of ``ECP5/timing`` of https://github.com/YosysHQ/prjtrellis-db (commit 4dda149). A
block RAM without its output register takes 4 to 6 ns from the clock to its output.
"""

from functools import partial
from typing import NamedTuple

from .delays import Adder, Arcs, Cell, Delays, Nets, lut_arcs, register_arcs

__all__ = ["GRADES"]


class _Grade(NamedTuple):
    """Delays of the cells at a speed grade, in ps.

    Parameters
    ----------
    lut
        Through a LUT4.
    wide, wider
        Through the multiplexers behind two and four LUTs, from their data and from their selection.
    carry_in, carry, sum_in, sums
        From an operand to the carry out, from carry to carry, from the carry to a sum, and from an operand to the sum
        of the next bit.
    clock, reset
        From the clock to a flip-flop's output; set-up of the reset.
    ram, ram_write
        From the clock to the output of a LUT RAM; set-up of its write enable.
    block, block_register, block_reset
        From the clock to the output of a block RAM without and with its register; set-up of its reset.
    multiplier
        Through a multiplier without registers; from the clock with its registers after the product, at the input,
        and in the middle.
    """

    lut: int
    wide: int
    wider: int
    carry_in: int
    carry: int
    sum_in: int
    sums: int
    clock: int
    reset: int
    ram: int
    ram_write: int
    block: int
    block_register: int
    block_reset: int
    multiplier: tuple[int, int, int, int]


_CELLS = {
    "6": _Grade(236, 165, 256, 447, 71, 474, 714, 525, 424, 929, 392, 5830, 973, 585, (3927, 735, 3864, 1334)),
    "7": _Grade(208, 146, 225, 401, 63, 412, 607, 460, 356, 823, 329, 5046, 856, 518, (3497, 656, 3455, 1223)),
    "8": _Grade(180, 126, 193, 355, 56, 349, 500, 395, 287, 717, 266, 4263, 738, 449, (3066, 578, 3045, 1113)),
}


def _carry(cells: _Grade) -> Arcs:
    """Return the delays of a CCU2C, which adds two bits."""
    through = [("CIN", None, "COUT", None, cells.carry), ("CIN", None, "S0", None, cells.sum_in - 31)]
    through.append(("CIN", None, "S1", None, cells.sum_in))
    for port in "ABCD":
        through += [(f"{port}{n}", None, "COUT", None, cells.carry_in) for n in range(2)]
        through += [(f"{port}{n}", None, f"S{n}", None, cells.lut) for n in range(2)]
        through.append((f"{port}0", None, "S1", None, cells.sums))
    return Arcs(tuple(through))


def _multiplexer(ps: int, *inputs: str) -> Arcs:
    """Return the delays of a multiplexer behind LUTs."""
    return Arcs(tuple((port, None, "Z", None, ps) for port in inputs))


_FLIP_FLOP_INPUTS = ("DI", "M", "CE")


def _fixed(cells: _Grade) -> dict[str, Arcs]:
    """Return the delays of the cells that have no parameters that matter."""
    lut_ram_setup = {"DI": 0, "WAD": 0, "WRE": cells.ram_write}
    return {
        "LUT4": lut_arcs("ABCD", cells.lut, "Z"),
        "INV": lut_arcs("A", cells.lut, "Z"),
        "PFUMX": Arcs(
            (
                ("ALUT", None, "Z", None, cells.wide),
                ("BLUT", None, "Z", None, cells.wide),
                ("C0", None, "Z", None, cells.wider),
            )
        ),
        "L6MUX21": _multiplexer(cells.wider, "D0", "D1", "SD"),
        "CCU2C": _carry(cells),
        "TRELLIS_FF": register_arcs(cells.clock, {**dict.fromkeys(_FLIP_FLOP_INPUTS, 0), "LSR": cells.reset}),
        "TRELLIS_DPR16X4": Arcs((("RAD", None, "DO", None, cells.lut),), {"DO": cells.ram}, lut_ram_setup),
    }


def _block_ram(cell: Cell, cells: _Grade) -> Arcs:
    """Return the delays of a block RAM by its output registers in use."""
    arrival: dict[str, int] = {}
    parameters = cell.get("parameters", {})
    for name, port in (("REGMODE_A", "DOA"), ("REGMODE_B", "DOB"), ("REGMODE", "DO")):
        ps = cells.block_register if parameters.get(name) == "OUTREG" else cells.block
        arrival |= {to: ps for to in cell["connections"] if to.rstrip("0123456789") == port}
    late = ("RST", "RSTA", "RSTB")
    clocks = ("CLKA", "CLKB", "CLKR", "CLKW")
    setup = {
        port: cells.block_reset if port in late else 340
        for port, way in cell["port_directions"].items()
        if way == "input" and port not in clocks
    }
    return Arcs(arrival=arrival, setup=setup)


def _multiplier(cell: Cell, cells: _Grade) -> Arcs:
    """Return the delays of a MULT18X18D by its registers in use.

    nextpnr takes a register for used if its clock is not NONE.
    """
    parameters = cell.get("parameters", {})
    first, middle, last = (
        parameters.get(name, "NONE") != "NONE" for name in ("REG_INPUTA_CLK", "REG_PIPELINE_CLK", "REG_OUTPUT_CLK")
    )
    whole, behind_last, behind_first, behind_middle = cells.multiplier
    inputs = [p for p, way in cell["port_directions"].items() if way == "input" and p[0] in "AB" and p[1:].isdigit()]
    outputs = [p for p, way in cell["port_directions"].items() if way == "output" and p[0] == "P" and p[1:].isdigit()]
    if not (first or middle or last):
        return Arcs(tuple((a, None, b, None, whole) for a in inputs for b in outputs))
    clocked = behind_last if last else behind_middle if middle else behind_first
    needed = 84 if first else whole - behind_middle if middle else whole - 441
    return Arcs(arrival=dict.fromkeys(outputs, clocked), setup=dict.fromkeys(inputs, needed))


def _arcs(cell: Cell, fixed: dict[str, Arcs], cells: _Grade) -> Arcs:
    """Return the delays of a cell. Raises ValueError if they are not known."""
    kind = cell["type"]
    if kind in fixed:
        return fixed[kind]
    if kind in ("DP16KD", "PDPW16KD"):
        return _block_ram(cell, cells)
    if kind == "MULT18X18D":
        return _multiplier(cell, cells)
    raise ValueError(f"the delays of a {kind} are not known")


_NETS = Nets(base_ps=680, doubling_ps=240, span_ps=50, most_ps=3000)

GRADES = {
    grade: Delays(
        family="ecp5",
        grade=grade,
        arcs=partial(_arcs, fixed=_fixed(cells), cells=cells),
        luts=frozenset(("LUT4", "INV")),
        flip_flops=frozenset(("TRELLIS_FF",)),
        joined=frozenset((("PFUMX", "ALUT"), ("PFUMX", "BLUT"), ("L6MUX21", "D0"), ("L6MUX21", "D1"))),
        packed=frozenset(("CCU2C", "TRELLIS_DPR16X4")),
        slice_registers=2,
        cascades={"CIN": "COUT"},
        # nextpnr adds a CCU2C where the fabric drives a carry, and another where a carry drives the fabric.
        carry_in_ps=cells.carry_in,
        carry_out_ps=cells.sum_in - 31,
        nets=_NETS.scaled(cells.lut / _CELLS["6"].lut),
        allowance_ps=0,
        areas={**dict.fromkeys(("DP16KD", "PDPW16KD", "MULT18X18D"), 32), "CCU2C": 2, "TRELLIS_DPR16X4": 4},
        adder=Adder("CCU2C", 2),
    )
    for grade, cells in _CELLS.items()
}
"""Delays by speed grade."""
