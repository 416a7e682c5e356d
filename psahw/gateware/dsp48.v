// Models of DSP48E1 and DSP48E2 for simulation, not for synthesis, as far as psahw/gateware/dsp48.py uses them: P is the
// product of A2 and B2 through M, or the sum of C and such products. They follow UG479 and UG579: figures 2-1 ("DSP48
// Slice"), tables 2-7 to 2-9 and 2-4 to 2-7 (OPMODE), table 2-12 (ALUMODE), and "Reset"; a reset takes precedence over
// an enable. Any other use ends the simulation.

/* verilator lint_off UNUSEDSIGNAL */
/* verilator lint_off UNUSEDPARAM */
/* verilator lint_off UNDRIVEN */
/* verilator lint_off MULTITOP */

module psahw_dsp48 #(
    parameter integer WIDTH = 25,  // bits of the multiplier's wider operand
    parameter integer OPMODEREG = 0
) (
    input CLK, CEA2, CEB2, CEM, CEP, CECTRL, RSTA, RSTB, RSTM, RSTP, RSTCTRL,
    input signed [WIDTH-1:0] A,
    input signed [17:0] B,
    input [47:0] C,
    input [6:0] OPMODE,
    output reg [47:0] P
);
    reg signed [WIDTH-1:0] a;
    reg signed [17:0] b;
    reg signed [WIDTH+17:0] m;
    reg [6:0] held;
    wire [6:0] opmode = OPMODEREG != 0 ? held : OPMODE;
    wire [47:0] z = opmode[6:4] == 3'b010 ? P : opmode[6:4] == 3'b011 ? C : 48'd0;
    wire [47:0] xy = opmode[3:0] == 4'b0101 ? {{(30-WIDTH){m[WIDTH+17]}}, m} : 48'd0;

    always @(posedge CLK) begin
        if (RSTA) a <= 0; else if (CEA2) a <= A;
        if (RSTB) b <= 0; else if (CEB2) b <= B;
        if (RSTM) m <= 0; else if (CEM) m <= a * b;
        if (RSTP) P <= 0; else if (CEP) P <= z + xy;
        if (RSTCTRL) held <= 0; else if (CECTRL) held <= OPMODE;
        if (OPMODE[3:0] != 4'b0101 || (OPMODE[6:4] != 0 && OPMODE[6:5] != 2'b01))
            $fatal(1, "OPMODE %b is not modelled", OPMODE);
    end
endmodule

module DSP48E1 (
    input CLK, CEA1, CEA2, CEAD, CEALUMODE, CEB1, CEB2, CEC, CECARRYIN, CECTRL, CED, CEINMODE, CEM, CEP,
    input RSTA, RSTALLCARRYIN, RSTALUMODE, RSTB, RSTC, RSTCTRL, RSTD, RSTINMODE, RSTM, RSTP,
    input [29:0] A, ACIN,
    input [17:0] B, BCIN,
    input [47:0] C, PCIN,
    input [24:0] D,
    input [6:0] OPMODE,
    input [4:0] INMODE,
    input [3:0] ALUMODE,
    input [2:0] CARRYINSEL,
    input CARRYIN, CARRYCASCIN, MULTSIGNIN,
    output [47:0] P, PCOUT,
    output [29:0] ACOUT,
    output [17:0] BCOUT,
    output [3:0] CARRYOUT,
    output CARRYCASCOUT, MULTSIGNOUT, OVERFLOW, UNDERFLOW, PATTERNDETECT, PATTERNBDETECT
);
    parameter integer AREG = 1, ACASCREG = 1, ADREG = 1, BREG = 1, BCASCREG = 1, CREG = 1, DREG = 1, MREG = 1, PREG = 1;
    parameter integer ALUMODEREG = 1, CARRYINREG = 1, CARRYINSELREG = 1, INMODEREG = 1, OPMODEREG = 1;
    parameter A_INPUT = "DIRECT", B_INPUT = "DIRECT", USE_DPORT = "FALSE", USE_MULT = "MULTIPLY", USE_SIMD = "ONE48";
    parameter AUTORESET_PATDET = "NO_RESET", USE_PATTERN_DETECT = "NO_PATDET";
    parameter SEL_MASK = "MASK", SEL_PATTERN = "PATTERN";
    parameter [47:0] MASK = 48'h3FFFFFFFFFFF, PATTERN = 0;
    parameter [3:0] IS_ALUMODE_INVERTED = 0;
    parameter [6:0] IS_OPMODE_INVERTED = 0;
    parameter [4:0] IS_INMODE_INVERTED = 0;
    parameter [0:0] IS_CARRYIN_INVERTED = 0, IS_CLK_INVERTED = 0;

    initial begin
        if (AREG != 1 || BREG != 1 || MREG != 1 || PREG != 1) $fatal(1, "A, B, M and P must have one register each");
        if (CREG != 0) $fatal(1, "C must have no register");
        if (A_INPUT != "DIRECT" || B_INPUT != "DIRECT" || USE_DPORT != "FALSE") $fatal(1, "operands must be A and B");
        if (USE_MULT != "MULTIPLY" || USE_SIMD != "ONE48") $fatal(1, "only one product is modelled");
        if (USE_PATTERN_DETECT != "NO_PATDET") $fatal(1, "the pattern detector is not modelled");
        if (IS_ALUMODE_INVERTED != 0 || IS_OPMODE_INVERTED != 0 || IS_INMODE_INVERTED != 0 || IS_CARRYIN_INVERTED != 0
            || IS_CLK_INVERTED != 0) $fatal(1, "inverted pins are not modelled");
    end
    // These pins are constant, so that registers behind them change nothing once they are loaded.
    always @(posedge CLK)
        if (ALUMODE != 0 || INMODE != 0 || CARRYINSEL != 0 || CARRYIN != 0) $fatal(1, "P must be Z + M");

    psahw_dsp48 #(.WIDTH(25), .OPMODEREG(OPMODEREG)) slice (
        .CLK(CLK), .CEA2(CEA2), .CEB2(CEB2), .CEM(CEM), .CEP(CEP), .CECTRL(CECTRL),
        .RSTA(RSTA), .RSTB(RSTB), .RSTM(RSTM), .RSTP(RSTP), .RSTCTRL(RSTCTRL),
        .A(A[24:0]), .B(B), .C(C), .OPMODE(OPMODE), .P(P)
    );
endmodule

module DSP48E2 (
    input CLK, CEA1, CEA2, CEAD, CEALUMODE, CEB1, CEB2, CEC, CECARRYIN, CECTRL, CED, CEINMODE, CEM, CEP,
    input RSTA, RSTALLCARRYIN, RSTALUMODE, RSTB, RSTC, RSTCTRL, RSTD, RSTINMODE, RSTM, RSTP,
    input [29:0] A, ACIN,
    input [17:0] B, BCIN,
    input [47:0] C, PCIN,
    input [26:0] D,
    input [8:0] OPMODE,
    input [4:0] INMODE,
    input [3:0] ALUMODE,
    input [2:0] CARRYINSEL,
    input CARRYIN, CARRYCASCIN, MULTSIGNIN,
    output [47:0] P, PCOUT,
    output [29:0] ACOUT,
    output [17:0] BCOUT,
    output [7:0] XOROUT,
    output [3:0] CARRYOUT,
    output CARRYCASCOUT, MULTSIGNOUT, OVERFLOW, UNDERFLOW, PATTERNDETECT, PATTERNBDETECT
);
    parameter integer AREG = 1, ACASCREG = 1, ADREG = 1, BREG = 1, BCASCREG = 1, CREG = 1, DREG = 1, MREG = 1, PREG = 1;
    parameter integer ALUMODEREG = 1, CARRYINREG = 1, CARRYINSELREG = 1, INMODEREG = 1, OPMODEREG = 1;
    parameter A_INPUT = "DIRECT", B_INPUT = "DIRECT", AMULTSEL = "A", BMULTSEL = "B", PREADDINSEL = "A";
    parameter USE_MULT = "MULTIPLY", USE_SIMD = "ONE48", USE_PATTERN_DETECT = "NO_PATDET";

    initial begin
        if (AREG != 1 || BREG != 1 || MREG != 1 || PREG != 1) $fatal(1, "A, B, M and P must have one register each");
        if (CREG != 0) $fatal(1, "C must have no register");
        if (A_INPUT != "DIRECT" || B_INPUT != "DIRECT" || AMULTSEL != "A" || BMULTSEL != "B")
            $fatal(1, "operands must be A and B");
        if (USE_MULT != "MULTIPLY" || USE_SIMD != "ONE48") $fatal(1, "only one product is modelled");
        if (USE_PATTERN_DETECT != "NO_PATDET") $fatal(1, "the pattern detector is not modelled");
    end
    always @(posedge CLK) begin
        if (ALUMODE != 0 || INMODE != 0 || CARRYINSEL != 0 || CARRYIN != 0) $fatal(1, "P must be Z + M");
        if (OPMODE[8:7] != 0) $fatal(1, "OPMODE %b is not modelled", OPMODE);
    end

    psahw_dsp48 #(.WIDTH(27), .OPMODEREG(OPMODEREG)) slice (
        .CLK(CLK), .CEA2(CEA2), .CEB2(CEB2), .CEM(CEM), .CEP(CEP), .CECTRL(CECTRL),
        .RSTA(RSTA), .RSTB(RSTB), .RSTM(RSTM), .RSTP(RSTP), .RSTCTRL(RSTCTRL),
        .A(A[26:0]), .B(B), .C(C), .OPMODE(OPMODE[6:0]), .P(P)
    );
endmodule

/* verilator lint_on UNUSEDSIGNAL */
/* verilator lint_on UNUSEDPARAM */
/* verilator lint_on UNDRIVEN */
/* verilator lint_on MULTITOP */
