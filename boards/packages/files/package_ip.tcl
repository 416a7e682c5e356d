# Packages @{network} as a Vivado IP in the directory ip:
#
#   vivado -mode batch -source package_ip.tcl
#
# Add this directory to a project's ip_repo_paths. UG1118 and UG835 describe the commands.

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
add_files -fileset constrs_1 -norecurse [list [file join $folder clock.xdc]]
set_property USED_IN {synthesis out_of_context} [get_files [list */clock.xdc]]
set_property top @{top} [current_fileset]
update_compile_order -fileset sources_1

# Vivado recognises interfaces by the names of the ports.
ipx::package_project -root_dir [file join $folder ip] -vendor psahw -library user -taxonomy /UserIP -import_files -force
set core [ipx::current_core]
set_property name @{top} $core
set_property version 1.0 $core
set_property display_name {psahw: @{network}} $core
set_property description {Image classifier; AXI4-Stream in and out, AXI4-Lite registers} $core
foreach name {s_axi s_axis m_axis} {
    if {[llength [ipx::get_bus_interfaces $name -of_objects $core]] != 1} {
        error "Vivado did not find the interface $name"
    }
    ipx::associate_bus_interfaces -busif $name -clock aclk $core
}
ipx::associate_bus_interfaces -clock aclk -reset aresetn $core

set block [ipx::get_address_blocks reg0 -of_objects [ipx::get_memory_maps s_axi -of_objects $core]]
foreach register $registers {
    lassign $register name offset description
    set handle [ipx::add_register $name $block]
    set_property address_offset $offset $handle
    set_property size 32 $handle
    set_property description $description $handle
}

ipx::create_xgui_files $core
ipx::update_checksums $core
ipx::check_integrity $core
ipx::save_core $core
close_project
