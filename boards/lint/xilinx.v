// Black boxes of the primitives that the shell uses, for lint only: ports and parameters as in UG953 (7 series
// libraries guide) and UG974 (UltraScale libraries guide).

module IBUF(input I, output O);
endmodule

module IBUFDS(input I, input IB, output O);
endmodule

module OBUFT(input I, input T, output O);
endmodule

module BUFG(input I, output O);
endmodule

module FDPE #(parameter [0:0] INIT = 1'b1) (input C, input CE, input D, input PRE, output Q);
endmodule

module FDCE #(parameter [0:0] INIT = 1'b0) (input C, input CE, input D, input CLR, output Q);
endmodule

module MMCME2_ADV #(
    parameter BANDWIDTH = "OPTIMIZED",
    parameter real CLKIN1_PERIOD = 0.0,
    parameter integer DIVCLK_DIVIDE = 1,
    parameter real CLKFBOUT_MULT_F = 5.0,
    parameter real CLKOUT0_DIVIDE_F = 1.0,
    parameter real CLKOUT0_PHASE = 0.0,
    parameter integer CLKOUT1_DIVIDE = 1,
    parameter real CLKOUT1_PHASE = 0.0,
    parameter integer CLKOUT2_DIVIDE = 1,
    parameter real CLKOUT2_PHASE = 0.0
) (
    input CLKIN1, input CLKIN2, input CLKINSEL, input CLKFBIN, input RST, input PWRDWN,
    input [6:0] DADDR, input DCLK, input DEN, input [15:0] DI, input DWE,
    input PSCLK, input PSEN, input PSINCDEC,
    output CLKFBOUT, output CLKFBOUTB, output CLKFBSTOPPED, output CLKINSTOPPED,
    output CLKOUT0, output CLKOUT0B, output CLKOUT1, output CLKOUT1B, output CLKOUT2, output CLKOUT2B,
    output CLKOUT3, output CLKOUT3B, output CLKOUT4, output CLKOUT5, output CLKOUT6,
    output [15:0] DO, output DRDY, output LOCKED, output PSDONE
);
endmodule

module MMCME4_ADV #(
    parameter BANDWIDTH = "OPTIMIZED",
    parameter real CLKIN1_PERIOD = 0.0,
    parameter integer DIVCLK_DIVIDE = 1,
    parameter real CLKFBOUT_MULT_F = 5.0,
    parameter real CLKOUT0_DIVIDE_F = 1.0
) (
    input CLKIN1, input CLKIN2, input CLKINSEL, input CLKFBIN, input RST, input PWRDWN, input CDDCREQ,
    input [6:0] DADDR, input DCLK, input DEN, input [15:0] DI, input DWE,
    input PSCLK, input PSEN, input PSINCDEC,
    output CLKFBOUT, output CLKFBOUTB, output CLKFBSTOPPED, output CLKINSTOPPED, output CDDCDONE,
    output CLKOUT0, output CLKOUT0B, output CLKOUT1, output CLKOUT1B, output CLKOUT2, output CLKOUT2B,
    output CLKOUT3, output CLKOUT3B, output CLKOUT4, output CLKOUT5, output CLKOUT6,
    output [15:0] DO, output DRDY, output LOCKED, output PSDONE
);
endmodule

module IDDR #(
    parameter DDR_CLK_EDGE = "OPPOSITE_EDGE", parameter SRTYPE = "SYNC",
    parameter [0:0] INIT_Q1 = 1'b0, parameter [0:0] INIT_Q2 = 1'b0
) (input C, input CE, input D, input R, input S, output Q1, output Q2);
endmodule

module ODDR #(
    parameter DDR_CLK_EDGE = "OPPOSITE_EDGE", parameter SRTYPE = "SYNC", parameter [0:0] INIT = 1'b0
) (input C, input CE, input D1, input D2, input R, input S, output Q);
endmodule

module IDELAYCTRL(input REFCLK, input RST, output RDY);
endmodule

module IDELAYE2 #(
    parameter IDELAY_TYPE = "FIXED",
    parameter integer IDELAY_VALUE = 0,
    parameter DELAY_SRC = "IDATAIN",
    parameter HIGH_PERFORMANCE_MODE = "FALSE",
    parameter real REFCLK_FREQUENCY = 200.0,
    parameter SIGNAL_PATTERN = "DATA"
) (
    input C, input CE, input CINVCTRL, input [4:0] CNTVALUEIN, input DATAIN, input IDATAIN, input INC, input LD,
    input LDPIPEEN, input REGRST, output [4:0] CNTVALUEOUT, output DATAOUT
);
endmodule
