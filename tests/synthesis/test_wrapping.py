"""Modules between registers."""

from psahw.synthesis import verilog_modules
from psahw.synthesis.wrapping import Port, ports_of, wrapper

ADDER = """module \\top.adder (clk, a, \\b$1 , sum);
  input clk;
  input [3:0] a;
  input \\b$1 ;
  output [4:0] sum;
  assign sum = a + \\b$1 ;
endmodule
"""


def test_ports():
    module = verilog_modules.split(ADDER)["top.adder"]
    assert ports_of(module) == [Port("a", True, 4), Port("\\b$1 ", True, 1), Port("sum", False, 5)]


def test_wrapper():
    """Every bit has a register of its own: five in front, five behind, then two and one that fold them."""
    text = wrapper(verilog_modules.split(ADDER)["top.adder"])
    assert "reg [4:0] source;" in text and "reg [4:0] folded_0;" in text
    assert ".a(source[3:0])" in text and ".\\b$1 (source[4:4])" in text and ".sum(result[4:0])" in text
    assert "folded_1 <= {^folded_0[4:4], ^folded_0[3:0]};" in text and "folded_2 <= {^folded_1[1:0]};" in text
    assert "assign o = folded_2[0];" in text
