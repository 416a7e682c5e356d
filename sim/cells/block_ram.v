// The common part of both vendors' block RAM: bytes of nine bits, and two ports, each with its own word width.
//
// Words of 1, 2 and 4 bits occupy the lower eight bits of a byte. Wider words consist of whole bytes, the lowest first.
// Addresses count the lower eight bits of the bytes. The output latches change only with `en`. If one port writes a word
// in the cycle in which the other port reads it, the reader gets the old word if the writer is READ_FIRST, and the
// complement of the old word otherwise. In the device that value is undefined (UG473, "Conflict Avoidance"), so the
// complement makes its use visible. Both ports of this memory have the same clock.
module psahw_block_ram #(
    parameter integer BYTES = 2048,
    parameter [1:0][31:0] READ = 0, WRITE = 0,  // bits per word of ports B and A, or 0 if not used
    parameter [1:0][1:0] MODE = 0               // write modes of ports B and A
) (
    input [1:0] clk, en,
    input [1:0][7:0] we,  // one bit per byte of a word
    input [1:0][14:0] addr,
    input [1:0][71:0] i,
    output reg [1:0][71:0] o
);
    localparam READ_FIRST = 0, WRITE_FIRST = 1, NO_CHANGE = 2;

    reg [8:0] memory[0:BYTES-1];

    function automatic integer bytes(input integer width);
        bytes = width < 9 ? 1 : width / 9;
    endfunction

    // place() returns the byte in which the word at an address begins, and bits() the bit of this byte.
    function automatic integer place(input [14:0] at, input integer width);
        place = {20'd0, at[14:3]} / bytes(width) * bytes(width);
    endfunction

    function automatic integer bits(input [14:0] at, input integer width);
        bits = width < 9 ? {29'd0, at[2:0]} / width * width : 0;
    endfunction

    genvar p;
    generate
        for (p = 0; p < 2; p = p + 1) begin : port
            localparam integer R = READ[p], W = WRITE[p], OTHER = WRITE[1-p];
            localparam [8:0] KEPT = R < 9 ? (9'd1 << R) - 9'd1 : 9'h1FF;
            localparam [8:0] CHANGED = W < 9 ? (9'd1 << W) - 9'd1 : 9'h1FF;
            wire writes = en[p] && W != 0 && we[p] != 0;
            wire other_writes = en[1-p] && OTHER != 0 && we[1-p] != 0;
            integer n, from, to, first;
            reg clash;

            initial if (R != 0 && W != 0 && R != W && MODE[p] != READ_FIRST) $fatal(1, "one port, two widths");

            always @(posedge clk[p]) if (en[p]) begin
                if (R != 0 && !(writes && MODE[p] == NO_CHANGE)) begin
                    first = place(addr[1-p], OTHER);
                    for (n = 0; n < bytes(R); n = n + 1) begin
                        from = place(addr[p], R) + n;
                        clash = other_writes && from >= first && from < first + bytes(OTHER);
                        if (writes && we[p][n] && MODE[p] == WRITE_FIRST) o[p][9*n+:9] <= i[p][9*n+:9] & KEPT;
                        else if (clash && MODE[1-p] != READ_FIRST) o[p][9*n+:9] <= ~memory[from] & KEPT;
                        else o[p][9*n+:9] <= memory[from] >> bits(addr[p], R) & KEPT;
                    end
                end
                for (n = 0; n < bytes(W); n = n + 1) if (writes && we[p][n]) begin
                    to = place(addr[p], W) + n;
                    memory[to] <= memory[to] & ~(CHANGED << bits(addr[p], W))
                        | (i[p][9*n+:9] & CHANGED) << bits(addr[p], W);
                end
            end
        end
    endgenerate
endmodule
