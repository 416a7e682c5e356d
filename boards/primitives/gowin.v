// The primitives of GW2A that the shell uses, as far as it uses them: for lint, and for simulation of a whole board
// from its pins. Ports and parameters as in Gowin's clock resources (UG286) and programmable IO (UG289) user guides.
`timescale 1ps / 1fs

module IBUF(input I, output O);
    assign O = I;
endmodule

module TBUF(input I, input OEN, output O);
    assign O = OEN ? 1'bz : I;
endmodule

// UG286, "rPLL": CLKOUT = CLKIN · (FBDIV_SEL + 1) / (IDIV_SEL + 1), fed back inside; the VCO, by DS102 between 500 and
// 1,250 MHz, runs ODIV_SEL times as fast.
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
        if (CLKFB_SEL != "internal") $error("rPLL: no model of another feedback");
    end
    pll_reference #(.PERIOD_NS(0.0)) reference(
        .clk(CLKIN), .stop(RESET || RESET_P), .steady(steady), .period_ps(input_ps)
    );
    always @(posedge steady)
        if (input_ps * FCLKIN.atoreal() < 0.99e6 || input_ps * FCLKIN.atoreal() > 1.01e6)
            $error("%m: made for a clock of %s MHz, but it has %f ps", FCLKIN, input_ps);
    pll_vco #(.LEAST_MHZ(500.0), .MOST_MHZ(1250.0)) vco(
        .run(steady), .period_ps(input_ps * (IDIV_SEL + 1) / (FBDIV_SEL + 1) / ODIV_SEL)
    );
    pll_output clock(
        .run(steady), .period_ps(input_ps * (IDIV_SEL + 1) / (FBDIV_SEL + 1)), .shift_ps(0.0), .clk(CLKOUT)
    );
    always @(posedge CLKOUT or negedge steady) LOCK = steady;
endmodule
