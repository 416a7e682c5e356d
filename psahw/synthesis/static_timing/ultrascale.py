"""Delays of UltraScale+.

Slices and block RAMs are those of an XCVU3P at grade -2: ``timing/ultrascaleplus`` of RapidWright
(https://github.com/Xilinx/RapidWright, commit 325baa0; P. Maidee, C. Neely, A. Kaviani and C. Lavin, "An Open-source
Lightweight Timing Model for RapidWright", International Conference on Field-Programmable Technology, 2019). A LUT
has six inputs of 35 to 150 ps; a router gives the fast ones to late signals, so that 100 ps is used. Grade -1 is
scaled by the clock to output of flip-flops in Vivado's reports for an XCZU3EG-1 (repository lakeroad-evaluation on
https://github.com/gussmith23): 96 ps instead of 77. The delays of a DSP48E2 come from the same reports, scaled the
other way. Assumed are the delays of its control inputs and the set-up times of flip-flops' controls. The set-up times
of LUT RAMs are those of the 7 series.
"""

from functools import partial

from .delays import Arcs, Cell, Delays, Nets, lut_arcs, register_arcs, scaled
from .xilinx7 import (
    ADDER,
    AREAS,
    CASCADES,
    FLIP_FLOPS,
    JOINED,
    LUTS,
    MEMORIES,
    cell_arcs,
    lut_memory,
    registers_in_use,
)

__all__ = ["GRADES"]

_LUT, _LUT_RAM_READ, _SHIFT_REGISTER_READ = 100, 312, 312
_BLOCK_RAM = {0: 1003, 1: 229}  # from the clock, by the output registers in use
_SLOWER = 96 / 77


def _carry() -> Arcs:
    """Return the delays of a CARRY4, into which Yosys maps additions: half of a CARRY8, the longest of each kind.

    A carry takes 23 ps through a CARRY8, thus 12 ps through each half.
    """
    through: list[tuple[str, int | None, str, int | None, int]] = [
        ("CI", None, "O", None, 82),
        ("CYINIT", None, "O", None, 139),
        ("CYINIT", None, "CO", None, 117),
    ]
    through += [("CI", None, "CO", n, 12 if n == 3 else 60) for n in range(4)]
    for n in range(4):
        for to in range(n, 4):
            through.append(("S", n, "O", to, 65 if to == n else 139))
            through.append(("S", n, "CO", to, 170))
            through.append(("DI", n, "CO", to, 182))
            if to > n:
                through.append(("DI", n, "O", to, 123))
    return Arcs(tuple(through))


_FLIP_FLOP = register_arcs(77, {"D": 25, **dict.fromkeys(("CE", "R", "S", "CLR", "PRE"), 60)})

_FIXED = {
    **{f"LUT{n}": lut_arcs([f"I{i}" for i in range(n)], _LUT) for n in range(1, 7)},
    "INV": lut_arcs(["I"], _LUT),
    **{
        kind: Arcs((("I0", None, "O", None, 70), ("I1", None, "O", None, 70), ("S", None, "O", None, 77)))
        for kind in ("MUXF7", "MUXF8", "MUXF9")
    },
    "CARRY4": _carry(),
    **dict.fromkeys(("FDRE", "FDSE", "FDCE", "FDPE"), _FLIP_FLOP),
}


def _dsp(cell: Cell) -> Arcs:
    """Return the delays of a DSP48E2 by its registers in use."""
    a, b, c, m, p = registers_in_use(cell, "AREG", "BREG", "CREG", "MREG", "PREG")
    multiplier, adder, output = 737 + 92, 699 + 59, 141
    late = 0 if m else adder
    ports = {
        "A": 263 if a else 195 + multiplier + late,
        "B": 263 if b else 195 + multiplier + late,
        "C": 200 if c else adder,
        "PCIN": 708,
        **dict.fromkeys(("D", "ACIN", "BCIN", "CARRYIN", "OPMODE", "ALUMODE", "INMODE"), 263),
        **dict.fromkeys(("CEA1", "CEA2", "CEB1", "CEB2", "CED", "CEP", "CEC", "CEM", "CEAD"), 300),
        **dict.fromkeys(("RSTA", "RSTB", "RSTC", "RSTD", "RSTM", "RSTP"), 300),
    }
    arrival = 263 + (0 if p else adder + output + (0 if m else multiplier))
    outputs = {"P": arrival, "PCOUT": arrival + 18, "ACOUT": 400, "BCOUT": 400}
    return scaled(Arcs(arrival=outputs, setup=ports), 1 / _SLOWER)


_BLOCK_RAM_SETUP = {
    **dict.fromkeys(("ADDRARDADDR", "ADDRBWRADDR", "WEA", "WEBWE", "ENARDEN", "ENBWREN"), 300),
    **dict.fromkeys(("DINADIN", "DINBDIN", "DINPADINP", "DINPBDINP"), 291),
    **dict.fromkeys(("REGCEAREGCE", "REGCEB", "RSTRAMARSTRAM", "RSTRAMB", "RSTREGARSTREG", "RSTREGB"), 300),
}


def _block_ram(cell: Cell) -> Arcs:
    """Return the delays of a block RAM by its output registers in use."""
    parameters = cell.get("parameters", {})
    a, b = (int(str(parameters.get(name, 0)), 2) for name in ("DOA_REG", "DOB_REG"))
    arrival = dict.fromkeys(("DOUTADOUT", "DOUTPADOUTP"), _BLOCK_RAM[a])
    arrival |= dict.fromkeys(("DOUTBDOUT", "DOUTPBDOUTP"), _BLOCK_RAM[b])
    return Arcs(arrival=arrival, setup=_BLOCK_RAM_SETUP)


_arcs = partial(
    cell_arcs,
    fixed=_FIXED,
    by_parameters={"DSP48E2": _dsp, "RAMB18E2": _block_ram, "RAMB36E2": _block_ram},
    lut_memories=partial(lut_memory, lut=_LUT, read=_LUT_RAM_READ, shifted=_SHIFT_REGISTER_READ),
)

# Grade -1: 0.17 ns, and 0.052 more for each doubling (../shared/timing/net_delays.csv). The span is that of the 7
# series in proportion.
_NETS = Nets(base_ps=170, doubling_ps=52, span_ps=15, most_ps=1500).scaled(1 / _SLOWER)

GRADES = {
    grade: Delays(
        family="xcup",
        grade=grade,
        arcs=partial(_arcs, factor=factor),
        luts=LUTS,
        flip_flops=FLIP_FLOPS,
        joined=JOINED,
        packed=frozenset({"CARRY4", *MEMORIES}),
        slice_registers=8,
        cascades=CASCADES,
        nets=_NETS.scaled(factor),
        allowance_ps=200,
        areas=AREAS,
        adder=ADDER,
    )
    for grade, factor in (("1", _SLOWER), ("2", 1))
}
"""Delays by speed grade."""
