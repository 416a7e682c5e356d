// Models of multipliers for simulation, not for synthesis, as far as psahw uses them. Any other use ends the simulation.
//
// DSP48E1 and DSP48E2, for psahw/gateware/dsp48.py: P is the product of A2 and B2 through M, or the sum of C and such
// products. They follow UG479 and UG579: figures 2-1 ("DSP48 Slice"), tables 2-7 to 2-9 and 2-4 to 2-7 (OPMODE), table
// 2-12 (ALUMODE), and "Reset"; a reset takes precedence over an enable.
//
// MULT18X18D, for psahw/gateware/mult18.py: P is the product of A and B, with registers in front of it and behind it.
// It follows FPGA-TN-02205, "ECP5 and ECP5-5G sysDSP Usage Guide".

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

module MULT18X18D (
    input A17, A16, A15, A14, A13, A12, A11, A10, A9, A8, A7, A6, A5, A4, A3, A2, A1, A0,
    input B17, B16, B15, B14, B13, B12, B11, B10, B9, B8, B7, B6, B5, B4, B3, B2, B1, B0,
    input C17, C16, C15, C14, C13, C12, C11, C10, C9, C8, C7, C6, C5, C4, C3, C2, C1, C0,
    input SIGNEDA, SIGNEDB, SOURCEA, SOURCEB, CLK0, CLK1, CLK2, CLK3, CE0, CE1, CE2, CE3, RST0, RST1, RST2, RST3,
    output P35, P34, P33, P32, P31, P30, P29, P28, P27, P26, P25, P24, P23, P22, P21, P20, P19, P18, P17, P16, P15, P14,
        P13, P12, P11, P10, P9, P8, P7, P6, P5, P4, P3, P2, P1, P0
);
    parameter REG_INPUTA_CLK = "NONE", REG_INPUTB_CLK = "NONE", REG_INPUTC_CLK = "NONE";
    parameter REG_PIPELINE_CLK = "NONE", REG_OUTPUT_CLK = "NONE";
    parameter REG_INPUTA_CE = "CE0", REG_INPUTB_CE = "CE0", REG_INPUTC_CE = "CE0";
    parameter REG_PIPELINE_CE = "CE0", REG_OUTPUT_CE = "CE0";
    parameter REG_INPUTA_RST = "RST0", REG_INPUTB_RST = "RST0", REG_INPUTC_RST = "RST0";
    parameter REG_PIPELINE_RST = "RST0", REG_OUTPUT_RST = "RST0";
    parameter GSR = "ENABLED", RESETMODE = "SYNC", MULT_BYPASS = "DISABLED";

    initial begin
        if (REG_INPUTA_CLK != "CLK0" || REG_INPUTB_CLK != "CLK0" || REG_OUTPUT_CLK != "CLK0")
            $fatal(1, "A, B and P must have registers with the clock CLK0");
        if (REG_PIPELINE_CLK != "NONE" || REG_INPUTC_CLK != "NONE")
            $fatal(1, "C and the register of the pipeline are not modelled");
        if (REG_INPUTA_CE != "CE0" || REG_INPUTB_CE != "CE0" || REG_OUTPUT_CE != "CE0")
            $fatal(1, "registers must have the enable CE0");
        if (REG_INPUTA_RST != "RST0" || REG_INPUTB_RST != "RST0" || REG_OUTPUT_RST != "RST0")
            $fatal(1, "registers must have the reset RST0");
        if (GSR != "DISABLED" || RESETMODE != "SYNC" || MULT_BYPASS != "DISABLED")
            $fatal(1, "only synchronous resets are modelled");
    end

    wire signed [17:0] wire_a = {
        A17, A16, A15, A14, A13, A12, A11, A10, A9, A8, A7, A6, A5, A4, A3, A2, A1, A0
    };
    wire signed [17:0] wire_b = {
        B17, B16, B15, B14, B13, B12, B11, B10, B9, B8, B7, B6, B5, B4, B3, B2, B1, B0
    };
    reg signed [17:0] a, b;
    reg signed [35:0] p;
    always @(posedge CLK0) begin
        if (RST0) a <= 0; else if (CE0) a <= wire_a;
        if (RST0) b <= 0; else if (CE0) b <= wire_b;
        if (RST0) p <= 0; else if (CE0) p <= a * b;
        if (!SIGNEDA || !SIGNEDB || SOURCEA || SOURCEB) $fatal(1, "operands must be signed, from A and B");
    end
    assign {
        P35, P34, P33, P32, P31, P30, P29, P28, P27, P26, P25, P24, P23, P22, P21, P20, P19, P18, P17, P16, P15, P14,
        P13, P12, P11, P10, P9, P8, P7, P6, P5, P4, P3, P2, P1, P0
    } = p;
endmodule

/* verilator lint_on UNUSEDSIGNAL */
/* verilator lint_on UNUSEDPARAM */
/* verilator lint_on UNDRIVEN */
/* verilator lint_on MULTITOP */
