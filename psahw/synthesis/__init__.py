"""Resources and longest paths of the generated Verilog, by Yosys."""
