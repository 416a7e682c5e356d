"""Delays of the 7 series.

The cells are those of Virtex-7 at grade -2, slow corner, which Kintex-7 shares: ``virtex7/timings`` of
https://github.com/openXC7/prjxray-db (files of commits c61742d and 75825f2). Vivado's reports for an XC7K160T-2 have
the same values (LUT 0.043 ns, CARRY4 CI to CO 0.053 ns, block RAM 1.80 ns). Where a delay depends on the place in a
slice, it is the longest. Grades -1 and -3 are scaled by the clock to output of block RAMs in DS182, "Kintex-7 FPGAs
Data Sheet: DC and AC Switching Characteristics": 2.08, 1.80 and 1.57 ns for -1, -2 and -3. Of these, 1.80
is also in the database; the other two were quoted from memory.
"""

from collections.abc import Callable, Mapping
from functools import partial

from .delays import Adder, Arcs, Cell, Delays, Nets, lut_arcs, register_arcs, scaled

__all__ = ["GRADES"]

_LUT, _LUT_RAM_READ = 43, 711  # the latter from the clock, with the clock's way into the slice
_SHIFT_REGISTER_READ = 987
_BLOCK_RAM = {0: 1800, 1: 622}  # from the clock, by the output registers in use

_CARRY_CI = (139, 77, 110, 53), (111, 166, 111, 149)  # to CO[n], to O[n]
_CARRY_CYINIT = (282, 254, 293, 287), (250, 309, 290, 326)
_CARRY_S = (
    (182, 220, 262, 248), (113, 207, 255, 285),
    (None, 238, 279, 255), (None, 97, 270, 300),
    (None, None, 137, 184), (None, None, 106, 167),
    (None, None, None, 182), (None, None, None, 105),
)  # fmt: skip
_CARRY_DI = (  # by the input beside the LUT
    (161, 234, 275, 269), (None, 193, 271, 308),
    (None, 224, 263, 250), (None, None, 262, 291),
    (None, None, 179, 197), (None, None, None, 215),
    (None, None, None, 190), (None, None, None, None),
)  # fmt: skip


def _carry() -> Arcs:
    """Return the delays of a CARRY4."""
    through = []
    for port, bit, rows in (
        ("CI", None, (_CARRY_CI,)),
        ("CYINIT", None, (_CARRY_CYINIT,)),
        *(("S", n, (_CARRY_S[2 * n : 2 * n + 2],)) for n in range(4)),
        *(("DI", n, (_CARRY_DI[2 * n : 2 * n + 2],)) for n in range(4)),
    ):
        for to_carry, to_sum in rows:
            through += [(port, bit, "CO", n, ps) for n, ps in enumerate(to_carry) if ps is not None]
            through += [(port, bit, "O", n, ps) for n, ps in enumerate(to_sum) if ps is not None]
    return Arcs(tuple(through))


_FLIP_FLOP = register_arcs(223, {"D": 66, "CE": 189, "R": 200, "S": 200, "CLR": 200, "PRE": 200})
_LUT_RAM_SETUP = {"D": 262, "WE": 366, "CE": 339}

_FIXED = {
    **{f"LUT{n}": lut_arcs([f"I{i}" for i in range(n)], _LUT) for n in range(1, 7)},
    "INV": lut_arcs(["I"], _LUT),
    "MUXF7": Arcs((("I0", None, "O", None, 109), ("I1", None, "O", None, 111), ("S", None, "O", None, 163))),
    "MUXF8": Arcs((("I0", None, "O", None, 45), ("I1", None, "O", None, 43), ("S", None, "O", None, 141))),
    "CARRY4": _carry(),
    **dict.fromkeys(("FDRE", "FDSE", "FDCE", "FDPE"), _FLIP_FLOP),
}


def lut_memory(cell: Cell, lut: int, read: int, shifted: int) -> Arcs:
    """Return the delays of a memory or a shift register in LUTs (UG953 names the ports).

    An address at which is read acts like the inputs of a LUT, with a multiplexer for each doubling beyond 64 words.
    """
    kind, directions = cell["type"], cell["port_directions"]
    outputs = [port for port, way in directions.items() if way == "output"]
    inputs = [port for port, way in directions.items() if way == "input" and "CLK" not in port]
    multiplexers = 130 * (2 if "256" in kind or "512" in kind else 1 if "128" in kind else 0)
    through, writes = [], []
    last = max((port for port in inputs if port.startswith("ADDR")), default="")
    for port in inputs:
        if port.startswith("ADDR"):
            reads = [f"DO{port[4:]}"]
            writes += [port] if port == last else []
        elif port.startswith("DPRA"):
            reads = ["DPO"]
        elif port.startswith("A"):
            reads = [to for to in ("SPO", "O", "Q") if to in outputs]
            writes += [] if kind.startswith("SRL") else [port]
        else:
            continue
        through += [(port, None, to, None, lut + multiplexers) for to in reads if to in outputs]
    addresses = {port for port, *_ in through}
    setup = {port: _LUT_RAM_SETUP.get(port, 262) for port in inputs if port not in addresses}
    setup |= dict.fromkeys(writes, 211)
    arrival = (shifted if kind.startswith("SRL") else read) + multiplexers
    return Arcs(tuple(through), dict.fromkeys(outputs, arrival), setup)


def registers_in_use(cell: Cell, *names: str) -> list[int]:
    """Return the values of parameters that count registers; a parameter that is absent counts one."""
    parameters = cell.get("parameters", {})
    return [int(str(parameters.get(name, 1)), 2) for name in names]


def _dsp(cell: Cell) -> Arcs:
    """Return the delays of a DSP48E1 by its registers in use."""
    a, b, c, m, p = registers_in_use(cell, "AREG", "BREG", "CREG", "MREG", "PREG")
    later = 0 if m else 1281  # without the multiplier's register, the path goes on to that of the sum
    setup = {
        "A": 317 if a else 1433 + later,
        "B": 317 if b else 1244 + later,
        "C": 164 if c else 1208,
        **{"D": 261, "PCIN": 995, "ACIN": 246, "BCIN": 246, "CARRYIN": 173, "OPMODE": 299, "ALUMODE": 299},
        **dict.fromkeys(("CEA1", "CEA2", "CEB1", "CEB2", "CED", "CEP", "CEC", "CEM", "CEAD"), 360),
        **dict.fromkeys(("RSTA", "RSTB", "RSTC", "RSTD", "RSTM", "RSTP"), 388),
    }
    arrival = 348 if p else 1631 if m else 2723
    cascade = 383 if p else 1772 if m else 2864
    return Arcs(arrival={"P": arrival, "PCOUT": cascade, "ACOUT": 618, "BCOUT": 618}, setup=setup)


_BLOCK_RAM_SETUP = {
    **dict.fromkeys(("ADDRARDADDR", "ADDRBWRADDR"), 416),
    **dict.fromkeys(("DIADI", "DIBDI", "DIPADIP", "DIPBDIP"), 543),
    **dict.fromkeys(("WEA", "WEBWE"), 404),
    **dict.fromkeys(("ENARDEN", "ENBWREN"), 387),
    **dict.fromkeys(("REGCEAREGCE", "REGCEB"), 243),
    **dict.fromkeys(("RSTRAMARSTRAM", "RSTRAMB"), 364),
    **dict.fromkeys(("RSTREGARSTREG", "RSTREGB"), 264),
}


def _block_ram(cell: Cell) -> Arcs:
    """Return the delays of a block RAM by its output registers in use."""
    parameters = cell.get("parameters", {})
    a, b = (int(str(parameters.get(name, 0)), 2) for name in ("DOA_REG", "DOB_REG"))
    arrival = dict.fromkeys(("DOADO", "DOPADOP"), _BLOCK_RAM[a]) | dict.fromkeys(("DOBDO", "DOPBDOP"), _BLOCK_RAM[b])
    return Arcs(arrival=arrival, setup=_BLOCK_RAM_SETUP)


def cell_arcs(
    cell: Cell,
    *,
    fixed: Mapping[str, Arcs],
    by_parameters: Mapping[str, Callable[[Cell], Arcs]],
    lut_memories: Callable[[Cell], Arcs],
    factor: float,
) -> Arcs:
    """Return the delays of a cell of a Xilinx device.

    Parameters
    ----------
    cell
        The cell, as Yosys writes it to JSON.
    fixed
        Delays of cells by their type.
    by_parameters
        Functions that return the delays of a cell, by types of cells whose parameters count.
    lut_memories
        The same for all memories and shift registers in LUTs.
    factor
        What all delays are multiplied by.

    Raises
    ------
    ValueError
        If the delays of the cell are not known.
    """
    kind = cell["type"]
    if kind in fixed:
        arcs = fixed[kind]
    elif kind in by_parameters:
        arcs = by_parameters[kind](cell)
    elif kind.startswith(("RAM", "SRL")):
        arcs = lut_memories(cell)
    else:
        raise ValueError(f"the delays of a {kind} are not known")
    return arcs if factor == 1 else scaled(arcs, factor)


_arcs = partial(
    cell_arcs,
    fixed=_FIXED,
    by_parameters={"DSP48E1": _dsp, "RAMB18E1": _block_ram, "RAMB36E1": _block_ram},
    lut_memories=partial(lut_memory, lut=_LUT, read=_LUT_RAM_READ, shifted=_SHIFT_REGISTER_READ),
)


LUTS = frozenset({f"LUT{n}" for n in range(1, 7)} | {"INV"})
FLIP_FLOPS = frozenset(("FDRE", "FDSE", "FDCE", "FDPE"))
JOINED = frozenset(
    {
        *((kind, port) for kind in ("MUXF7", "MUXF8", "MUXF9") for port in ("I0", "I1")),
        ("CARRY4", "S"),
        ("CARRY4", "DI"),
    }
)
CASCADES = {"CI": "CO", "PCIN": "PCOUT", "ACIN": "ACOUT", "BCIN": "BCOUT"}
_NETS = Nets(base_ps=370, doubling_ps=50, span_ps=35, most_ps=2000)

# A block RAM of 36 Kb is as high as five CLBs of eight LUTs, and two DSP slices are as high (UG474, UG479).
MEMORIES = {
    **dict.fromkeys(("RAM32M", "RAM64M", "RAM128X1D"), 4),
    **dict.fromkeys(("RAM32M16", "RAM64M8", "RAM256X1D"), 8),
    **dict.fromkeys(("RAM32X1D", "RAM64X1D", "RAM128X1S"), 2),
    **dict.fromkeys(("RAM32X1S", "RAM64X1S", "SRL16E", "SRLC32E"), 1),
    "RAM256X1S": 4,
}
"""LUTs of memories and shift registers (UG474, table 2-3)."""

AREAS = {
    **MEMORIES,
    **dict.fromkeys(("RAMB36E1", "RAMB36E2"), 40),
    **dict.fromkeys(("RAMB18E1", "RAMB18E2", "DSP48E1", "DSP48E2"), 20),
}

ADDER = Adder("CARRY4", 4, "LUT2", frozenset({"CYINIT"}))
"""The cells of an addition, as Yosys maps them."""

GRADES = {
    grade: Delays(
        family="xc7",
        grade=grade,
        arcs=partial(_arcs, factor=factor),
        luts=LUTS,
        flip_flops=FLIP_FLOPS,
        joined=JOINED,
        packed=frozenset({"CARRY4", *MEMORIES}),
        slice_registers=8,
        cascades=CASCADES,
        nets=_NETS.scaled(factor),
        allowance_ps=300,
        areas=AREAS,
        adder=ADDER,
    )
    for grade, factor in (("1", 2.08 / 1.80), ("2", 1), ("3", 1.57 / 1.80))
}
"""Delays by speed grade."""
