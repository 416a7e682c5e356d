# Loads a bitstream into the first device on the cable whose name begins with DEVICE (UG908, Programming the Device).
#   vivado -mode batch -source program.tcl -tclargs BITSTREAM DEVICE
open_hw_manager
connect_hw_server
open_hw_target
set device [lindex [get_hw_devices [lindex $argv 1]*] 0]
current_hw_device $device
set_property PROGRAM.FILE [lindex $argv 0] $device
program_hw_devices $device
close_hw_manager
