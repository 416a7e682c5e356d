// Models of ECP5's multipliers and block RAM with the features that Yosys 0.70 and psahw use. Registers behind block RAM,
// inverted clocks and chip selects are not modelled. Yosys has only black boxes of these cells. The models follow
// Lattice's sysDSP and memory usage guides (FPGA-TN-02205, FPGA-TN-02204) and the FPGA libraries reference guide.

module DP16KD (
    input DIA17, DIA16, DIA15, DIA14, DIA13, DIA12, DIA11, DIA10, DIA9, DIA8, DIA7, DIA6, DIA5, DIA4, DIA3, DIA2,
        DIA1, DIA0,
    input ADA13, ADA12, ADA11, ADA10, ADA9, ADA8, ADA7, ADA6, ADA5, ADA4, ADA3, ADA2, ADA1, ADA0,
    input CEA, OCEA, CLKA, WEA, RSTA, CSA2, CSA1, CSA0,
    output DOA17, DOA16, DOA15, DOA14, DOA13, DOA12, DOA11, DOA10, DOA9, DOA8, DOA7, DOA6, DOA5, DOA4, DOA3, DOA2,
        DOA1, DOA0,
    input DIB17, DIB16, DIB15, DIB14, DIB13, DIB12, DIB11, DIB10, DIB9, DIB8, DIB7, DIB6, DIB5, DIB4, DIB3, DIB2,
        DIB1, DIB0,
    input ADB13, ADB12, ADB11, ADB10, ADB9, ADB8, ADB7, ADB6, ADB5, ADB4, ADB3, ADB2, ADB1, ADB0,
    input CEB, OCEB, CLKB, WEB, RSTB, CSB2, CSB1, CSB0,
    output DOB17, DOB16, DOB15, DOB14, DOB13, DOB12, DOB11, DOB10, DOB9, DOB8, DOB7, DOB6, DOB5, DOB4, DOB3, DOB2,
        DOB1, DOB0
);
    parameter [319:0] INITVAL_00 = 0, INITVAL_01 = 0, INITVAL_02 = 0, INITVAL_03 = 0;
    parameter [319:0] INITVAL_04 = 0, INITVAL_05 = 0, INITVAL_06 = 0, INITVAL_07 = 0;
    parameter [319:0] INITVAL_08 = 0, INITVAL_09 = 0, INITVAL_0A = 0, INITVAL_0B = 0;
    parameter [319:0] INITVAL_0C = 0, INITVAL_0D = 0, INITVAL_0E = 0, INITVAL_0F = 0;
    parameter [319:0] INITVAL_10 = 0, INITVAL_11 = 0, INITVAL_12 = 0, INITVAL_13 = 0;
    parameter [319:0] INITVAL_14 = 0, INITVAL_15 = 0, INITVAL_16 = 0, INITVAL_17 = 0;
    parameter [319:0] INITVAL_18 = 0, INITVAL_19 = 0, INITVAL_1A = 0, INITVAL_1B = 0;
    parameter [319:0] INITVAL_1C = 0, INITVAL_1D = 0, INITVAL_1E = 0, INITVAL_1F = 0;
    parameter [319:0] INITVAL_20 = 0, INITVAL_21 = 0, INITVAL_22 = 0, INITVAL_23 = 0;
    parameter [319:0] INITVAL_24 = 0, INITVAL_25 = 0, INITVAL_26 = 0, INITVAL_27 = 0;
    parameter [319:0] INITVAL_28 = 0, INITVAL_29 = 0, INITVAL_2A = 0, INITVAL_2B = 0;
    parameter [319:0] INITVAL_2C = 0, INITVAL_2D = 0, INITVAL_2E = 0, INITVAL_2F = 0;
    parameter [319:0] INITVAL_30 = 0, INITVAL_31 = 0, INITVAL_32 = 0, INITVAL_33 = 0;
    parameter [319:0] INITVAL_34 = 0, INITVAL_35 = 0, INITVAL_36 = 0, INITVAL_37 = 0;
    parameter [319:0] INITVAL_38 = 0, INITVAL_39 = 0, INITVAL_3A = 0, INITVAL_3B = 0;
    parameter [319:0] INITVAL_3C = 0, INITVAL_3D = 0, INITVAL_3E = 0, INITVAL_3F = 0;
    parameter integer DATA_WIDTH_A = 18, DATA_WIDTH_B = 18;
    parameter REGMODE_A = "NOREG", REGMODE_B = "NOREG", RESETMODE = "SYNC", ASYNC_RESET_RELEASE = "SYNC";
    parameter CSDECODE_A = "0b000", CSDECODE_B = "0b000", WRITEMODE_A = "NORMAL", WRITEMODE_B = "NORMAL";
    parameter CLKAMUX = "CLKA", CLKBMUX = "CLKB", GSR = "ENABLED";

    initial begin
        if (REGMODE_A != "NOREG" || REGMODE_B != "NOREG") $fatal(1, "output registers are not modelled");
        if (CLKAMUX != "CLKA" || CLKBMUX != "CLKB") $fatal(1, "inverted clocks are not modelled");
        if (CSDECODE_A != "0b000" || CSDECODE_B != "0b000") $fatal(1, "chip selects are not modelled");
    end
    always @(posedge CLKA) if (RSTA) $fatal(1, "resets are not modelled");
    always @(posedge CLKB) if (RSTB) $fatal(1, "resets are not modelled");

    // For words of 18 bits, ADx0 and ADx1 enable the two bytes. For words of 36 bits, port A writes with ADA0 to ADA3 as
    // byte enables, port B reads, and the upper half of the data is at B's pins.
    wire [13:0] addr_a = {ADA13, ADA12, ADA11, ADA10, ADA9, ADA8, ADA7, ADA6, ADA5, ADA4, ADA3, ADA2, ADA1, ADA0};
    wire [13:0] addr_b = {ADB13, ADB12, ADB11, ADB10, ADB9, ADB8, ADB7, ADB6, ADB5, ADB4, ADB3, ADB2, ADB1, ADB0};
    wire [17:0] i_a = {DIA17, DIA16, DIA15, DIA14, DIA13, DIA12, DIA11, DIA10, DIA9, DIA8, DIA7, DIA6, DIA5, DIA4,
        DIA3, DIA2, DIA1, DIA0};
    wire [17:0] i_b = {DIB17, DIB16, DIB15, DIB14, DIB13, DIB12, DIB11, DIB10, DIB9, DIB8, DIB7, DIB6, DIB5, DIB4,
        DIB3, DIB2, DIB1, DIB0};
    wire [3:0] we_a = DATA_WIDTH_A == 36 ? addr_a[3:0] : DATA_WIDTH_A == 18 ? {2'd0, addr_a[1:0]} : 4'd1;
    wire [3:0] we_b = DATA_WIDTH_B == 18 ? {2'd0, addr_b[1:0]} : {3'd0, DATA_WIDTH_B < 18};
    wire [71:0] read_a, read_b;
    assign {DOA17, DOA16, DOA15, DOA14, DOA13, DOA12, DOA11, DOA10, DOA9, DOA8, DOA7, DOA6, DOA5, DOA4, DOA3, DOA2,
        DOA1, DOA0} = DATA_WIDTH_B == 36 ? read_b[17:0] : read_a[17:0];
    assign {DOB17, DOB16, DOB15, DOB14, DOB13, DOB12, DOB11, DOB10, DOB9, DOB8, DOB7, DOB6, DOB5, DOB4, DOB3, DOB2,
        DOB1, DOB0} = DATA_WIDTH_B == 36 ? read_b[35:18] : read_b[17:0];

    function [1:0] mode(input [119:0] name);
        mode = name == "READBEFOREWRITE" ? 0 : name == "WRITETHROUGH" ? 1 : 2;
    endfunction

    psahw_block_ram #(
        .BYTES(2048),
        .READ({DATA_WIDTH_B, DATA_WIDTH_A == 36 ? 0 : DATA_WIDTH_A}),
        .WRITE({DATA_WIDTH_B == 36 ? 0 : DATA_WIDTH_B, DATA_WIDTH_A}),
        .MODE({mode(WRITEMODE_B), mode(WRITEMODE_A)})
    ) ram (
        .clk({CLKB, CLKA}), .en({CEB, CEA}), .we({WEB ? 8'(we_b) : 8'd0, WEA ? 8'(we_a) : 8'd0}),
        .addr({15'(addr_b), 15'(addr_a)}), .i({72'(i_b), DATA_WIDTH_A == 36 ? 72'({i_b, i_a}) : 72'(i_a)}),
        .o({read_b, read_a})
    );

    // 16 words of 18 bits in 20 each (FPGA-TN-02204, "Initializing Memory").
    localparam [20479:0] WORDS = {
        INITVAL_3F, INITVAL_3E, INITVAL_3D, INITVAL_3C, INITVAL_3B, INITVAL_3A, INITVAL_39, INITVAL_38,
        INITVAL_37, INITVAL_36, INITVAL_35, INITVAL_34, INITVAL_33, INITVAL_32, INITVAL_31, INITVAL_30,
        INITVAL_2F, INITVAL_2E, INITVAL_2D, INITVAL_2C, INITVAL_2B, INITVAL_2A, INITVAL_29, INITVAL_28,
        INITVAL_27, INITVAL_26, INITVAL_25, INITVAL_24, INITVAL_23, INITVAL_22, INITVAL_21, INITVAL_20,
        INITVAL_1F, INITVAL_1E, INITVAL_1D, INITVAL_1C, INITVAL_1B, INITVAL_1A, INITVAL_19, INITVAL_18,
        INITVAL_17, INITVAL_16, INITVAL_15, INITVAL_14, INITVAL_13, INITVAL_12, INITVAL_11, INITVAL_10,
        INITVAL_0F, INITVAL_0E, INITVAL_0D, INITVAL_0C, INITVAL_0B, INITVAL_0A, INITVAL_09, INITVAL_08,
        INITVAL_07, INITVAL_06, INITVAL_05, INITVAL_04, INITVAL_03, INITVAL_02, INITVAL_01, INITVAL_00
    };
    integer k;
    initial for (k = 0; k < 2048; k = k + 1) ram.memory[k] = WORDS[20*(k/2)+9*(k%2)+:9];
endmodule

module MULT18X18D (
    input A17, A16, A15, A14, A13, A12, A11, A10, A9, A8, A7, A6, A5, A4, A3, A2, A1, A0,
    input B17, B16, B15, B14, B13, B12, B11, B10, B9, B8, B7, B6, B5, B4, B3, B2, B1, B0,
    input C17, C16, C15, C14, C13, C12, C11, C10, C9, C8, C7, C6, C5, C4, C3, C2, C1, C0,
    input SIGNEDA, SIGNEDB, SOURCEA, SOURCEB, CLK0, CLK1, CLK2, CLK3, CE0, CE1, CE2, CE3, RST0, RST1, RST2, RST3,
    output P35, P34, P33, P32, P31, P30, P29, P28, P27, P26, P25, P24, P23, P22, P21, P20, P19, P18, P17, P16, P15,
        P14, P13, P12, P11, P10, P9, P8, P7, P6, P5, P4, P3, P2, P1, P0
);
    parameter REG_INPUTA_CLK = "NONE", REG_INPUTB_CLK = "NONE", REG_PIPELINE_CLK = "NONE", REG_OUTPUT_CLK = "NONE";
    parameter REG_INPUTA_CE = "CE0", REG_INPUTB_CE = "CE0", REG_PIPELINE_CE = "CE0", REG_OUTPUT_CE = "CE0";
    parameter REG_INPUTA_RST = "RST0", REG_INPUTB_RST = "RST0", REG_PIPELINE_RST = "RST0", REG_OUTPUT_RST = "RST0";
    parameter REG_INPUTC_CLK = "NONE", GSR = "ENABLED", RESETMODE = "SYNC", MULT_BYPASS = "DISABLED";

    initial
        if (SOURCEA || SOURCEB || REG_INPUTC_CLK != "NONE" || RESETMODE != "SYNC" || MULT_BYPASS != "DISABLED")
            $fatal(1, "only synchronous resets and two operands are modelled");

    function pin(input [31:0] name, input [3:0] pins);
        pin = pins[name[1:0]];  // the names end with the digits 0 to 3
    endfunction

    wire signed [18:0] a = {SIGNEDA & A17, A17, A16, A15, A14, A13, A12, A11, A10, A9, A8, A7, A6, A5, A4, A3, A2, A1,
        A0};
    wire signed [18:0] b = {SIGNEDB & B17, B17, B16, B15, B14, B13, B12, B11, B10, B9, B8, B7, B6, B5, B4, B3, B2, B1,
        B0};
    // Each register, or a wire in its place: the operands, the product inside of the multiplier, the product behind it.
    wire [3:0] clk = {CLK3, CLK2, CLK1, CLK0}, ce = {CE3, CE2, CE1, CE0}, rst = {RST3, RST2, RST1, RST0};
    wire clk_a = pin(REG_INPUTA_CLK, clk), ce_a = pin(REG_INPUTA_CE, ce), rst_a = pin(REG_INPUTA_RST, rst);
    wire clk_b = pin(REG_INPUTB_CLK, clk), ce_b = pin(REG_INPUTB_CE, ce), rst_b = pin(REG_INPUTB_RST, rst);
    wire clk_m = pin(REG_PIPELINE_CLK, clk), ce_m = pin(REG_PIPELINE_CE, ce), rst_m = pin(REG_PIPELINE_RST, rst);
    wire clk_p = pin(REG_OUTPUT_CLK, clk), ce_p = pin(REG_OUTPUT_CE, ce), rst_p = pin(REG_OUTPUT_RST, rst);
    reg signed [18:0] held_a, held_b;
    reg signed [37:0] held_m, held_p;
    wire signed [18:0] operand_a = REG_INPUTA_CLK == "NONE" ? a : held_a;
    wire signed [18:0] operand_b = REG_INPUTB_CLK == "NONE" ? b : held_b;
    wire signed [37:0] product = operand_a * operand_b;
    wire signed [37:0] middle = REG_PIPELINE_CLK == "NONE" ? product : held_m;
    wire signed [37:0] result = REG_OUTPUT_CLK == "NONE" ? middle : held_p;
    always @(posedge clk_a) if (rst_a) held_a <= 0; else if (ce_a) held_a <= a;
    always @(posedge clk_b) if (rst_b) held_b <= 0; else if (ce_b) held_b <= b;
    always @(posedge clk_m) if (rst_m) held_m <= 0; else if (ce_m) held_m <= product;
    always @(posedge clk_p) if (rst_p) held_p <= 0; else if (ce_p) held_p <= middle;
    assign {P35, P34, P33, P32, P31, P30, P29, P28, P27, P26, P25, P24, P23, P22, P21, P20, P19, P18, P17, P16, P15,
        P14, P13, P12, P11, P10, P9, P8, P7, P6, P5, P4, P3, P2, P1, P0} = result[35:0];
endmodule
