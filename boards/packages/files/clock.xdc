# Target frequency of the plan, for out-of-context synthesis of the IP.
create_clock -name aclk -period @{period} [get_ports aclk]
