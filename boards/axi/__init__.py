"""The accelerator behind AXI: a core with AXI4-Stream ports, and a kernel that accesses memory."""
