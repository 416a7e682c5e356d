"""Resources and longest paths of the generated Verilog, from Yosys."""
