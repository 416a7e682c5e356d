"""Links: the device side of the host protocol, over a UART or over UDP."""
