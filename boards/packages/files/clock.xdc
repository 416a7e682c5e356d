# The clock that the plan is for: a target, when the IP is synthesised by itself
create_clock -name aclk -period @{period} [get_ports aclk]
