// A stand-in for an accelerator with two classes. Logit c of a frame is the sum over its bytes of
// byte * weights[(index + 3 * c) % 16]. It takes one beat of two bytes per clock cycle, and pauses for 20 cycles after
// each frame. With the plusarg +needed=N only the first N beats of a frame count, and the result follows them. The
// plusarg +bug=N selects one of eleven bugs.
module psahw_accelerator (
    input             clk,
    input             rst,
    input      [15:0] i__payload,
    input             i__valid,
    output            i__ready,
    output     [40:0] o__payload,
    output            o__valid,
    input             o__ready
);
  parameter BEATS = 64;
  parameter PAUSE = 20;
  reg [31:0] bug, needed;
  initial begin
    if (!$value$plusargs("bug=%d", bug)) bug = 0;
    if (!$value$plusargs("needed=%d", needed)) needed = BEATS;
  end

  reg [7:0] weights[15:0];
  initial $readmemh("weights.mem", weights);

  reg [5:0] beat;
  reg [4:0] pause;
  reg [31:0] frames;
  reg signed [19:0] sum0, sum1;
  reg done;
  reg signed [19:0] result0, result1;
  reg valid;
  reg [3:0] changes;
  wire stop = bug == 1 & frames == 3 | bug == 10 & frames == 11 & beat >= needed;  // 10: the last frame's rest stays
  wire room = ~done;
  assign i__ready = pause == 0 & room & ~stop;
  wire move = i__valid & i__ready;
  wire [3:0] k = {beat[2:0], 1'b0};
  wire signed [19:0] part0 = $signed({1'b0, i__payload[7:0]}) * $signed(weights[k]) +
      $signed({1'b0, i__payload[15:8]}) * $signed(weights[k+4'd1]);
  wire signed [19:0] part1 = $signed({1'b0, i__payload[7:0]}) * $signed(weights[k+4'd3]) +
      $signed({1'b0, i__payload[15:8]}) * $signed(weights[k+4'd4]);
  wire first = beat == 0 & bug != 2;  // 2: only a reset clears the sum
  always @(posedge clk) begin
    changes <= changes + 1;
    if (pause != 0) pause <= pause - 1;
    if (move) begin
      beat <= beat + 1;
      if (beat < needed) begin
        sum0 <= (first ? 20'sd0 : sum0) + part0;
        sum1 <= (first ? 20'sd0 : sum1) + part1;
      end
      done <= beat == needed - 1 | bug == 11 & beat == 63;  // 11: a second result at the end of the frame
      if (beat == 63) begin
        pause <= PAUSE - 1 + (bug == 3 & frames[1:0] == 2);  // 3: every fourth frame takes one more cycle
        frames <= frames + 1;
        if (bug == 2) {sum0, sum1} <= {part0, part1};
      end
    end
    if (valid & o__ready) valid <= 0;
    if (bug == 4 & valid & ~o__ready & changes[1:0] == 0) valid <= 0;  // 4: the result is withdrawn
    if (done & (~valid | o__ready)) begin
      done <= 0;
      valid <= 1;
      result0 <= sum0;
      result1 <= bug == 5 & frames == 2 ? sum1 + 1 : sum1;  // 5: one logit of one frame is wrong
    end
    if (rst) begin
      if (bug != 6) beat <= 0;  // 6: the beat counter is not reset
      pause <= 0;
      done <= 0;
      valid <= bug == 7;  // 7: one result too many
      frames <= 0;
      changes <= 0;
    end
  end
  wire index = (result1 > result0) ^ (bug == 8);  // 8: the class is wrong
  wire flip = bug == 9 & changes[1:0] == 0;  // 9: the result changes while it is offered
  assign o__payload = {index, result1, result0[19:1], result0[0] ^ flip};
  assign o__valid = valid;
endmodule
