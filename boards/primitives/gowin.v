// Models of the GW2A primitives that the shell uses, for lint and for simulating a whole board from its pins. They
// support only the shell's settings. Ports and parameters follow Gowin's user guides of clock resources (UG286) and
// programmable IO (UG289).
`timescale 1ps / 1fs

module IBUF(input I, output O);
    assign O = I;
endmodule

module TBUF(input I, input OEN, output O);
    assign O = OEN ? 1'bz : I;
endmodule

// UG286, "rPLL": with internal feedback, CLKOUT = CLKIN * (FBDIV_SEL + 1) / (IDIV_SEL + 1), and the VCO runs ODIV_SEL
// times as fast. DS102 allows 500 to 1,250 MHz for the VCO.
module rPLL #(
    parameter DEVICE = "GW1N-1",
    parameter string FCLKIN = "100.0",
    parameter integer IDIV_SEL = 0,
    parameter integer FBDIV_SEL = 0,
    parameter integer ODIV_SEL = 8,
    parameter CLKFB_SEL = "internal"
) (
    input CLKIN, input CLKFB, input RESET, input RESET_P,
    input [5:0] FBDSEL, input [5:0] IDSEL, input [5:0] ODSEL,
    input [3:0] PSDA, input [3:0] DUTYDA, input [3:0] FDLY,
    output CLKOUT, output CLKOUTP, output CLKOUTD, output CLKOUTD3, output reg LOCK
);
    real input_ps;
    wire steady;

    initial begin
        LOCK = 0;
        if (CLKFB_SEL != "internal") $error("rPLL: only internal feedback is modelled");
    end
    pll_reference #(.PERIOD_NS(0.0)) reference(
        .clk(CLKIN), .stop(RESET || RESET_P), .steady(steady), .period_ps(input_ps)
    );
    always @(posedge steady)
        if (input_ps * FCLKIN.atoreal() < 0.99e6 || input_ps * FCLKIN.atoreal() > 1.01e6)
            $error("%m: the input must have %s MHz, but its period is %f ps", FCLKIN, input_ps);
    pll_vco #(.LEAST_MHZ(500.0), .MOST_MHZ(1250.0)) vco(
        .run(steady), .period_ps(input_ps * (IDIV_SEL + 1) / (FBDIV_SEL + 1) / ODIV_SEL)
    );
    pll_output clock(
        .run(steady), .period_ps(input_ps * (IDIV_SEL + 1) / (FBDIV_SEL + 1)), .shift_ps(0.0), .clk(CLKOUT)
    );
    always @(posedge CLKOUT or negedge steady) LOCK = steady;
endmodule
