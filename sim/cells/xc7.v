// Models of the 7 series' block RAM with the features that Yosys 0.70 uses: without output registers, ECC, cascades and
// inverted pins. Yosys' own cells_sim.v has the pins and delays of RAMB18E1 and RAMB36E1, but not their function. The
// models follow UG473, chapter 1: port widths and addresses, "Simple Dual-Port Block RAM", "Write Modes" and "Conflict
// Avoidance".

module RAMB18E1 (
    input CLKARDCLK, CLKBWRCLK, ENARDEN, ENBWREN, REGCEAREGCE, REGCEB,
    input RSTRAMARSTRAM, RSTRAMB, RSTREGARSTREG, RSTREGB,
    input [13:0] ADDRARDADDR, ADDRBWRADDR,
    input [15:0] DIADI, DIBDI,
    input [1:0] DIPADIP, DIPBDIP,
    input [1:0] WEA,
    input [3:0] WEBWE,
    output [15:0] DOADO, DOBDO,
    output [1:0] DOPADOP, DOPBDOP
);
    parameter [255:0] INIT_00 = 0, INIT_01 = 0, INIT_02 = 0, INIT_03 = 0;
    parameter [255:0] INIT_04 = 0, INIT_05 = 0, INIT_06 = 0, INIT_07 = 0;
    parameter [255:0] INIT_08 = 0, INIT_09 = 0, INIT_0A = 0, INIT_0B = 0;
    parameter [255:0] INIT_0C = 0, INIT_0D = 0, INIT_0E = 0, INIT_0F = 0;
    parameter [255:0] INIT_10 = 0, INIT_11 = 0, INIT_12 = 0, INIT_13 = 0;
    parameter [255:0] INIT_14 = 0, INIT_15 = 0, INIT_16 = 0, INIT_17 = 0;
    parameter [255:0] INIT_18 = 0, INIT_19 = 0, INIT_1A = 0, INIT_1B = 0;
    parameter [255:0] INIT_1C = 0, INIT_1D = 0, INIT_1E = 0, INIT_1F = 0;
    parameter [255:0] INIT_20 = 0, INIT_21 = 0, INIT_22 = 0, INIT_23 = 0;
    parameter [255:0] INIT_24 = 0, INIT_25 = 0, INIT_26 = 0, INIT_27 = 0;
    parameter [255:0] INIT_28 = 0, INIT_29 = 0, INIT_2A = 0, INIT_2B = 0;
    parameter [255:0] INIT_2C = 0, INIT_2D = 0, INIT_2E = 0, INIT_2F = 0;
    parameter [255:0] INIT_30 = 0, INIT_31 = 0, INIT_32 = 0, INIT_33 = 0;
    parameter [255:0] INIT_34 = 0, INIT_35 = 0, INIT_36 = 0, INIT_37 = 0;
    parameter [255:0] INIT_38 = 0, INIT_39 = 0, INIT_3A = 0, INIT_3B = 0;
    parameter [255:0] INIT_3C = 0, INIT_3D = 0, INIT_3E = 0, INIT_3F = 0;
    parameter [255:0] INITP_00 = 0, INITP_01 = 0, INITP_02 = 0, INITP_03 = 0;
    parameter [255:0] INITP_04 = 0, INITP_05 = 0, INITP_06 = 0, INITP_07 = 0;
    parameter [35:0] INIT_A = 0, INIT_B = 0, SRVAL_A = 0, SRVAL_B = 0;
    parameter integer DOA_REG = 0, DOB_REG = 0;
    parameter integer READ_WIDTH_A = 0, READ_WIDTH_B = 0, WRITE_WIDTH_A = 0, WRITE_WIDTH_B = 0;
    parameter RAM_MODE = "TDP", WRITE_MODE_A = "WRITE_FIRST", WRITE_MODE_B = "WRITE_FIRST";
    parameter RAM_EXTENSION_A = "NONE", RAM_EXTENSION_B = "NONE";

    initial begin
        if (DOA_REG != 0 || DOB_REG != 0) $fatal(1, "output registers are not modelled");
        if (RAM_EXTENSION_A != "NONE" || RAM_EXTENSION_B != "NONE") $fatal(1, "cascades are not modelled");
        if (RAM_MODE == "SDP" && (READ_WIDTH_B != 0 || WRITE_WIDTH_A != 0)) $fatal(1, "SDP: A reads and B writes");
    end
    always @(posedge CLKARDCLK) if (ENARDEN & RSTRAMARSTRAM) $fatal(1, "resets are not modelled");
    always @(posedge CLKBWRCLK) if (ENBWREN & RSTRAMB) $fatal(1, "resets are not modelled");

    // A simple dual port that is wider than one port has the lower half of its data at A's pins, the upper half at B's.
    wire [17:0] i_a, i_b, o_a, o_b;
    wire [71:0] read_a, read_b;
    genvar n;
    generate
        for (n = 0; n < 2; n = n + 1) begin : bytes
            assign i_a[9*n+:9] = {DIPADIP[n], DIADI[8*n+:8]};
            assign i_b[9*n+:9] = {DIPBDIP[n], DIBDI[8*n+:8]};
            assign {DOPADOP[n], DOADO[8*n+:8]} = o_a[9*n+:9];
            assign {DOPBDOP[n], DOBDO[8*n+:8]} = o_b[9*n+:9];
        end
    endgenerate
    assign o_a = read_a[17:0];
    assign o_b = READ_WIDTH_A > 18 ? read_a[35:18] : read_b[17:0];

    function [1:0] mode(input [95:0] name);
        mode = name == "READ_FIRST" ? 0 : name == "WRITE_FIRST" ? 1 : 2;
    endfunction

    psahw_block_ram #(
        .BYTES(2048),
        .READ({READ_WIDTH_B, READ_WIDTH_A}), .WRITE({WRITE_WIDTH_B, WRITE_WIDTH_A}),
        .MODE({mode(WRITE_MODE_B), mode(WRITE_MODE_A)})
    ) ram (
        .clk({CLKBWRCLK, CLKARDCLK}), .en({ENBWREN, ENARDEN}),
        .we({8'(WEBWE), 8'(WEA)}), .addr({15'(ADDRBWRADDR[13:0]), 15'(ADDRARDADDR[13:0])}),
        .i({WRITE_WIDTH_B > 18 ? 72'({i_b, i_a}) : 72'(i_b), 72'(i_a)}), .o({read_b, read_a})
    );

    localparam [16383:0] DATA = {
        INIT_3F, INIT_3E, INIT_3D, INIT_3C, INIT_3B, INIT_3A, INIT_39, INIT_38,
        INIT_37, INIT_36, INIT_35, INIT_34, INIT_33, INIT_32, INIT_31, INIT_30,
        INIT_2F, INIT_2E, INIT_2D, INIT_2C, INIT_2B, INIT_2A, INIT_29, INIT_28,
        INIT_27, INIT_26, INIT_25, INIT_24, INIT_23, INIT_22, INIT_21, INIT_20,
        INIT_1F, INIT_1E, INIT_1D, INIT_1C, INIT_1B, INIT_1A, INIT_19, INIT_18,
        INIT_17, INIT_16, INIT_15, INIT_14, INIT_13, INIT_12, INIT_11, INIT_10,
        INIT_0F, INIT_0E, INIT_0D, INIT_0C, INIT_0B, INIT_0A, INIT_09, INIT_08,
        INIT_07, INIT_06, INIT_05, INIT_04, INIT_03, INIT_02, INIT_01, INIT_00
    };
    localparam [2047:0] PARITY = {
        INITP_07, INITP_06, INITP_05, INITP_04, INITP_03, INITP_02, INITP_01, INITP_00
    };
    integer k;
    initial for (k = 0; k < 2048; k = k + 1) ram.memory[k] = {PARITY[k], DATA[8*k+:8]};
endmodule

module RAMB36E1 (
    input CLKARDCLK, CLKBWRCLK, ENARDEN, ENBWREN, REGCEAREGCE, REGCEB,
    input RSTRAMARSTRAM, RSTRAMB, RSTREGARSTREG, RSTREGB,
    input [15:0] ADDRARDADDR, ADDRBWRADDR,
    input [31:0] DIADI, DIBDI,
    input [3:0] DIPADIP, DIPBDIP,
    input [3:0] WEA,
    input [7:0] WEBWE,
    output [31:0] DOADO, DOBDO,
    output [3:0] DOPADOP, DOPBDOP
);
    parameter [255:0] INIT_00 = 0, INIT_01 = 0, INIT_02 = 0, INIT_03 = 0;
    parameter [255:0] INIT_04 = 0, INIT_05 = 0, INIT_06 = 0, INIT_07 = 0;
    parameter [255:0] INIT_08 = 0, INIT_09 = 0, INIT_0A = 0, INIT_0B = 0;
    parameter [255:0] INIT_0C = 0, INIT_0D = 0, INIT_0E = 0, INIT_0F = 0;
    parameter [255:0] INIT_10 = 0, INIT_11 = 0, INIT_12 = 0, INIT_13 = 0;
    parameter [255:0] INIT_14 = 0, INIT_15 = 0, INIT_16 = 0, INIT_17 = 0;
    parameter [255:0] INIT_18 = 0, INIT_19 = 0, INIT_1A = 0, INIT_1B = 0;
    parameter [255:0] INIT_1C = 0, INIT_1D = 0, INIT_1E = 0, INIT_1F = 0;
    parameter [255:0] INIT_20 = 0, INIT_21 = 0, INIT_22 = 0, INIT_23 = 0;
    parameter [255:0] INIT_24 = 0, INIT_25 = 0, INIT_26 = 0, INIT_27 = 0;
    parameter [255:0] INIT_28 = 0, INIT_29 = 0, INIT_2A = 0, INIT_2B = 0;
    parameter [255:0] INIT_2C = 0, INIT_2D = 0, INIT_2E = 0, INIT_2F = 0;
    parameter [255:0] INIT_30 = 0, INIT_31 = 0, INIT_32 = 0, INIT_33 = 0;
    parameter [255:0] INIT_34 = 0, INIT_35 = 0, INIT_36 = 0, INIT_37 = 0;
    parameter [255:0] INIT_38 = 0, INIT_39 = 0, INIT_3A = 0, INIT_3B = 0;
    parameter [255:0] INIT_3C = 0, INIT_3D = 0, INIT_3E = 0, INIT_3F = 0;
    parameter [255:0] INIT_40 = 0, INIT_41 = 0, INIT_42 = 0, INIT_43 = 0;
    parameter [255:0] INIT_44 = 0, INIT_45 = 0, INIT_46 = 0, INIT_47 = 0;
    parameter [255:0] INIT_48 = 0, INIT_49 = 0, INIT_4A = 0, INIT_4B = 0;
    parameter [255:0] INIT_4C = 0, INIT_4D = 0, INIT_4E = 0, INIT_4F = 0;
    parameter [255:0] INIT_50 = 0, INIT_51 = 0, INIT_52 = 0, INIT_53 = 0;
    parameter [255:0] INIT_54 = 0, INIT_55 = 0, INIT_56 = 0, INIT_57 = 0;
    parameter [255:0] INIT_58 = 0, INIT_59 = 0, INIT_5A = 0, INIT_5B = 0;
    parameter [255:0] INIT_5C = 0, INIT_5D = 0, INIT_5E = 0, INIT_5F = 0;
    parameter [255:0] INIT_60 = 0, INIT_61 = 0, INIT_62 = 0, INIT_63 = 0;
    parameter [255:0] INIT_64 = 0, INIT_65 = 0, INIT_66 = 0, INIT_67 = 0;
    parameter [255:0] INIT_68 = 0, INIT_69 = 0, INIT_6A = 0, INIT_6B = 0;
    parameter [255:0] INIT_6C = 0, INIT_6D = 0, INIT_6E = 0, INIT_6F = 0;
    parameter [255:0] INIT_70 = 0, INIT_71 = 0, INIT_72 = 0, INIT_73 = 0;
    parameter [255:0] INIT_74 = 0, INIT_75 = 0, INIT_76 = 0, INIT_77 = 0;
    parameter [255:0] INIT_78 = 0, INIT_79 = 0, INIT_7A = 0, INIT_7B = 0;
    parameter [255:0] INIT_7C = 0, INIT_7D = 0, INIT_7E = 0, INIT_7F = 0;
    parameter [255:0] INITP_00 = 0, INITP_01 = 0, INITP_02 = 0, INITP_03 = 0;
    parameter [255:0] INITP_04 = 0, INITP_05 = 0, INITP_06 = 0, INITP_07 = 0;
    parameter [255:0] INITP_08 = 0, INITP_09 = 0, INITP_0A = 0, INITP_0B = 0;
    parameter [255:0] INITP_0C = 0, INITP_0D = 0, INITP_0E = 0, INITP_0F = 0;
    parameter [71:0] INIT_A = 0, INIT_B = 0, SRVAL_A = 0, SRVAL_B = 0;
    parameter integer DOA_REG = 0, DOB_REG = 0;
    parameter integer READ_WIDTH_A = 0, READ_WIDTH_B = 0, WRITE_WIDTH_A = 0, WRITE_WIDTH_B = 0;
    parameter RAM_MODE = "TDP", WRITE_MODE_A = "WRITE_FIRST", WRITE_MODE_B = "WRITE_FIRST";
    parameter RAM_EXTENSION_A = "NONE", RAM_EXTENSION_B = "NONE";

    initial begin
        if (DOA_REG != 0 || DOB_REG != 0) $fatal(1, "output registers are not modelled");
        if (RAM_EXTENSION_A != "NONE" || RAM_EXTENSION_B != "NONE") $fatal(1, "cascades are not modelled");
        if (RAM_MODE == "SDP" && (READ_WIDTH_B != 0 || WRITE_WIDTH_A != 0)) $fatal(1, "SDP: A reads and B writes");
    end
    always @(posedge CLKARDCLK) if (ENARDEN & RSTRAMARSTRAM) $fatal(1, "resets are not modelled");
    always @(posedge CLKBWRCLK) if (ENBWREN & RSTRAMB) $fatal(1, "resets are not modelled");

    // A simple dual port that is wider than one port has the lower half of its data at A's pins, the upper half at B's.
    wire [35:0] i_a, i_b, o_a, o_b;
    wire [71:0] read_a, read_b;
    genvar n;
    generate
        for (n = 0; n < 4; n = n + 1) begin : bytes
            assign i_a[9*n+:9] = {DIPADIP[n], DIADI[8*n+:8]};
            assign i_b[9*n+:9] = {DIPBDIP[n], DIBDI[8*n+:8]};
            assign {DOPADOP[n], DOADO[8*n+:8]} = o_a[9*n+:9];
            assign {DOPBDOP[n], DOBDO[8*n+:8]} = o_b[9*n+:9];
        end
    endgenerate
    assign o_a = read_a[35:0];
    assign o_b = READ_WIDTH_A > 36 ? read_a[71:36] : read_b[35:0];

    function [1:0] mode(input [95:0] name);
        mode = name == "READ_FIRST" ? 0 : name == "WRITE_FIRST" ? 1 : 2;
    endfunction

    psahw_block_ram #(
        .BYTES(4096),
        .READ({READ_WIDTH_B, READ_WIDTH_A}), .WRITE({WRITE_WIDTH_B, WRITE_WIDTH_A}),
        .MODE({mode(WRITE_MODE_B), mode(WRITE_MODE_A)})
    ) ram (
        .clk({CLKBWRCLK, CLKARDCLK}), .en({ENBWREN, ENARDEN}),
        .we({8'(WEBWE), 8'(WEA)}), .addr({15'(ADDRBWRADDR[14:0]), 15'(ADDRARDADDR[14:0])}),
        .i({WRITE_WIDTH_B > 36 ? 72'({i_b, i_a}) : 72'(i_b), 72'(i_a)}), .o({read_b, read_a})
    );

    localparam [32767:0] DATA = {
        INIT_7F, INIT_7E, INIT_7D, INIT_7C, INIT_7B, INIT_7A, INIT_79, INIT_78,
        INIT_77, INIT_76, INIT_75, INIT_74, INIT_73, INIT_72, INIT_71, INIT_70,
        INIT_6F, INIT_6E, INIT_6D, INIT_6C, INIT_6B, INIT_6A, INIT_69, INIT_68,
        INIT_67, INIT_66, INIT_65, INIT_64, INIT_63, INIT_62, INIT_61, INIT_60,
        INIT_5F, INIT_5E, INIT_5D, INIT_5C, INIT_5B, INIT_5A, INIT_59, INIT_58,
        INIT_57, INIT_56, INIT_55, INIT_54, INIT_53, INIT_52, INIT_51, INIT_50,
        INIT_4F, INIT_4E, INIT_4D, INIT_4C, INIT_4B, INIT_4A, INIT_49, INIT_48,
        INIT_47, INIT_46, INIT_45, INIT_44, INIT_43, INIT_42, INIT_41, INIT_40,
        INIT_3F, INIT_3E, INIT_3D, INIT_3C, INIT_3B, INIT_3A, INIT_39, INIT_38,
        INIT_37, INIT_36, INIT_35, INIT_34, INIT_33, INIT_32, INIT_31, INIT_30,
        INIT_2F, INIT_2E, INIT_2D, INIT_2C, INIT_2B, INIT_2A, INIT_29, INIT_28,
        INIT_27, INIT_26, INIT_25, INIT_24, INIT_23, INIT_22, INIT_21, INIT_20,
        INIT_1F, INIT_1E, INIT_1D, INIT_1C, INIT_1B, INIT_1A, INIT_19, INIT_18,
        INIT_17, INIT_16, INIT_15, INIT_14, INIT_13, INIT_12, INIT_11, INIT_10,
        INIT_0F, INIT_0E, INIT_0D, INIT_0C, INIT_0B, INIT_0A, INIT_09, INIT_08,
        INIT_07, INIT_06, INIT_05, INIT_04, INIT_03, INIT_02, INIT_01, INIT_00
    };
    localparam [4095:0] PARITY = {
        INITP_0F, INITP_0E, INITP_0D, INITP_0C, INITP_0B, INITP_0A, INITP_09, INITP_08,
        INITP_07, INITP_06, INITP_05, INITP_04, INITP_03, INITP_02, INITP_01, INITP_00
    };
    integer k;
    initial for (k = 0; k < 4096; k = k + 1) ram.memory[k] = {PARITY[k], DATA[8*k+:8]};
endmodule
