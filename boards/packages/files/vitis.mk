# make              builds the kernel, psahw.xclbin, and the host program
# make host         builds the host program alone
# Source the settings scripts of Vitis and XRT first. For another card, change the platform in link.cfg.

TARGET ?= hw

.PHONY: all
all: psahw.xclbin host

@{top}.xo: package_kernel.tcl kernel.xml @{sources}
	vivado -mode batch -source package_kernel.tcl

psahw.xclbin: @{top}.xo link.cfg
	v++ --link --target $(TARGET) --config link.cfg --output $@@ $<

host: host.cpp psahw_kernel.h
	$(CXX) -std=c++17 -O2 -Wall -I'$(XILINX_XRT)/include' -o $@@ host.cpp -L'$(XILINX_XRT)/lib' -lxrt_coreutil -pthread
