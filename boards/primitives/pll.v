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
            steady <= 0;
        end else begin
            found = $realtime - last;
            last = $realtime;
            periods = periods + 1;
            if (periods == 32) begin
                period_ps = found;
                steady <= 1;  // after the period, on which others depend
                if (PERIOD_NS > 0 && (found < 990 * PERIOD_NS || found > 1010 * PERIOD_NS))
                    $error("%m: made for a clock of %f ns, but it has %f ps", PERIOD_NS, found);
            end
        end
endmodule

// ``locked`` when eight periods have come back, and are those of the phase detector's other input.
module pll_feedback(input run, input feedback, input real period_ps, output reg locked);
    real last = 0;
    integer periods = 0;
    initial locked = 0;
    always @(posedge feedback or negedge run)
        if (!run) begin
            periods = 0;
            locked <= 0;
        end else begin
            if (periods > 0 && ($realtime - last < 0.99 * period_ps || $realtime - last > 1.01 * period_ps))
                $error("%m: what is fed back has %f ps, not %f", $realtime - last, period_ps);
            last = $realtime;
            periods = periods + 1;
            if (periods == 9) locked <= 1;
        end
endmodule

// Complains of a VCO outside the data sheet's range.
module pll_vco(input run, input real period_ps);
    parameter real LEAST_MHZ = 0.0, MOST_MHZ = 1e6;
    always @(posedge run)
        if (period_ps * LEAST_MHZ > 1.0001e6 || period_ps * MOST_MHZ < 0.9999e6)
            $error("%m: the VCO runs at %f MHz, not between %f and %f", 1e6 / period_ps, LEAST_MHZ, MOST_MHZ);
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
