// Black boxes of the primitives that the shell uses, for lint only: ports and parameters as in Lattice's ECP5
// sysCLOCK user guide (FPGA-TN-02200) and FPGA libraries reference guide.

module IB(input I, output O);
endmodule

module OBZ(input I, input T, output O);
endmodule

module EHXPLLL #(
    parameter FEEDBK_PATH = "CLKOP",
    parameter integer CLKI_DIV = 1,
    parameter integer CLKFB_DIV = 1,
    parameter CLKOP_ENABLE = "ENABLED",
    parameter integer CLKOP_DIV = 8,
    parameter integer CLKOP_CPHASE = 0,
    parameter integer CLKOP_FPHASE = 0,
    parameter CLKOS_ENABLE = "DISABLED",
    parameter integer CLKOS_DIV = 8,
    parameter integer CLKOS_CPHASE = 0,
    parameter integer CLKOS_FPHASE = 0,
    parameter PLLRST_ENA = "DISABLED"
) (
    input CLKI, input CLKFB, input RST, input STDBY, input PLLWAKESYNC,
    input PHASESEL1, input PHASESEL0, input PHASEDIR, input PHASESTEP, input PHASELOADREG,
    input ENCLKOP, input ENCLKOS, input ENCLKOS2, input ENCLKOS3,
    output CLKOP, output CLKOS, output CLKOS2, output CLKOS3, output LOCK, output INTLOCK, output REFCLK,
    output CLKINTFB
);
endmodule
