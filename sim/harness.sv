// Sends frames from a file into an accelerator, watches its streams, and notifies Python once per frame.
//
// Everything that happens in every cycle is in this module, so that it runs at the speed of compiled code. Python
// (sim/testbench.py) sets the registers under "orders" during reset, waits for `notice` to toggle and reads the
// registers under "reports". Frame n of a run is frame n of the image file, which has raw bytes in raster order.
//
// A result belongs to the oldest frame without a result. It may be offered once the first needed_beats beats of that
// frame have been transferred, and no earlier. These are the beats up to the last one with a pixel in a window; the
// accelerator takes the rest of the frame and drops it. A result is therefore early if it is offered before the frame
// that it belongs to has begun, even if the frame before it is still being sent.
//
// Stalls: in a cycle without a stall, a stall of 1 to 8 cycles begins with probability *_short / 2^32, and a stall of 1
// to long_mask + 1 cycles with probability *_long / 2^32. An offered beat stays offered. In addition, the source pauses
// for starve_cycles after frame starve_after, and the sink pauses for hold_cycles after the result of frame hold_after.
module psahw_harness #(
    parameter int BUS_BYTES = 4,     // bytes per input beat
    parameter int BEATS = 768,       // input beats per frame
    parameter int RESULT_BITS = 84,  // width of the output payload
    parameter int COUNTER_ADDRESS_BITS = 1,
    parameter int COUNTER_BITS = 1,
    parameter int IN_FLIGHT = 4096   // largest number of frames between input and output
) (
    input clk /*verilator public_flat_rw*/
);
  // Orders.
  reg        rst          /*verilator public_flat_rw*/ = 1'b1;
  reg [31:0] first_frame  /*verilator public_flat_rw*/ = 0;
  reg [31:0] frame_limit  /*verilator public_flat_rw*/ = 0;  // number of the first frame that is not sent
  reg [31:0] needed_beats /*verilator public_flat_rw*/ = BEATS;  // beats on which a result depends, at most BEATS
  reg [31:0] gap_min      /*verilator public_flat_rw*/ = 0;  // idle cycles between frames ...
  reg [31:0] gap_span     /*verilator public_flat_rw*/ = 0;  // ... and largest number of additional ones
  reg [31:0] source_short /*verilator public_flat_rw*/ = 0;
  reg [31:0] source_long  /*verilator public_flat_rw*/ = 0;
  reg [31:0] sink_short   /*verilator public_flat_rw*/ = 0;
  reg [31:0] sink_long    /*verilator public_flat_rw*/ = 0;
  reg [31:0] long_mask    /*verilator public_flat_rw*/ = 0;
  reg [31:0] starve_after  /*verilator public_flat_rw*/ = 0;
  reg [31:0] starve_cycles /*verilator public_flat_rw*/ = 0;
  reg [31:0] hold_after    /*verilator public_flat_rw*/ = 0;
  reg [31:0] hold_cycles   /*verilator public_flat_rw*/ = 0;
  reg [31:0] patience     /*verilator public_flat_rw*/ = 0;  // cycles without a transfer that count as a deadlock
  reg [63:0] seed         /*verilator public_flat_rw*/ = 1;  // not 0
  reg [COUNTER_ADDRESS_BITS-1:0] counter_address /*verilator public_flat_rw*/ = 0;
  reg counter_clear       /*verilator public_flat_rw*/ = 1'b0;

  // Reports.
  localparam RESULT = 1, CHANGED = 2, WITHDRAWN = 3, EARLY = 4, STUCK = 5, CROWDED = 6, SHORT_FILE = 7;
  reg        notice       /*verilator public_flat_rw*/ = 1'b0;
  reg [ 2:0] notice_kind  /*verilator public_flat_rw*/ = 0;
  reg [31:0] result_frame /*verilator public_flat_rw*/ = 0;
  reg [63:0] result_first /*verilator public_flat_rw*/ = 0;  // cycle in which the frame's first beat was transferred
  reg [63:0] result_cycle /*verilator public_flat_rw*/ = 0;
  reg [RESULT_BITS-1:0] result_payload /*verilator public_flat_rw*/ = 0;
  reg [63:0] cycle        /*verilator public_flat_rw*/ = 0;
  reg [31:0] source_frame /*verilator public_flat_rw*/ = 0;
  reg [31:0] source_beat  /*verilator public_flat_rw*/ = 0;
  reg [31:0] sink_frame   /*verilator public_flat_rw*/ = 0;
  wire       i_valid      /*verilator public_flat_rw*/;
  wire       i_ready      /*verilator public_flat_rw*/;
  wire       o_valid      /*verilator public_flat_rw*/;
  wire       o_ready      /*verilator public_flat_rw*/;
  wire [COUNTER_BITS-1:0] counter_data /*verilator public_flat_rw*/;

  wire [8*BUS_BYTES-1:0] i_payload;
  wire [RESULT_BITS-1:0] o_payload;

  psahw_accelerator accelerator (
      .clk(clk),
      .rst(rst),
      .i__payload(i_payload),
      .i__valid(i_valid),
      .i__ready(i_ready),
      .o__payload(o_payload),
      .o__valid(o_valid),
`ifdef PSAHW_COUNTERS
      .counters__addr(counter_address),
      .counters__clear(counter_clear),
      .counters__data(counter_data),
`endif
      .o__ready(o_ready)
  );
`ifndef PSAHW_COUNTERS
  assign counter_data = 0;
`endif

  reg [63:0] random = 1;
  reg [63:0] first_cycle[IN_FLIGHT];
  reg [31:0] gap_left = 0, source_wait = 0, sink_wait = 0, idle = 0;
  reg i_held = 1'b0, o_held = 1'b0, load = 1'b0;
  reg [RESULT_BITS-1:0] o_before = 0;

  wire more = source_frame < frame_limit;
  assign i_valid = ~rst & (i_held | (more & gap_left == 0 & source_wait == 0));
  assign o_ready = ~rst & sink_wait == 0;
  wire i_move = i_valid & i_ready;
  wire o_move = o_valid & o_ready;
  wire [31:0] starve = source_frame == starve_after ? starve_cycles : 0;
  wire i_last = i_move & source_beat == BEATS - 1;
  // All beats on which the next result depends have been transferred in earlier cycles.
  wire complete = source_frame == sink_frame ? source_beat >= needed_beats : $signed(source_frame - sink_frame) > 0;

  // The frame that is being sent. It is read from the file at falling edges, when no other process reads it.
  reg [7:0] frame[BUS_BYTES*BEATS];
  integer file, bytes_read;
  reg [8*4096-1:0] path;
  genvar lane;
  generate
    for (lane = 0; lane < BUS_BYTES; lane = lane + 1) begin : lanes
      assign i_payload[8*lane+:8] = frame[source_beat*BUS_BYTES+lane];
    end
  endgenerate

  initial begin
    file = 0;
    if ($value$plusargs("images=%s", path)) file = $fopen(path, "rb");
  end

  reg short_file = 1'b0;
  always @(negedge clk)
    if (load & more) begin
      bytes_read = $fseek(file, source_frame * BUS_BYTES * BEATS, 0);
      bytes_read = $fread(frame, file);
      short_file = bytes_read != BUS_BYTES * BEATS;
    end

  function automatic [63:0] xorshift(input [63:0] x);
    x = x ^ (x << 13);
    x = x ^ (x >> 7);
    xorshift = x ^ (x << 17);
  endfunction

  function automatic [31:0] stall(input [31:0] draw, input [31:0] length, input [31:0] short, input [31:0] long);
    if (draw < short) stall = {29'd0, length[2:0]} + 1;
    else if (draw - short < long) stall = (length & long_mask) + 1;
    else stall = 0;
  endfunction

  always @(posedge clk) begin
    cycle  <= cycle + 1;
    load   <= rst | i_last;
    random <= rst ? seed : xorshift(random);
    i_held <= i_valid & ~i_ready;
    o_held <= ~rst & o_valid & ~o_ready;
    o_before <= o_payload;
    if (rst) begin
      source_frame <= first_frame;
      sink_frame <= first_frame;
      source_beat <= 0;
      source_wait <= 0;
      sink_wait <= 0;
      gap_left <= 0;
      idle <= 0;
    end else begin
      if (i_move) source_beat <= i_last ? 0 : source_beat + 1;
      if (i_move & source_beat == 0) first_cycle[source_frame%IN_FLIGHT] <= cycle;
      if (i_last) source_frame <= source_frame + 1;
      if (i_last) gap_left <= gap_min + (gap_span == 0 ? 0 : random[31:0] % (gap_span + 1)) + starve;
      else if (gap_left != 0) gap_left <= gap_left - 1;
      source_wait <= source_wait != 0 ? source_wait - 1 : stall(random[31:0], random[63:32], source_short, source_long);
      if (o_move & sink_frame == hold_after & hold_cycles != 0) sink_wait <= hold_cycles;
      else sink_wait <= sink_wait != 0 ? sink_wait - 1 : stall(random[47:16], {random[15:0], random[63:48]}, sink_short, sink_long);
      idle <= i_move | o_move ? 0 : idle + 1;

      if (o_move) begin
        sink_frame <= sink_frame + 1;
        result_frame <= sink_frame;
        result_first <= first_cycle[sink_frame%IN_FLIGHT];
        result_cycle <= cycle;
        result_payload <= o_payload;
      end
      if (o_held & ~o_valid) notify(WITHDRAWN);
      else if (o_held & o_payload != o_before) notify(CHANGED);
      else if (o_valid & ~complete) notify(EARLY);
      else if (short_file) notify(SHORT_FILE);
      else if (i_move & $signed(source_frame - sink_frame) >= IN_FLIGHT) notify(CROWDED);
      else if (o_move) notify(RESULT);
      else if (idle == patience) notify(STUCK);
    end
  end

  task automatic notify(input [2:0] kind);
    notice <= ~notice;
    notice_kind <= kind;
  endtask
endmodule
