"""Tests of the error that is raised when a simulation ends before its test."""

import pytest

pytest.importorskip("cocotb", reason="needs the extra sim")

TOP = """\
module top(input clk, input rx, output tx);
    assign tx = 1;
    initial begin #100; $error("the model complains"); end
endmodule
"""
REQUEST = {"rx": "rx", "tx": "tx", "baud": 1e6, "steps": ["00"], "oscillator": ["clk", None, 8000], "button": None}


@pytest.mark.slow  # builds a simulator
def test_error_of_a_model(tmp_path):
    from psahw.sim.cocotb_tests import run

    (tmp_path / "top.v").write_text(TOP)
    with pytest.raises(RuntimeError, match="the model complains"):
        run(tmp_path, "top", ["top.v"], "pins_testbench.uart", REQUEST, arguments=("--timing",))
