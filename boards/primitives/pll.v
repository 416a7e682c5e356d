// Parts of the PLL models of all families.
`timescale 1ps / 1fs

// Measures the period of a clock, and sets steady after 32 periods. Unless PERIOD_NS is 0, the period must be within 1 %
// of it.
module pll_reference #(parameter real PERIOD_NS = 0.0) (
    input clk, input stop, output reg steady, output real period_ps
);
    real last = 0, measured_ps;
    integer periods = 0;
    initial steady = 0;
    always @(posedge clk or posedge stop)
        if (stop) begin
            periods = 0;
            steady <= 0;
        end else begin
            measured_ps = $realtime - last;
            last = $realtime;
            periods = periods + 1;
            if (periods == 32) begin
                period_ps = measured_ps;
                steady <= 1;  // after period_ps, which others read when steady rises
                if (PERIOD_NS > 0 && (measured_ps < 990 * PERIOD_NS || measured_ps > 1010 * PERIOD_NS))
                    $error("%m: the input's period must be %f ns, not %f ps", PERIOD_NS, measured_ps);
            end
        end
endmodule

// Sets locked after eight periods of the feedback, each of which must equal that of the phase detector's other input.
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
                $error("%m: the feedback's period must be %f ps, not %f ps", period_ps, $realtime - last);
            last = $realtime;
            periods = periods + 1;
            if (periods == 9) locked <= 1;
        end
endmodule

// Reports a VCO frequency outside the data sheet's range.
module pll_vco(input run, input real period_ps);
    parameter real LEAST_MHZ = 0.0, MOST_MHZ = 1e6;
    always @(posedge run)
        if (period_ps * LEAST_MHZ > 1.0001e6 || period_ps * MOST_MHZ < 0.9999e6)
            $error("%m: the VCO must run at %f to %f MHz, not %f MHz", LEAST_MHZ, MOST_MHZ, 1e6 / period_ps);
endmodule

// Generates a clock while run is high. Its first rising edge comes shift_ps after that of run.
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
