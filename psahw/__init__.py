"""psahw: small image classifiers as streaming FPGA circuits."""
