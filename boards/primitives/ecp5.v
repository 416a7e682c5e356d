// Models of the ECP5 primitives that the shell uses, for lint and for simulating a whole board from its pins. They
// support only the shell's settings. Ports and parameters follow Lattice's FPGA-TN-02200 (sysCLOCK) and the FPGA
// libraries reference guide.
`timescale 1ps / 1fs

module IB(input I, output O);
    assign O = I;
endmodule

module OBZ(input I, input T, output O);
    assign O = T ? 1'bz : I;
endmodule

// A buffer in front of the global network, which the shell never stops.
module DCCA(input CLKI, input CE, output CLKO);
    assign CLKO = CLKI & CE;
endmodule

// FPGA-TN-02200, section "PLL": with CLKOP as the feedback, CLKOP runs at CLKI / CLKI_DIV * CLKFB_DIV, and the VCO runs
// CLKOP_DIV times as fast. An output has phase 0 if its CPHASE is its divider minus 1.
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
    real input_ps, vco_ps;
    wire steady;

    initial begin
        if (FEEDBK_PATH != "CLKOP" || CLKOP_ENABLE != "ENABLED" || CLKOS_ENABLE != "ENABLED")
            $error("EHXPLLL: these settings are not modelled");
        if (CLKOP_CPHASE != CLKOP_DIV - 1 || CLKOS_CPHASE != CLKOS_DIV - 1 || CLKOP_FPHASE != 0 || CLKOS_FPHASE != 0)
            $error("EHXPLLL: phases other than 0 are not modelled");
    end
    pll_reference #(.PERIOD_NS(0.0)) reference(
        .clk(CLKI), .stop((RST && PLLRST_ENA == "ENABLED") || STDBY), .steady(steady), .period_ps(input_ps)
    );
    assign vco_ps = input_ps * CLKI_DIV / CLKFB_DIV / CLKOP_DIV;
    pll_output primary(.run(steady), .period_ps(vco_ps * CLKOP_DIV), .shift_ps(0.0), .clk(CLKOP));
    pll_output secondary(.run(steady), .period_ps(vco_ps * CLKOS_DIV), .shift_ps(0.0), .clk(CLKOS));
    pll_feedback feedback(
        .run(steady), .feedback(CLKFB), .period_ps(input_ps * CLKI_DIV / CLKFB_DIV), .locked(LOCK)
    );
    pll_vco #(.LEAST_MHZ(400.0), .MOST_MHZ(800.0)) vco(.run(steady), .period_ps(vco_ps));  // FPGA-DS-02012
endmodule
