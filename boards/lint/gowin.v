// Black boxes of the primitives that the shell uses, for lint only: ports and parameters as in Gowin's clock resources
// (UG286) and programmable IO (UG289) user guides.

module IBUF(input I, output O);
endmodule

module TBUF(input I, input OEN, output O);
endmodule

module rPLL #(
    parameter DEVICE = "GW1N-1",
    parameter FCLKIN = "100.0",
    parameter integer IDIV_SEL = 0,
    parameter integer FBDIV_SEL = 0,
    parameter integer ODIV_SEL = 8,
    parameter CLKFB_SEL = "internal"
) (
    input CLKIN, input CLKFB, input RESET, input RESET_P,
    input [5:0] FBDSEL, input [5:0] IDSEL, input [5:0] ODSEL,
    input [3:0] PSDA, input [3:0] DUTYDA, input [3:0] FDLY,
    output CLKOUT, output CLKOUTP, output CLKOUTD, output CLKOUTD3, output LOCK
);
endmodule
