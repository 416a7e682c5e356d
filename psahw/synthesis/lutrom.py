"""A mapping for Yosys that makes ROMs of LUTs: one LUT6 for each bit of up to 64 words, as Vivado does.

By itself Yosys 0.70 turns a ROM into logic, and ABC shares what the bits have in common until that takes more LUTs
than there are bits: 5,892 instead of 3,061 for a MAC array of 14 x 12 units with weights of 8 bits in 56 words.
`SCRIPT` therefore maps ROMs whose ``rom_style`` is ``"distributed"`` (`psahw.gateware.rom`) to LUTs before anything
else, if they have `FEWEST` to `MOST` words. ABC needs less for fewer words, and about the same for more.
"""

from ..architecture.device import LUT_ROM_WORDS

__all__ = ["FEWEST", "LIBRARY", "LIBRARY_NAME", "MAP", "MAP_NAME", "MOST", "SCRIPT", "sources"]

FEWEST, MOST = 13, LUT_ROM_WORDS
"""The numbers of words between which a ROM becomes LUTs here."""

LIBRARY_NAME, MAP_NAME = "lutrom.txt", "lutrom.v"
"""Names of the files that `SCRIPT` reads."""

# The format is described in passes/memory/memlib.md of Yosys. The costs only say that one ROM of each size is cheaper
# than two of the next smaller size.
LIBRARY = "".join(
    f"""ram distributed $__PSAHW_LUTROM{bits}_ {{
  abits {bits};
  width 1;
  cost {cost};
  init any;
  port ar "R" {{
  }}
}}
"""
    for bits, cost in ((4, 2), (5, 3), (6, 4), (7, 7))
)

_SMALL = """module \\$__PSAHW_LUTROM{bits}_ (input PORT_R_CLK, input [{top}:0] PORT_R_ADDR, output PORT_R_RD_DATA);
  parameter [{last}:0] INIT = 0;
  generate  // unused words are x
    if ((|INIT) !== 1'b1) assign PORT_R_RD_DATA = 1'b0;
    else if ((&INIT) !== 1'b0) assign PORT_R_RD_DATA = 1'b1;
    else LUT{bits} #(.INIT(INIT)) lut ({pins}, .O(PORT_R_RD_DATA));
  endgenerate
endmodule
"""

MAP = (
    "".join(
        _SMALL.format(
            bits=bits,
            top=bits - 1,
            last=(1 << bits) - 1,
            pins=", ".join(f".I{n}(PORT_R_ADDR[{n}])" for n in range(bits)),
        )
        for bits in (4, 5, 6)
    )
    + """module \\$__PSAHW_LUTROM7_ (input PORT_R_CLK, input [6:0] PORT_R_ADDR, output PORT_R_RD_DATA);
  parameter [127:0] INIT = 0;
  wire low, high;
  \\$__PSAHW_LUTROM6_ #(.INIT(INIT[63:0])) words_low (PORT_R_CLK, PORT_R_ADDR[5:0], low);
  \\$__PSAHW_LUTROM6_ #(.INIT(INIT[127:64])) words_high (PORT_R_CLK, PORT_R_ADDR[5:0], high);
  MUXF7 mux (.I0(low), .I1(high), .S(PORT_R_ADDR[6]), .O(PORT_R_RD_DATA));
endmodule
"""
)

SCRIPT = f"""proc
memory_collect
select -set roms t:$mem_v2 a:rom_style=distributed %i r:SIZE>={FEWEST} %i r:SIZE<={MOST} %i
setattr -unset ram_style @roms
memory_libmap -lib {LIBRARY_NAME} @roms
techmap -map {MAP_NAME}
setundef -zero -params t:LUT?
"""
"""Commands for the 7 series and UltraScale+, before ``synth_xilinx``. They read the files of `sources`."""


def sources() -> dict[str, str]:
    """Return the contents of the files that `SCRIPT` reads, by name."""
    return {LIBRARY_NAME: LIBRARY, MAP_NAME: MAP}
