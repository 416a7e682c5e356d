# amaranth: UnusedElaboratable=no
"""Tests that execute the packages' scripts, with stand-ins for Vivado's commands in Tcl."""

import configparser
import fnmatch
import os
import re
import subprocess
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from psahw.boards.axi.registers import CORE, KERNEL
from tests.boards.packages.test_package import ports

SCRIPTS = {"vivado": ("package_ip.tcl", CORE), "vitis": ("package_kernel.tcl", KERNEL)}
WANTED = {  # signals without which Vivado does not recognise an interface
    "axis": ("tvalid", "tready", "tdata"),
    "axi": ("awaddr", "awvalid", "awready", "wdata", "wvalid", "wready", "bvalid", "bready", "araddr", "rdata"),
}


class Vivado:
    """A Tcl interpreter with those of Vivado's commands that the scripts use.

    Any other command or option is an error.
    """

    def __init__(self, directory, port_names):
        tkinter = pytest.importorskip("tkinter", reason="Python without Tcl")
        self.directory, self.ports = directory, port_names
        self.files, self.properties, self.calls, self.registers, self.project = [], {}, [], {}, None
        self.tcl = tkinter.Tcl()
        self.tcl.eval("namespace eval ipx {}")
        for name in (
            "create_project", "close_project", "add_files", "get_files", "set_property", "current_fileset",
            "update_compile_order", "package_xo",
        ):  # fmt: skip
            self.tcl.createcommand(name, getattr(self, name))
        for name in (
            "package_project", "current_core", "get_bus_interfaces", "associate_bus_interfaces", "get_address_blocks",
            "get_memory_maps", "add_register", "create_xgui_files", "update_checksums", "check_integrity",
            "save_core",
        ):  # fmt: skip
            self.tcl.createcommand(f"ipx::{name}", getattr(self, name, self._call(name)))

    def run(self, script):
        self.tcl.call("source", str(self.directory / script))
        return self

    def _call(self, name):
        def call(*arguments):
            self.calls.append((name, *arguments))
            return name

        return call

    def create_project(self, *arguments):
        force, self.project, place, part_flag, self.part = arguments
        assert (force, part_flag) == ("-force", "-part") and Path(place).parent == self.directory

    def close_project(self):
        assert self.project
        self.project = None

    def add_files(self, *arguments):
        (path,) = map(Path, self.tcl.splitlist(arguments[-1]))  # a list of files
        assert self.project and path.is_file() and path.parent == self.directory
        assert arguments[:-1] in (("-norecurse",), ("-fileset", "constrs_1", "-norecurse"))
        self.files.append(path.name)

    def get_files(self, patterns):
        (pattern,) = self.tcl.splitlist(patterns)  # a list of patterns
        (name,) = (name for name in self.files if fnmatch.fnmatch(str(self.directory / name), pattern))
        return str(self.directory / name)

    def set_property(self, name, value, handle):
        self.properties[name, Path(handle).name] = value

    def current_fileset(self):
        return "sources_1"

    def update_compile_order(self, *arguments):
        assert arguments == ("-fileset", "sources_1")

    def package_project(self, *arguments):
        self.calls.append(("package_project", *arguments))
        assert self.properties["top", "sources_1"]

    def current_core(self):
        return "core"

    def get_bus_interfaces(self, name, *of):
        assert of == ("-of_objects", "core")
        wanted = WANTED["axis" if name.endswith("axis") else "axi"]
        return name if all(f"{name}_{signal}" in self.ports for signal in wanted) else ""

    def associate_bus_interfaces(self, *arguments):
        *options, core = arguments
        options = dict(zip(options[::2], options[1::2], strict=True))
        assert core == "core" and options["-clock"] in self.ports
        assert "-busif" in options or options["-reset"] in self.ports
        self.calls.append(("associate", options))

    def get_memory_maps(self, name, *of):
        assert f"{name}_awaddr" in self.ports and of == ("-of_objects", "core")
        return f"map of {name}"

    def get_address_blocks(self, name, of, memory_map):
        assert (name, of) == ("reg0", "-of_objects")
        return f"block of {memory_map}"

    def add_register(self, name, block):
        assert name not in self.registers
        self.registers[name] = block
        return name

    def package_xo(self, *arguments):
        force, *options = arguments
        assert force == "-force" and self.project is None
        self.xo = dict(zip(options[::2], options[1::2], strict=True))


@pytest.fixture(params=SCRIPTS)
def script(request, package):
    directory, content = package(request.param)
    name, table = SCRIPTS[request.param]
    return directory, content, name, table, ports(directory, content["sources"][0], content["top"])


def test_script(script):
    directory, content, name, table, port_names = script
    vivado = Vivado(directory, port_names).run(name)
    memories = {path.name for path in directory.glob("*.mem")}
    assert memories and set(content["sources"]) | memories <= set(vivado.files)
    assert {file for key, file in vivado.properties if key == "file_type"} == memories
    assert f"module {vivado.properties['top', 'sources_1']}(" in (directory / content["sources"][0]).read_text()
    assert {n: int(vivado.properties["address_offset", n], 0) for n in vivado.registers} == {
        r.name: r.offset for r in table
    }
    associated = {call[1].get("-busif") for call in vivado.calls if call[0] == "associate"}
    assert associated == {None, "s_axi", "s_axis", "m_axis"} or associated == {None, "s_axi_control", "m_axi_gmem"}
    assert vivado.project is None


def test_parts(package):
    """The scripts name parts as Vivado does (UG908's list of devices)."""
    parts = {}
    for tool, (name, _) in SCRIPTS.items():
        directory, content = package(tool)
        vivado = Vivado(directory, ports(directory, content["sources"][0], content["top"])).run(name)
        parts[tool] = vivado.part
        assert vivado.part == content["part"]
    assert parts == {"vivado": "xc7k160tffg676-2", "vitis": "xcu250-figd2104-2L-e"}


def test_script_says_which_interface_is_missing(script):
    directory, _, name, _, port_names = script
    removed = "s_axis_tdata" if "s_axis_tdata" in port_names else "m_axi_gmem_araddr"
    del port_names[removed]
    with pytest.raises(Exception, match=f"Vivado did not find the interface {removed.rpartition('_')[0]}"):
        Vivado(directory, port_names).run(name)


def test_clock_of_the_ip(package):
    directory, content = package("vivado")
    ((period, port),) = re.findall(
        r"^create_clock -name aclk -period ([\d.]+) \[get_ports (\w+)\]$", (directory / "clock.xdc").read_text(), re.M
    )
    assert port in content["ports"] and float(period) == pytest.approx(1000 / 143, abs=1e-3)


def test_kernel_xml(package):
    directory, _ = package("vitis")
    kernel = ET.parse(directory / "kernel.xml").getroot().find("kernel")
    widths = ports(directory, "kernel.v", kernel.get("name"))
    assert kernel.get("hwControlProtocol") == "ap_ctrl_chain" and kernel.get("interrupt") == "true"
    named = {port.get("name"): port for port in kernel.iter("port")}
    assert {name: (port.get("mode"), port.get("dataWidth")) for name, port in named.items()} == {
        "s_axi_control": ("slave", "32"),
        "m_axi_gmem": ("master", "512"),
    }
    assert widths["m_axi_gmem_rdata"][1] == 512 and widths["s_axi_control_wdata"][1] == 32
    assert int(named["s_axi_control"].get("range"), 0) == 1 << widths["s_axi_control_araddr"][1]
    arguments = [
        (*map(a.get, ("id", "name", "port", "addressQualifier")), int(a.get("offset"), 0), int(a.get("size"), 0))
        for a in kernel.iter("arg")
    ]
    assert arguments == [
        ("0", "images", "m_axi_gmem", "1", 0x10, 8),
        ("1", "results", "m_axi_gmem", "1", 0x1C, 8),
        ("2", "count", "s_axi_control", "0", 0x28, 4),
    ]


def test_xo_and_link(package):
    directory, content = package("vitis")
    vivado = Vivado(directory, ports(directory, "kernel.v", "psahw_kernel")).run("package_kernel.tcl")
    assert vivado.xo["-kernel_name"] == content["top"] and Path(vivado.xo["-kernel_xml"]).is_file()
    packaged = next(call for call in vivado.calls if call[0] == "package_project")
    assert vivado.xo["-ip_directory"] == packaged[packaged.index("-root_dir") + 1]
    link = configparser.ConfigParser()
    link.read_string("[v++]\n" + (directory / "link.cfg").read_text())
    assert link["v++"]["kernel_frequency"] == "300" and link["v++"]["platform"].startswith("xilinx_u250_")
    assert link["connectivity"]["nk"] == f"{content['top']}:1:{content['top']}_1"
    unit, _, port = link["connectivity"]["sp"].partition(":")[0].partition(".")
    assert unit == f"{content['top']}_1" and f"{port}_araddr" in content["ports"]


def test_makefile(package):
    """Every source that the Makefile names exists, and the steps are in order."""
    directory, _ = package("vitis")
    # Without these variables, make does not print the directory when another make runs the tests.
    environment = {name: value for name, value in os.environ.items() if not name.startswith("MAKE")}
    make = subprocess.run(["make", "-n"], cwd=directory, env=environment, capture_output=True, text=True)
    assert make.returncode == 0, make.stderr
    steps = [line.split()[0] for line in make.stdout.splitlines()]
    assert steps[:2] == ["vivado", "v++"] and "host.cpp" in make.stdout
    assert "--output psahw.xclbin psahw_kernel.xo" in make.stdout
