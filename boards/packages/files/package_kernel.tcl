# Packages @{network} as a Vitis kernel in @{top}.xo:
#
#   vivado -mode batch -source package_kernel.tcl
#
# UG1118 and UG835 describe the commands, UG1393 the properties of kernels.

set folder [file dirname [file normalize [info script]]]
set sources {@{sources}}
set memories {@{memories}}
set registers {
@{registers}
}

create_project -force @{top} [file join $folder build] -part @{part}
# add_files takes a list of files, and get_files a list of patterns: the folder may have spaces in its name.
foreach name [concat $sources $memories] {
    add_files -norecurse [list [file join $folder $name]]
}
# $readmemb finds memory files among the project's files (UG901).
foreach name $memories {
    set_property file_type {Memory File} [get_files [list "*/$name"]]
}
set_property top @{top} [current_fileset]
update_compile_order -fileset sources_1

# Vivado recognises interfaces by the names of the ports.
ipx::package_project -root_dir [file join $folder ip] -vendor psahw -library kernel -taxonomy /KernelIP -import_files -force
set core [ipx::current_core]
set_property name @{top} $core
set_property version 1.0 $core
foreach name {s_axi_control m_axi_gmem} {
    if {[llength [ipx::get_bus_interfaces $name -of_objects $core]] != 1} {
        error "Vivado did not find the interface $name"
    }
    ipx::associate_bus_interfaces -busif $name -clock ap_clk $core
}
ipx::associate_bus_interfaces -clock ap_clk -reset ap_rst_n $core

set block [ipx::get_address_blocks reg0 -of_objects [ipx::get_memory_maps s_axi_control -of_objects $core]]
foreach register $registers {
    lassign $register name offset description
    set handle [ipx::add_register $name $block]
    set_property address_offset $offset $handle
    set_property size 32 $handle
    set_property description $description $handle
}

set_property sdx_kernel true $core
set_property sdx_kernel_type rtl $core
set_property vitis_drc {ctrl_protocol ap_ctrl_chain} $core
set_property ipi_drc {ignore_freq_hz true} $core
set_property auto_family_support_level level_2 $core
ipx::create_xgui_files $core
ipx::update_checksums $core
ipx::check_integrity -kernel -xrt $core
ipx::save_core $core
close_project

package_xo -force -xo_path [file join $folder @{top}.xo] -kernel_name @{top} \
    -ip_directory [file join $folder ip] -kernel_xml [file join $folder kernel.xml]
