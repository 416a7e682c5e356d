"""Simulation of the emitted Verilog against the integer model; reads Verilog and a manifest."""
