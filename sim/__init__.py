"""Simulation of the generated Verilog against the integer model.

Nothing here imports the generator: the inputs are Verilog, memory files and a manifest.
"""
