// What the models of all families' PLLs have in common.
`timescale 1ps / 1fs

// Measures a clock; ``steady`` after 32 periods. It must have PERIOD_NS to 1 %, unless that is 0.
module pll_reference #(parameter real PERIOD_NS = 0.0) (
    input clk, input stop, output reg steady, output real period_ps
);
    real last = 0, found;
    integer periods = 0;
    initial steady = 0;
    always @(posedge clk or posedge stop)
        if (stop) begin
            periods = 0;
            steady = 0;
        end else begin
            found = $realtime - last;
            last = $realtime;
            periods = periods + 1;
            if (periods == 32) begin
                period_ps = found;
                steady = 1;
                if (PERIOD_NS > 0 && (found < 990 * PERIOD_NS || found > 1010 * PERIOD_NS))
                    $error("%m: made for a clock of %f ns, but it has %f ps", PERIOD_NS, found);
            end
        end
endmodule

// A clock while ``run``, whose first rising edge comes ``shift_ps`` after it.
module pll_output(input run, input real period_ps, input real shift_ps, output reg clk);
    initial clk = 0;
    always @(posedge run) begin
        #(shift_ps);
        while (run) begin
            clk = 1;
            #(period_ps / 2);
            clk = 0;
            #(period_ps / 2);
        end
    end
endmodule
