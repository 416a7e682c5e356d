// Models of the 7 series and UltraScale+ primitives that the shell uses, for lint and for simulating a whole board from
// its pins. They support only the shell's settings. Ports and parameters follow the libraries guides UG953 and UG974.
// Wires, pads and clock networks have no delay.
`timescale 1ps / 1fs

module IBUF(input I, output O);
    assign O = I;
endmodule

module IBUFDS(input I, input IB, output reg O);
    always @* if (I != IB) O = I;
endmodule

module OBUFT(input I, input T, output O);
    assign O = T ? 1'bz : I;
endmodule

module BUFG(input I, output O);
    assign O = I;
endmodule

module FDPE #(parameter [0:0] INIT = 1'b1) (input C, input CE, input D, input PRE, output reg Q);
    initial Q = INIT;
    always @(posedge C or posedge PRE) if (PRE) Q <= 1'b1; else if (CE) Q <= D;
endmodule

module FDCE #(parameter [0:0] INIT = 1'b0) (input C, input CE, input D, input CLR, output reg Q);
    initial Q = INIT;
    always @(posedge C or posedge CLR) if (CLR) Q <= 1'b0; else if (CE) Q <= D;
endmodule

// UG472, chapter 3: with CLKFBOUT as the feedback, the VCO runs at CLKIN1 / DIVCLK_DIVIDE * CLKFBOUT_MULT_F, and each
// output at this frequency divided by its own divider. DS182 (7 series, speed grade 2) and DS923 give the VCO's range.
module mmcm #(
    parameter real LEAST_MHZ = 600.0, parameter real MOST_MHZ = 1440.0,
    parameter real PERIOD_NS = 0.0, parameter integer DIVIDE = 1, parameter real MULTIPLY = 5.0,
    parameter real DIVIDE_0 = 1.0, parameter real DIVIDE_1 = 1.0, parameter real DIVIDE_2 = 1.0,
    parameter real PHASE_0 = 0.0, parameter real PHASE_1 = 0.0, parameter real PHASE_2 = 0.0
) (
    input clk_in, input select, input feedback_in, input reset, input off,
    output feedback_out, output [2:0] clk_out, output locked
);
    real input_ps, vco_ps;
    wire steady;

    pll_reference #(.PERIOD_NS(PERIOD_NS)) reference(
        .clk(clk_in), .stop(reset || off || !select), .steady(steady), .period_ps(input_ps)
    );
    assign vco_ps = input_ps * DIVIDE / MULTIPLY;
    pll_output fed_back(.run(steady), .period_ps(vco_ps * MULTIPLY), .shift_ps(0.0), .clk(feedback_out));
    pll_feedback feedback(.run(steady), .feedback(feedback_in), .period_ps(input_ps * DIVIDE), .locked(locked));
    pll_vco #(.LEAST_MHZ(LEAST_MHZ), .MOST_MHZ(MOST_MHZ)) vco(.run(steady), .period_ps(vco_ps));
    pll_output output_0(
        .run(steady), .period_ps(vco_ps * DIVIDE_0), .shift_ps(vco_ps * DIVIDE_0 * PHASE_0 / 360), .clk(clk_out[0])
    );
    pll_output output_1(
        .run(steady), .period_ps(vco_ps * DIVIDE_1), .shift_ps(vco_ps * DIVIDE_1 * PHASE_1 / 360), .clk(clk_out[1])
    );
    pll_output output_2(
        .run(steady), .period_ps(vco_ps * DIVIDE_2), .shift_ps(vco_ps * DIVIDE_2 * PHASE_2 / 360), .clk(clk_out[2])
    );
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
    mmcm #(
        .PERIOD_NS(CLKIN1_PERIOD), .DIVIDE(DIVCLK_DIVIDE), .MULTIPLY(CLKFBOUT_MULT_F),
        .DIVIDE_0(CLKOUT0_DIVIDE_F), .PHASE_0(CLKOUT0_PHASE),
        .DIVIDE_1(CLKOUT1_DIVIDE), .PHASE_1(CLKOUT1_PHASE),
        .DIVIDE_2(CLKOUT2_DIVIDE), .PHASE_2(CLKOUT2_PHASE)
    ) mmcm(
        .clk_in(CLKIN1), .select(CLKINSEL), .feedback_in(CLKFBIN), .reset(RST), .off(PWRDWN),
        .feedback_out(CLKFBOUT), .clk_out({CLKOUT2, CLKOUT1, CLKOUT0}), .locked(LOCKED)
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
    mmcm #(
        .LEAST_MHZ(800.0), .MOST_MHZ(1600.0),
        .PERIOD_NS(CLKIN1_PERIOD), .DIVIDE(DIVCLK_DIVIDE), .MULTIPLY(CLKFBOUT_MULT_F), .DIVIDE_0(CLKOUT0_DIVIDE_F)
    ) mmcm(
        .clk_in(CLKIN1), .select(CLKINSEL), .feedback_in(CLKFBIN), .reset(RST), .off(PWRDWN),
        .feedback_out(CLKFBOUT), .clk_out({CLKOUT2, CLKOUT1, CLKOUT0}), .locked(LOCKED)
    );
endmodule

// UG471, figure 2-8: both halves of a cycle appear together after the next rising edge.
module IDDR #(
    parameter DDR_CLK_EDGE = "OPPOSITE_EDGE", parameter SRTYPE = "SYNC",
    parameter [0:0] INIT_Q1 = 1'b0, parameter [0:0] INIT_Q2 = 1'b0
) (input C, input CE, input D, input R, input S, output reg Q1, output reg Q2);
    reg rising = INIT_Q1, falling = INIT_Q2;
    initial begin
        Q1 = INIT_Q1;
        Q2 = INIT_Q2;
        if (DDR_CLK_EDGE != "SAME_EDGE_PIPELINED") $error("IDDR: DDR_CLK_EDGE %s is not modelled", DDR_CLK_EDGE);
    end
    always @(posedge C) if (CE) begin
        rising <= D;
        Q1 <= rising;
        Q2 <= falling;
    end
    always @(negedge C) if (CE) falling <= D;
    always @(R or S) if (R || S) $error("IDDR: R and S are not modelled");
endmodule

// UG471, figure 2-18: both halves of a cycle are captured with the rising edge before it.
module ODDR #(
    parameter DDR_CLK_EDGE = "OPPOSITE_EDGE", parameter SRTYPE = "SYNC", parameter [0:0] INIT = 1'b0
) (input C, input CE, input D1, input D2, input R, input S, output Q);
    reg first = INIT, second = INIT;
    assign Q = C ? first : second;
    initial if (DDR_CLK_EDGE != "SAME_EDGE") $error("ODDR: DDR_CLK_EDGE %s is not modelled", DDR_CLK_EDGE);
    always @(posedge C) if (CE) begin
        first <= D1;
        second <= D2;
    end
    always @(R or S) if (R || S) $error("ODDR: R and S are not modelled");
endmodule

package idelay;
    bit calibrated = 0;
endpackage

module IDELAYCTRL(input REFCLK, input RST, output RDY);
    real period_ps;
    pll_reference #(.PERIOD_NS(5.0)) reference(.clk(REFCLK), .stop(RST), .steady(RDY), .period_ps(period_ps));
    always @(RDY) idelay::calibrated = RDY;
endmodule

// DS182: a tap is 1 / (32 * 2 * F) if an IDELAYCTRL has calibrated it (UG471). Before, this model's output is 0. The
// delay of the line with zero taps is left out.
module IDELAYE2 #(
    parameter IDELAY_TYPE = "FIXED",
    parameter integer IDELAY_VALUE = 0,
    parameter DELAY_SRC = "IDATAIN",
    parameter HIGH_PERFORMANCE_MODE = "FALSE",
    parameter real REFCLK_FREQUENCY = 200.0,
    parameter SIGNAL_PATTERN = "DATA"
) (
    input C, input CE, input CINVCTRL, input [4:0] CNTVALUEIN, input DATAIN, input IDATAIN, input INC, input LD,
    input LDPIPEEN, input REGRST, output [4:0] CNTVALUEOUT, output reg DATAOUT
);
    initial if (IDELAY_TYPE != "FIXED" || DELAY_SRC != "IDATAIN") $error("IDELAYE2: these settings are not modelled");
    always begin
        DATAOUT <= #(IDELAY_VALUE * 1e6 / (32 * 2 * REFCLK_FREQUENCY)) IDATAIN & idelay::calibrated;
        @(IDATAIN);
    end
endmodule
